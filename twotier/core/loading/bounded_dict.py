"""A dict of bounded size, which drops its oldest item when it is full."""

import threading
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class BoundedDict(dict[K, V], Generic[K, V]):
    """At most `limit` items. Threads may share it.

    >>> few = BoundedDict(2)
    >>> for number in range(4):
    ...     few.put(number, str(number))
    >>> few
    {2: '2', 3: '3'}
    """

    __slots__ = ("_limit", "_lock")

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit
        self._lock = threading.RLock()  # an abandoned coroutine may be closed, and put or drop, anywhere

    def put(self, key: K, value: V) -> None:
        """Put `value` under `key`."""
        with self._lock:
            self[key] = value
            if len(self) > self._limit:
                del self[next(iter(self))]

    def drop(self, key: K) -> None:
        """Remove `key` if it exists."""
        with self._lock:
            self.pop(key, None)
