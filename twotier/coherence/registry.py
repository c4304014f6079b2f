"""Shared listeners: one a process and deployment, however many caches there are.

A listener that is still open when the interpreter ends is closed then, before an embedded server is (that was there
first), so that no loss of the link is reported.
"""

import atexit
import threading
from collections.abc import Callable, Hashable

from twotier.coherence.listening import AnyListener
from twotier.fork import reset_first_on_fork


class ListenerRegistry:
    """Listeners by deployment, each with the number of those who use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shared: dict[Hashable, tuple[AnyListener, int]] = {}

    def acquire(self, identity: Hashable, factory: Callable[[], AnyListener]) -> AnyListener:
        """Return the listener of `identity`, made by `factory` if there is none; give it back with `release`."""
        with self._lock:
            listener, users = self._shared.get(identity) or (factory(), 0)
            if not users:
                atexit.register(listener.close)
            self._shared[identity] = listener, users + 1
            return listener

    def release(self, listener: AnyListener) -> None:
        """Give `listener` back; the last user's call closes it."""
        with self._lock:
            identity, users = next(
                ((identity, users) for identity, (shared, users) in self._shared.items() if shared is listener),
                (None, 0),
            )
            if users > 1:
                self._shared[identity] = listener, users - 1
                return
            self._shared.pop(identity, None)
            atexit.unregister(listener.close)
        listener.close()

    def after_fork(self) -> None:
        """In a forked child: let go of the parent's listeners; users acquire again."""
        inherited = [listener for listener, _ in self._shared.values()]
        self._lock = threading.Lock()
        self._shared = {}
        for listener in inherited:
            atexit.unregister(listener.close)
            listener.after_fork()


_registry = ListenerRegistry()
reset_first_on_fork(_registry, ListenerRegistry.after_fork)


def shared_listener(identity: Hashable, factory: Callable[[], AnyListener]) -> AnyListener:
    """Return this process's listener for `identity`, which must cover all that `factory` depends on.

    In a forked child there is none yet: acquire it anew there.
    """
    return _registry.acquire(identity, factory)


def release_listener(listener: AnyListener) -> None:
    """Give back what `shared_listener` returned; the last one closes it."""
    _registry.release(listener)
