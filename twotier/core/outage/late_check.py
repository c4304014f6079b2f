"""Late check: find values of late writes on the server, under the keys that may have them (`late_writes.py`).

Recovery runs the check before each replay, so that the replay removes the values found. The check
reads the suspected keys, 16 a round trip, and compares the values' op ids; most often another
process has changed the key, and there is nothing to do. A key in the journal stays suspected, as
its replay comes first. So does a key whose node doesn't answer.
"""

from collections.abc import Callable
from typing import Final

from twotier.core.flow.batch import Part
from twotier.core.outage.journal import Journal
from twotier.core.outage.late_writes import Abandoned, LateWrites
from twotier.errors import RemoteError
from twotier.remote.commands.base import Fetched

BATCH: Final = 16
"""Keys read in one trip: as many of the largest values fit into the largest reply."""

Read = Callable[[list[str]], list[Part[list[Fetched]]]]
"""Reads the values under keys."""
Undo = Callable[[str, tuple[Abandoned, ...]], None]
"""Journals a key whose values by late writes are to be removed."""


class LateCheck:
    """The check of one process. `slowest` is how long a push may be under way (ns)."""

    def __init__(self, late: LateWrites, journal: Journal, undo: Undo, slowest: int) -> None:
        self._late = late
        self._journal = journal
        self._undo = undo
        self._slowest = slowest

    def run(self, read: Read) -> RemoteError | None:
        """Check the suspected keys, and undo late writes whose values are there; return an error of a failed read."""
        left = self._late.take_suspects()
        failure: RemoteError | None = None
        try:
            keys = [key for key in left if key not in self._journal]
            for start in range(0, len(keys), BATCH):
                for members, outcome in read(keys[start : start + BATCH]):
                    if isinstance(outcome, RemoteError):
                        failure = outcome
                        continue
                    for key, fetched in zip(members, outcome, strict=True):
                        self._judge(key, fetched, left[key])
                        del left[key]
        finally:
            self._late.suspect_again(left)
        return failure

    def _judge(self, key: str, fetched: Fetched, since: int | None) -> None:
        """Undo the value under `key` if a late write stored it."""
        if fetched.data is None:
            return
        earliest = None if since is None else since - self._slowest
        standing = self._late.standing(key, fetched.data, fetched.pttl, earliest)
        if standing and key not in self._journal:
            for each in standing:
                self._late.take_place(each.op_id, (key,))
            self._undo(key, standing)
