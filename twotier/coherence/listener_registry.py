"""Shared listeners: one for each process and deployment, however many caches there are.

A listener that is still open when the interpreter ends is closed then, before an embedded server, which was
registered earlier, so that no loss of the link is reported.
"""

import atexit
from collections.abc import Callable, Hashable
from typing import Final

from twotier.coherence.any_listener import AnyListener
from twotier.sharing import Shared


def shared_listener(identity: Hashable, factory: Callable[[], AnyListener]) -> AnyListener:
    """Return this process's listener for `identity`, which must cover all that `factory` depends on.

    A forked child has no listener yet: acquire one anew there.
    """

    def make() -> AnyListener:
        listener = factory()
        atexit.register(listener.close)
        return listener

    return _listeners.acquire(identity, make)


def release_listener(listener: AnyListener) -> None:
    """Release a listener that `shared_listener` returned; the last release closes it."""
    _listeners.release(listener)


def _close(listener: AnyListener) -> None:
    atexit.unregister(listener.close)
    listener.close()


def _let_go(listener: AnyListener) -> None:
    """In a forked child: drop the parent's connection without a word to the server."""
    atexit.unregister(listener.close)
    listener.after_fork()


_listeners: Final = Shared(_close, inherited=_let_go)
