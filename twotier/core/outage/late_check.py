"""A check whether the values of late writes stand on the server, for keys that are suspected of it (`late_writes.py`).

Recovery runs it before each replay, so that what it finds is removed by that replay. It reads the values of the
suspects, 16 a trip, and compares their op ids; most often somebody else has changed the key, and nothing is to be done.
A key that is in the journal stays a suspect, as its replay comes first. So does a key whose node doesn't answer.
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
"""Reads what stands under keys."""
Undo = Callable[[str, tuple[Abandoned, ...]], None]
"""Journals that the values of late writes of a key are to be removed."""


class LateCheck:
    """The check of one process. `slowest` is how long a push may be under way (ns)."""

    def __init__(self, late: LateWrites, journal: Journal, undo: Undo, slowest: int) -> None:
        self._late = late
        self._journal = journal
        self._undo = undo
        self._slowest = slowest

    def run(self, read: Read) -> RemoteError | None:
        """Check the suspects, and undo the late writes whose values stand; return what went wrong with some of them."""
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
        """Undo what stands under `key`, if it is the value of a late write."""
        if fetched.data is None:
            return
        earliest = None if since is None else since - self._slowest
        standing = self._late.standing(key, fetched.data, fetched.pttl, earliest)
        if standing and key not in self._journal:
            for each in standing:
                self._late.take_place(each.op_id, (key,))
            self._undo(key, standing)
