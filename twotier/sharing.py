"""Objects that several users share: one per identity and process, closed when its last user releases it."""

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from twotier.fork import reset_first_on_fork

T = TypeVar("T")


class Shared(Generic[T]):
    """Objects by identity, each with the number of its users.

    `close` is called with an object that the last user has given back. In a forked child, `inherited` is called with
    each object of the parent's, and none is shared any more; without it, the child goes on with all of them. The lock
    is free there in either case.
    """

    def __init__(self, close: Callable[[T], None], inherited: Callable[[T], None] | None = None) -> None:
        self._close = close
        self._inherited = inherited
        self._lock = threading.Lock()
        self._used: dict[Hashable, tuple[T, int]] = {}
        reset_first_on_fork(self, Shared._after_fork)

    def __len__(self) -> int:
        """Return how many objects there are."""
        return len(self._used)

    def acquire(self, identity: Hashable, make: Callable[[], T]) -> T:
        """Return the object of `identity`, which `make` makes if there is none; give it back with `release`."""
        with self._lock:
            thing, users = self._used.get(identity) or (make(), 0)
            self._used[identity] = thing, users + 1
            return thing

    def release(self, thing: T) -> None:
        """Give `thing` back; nothing happens if it isn't shared any more."""
        with self._lock:
            found = ((identity, users) for identity, (shared, users) in self._used.items() if shared is thing)
            identity, users = next(found, (None, 0))
            if users > 1:
                self._used[identity] = thing, users - 1
                return
            if not users:
                return
            del self._used[identity]
        self._close(thing)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        if self._inherited is not None:
            used, self._used = self._used, {}
            for thing, _ in used.values():
                self._inherited(thing)
