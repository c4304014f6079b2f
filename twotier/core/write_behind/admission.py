"""Admission decides which entries of a stream may reach the source, by the record of those that already have.

The drainer reads the record from the server when it takes the drain lock, merges the record with
the one in memory, and stores the result with each acknowledgement. `high_water.py` describes the
record and its bounds.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import Final

from twotier.core.flow.drive import Flow
from twotier.core.namespace.namespace import TwoTierNamespace
from twotier.core.write_behind.entries import Entries
from twotier.core.write_behind.high_water import HighWater, Origin, Verdict
from twotier.core.write_behind.reports import DrainCounters
from twotier.rate_limited_log import RateLimitedLog
from twotier.remote.commands.base import Fetch, Fetched
from twotier.remote.commands.streams import Settle


class Admission:
    """Judges the entries of one stream, in the process that drains the stream."""

    def __init__(self, namespace: TwoTierNamespace, entries: Entries, counters: DrainCounters) -> None:
        self._namespace: Final = namespace
        self._entries: Final = entries
        self._counters: Final = counters
        self._name: Final = namespace.options.namespace
        self._log: Final = RateLimitedLog(namespace.clock)
        self._record: Final = HighWater()

    def begin(self) -> None:
        """Forget the entries that wait in this process: they are read again."""
        self._record.begin()

    def learn(self, *, new: bool) -> Flow[None]:
        """Merge the server's record into ours; log an error if a `new` stream has a record of earlier entries."""
        fetched: Fetched = yield Fetch(self._entries.record)
        found = None if fetched.data is None else self._entries.open_record(fetched.data)
        if found is not None:
            self._record.merge(found)
        if fetched.data is not None and found is None:
            message = "write-behind of %s: the record of what has reached the source is foreign or damaged: ignored"
            self._log.log(logging.ERROR, "record", message, self._name)
        if new and self._record:
            self._counters.streams_lost += 1
            message = "write-behind of %s: the server has lost its stream, with all entries that waited there"
            self._log.log(logging.ERROR, "stream", message, self._name)

    def judge(self, origin: Origin | None) -> Verdict:
        """Return the verdict on an entry; an entry without an origin is new."""
        return "new" if origin is None else self._record.judge(origin)

    def take(self, origin: Origin | None) -> None:
        """Note that an entry waits in this process."""
        if origin is not None:
            self._record.take(origin)

    def had(self, origins: Iterable[Origin | None]) -> None:
        """Note entries that have reached the source, or that the source never needs."""
        self._record.had([origin for origin in origins if origin is not None])

    def died(self, origin: Origin | None) -> None:
        """Note that an entry has become a dead letter."""
        if origin is not None:
            self._record.died(origin)

    def keep_dead(self, letters: Iterable[Origin | None]) -> None:
        """Forget all dead letters but `letters`, which are all that the server has."""
        self._record.keep_dead(origin for origin in letters if origin is not None)

    def settlement(
        self,
        done: Sequence[bytes],
        revived: Sequence[bytes] = (),
        ended: Sequence[bytes] = (),
        buried: Sequence[Sequence[bytes]] = (),
    ) -> Settle:
        """Return the command that acknowledges entries and stores the record as it is at that time."""
        names = self._entries
        record = names.seal_record(self._record, self._namespace.op_ids.next())
        return Settle(names.stream, names.dead, done, revived, ended, buried, record)

    def refuse(self, verdict: Verdict) -> None:
        """Count and log an entry that is dropped."""
        self._counters.replayed += 1
        message = (
            "write-behind of %s: an entry was dropped, as it has reached the source or still waits (%s): someone has "
            "appended it again, or the server was set back to an older state"
        )
        self._log.log(logging.WARNING, "replayed", message, self._name, verdict)
