"""Overlapping writes to the source in this process.

It is unknown which of two overlapping writes of a key reached the source last, so neither may decide
the cache's value. A write that begins while another of its key is under way flags the key; the flag
is cleared when the last of the key's writes has ended.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence

from twotier.fork import reset_on_fork


class _Key:
    """The writes of one key that are under way."""

    __slots__ = ("overlap", "writes")

    def __init__(self) -> None:
        self.writes: set[object] = set()
        self.overlap = False


class WriteConflicts:
    """The writes of one process that are under way. Threads may share it.

    >>> overlaps = WriteConflicts()
    >>> with overlaps.during(["a"]), overlaps.settling() as alone:
    ...     with overlaps.during(["a", "b"]):
    ...         alone("a"), alone("b")
    (False, True)
    """

    def __init__(self) -> None:
        self.after_fork()
        reset_on_fork(self)

    def after_fork(self) -> None:
        """Forget all writes in a forked child, where no other thread is writing."""
        self._lock = threading.RLock()  # settling may call listeners, which may write in turn
        self._keys: dict[str, _Key] = {}

    @contextlib.contextmanager
    def during(self, keys: Sequence[str]) -> Iterator[None]:
        """Register a write of `keys` while the block runs."""
        write = object()
        try:
            try:
                with self._lock:
                    for key in keys:
                        state = self._keys.setdefault(key, _Key())
                        state.overlap |= bool(state.writes)
                        state.writes.add(write)
                yield
            finally:
                self._end(write, keys)
        finally:
            self._end(write, keys)  # the first may have been interrupted

    def _end(self, write: object, keys: Sequence[str]) -> None:
        with self._lock:
            for key in keys:
                state = self._keys.get(key)  # None in a child that was forked while writing, and once it has ended
                if state is None:
                    continue
                if state.writes <= {write}:
                    self._keys.pop(key, None)
                else:
                    state.writes.discard(write)

    @contextlib.contextmanager
    def settling(self) -> Iterator[Callable[[str], bool]]:
        """Let no other write begin or settle in the block; yield a function: True if no write of a key overlapped."""
        with self._lock:
            keys = self._keys
            yield lambda key: key not in keys or not keys[key].overlap
