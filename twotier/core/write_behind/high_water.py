"""The record of entries that have reached the source: per writer the highest number, and the open numbers below it.

Each process numbers the entries that it appends to a stream, from 1 on without gaps, and each entry
carries its `Origin` under the entry's signature. An entry whose number has reached the source is
refused, so that replaying a recorded entry changes nothing. The drainer keeps the record beside the
stream, signed as the entries are, and writes it in the transaction that acknowledges them (in a
cluster, right before that).

- *Open* numbers are those below the highest that haven't reached the source: they wait, came out of
  order, or never arrived (the call that appended them failed). *Dead* numbers became dead letters, and
  may be tried again.
- The server's record and the one in this process's memory are merged: an entry has reached the source
  if either record says so. So a server that was set back, by a failover or an attacker, doesn't set back
  a draining process.
- Bounds: `MOST_WRITERS`, of which the least recent leave first; earlier entries of a forgotten writer
  are refused from then on (`floor`). `MOST_GAPS` spans per writer of numbers that never arrived; the
  oldest are refused from then on. Waiting and dead numbers are never forgotten: `max_backlog` bounds
  them.

Costs: 44 bytes a writer, and 16 a span.
"""

import struct
from collections import defaultdict
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from twotier.core.write_behind.spans import Spans

MOST_WRITERS: Final = 512
MOST_GAPS: Final = 1024
MOST_DEAD: Final = 100_000
"""Spans of dead letters of a writer."""
WRITER_BYTES: Final = 8
_FORMAT: Final = 1
_HEAD: Final = struct.Struct(">BQI")
_WRITER: Final = struct.Struct(f">{WRITER_BYTES}sQQQII")
_SPAN: Final = struct.Struct(">QQ")
_ORIGIN: Final = struct.Struct(f">{WRITER_BYTES}sQQ")
ORIGIN_BYTES: Final = _ORIGIN.size
_END: Final = (1 << 64) - 1

Verdict = Literal["new", "waiting", "had", "dead", "old"]


class Origin(NamedTuple):
    """The writer of a stream's entry, its number among the writer's entries, and the writer's time (us since 1970)."""

    writer: bytes
    number: int
    time: int

    def pack(self) -> bytes:
        """Return the origin as bytes."""
        return _ORIGIN.pack(*self)

    @classmethod
    def unpack(cls, data: bytes) -> "Origin | None":
        """Return the origin at the start of `data`; None if `data` is too short."""
        return cls._make(_ORIGIN.unpack_from(data)) if len(data) >= ORIGIN_BYTES else None


class _Writer:
    """The entries of one writer that have reached the source."""

    __slots__ = ("dead", "floor", "last", "open", "taken", "top")

    def __init__(self, floor: int = 0) -> None:
        self.floor = floor
        """Entries that the writer appended up to this time are refused (us)."""
        self.last = 0
        """Time of the latest entry (us)."""
        self.top = 0
        self.open = Spans()
        self.dead = Spans()
        self.taken: set[int] = set()
        """Numbers that wait in this process: they are open, and must not be forgotten."""

    def reach(self, number: int, time: int) -> None:
        """Note that the entry `number` was seen."""
        self.last = max(self.last, time)
        if number > self.top:
            self.open.add(self.top + 1, number)
            self.top = number

    def trim(self) -> None:
        """Forget numbers that never arrived, the oldest first, and letters beyond what a backlog can hold."""
        excess = len(self.open) - len(self.taken) - MOST_GAPS
        if excess > 0:
            for first, last in list(self.open):
                if excess > 0 and not any(first <= number <= last for number in self.taken):
                    self.open.remove(first, last)
                    excess -= 1
        for first, last in list(self.dead)[: max(0, len(self.dead) - MOST_DEAD)]:
            self.dead.remove(first, last)

    def merge(self, other: "_Writer") -> None:
        """Merge another record: add its entries that have reached the source."""
        dead = Spans([*self.dead, *other.dead])
        left = self._left().intersection(other._left())  # noqa: SLF001 - of the same class
        self.floor, self.last = max(self.floor, other.floor), max(self.last, other.last)
        self.top = max(self.top, other.top)
        self.dead = dead.intersection(left)
        left.remove(self.top + 1, _END)
        self.open = left.difference(self.dead)

    def _left(self) -> Spans:
        return Spans([*self.open, *self.dead, (self.top + 1, _END)])

    def pack(self, name: bytes) -> bytes:
        spans = [*self.open, *self.dead]
        head = _WRITER.pack(name, self.floor, self.last, self.top, len(self.open), len(self.dead))
        return head + b"".join([_SPAN.pack(*span) for span in spans])


class HighWater:
    """The record of one stream. One thread or task uses it at a time.

    >>> record = HighWater()
    >>> first = Origin(b"writer-1", 1, 10)
    >>> record.judge(first)
    'new'
    >>> record.take(first)
    >>> record.had([first])
    >>> record.judge(first), record.judge(first._replace(number=2))
    ('had', 'new')
    >>> HighWater.unpack(record.pack()).judge(first)
    'had'
    """

    __slots__ = ("_writers", "floor")

    def __init__(self) -> None:
        self.floor = 0
        """Entries that an unknown writer appended up to this time (us) are refused."""
        self._writers: dict[bytes, _Writer] = {}

    def __bool__(self) -> bool:
        """Return True if the source has had anything."""
        return bool(self._writers)

    def judge(self, origin: Origin) -> Verdict:
        """Return the verdict on an entry: a "new" one may be written, a "dead" one if it is a retried dead letter."""
        writer = self._writers.get(origin.writer)
        if origin.number < 1:
            return "old"
        if writer is None:
            return "old" if origin.time <= self.floor else "new"
        number = origin.number
        if number in writer.taken:
            return "waiting"
        if number in writer.dead:
            return "dead"
        if number > writer.top or number in writer.open:
            return "old" if origin.time <= writer.floor else "new"
        return "had"

    def take(self, origin: Origin) -> None:
        """Note that an entry waits in this process."""
        writer = self._reach(origin)
        writer.taken.add(origin.number)

    def begin(self) -> None:
        """Forget the entries that wait in this process."""
        for writer in self._writers.values():
            writer.taken.clear()

    def had(self, origins: Iterable[Origin]) -> None:
        """Note entries that the source has or never needs: a later change replaced them, or they write nothing."""
        for origin in origins:
            writer = self._reach(origin)
            writer.taken.discard(origin.number)
            writer.open.remove(origin.number, origin.number)
            writer.dead.remove(origin.number, origin.number)
        self._trim()

    def died(self, origin: Origin) -> None:
        """Note that an entry has become a dead letter."""
        writer = self._reach(origin)
        writer.taken.discard(origin.number)
        writer.open.remove(origin.number, origin.number)
        writer.dead.add(origin.number, origin.number)
        self._trim()

    def keep_dead(self, letters: Iterable[Origin]) -> None:
        """Forget all dead letters but `letters`, which are all that the server has."""
        kept = defaultdict[bytes, Spans](Spans)
        for origin in letters:
            kept[origin.writer].add(origin.number, origin.number)
        for name, writer in self._writers.items():
            if writer.dead:
                writer.dead = writer.dead.intersection(kept[name])

    def lacks(self, name: bytes, first: int, last: int, time: int) -> int:
        """Return how many numbers of a writer, appended up to `time`, the source hasn't had, dead letters apart."""
        writer = self._writers.get(name)
        if writer is None:
            return 0 if time <= self.floor else last - first + 1
        if time <= writer.floor:
            return 0
        asked = Spans([(first, last)])
        return asked.intersection(Spans([*writer.open, (writer.top + 1, _END)])).total

    def merge(self, other: "HighWater") -> None:
        """Merge another record: add its entries that have reached the source."""
        self.floor = max(self.floor, other.floor)
        for name, theirs in other._writers.items():  # noqa: SLF001 - of the same class
            writer = self._writers.get(name)
            if writer is None:
                self._writers[name] = theirs
            else:
                writer.merge(theirs)
        self._trim()

    def pack(self) -> bytes:
        """Return the record as bytes."""
        writers = [writer.pack(name) for name, writer in self._writers.items()]
        return _HEAD.pack(_FORMAT, self.floor, len(writers)) + b"".join(writers)

    @classmethod
    def unpack(cls, data: bytes) -> "HighWater | None":
        """Return the record encoded in `data`; None if `data` is not a record."""
        record = cls()
        try:
            version, record.floor, count = _HEAD.unpack_from(data)
            if version != _FORMAT or count * _WRITER.size > len(data):
                return None
            at = _HEAD.size
            for _ in range(count):
                name, floor, last, top, opens, deads = _WRITER.unpack_from(data, at)
                at += _WRITER.size
                end = at + (opens + deads) * _SPAN.size
                if end > len(data):
                    return None
                spans = [_SPAN.unpack_from(data, place) for place in range(at, end, _SPAN.size)]
                writer = record._writers[name] = _Writer(floor)
                writer.last, writer.top = last, top
                writer.open, writer.dead = Spans(spans[:opens]), Spans(spans[opens:])
                at = end
        except struct.error:
            return None
        return record

    def _reach(self, origin: Origin) -> _Writer:
        writer = self._writers.get(origin.writer)
        if writer is None:
            writer = self._writers[origin.writer] = _Writer(self.floor)
        writer.reach(origin.number, origin.time)
        return writer

    def _trim(self) -> None:
        for writer in self._writers.values():
            if len(writer.open) > MOST_GAPS or len(writer.dead) > MOST_DEAD:
                writer.trim()
        excess = len(self._writers) - MOST_WRITERS
        if excess <= 0:
            return
        idle = [(writer.last, name) for name, writer in self._writers.items() if not (writer.taken or writer.dead)]
        for last, name in sorted(idle)[:excess]:
            self.floor = max(self.floor, last)
            del self._writers[name]
