"""A heap of deadlines that finds the twin's entries past their stale window; outdated items stay in the heap."""

import heapq
from collections.abc import Iterable, Iterator
from typing import Final

from twotier.clock import NEVER
from twotier.local.twin.eviction import Entry

TICK_BITS: Final = 20
"""Deadlines are looked at once a tick of 2**20 ns, as the compiled timer wheel does."""


class Deadlines:
    """Entries by deadline."""

    __slots__ = ("_count", "_heap")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Entry]] = []
        self._count = 0

    def add(self, entry: Entry, entries: int) -> None:
        """Add an entry's deadline; `entries`, the number of entries, bounds the number of outdated items."""
        if entry.deadline == NEVER:
            return
        self._count += 1
        heapq.heappush(self._heap, (entry.deadline, self._count, entry))
        if len(self._heap) > 2 * entries + 64:
            self._heap = [item for item in self._heap if _stands(item)]
            heapq.heapify(self._heap)

    def due(self, now: int, most: int) -> Iterator[Entry]:
        """Remove and yield at most `most` entries whose deadline has passed."""
        while most and self._heap and self._heap[0][0] >> TICK_BITS < now >> TICK_BITS:
            item = heapq.heappop(self._heap)
            if _stands(item):
                most -= 1
                yield item[2]

    def clear(self) -> None:
        """Forget all."""
        self._heap = []

    def validate(self, entries: Iterable[Entry]) -> None:
        """Assert that each of `entries` that has a deadline is here."""
        noted = {id(item[2]) for item in self._heap if _stands(item)}
        assert all(e.deadline == NEVER or id(e) in noted for e in entries), "an entry that won't expire"  # noqa: S101


def deadline_of(expires: int, stale: int) -> int:
    """Return the end of the stale window of an entry that expires at `expires`."""
    return NEVER if expires >= NEVER - stale else expires + stale


def _stands(item: tuple[int, int, Entry]) -> bool:
    return item[2].alive and item[0] == item[2].deadline
