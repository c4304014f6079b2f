"""Synchronous calls on the thread of a running event loop: they hold it up, and must wait for nobody.

What they would wait for (a load, a fetch, a place at the gate) may be in the hands of a task of that very loop, which
can't go on before they return. So they do for themselves what they would have waited for.
"""

import contextlib
import threading
from collections.abc import Iterator
from typing import Final


class _Thread(threading.local):
    holding = False


_thread: Final = _Thread()


def holds_up_a_loop() -> bool:
    """Tell whether the caller is such a call."""
    return _thread.holding


@contextlib.contextmanager
def holding_up_a_loop() -> Iterator[None]:
    """Make what runs inside, on this thread, such a call."""
    before, _thread.holding = _thread.holding, True
    try:
        yield
    finally:
        _thread.holding = before
