"""Commands on streams: append entries in the transaction of a write-behind, and drain them.

A stream has one consumer group, and the group has one consumer, whichever process drains the stream (the
drain lock names it). So the entries that a killed drainer had read but not acknowledged are the first
that the next drainer reads. An acknowledged entry is removed, so the stream's length is the backlog.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple

from twotier.remote.commands.base import Command, Publication, Write, integer, put
from twotier.remote.commands.conditional import IfUnchanged, OnOneKey, Unchanged
from twotier.remote.commands.entry_ids import entry_ids, is_entry_id
from twotier.remote.io.errors import OutOfStepError, check, code
from twotier.resp import ErrorReply, pack

GROUP: Final = b"drainers"
CONSUMER: Final = b"drainer"
NEW: Final = b">"
"""Start id that selects the entries never read before."""


class Entry(NamedTuple):
    """One entry: its id, and its fields as name, value, name, value...; None if it was removed after a read."""

    id: bytes
    fields: list[bytes] | None


class Appended(NamedTuple):
    """Number of keys that the write removed, of entries now (with dead letters), and the ids of its own entries."""

    removed: int
    depth: int
    ids: list[bytes]


@dataclass(frozen=True, slots=True)
class Append(Write[Appended]):
    """Put and remove keys and append `entries` to the stream, all or nothing.

    `items` are (key, data, ttl in ms or None). `entries` are the fields of the stream entries. `marks` are
    (key of a write marker, life in ms); each marker is set to `token`. Without `dead`, the dead letters
    aren't counted.
    """

    items: Sequence[tuple[bytes, bytes, int | None]]
    removed: Sequence[bytes]
    stream: bytes
    dead: bytes | None
    entries: Sequence[Sequence[bytes]]
    token: bytes
    marks: Sequence[tuple[bytes, int]]
    publication: Publication | None
    voids: Sequence[bytes] = ()

    def steps(self) -> list[bytes]:
        """UNLINK, SET, XADD, and XLEN of the streams."""
        return [
            *([pack(b"UNLINK", *self.removed)] if self.removed else ()),
            *[put(*item) for item in self.items],
            *[put(mark, self.token, life) for mark, life in self.marks],
            *[pack(b"XADD", self.stream, b"*", *fields) for fields in self.entries],
            pack(b"XLEN", self.stream),
            *([pack(b"XLEN", self.dead)] if self.dead is not None else ()),
        ]

    @property
    def count(self) -> int:
        """Number of `steps`."""
        return self._before + len(self.entries) + 1 + (self.dead is not None)

    def outcome(self, results: list[Any]) -> Appended:
        """Return the counts and the ids."""
        at = self._before + len(self.entries)
        depth = sum(integer(length) for length in results[at : self.count])
        return Appended(integer(results[0]) if self.removed else 0, depth, entry_ids(results[self._before : at]))

    @property
    def _before(self) -> int:
        return bool(self.removed) + len(self.items) + len(self.marks)


@dataclass(frozen=True, slots=True)
class Settle(Write[list[bytes]]):
    """Remove entries from the stream and from its dead letters, and remove keys; `buried` become dead letters.

    `record` (name, data) is put in the same transaction. Returns the ids of the new dead letters.
    """

    stream: bytes
    dead: bytes
    done: Sequence[bytes]
    revived: Sequence[bytes] = ()
    ended: Sequence[bytes] = ()
    buried: Sequence[Sequence[bytes]] = ()
    record: tuple[bytes, bytes] | None = None
    publication: Publication | None = None
    voids: Sequence[bytes] = ()

    def steps(self) -> list[bytes]:
        """XADD, XACK, XDEL, UNLINK and SET, without those that have nothing to do."""
        return [
            *[pack(b"XADD", self.dead, b"*", *fields) for fields in self.buried],
            *([pack(b"XACK", self.stream, GROUP, *self.done)] if self.done else ()),
            *([pack(b"XDEL", self.stream, *self.done)] if self.done else ()),
            *([pack(b"XDEL", self.dead, *self.revived)] if self.revived else ()),
            *([pack(b"UNLINK", *self.ended)] if self.ended else ()),
            *([pack(b"SET", *self.record)] if self.record is not None else ()),
        ]

    @property
    def count(self) -> int:
        """Number of `steps`."""
        changes = len(self.buried) + 2 * bool(self.done) + bool(self.revived) + bool(self.ended)
        return changes + (self.record is not None)

    def outcome(self, results: list[Any]) -> list[bytes]:
        """Return the ids in XADD's replies."""
        return entry_ids(results[: len(self.buried)])


@dataclass(frozen=True, slots=True)
class Discard:
    """Remove entries from a stream that has no group; returns how many were there."""

    stream: bytes
    ids: Sequence[bytes]
    replies: ClassVar[int] = 1

    @property
    def wire(self) -> bytes:
        """XDEL."""
        return pack(b"XDEL", self.stream, *self.ids)

    def parse(self, replies: list[Any]) -> int:
        """Return the count."""
        return integer(replies[0])


@dataclass(frozen=True, slots=True)
class TakeDrainLock:
    """Take a drain lock unless somebody has it; returns True if it is ours now."""

    lease: bytes
    token: bytes
    ttl_ms: int
    replies: ClassVar[int] = 2

    @property
    def wire(self) -> bytes:
        """SET NX PX and GET."""
        taking = pack(b"SET", self.lease, self.token, b"NX", b"PX", b"%d" % self.ttl_ms)
        return taking + pack(b"GET", self.lease)

    def parse(self, replies: list[Any]) -> bool:
        """Return True if GET returned our token."""
        check(replies[0])
        return bool(check(replies[1]) == self.token)


@dataclass(frozen=True, slots=True)
class MakeGroup:
    """Make the group of a stream unless it exists; returns True if it was made."""

    stream: bytes
    replies: ClassVar[int] = 1

    @property
    def wire(self) -> bytes:
        """XGROUP CREATE."""
        return pack(b"XGROUP", b"CREATE", self.stream, GROUP, b"0", b"MKSTREAM")

    def parse(self, replies: list[Any]) -> bool:
        """Return True if the group was made, False if it existed already."""
        made = replies[0]
        if type(made) is ErrorReply and code(made) == "BUSYGROUP":
            return False
        check(made)
        return True


class DrainReply(NamedTuple):
    """Whether the drain lock is ours now, and whether the stream had no group: it is new, or was lost."""

    ours: bool
    new: bool


@dataclass(frozen=True, slots=True)
class BeginDrain:
    """Take the drain lock unless somebody has it, and make the group unless it exists."""

    lease: bytes
    token: bytes
    ttl_ms: int
    stream: bytes
    replies: ClassVar[int] = 3

    @property
    def wire(self) -> bytes:
        """SET NX PX and GET of the drain lock, XGROUP CREATE."""
        return b"".join([step.wire for step in self.steps])

    def parse(self, replies: list[Any]) -> DrainReply:
        """Return the results of both steps."""
        lease, group = self.steps
        return DrainReply(lease.parse(replies[:2]), group.parse(replies[2:]))

    @property
    def steps(self) -> tuple[TakeDrainLock, MakeGroup]:
        """The command on the drain lock, and the command on the stream."""
        return TakeDrainLock(self.lease, self.token, self.ttl_ms), MakeGroup(self.stream)


@dataclass(frozen=True, slots=True)
class Extend(Write[None]):
    """Give a key a new life."""

    key: bytes
    ttl_ms: int
    publication: Publication | None = None
    voids: Sequence[bytes] = ()

    def steps(self) -> list[bytes]:
        """PEXPIRE."""
        return [pack(b"PEXPIRE", self.key, b"%d" % self.ttl_ms)]

    def outcome(self, results: list[Any]) -> None:
        """Return nothing: no error is success."""


@dataclass(frozen=True, slots=True)
class RenewDrainLock(OnOneKey[bool]):
    """Prolong a drain lock if it is still ours; returns True if it is."""

    watched: bytes
    token: bytes
    ttl_ms: int

    def second(self, stands: bytes | None) -> Command[bool]:
        """Prolong the drain lock if it is ours."""
        return IfUnchanged(Extend(self.watched, self.ttl_ms)) if stands == self.token else Unchanged(False)


@dataclass(frozen=True, slots=True)
class ReadGroup:
    """Read up to `count` entries after `start`: NEW for those never read, an id for those read and not acknowledged."""

    stream: bytes
    start: bytes
    count: int
    replies: ClassVar[int] = 1

    @property
    def wire(self) -> bytes:
        """XREADGROUP."""
        words = (b"XREADGROUP", b"GROUP", GROUP, CONSUMER, b"COUNT", b"%d" % self.count)
        return pack(*words, b"STREAMS", self.stream, self.start)

    def parse(self, replies: list[Any]) -> list[Entry]:
        """Return the entries."""
        found = check(replies[0])
        if found is None:
            return []
        if type(found) is dict:  # RESP3
            found = list(found.items())
        match found:
            case [[_, entries] | (_, entries)]:
                return _entries(entries, "XREADGROUP")
        raise OutOfStepError("XREADGROUP")


@dataclass(frozen=True, slots=True)
class Deliveries:
    """Count the reads of each of the oldest entries from `start` on that were read and not acknowledged."""

    stream: bytes
    start: bytes
    count: int
    replies: ClassVar[int] = 1

    @property
    def wire(self) -> bytes:
        """XPENDING."""
        return pack(b"XPENDING", self.stream, GROUP, self.start, b"+", b"%d" % self.count)

    def parse(self, replies: list[Any]) -> dict[bytes, int]:
        """Return the number of reads by entry id."""
        try:
            found = {entry: times for entry, _, _, times in check(replies[0])}
        except (TypeError, ValueError):
            raise OutOfStepError("XPENDING") from None
        if not all(is_entry_id(entry) and type(times) is int for entry, times in found.items()):
            raise OutOfStepError("XPENDING")
        return found


@dataclass(frozen=True, slots=True)
class Range:
    """Read up to `count` entries from id `start` on, or (`newest`) the last ones."""

    stream: bytes
    start: bytes = b"-"
    count: int = 1
    newest: bool = False
    replies: ClassVar[int] = 1

    @property
    def wire(self) -> bytes:
        """XRANGE or XREVRANGE."""
        name, bounds = (b"XREVRANGE", (b"+", self.start)) if self.newest else (b"XRANGE", (self.start, b"+"))
        return pack(name, self.stream, *bounds, b"COUNT", b"%d" % self.count)

    def parse(self, replies: list[Any]) -> list[Entry]:
        """Return the entries."""
        return _entries(check(replies[0]), "XRANGE")


@dataclass(frozen=True, slots=True)
class Length:
    """Count the entries of a stream."""

    stream: bytes
    replies: ClassVar[int] = 1

    @property
    def wire(self) -> bytes:
        """XLEN."""
        return pack(b"XLEN", self.stream)

    def parse(self, replies: list[Any]) -> int:
        """Return the number."""
        return integer(replies[0])


class Backlog(NamedTuple):
    """Entries in a stream and among its dead letters, and the oldest entry's id."""

    depth: int
    dead: int
    oldest: bytes | None


@dataclass(frozen=True, slots=True)
class ReadBacklog:
    """Read the length of the backlog, the number of dead letters and the oldest entry."""

    stream: bytes
    dead: bytes
    replies: ClassVar[int] = 3

    @property
    def wire(self) -> bytes:
        """XLEN twice, and XRANGE."""
        return b"".join([step.wire for step in self.steps])

    def parse(self, replies: list[Any]) -> Backlog:
        """Return the backlog."""
        depth, dead, oldest = self.steps
        return self.joined([depth.parse(replies[:1]), dead.parse(replies[1:2]), oldest.parse(replies[2:])])

    @property
    def steps(self) -> tuple[Length, Length, Range]:
        """Each concerns one key."""
        return Length(self.stream), Length(self.dead), Range(self.stream)

    @staticmethod
    def joined(found: list[Any]) -> Backlog:
        """Return the backlog that the steps' results describe."""
        depth, dead, oldest = found
        return Backlog(depth, dead, oldest[0].id if oldest else None)


def _entries(found: Any, command: str) -> list[Entry]:
    """Return the entries of a reply, each of a valid id and fields of bytes; OutOfStepError for any other reply."""
    if type(found) is not list:
        raise OutOfStepError(command)
    entries = []
    for entry in found:
        if type(entry) is not list or len(entry) != 2 or not is_entry_id(entry[0]):  # noqa: PLR2004 - id and fields
            raise OutOfStepError(command)
        fields = entry[1]
        if fields is not None and (type(fields) is not list or not all(type(each) is bytes for each in fields)):
            raise OutOfStepError(command)
        entries.append(Entry(entry[0], fields))
    return entries
