"""The judge checks every single read against the source of truth, as the read happens.

A read is *wrong* if it isn't one whole version of the requested row. A local or remote hit, which the cache serves as
fresh, is *late* if the row had been superseded for longer than the bound when the read began, counted from the return
of the superseding cache write (see `ledger`). A stale copy, which the cache serves only while the server is away, has
no bound; the judge records how long the source had been ahead of the copy.
"""

import enum
from collections.abc import Sequence
from typing import Final

from twotier.cli.demo.board import Counts
from twotier.cli.demo.ledger import Ledger
from twotier.cli.demo.source import Row, note
from twotier.remote.io.errors import one_line
from twotier.stats import Stats

_MOST_COMPLAINTS: Final = 5
"""Complaints kept by each process; one is as good as a thousand to find a cause by."""


class Tier(enum.Enum):
    """The tier, or the loader, that answered a read."""

    LOCAL = "local"
    REMOTE = "remote"
    STALE = "stale"
    LOADED = "loaded"


def answered_by(before: Stats, after: Stats) -> Tier | None:
    """Return the tier that answered the one read between two snapshots of the counters; None if none counted it."""
    if after.loads != before.loads:
        return Tier.LOADED
    if after.stale_served != before.stale_served:
        return Tier.STALE
    if after.remote_hits != before.remote_hits:
        return Tier.REMOTE
    if after.local_hits != before.local_hits:
        return Tier.LOCAL
    return None


class Judge:
    """Judges and counts the reads of one process."""

    def __init__(self, rows: Sequence[Row], ledger: Ledger, bound: int, counts: Counts) -> None:
        self.counts = counts
        self.complaints: list[str] = []
        """Descriptions of the first few failures."""
        self._rows = {row["name"]: (position, row) for position, row in enumerate(rows)}
        self._ledger = ledger
        self._bound = bound

    def failed(self, name: str, error: BaseException) -> None:
        """Count a read that raised."""
        self.counts.reads += 1
        self.counts.failed += 1
        self._complain(f"reading {name} raised {type(error).__name__}: {one_line(str(error))}")

    def judge(self, name: str, answer: object, tier: Tier | None, began: int) -> None:
        """Count a read of `name` that began at `began` (ns) and was answered by `tier` with `answer`."""
        counts = self.counts
        counts.reads += 1
        if tier is Tier.LOCAL:
            counts.local += 1
        elif tier is Tier.REMOTE:
            counts.remote += 1
        elif tier is Tier.STALE:
            counts.stale += 1
        elif tier is Tier.LOADED:
            counts.loaded += 1
        else:
            counts.wrong += 1
            self._complain(f"reading {name} was counted nowhere in the cache's statistics")
            return
        version = self._version(name, answer)
        if version is None:
            counts.wrong += 1
            self._complain(f"reading {name} ({tier.value}) gave {answer!r:.200}")
        elif tier is Tier.STALE:
            counts.oldest_away = max(counts.oldest_away, self._ledger.behind_source(version, began))
        elif tier is not Tier.LOADED and (age := self._ledger.behind_cache(version, began)):
            self._behind(name, tier, version, age)

    def _behind(self, name: str, tier: Tier, version: int, age: int) -> None:
        counts = self.counts
        counts.behind += 1
        counts.oldest_live = max(counts.oldest_live, age)
        if age > self._bound:
            counts.late += 1
            self._complain(
                f"a {tier.value} hit of {name} gave write {version}, superseded {age / 1e9:.3f} s before "
                f"(bound {self._bound / 1e9:g} s)"
            )

    def _version(self, name: str, answer: object) -> int | None:
        """Return the version of a correct answer; None for a wrong one."""
        position, first = self._rows[name]
        match answer:
            case {"version": int(version)} if self._ledger.row(version) == position:
                expected = {**first, "version": version, "note": note(name, version)}
                return version if answer == expected else None
        return None

    def _complain(self, complaint: str) -> None:
        if len(self.complaints) < _MOST_COMPLAINTS:
            self.complaints.append(complaint)
