"""The cap on loads: how many loaders run in this process at once, so that a cold start doesn't flood the source.

Callers over the cap queue, first come, first served. A loader that loads other keys passes for those without a place of
its own: were it made to wait, it would hold the place that it waits for.
"""

import threading
from collections import deque
from concurrent.futures import Future


class Place:
    """A place at the gate (None: at no gate), or one in the queue; `leave` gives it back, waited for or not."""

    __slots__ = ("_gate", "is_over", "turn")

    def __init__(self, gate: "LoadGate | None", turn: Future[None] | None = None) -> None:
        self._gate = gate
        self.is_over = False
        """Whether the place was given back."""
        self.turn = turn
        """What to wait for; None: the place is ours now."""

    def leave(self) -> None:
        """Give the place back; once more does nothing."""
        gate, self._gate, self.is_over = self._gate, None, True
        if gate is not None:
            gate.leave(self.turn)


class LoadGate:
    """Places for `limit` loads.

    >>> gate = LoadGate(1)
    >>> first, second = gate.enter(), gate.enter()
    >>> first.turn is None, second.turn.done(), gate.enter_at_once() is None
    (True, False, True)
    >>> first.leave()
    >>> second.turn.done()
    True
    """

    __slots__ = ("_free", "_lock", "_queue")

    def __init__(self, limit: int) -> None:
        self._lock = threading.RLock()  # an abandoned coroutine may be closed, and give its place back, anywhere
        self._free = limit
        self._queue: deque[Future[None]] = deque()

    def enter(self) -> Place:
        """Take a place, or one in the queue."""
        place = self.enter_at_once()
        if place is not None:
            return place
        with self._lock:
            if self._free:
                self._free -= 1
                return Place(self)
            turn: Future[None] = Future()
            self._queue.append(turn)
            return Place(self, turn)

    def enter_at_once(self) -> Place | None:
        """Take a place if one is free."""
        with self._lock:
            if not self._free:
                return None
            self._free -= 1
            return Place(self)

    def leave(self, turn: Future[None] | None) -> None:
        """Take back a place, or the place in the queue that `turn` stands for."""
        with self._lock:
            if turn is not None and turn in self._queue:
                self._queue.remove(turn)
                return
            if not self._queue:
                self._free += 1
                return
            heir = self._queue.popleft()
        heir.set_result(None)
