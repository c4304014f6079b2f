"""The numbers of this process's entries in one stream, and those that the server has acknowledged.

The entry of an acknowledged number stays in the stream until it has reached the source or become a dead letter. If
neither has happened once the stream is drained, the server has lost the entry.
"""

import os
import threading
from typing import Final

from twotier.clock import wall_clock
from twotier.core.write_behind.high_water import WRITER_BYTES, HighWater, Origin

MOST_SPANS: Final = 1024
"""Runs of numbers that are remembered until they are known to be at the source; the oldest are forgotten."""
_TOGETHER: Final = 60_000_000
"""Longest time between two numbers of a run (us)."""


class Numbers:
    """The numbers of the entries that one process appends to one stream. Threads may share it.

    >>> numbers = Numbers()
    >>> origins = numbers.take(2)
    >>> [origin.number for origin in origins]
    [1, 2]
    >>> numbers.acknowledged(origins)
    >>> record = HighWater()
    >>> record.had(origins[:1])
    >>> numbers.settle(record, origins[-1].number)
    1
    """

    def __init__(self) -> None:
        self._writer: Final = os.urandom(WRITER_BYTES)
        self._lock = threading.Lock()
        self._last = 0
        self._spans: list[tuple[int, int, int]] = []
        """Acknowledged: the first number of a run, the last one, and when that was appended (us)."""

    def take(self, count: int) -> list[Origin]:
        """Return the origins of `count` new entries."""
        with self._lock:
            first, self._last = self._last + 1, self._last + count
        now = wall_clock()
        return [Origin(self._writer, number, now) for number in range(first, first + count)]

    def acknowledged(self, origins: list[Origin]) -> None:
        """Note that the server has appended the entries with these origins."""
        if not origins:
            return
        first, last, time = origins[0].number, origins[-1].number, origins[-1].time
        with self._lock:
            if self._spans:
                start, end, before = self._spans[-1]
                if end + 1 == first and time - before < _TOGETHER:
                    self._spans[-1] = start, last, time
                    return
            self._spans.append((first, last, time))
            del self._spans[:-MOST_SPANS]

    @property
    def latest(self) -> int:
        """The latest acknowledged number that isn't settled; 0 if there is none."""
        with self._lock:
            return max((last for _, last, _ in self._spans), default=0)

    def settle(self, record: HighWater, upto: int) -> int:
        """Forget the numbers up to `upto`, of a stream that was drained; return how many the server has lost."""
        with self._lock:
            spans = self._spans
            self._spans = [(max(first, upto + 1), last, time) for first, last, time in spans if last > upto]
        asked = [(first, min(last, upto), time) for first, last, time in spans if first <= upto]
        return sum(record.lacks(self._writer, first, last, time) for first, last, time in asked)
