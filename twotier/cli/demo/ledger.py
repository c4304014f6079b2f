"""The ledger records the writer's steps and their times, so that every process can check its reads.

It has one entry per version, in shared memory; an entry names the version that superseded it, so a check takes two
lookups. Times are `time.monotonic_ns()`, one clock for all processes.

The order of the writer's steps makes the check exact:

    announce(v)   before the commit: whoever reads v, reads a version that the ledger knows
    committed(v)  after the commit: from here on the source has v
    cached(v)     after the cache write has returned: from here on, an older version that a cache hands out is stale

Between commit and cache write the cache can't know, so nothing is counted against it in that time.
"""

from pathlib import Path
from typing import Final, Self

from twotier.cli.demo import shared

_ROW, _NEXT, _COMMITTED, _CACHED = range(4)
_FIELDS: Final = 4


class Ledger:
    """The versions of all rows. Version numbers start at 1; 0 means "none yet"."""

    def __init__(self, path: Path) -> None:
        self._cells = shared.attach(path)
        self._latest: dict[int, int] = {}  # the writer's own: row -> its last version

    @classmethod
    def create(cls, path: Path, rows: int, versions: int) -> Self:
        """Make a ledger with room for `versions`, in which row `i` has version `i + 1`."""
        shared.create(path, (versions + 1) * _FIELDS)
        ledger = cls(path)
        for row in range(rows):
            ledger.announce(row + 1, row)
        return ledger

    @property
    def capacity(self) -> int:
        """The last version that fits."""
        return len(self._cells) // _FIELDS - 1

    def announce(self, version: int, row: int) -> None:
        """Record that `version` of row number `row` is about to be committed."""
        self._cells[version * _FIELDS + _ROW] = row + 1

    def committed(self, version: int, row: int, at: int) -> None:
        """Record that the source has `version` since `at` (ns)."""
        self._cells[version * _FIELDS + _COMMITTED] = at
        before = self._latest.get(row, row + 1)
        self._cells[before * _FIELDS + _NEXT] = version
        self._latest[row] = version

    def cached(self, version: int, at: int) -> None:
        """Record that the cache write of `version` returned at `at` (ns)."""
        self._cells[version * _FIELDS + _CACHED] = at

    def row(self, version: int) -> int | None:
        """Return the number of the row that `version` belongs to; None if there was no such write."""
        if not 0 < version <= self.capacity:
            return None
        row = self._cells[version * _FIELDS + _ROW]
        return row - 1 if row else None

    def behind_cache(self, version: int, at: int) -> int:
        """Return how long (ns) before `at` the cache had received a newer version than `version`; 0 if it hadn't."""
        return self._behind(version, at, _CACHED)

    def behind_source(self, version: int, at: int) -> int:
        """Return how long (ns) before `at` the source had received a newer version than `version`; 0 if it hadn't."""
        return self._behind(version, at, _COMMITTED)

    def _behind(self, version: int, at: int, field: int) -> int:
        newer = self._cells[version * _FIELDS + _NEXT]
        if not newer:
            return 0
        since = self._cells[newer * _FIELDS + field]
        return max(0, at - since) if since else 0
