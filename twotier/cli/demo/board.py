"""The board in shared memory holds the counts of every process and the current order to all of them.

Each process writes its own line, and the parent reads all lines while the processes run. Counts stay on the
board even if their process dies.
"""

import enum
import struct
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Self

from twotier.cli.demo import shared


class Order(enum.IntEnum):
    """Orders to the processes."""

    WAIT = 0
    """Be ready, and wait until all are."""
    RUN = 1
    FINISH = 2
    """Stop writing, read every row once more, and report."""
    ABANDON = 3
    """Stop at once, and report."""


@dataclass(slots=True)
class Counts:
    """The counts of one process. Times are ns."""

    ready: int = 0
    reads: int = 0
    local: int = 0
    """Reads that the local tier answered as fresh."""
    remote: int = 0
    """Reads that the remote tier answered."""
    stale: int = 0
    """Reads answered with a stale copy, since the remote tier was away."""
    loaded: int = 0
    """Reads that the loader answered, from the source."""
    failed: int = 0
    """Reads (or cache writes) that raised."""
    wrong: int = 0
    """Reads that returned another row, a torn one, or none."""
    behind: int = 0
    """Local and remote hits whose row was already superseded."""
    late: int = 0
    """Local and remote hits superseded for longer than the bound on staleness."""
    oldest_live: int = 0
    """How long the oldest local or remote hit had been superseded."""
    oldest_away: int = 0
    """How long the oldest stale copy had been superseded in the source."""
    writes: int = 0
    arrivals: int = 0
    """Times that the link came live with the breaker closed."""
    live_since: int = 0
    """Since when the link is live and the breaker closed, as `time.monotonic_ns()`; 0 while they aren't."""

    def __add__(self, other: "Counts") -> "Counts":
        """Return the sums; the `oldest_` fields take the larger, `live_since` the later, or 0 if either isn't live."""
        both = zip(fields(self), astuple(self), astuple(other), strict=True)
        total = Counts(**{field.name: mine + theirs for field, mine, theirs in both})
        total.oldest_live = max(self.oldest_live, other.oldest_live)
        total.oldest_away = max(self.oldest_away, other.oldest_away)
        total.live_since = max(self.live_since, other.live_since) if self.live_since and other.live_since else 0
        return total


_LINE = struct.Struct(f"{len(fields(Counts))}q")


class Board:
    """The order, and one line of counts a process."""

    def __init__(self, path: Path) -> None:
        self._cells = shared.attach(path)
        self._bytes = self._cells.cast("B")
        self._lines = (len(self._bytes) - shared.WIDTH) // _LINE.size

    @classmethod
    def create(cls, path: Path, processes: int) -> Self:
        """Make a board with a line for each of `processes`, and the order to wait."""
        shared.create(path, 1 + processes * len(fields(Counts)))
        return cls(path)

    @property
    def order(self) -> Order:
        """The current order to the processes."""
        return Order(self._cells[0])

    @order.setter
    def order(self, order: Order) -> None:
        self._cells[0] = order

    def publish(self, line: int, counts: Counts) -> None:
        """Put `counts` on a line; each process has its own."""
        _LINE.pack_into(self._bytes, shared.WIDTH + line * _LINE.size, *astuple(counts))

    def counts(self) -> list[Counts]:
        """Return every line."""
        return [
            Counts(*_LINE.unpack_from(self._bytes, shared.WIDTH + line * _LINE.size)) for line in range(self._lines)
        ]
