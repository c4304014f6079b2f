"""Shared listeners: one a process and deployment, however many caches there are.

A listener that is still open when the interpreter ends is closed then, before an embedded server is (that was there
first), so that no loss of the link is reported.
"""

import atexit
from collections.abc import Callable, Hashable
from typing import Final

from twotier.coherence.any_listener import AnyListener
from twotier.sharing import Shared


def shared_listener(identity: Hashable, factory: Callable[[], AnyListener]) -> AnyListener:
    """Return this process's listener for `identity`, which must cover all that `factory` depends on.

    In a forked child there is none yet: acquire it anew there.
    """

    def make() -> AnyListener:
        listener = factory()
        atexit.register(listener.close)
        return listener

    return _listeners.acquire(identity, make)


def release_listener(listener: AnyListener) -> None:
    """Give back what `shared_listener` returned; the last one closes it."""
    _listeners.release(listener)


def _close(listener: AnyListener) -> None:
    atexit.unregister(listener.close)
    listener.close()


def _let_go(listener: AnyListener) -> None:
    """In a forked child: leave the parent's connection alone."""
    atexit.unregister(listener.close)
    listener.after_fork()


_listeners: Final = Shared(_close, inherited=_let_go)
