"""The cap on loads: how many loaders run in this process at once, so that a cold start doesn't flood the source.

Callers over the cap queue, first come, first served. A loader that loads other keys passes for those without a place of
its own: were it made to wait, it would hold the place that it waits for.
"""

import threading
from collections import deque
from concurrent.futures import Future


class LoadGate:
    """Places for `limit` loads.

    >>> gate = LoadGate(1)
    >>> gate.enter() is None, gate.enter().done()
    (True, False)
    """

    __slots__ = ("_free", "_lock", "_queue")

    def __init__(self, limit: int) -> None:
        self._lock = threading.RLock()  # an abandoned coroutine may be closed, and give its place back, anywhere
        self._free = limit
        self._queue: deque[Future[None]] = deque()

    def enter(self) -> Future[None] | None:
        """Take a place: None if it is ours now, else what to wait for. `leave` gives it back, waited for or not."""
        with self._lock:
            if self._free:
                self._free -= 1
                return None
            turn: Future[None] = Future()
            self._queue.append(turn)
            return turn

    def leave(self, turn: Future[None] | None = None) -> None:
        """Give back a place, or the place in the queue that `turn` stands for."""
        with self._lock:
            if turn is not None and turn in self._queue:
                self._queue.remove(turn)
                return
            if not self._queue:
                self._free += 1
                return
            heir = self._queue.popleft()
        heir.set_result(None)
