"""Commands that read write markers, and remove values that contradict a finished write.

A write-behind keeps its op id in a write marker beside its key until the write has reached the source.
Until then the source lags, and a load may read an old value. So when the write has reached the source,
the key is checked: the value of that very write stays, and if a later write's marker is there, the later
write will check the key. Any other value was loaded from the source before, and is removed; so is the
value of a write that was given up, as the source does not have it. In a cluster a write marker holds
more: see cluster_write_markers.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple

from twotier.codec.envelope import ENVELOPE_BYTES, op_id_of
from twotier.remote.commands.base import Command, Publication, Remove
from twotier.remote.commands.conditional import Conditional, IfUnchanged, Unchanged
from twotier.remote.io.errors import OutOfStepError, check, code
from twotier.resp import ErrorReply, pack

LAST: Final = b"%d" % (ENVELOPE_BYTES - 1)
"""Last offset of the part of a value that is read."""


class FinishedWrite(NamedTuple):
    """A write that is over: its op id, its payload (None: a removal), its id in the stream, and its fate."""

    op_id: bytes
    payload: bytes | None
    entry_id: bytes = b"0-0"
    taken: bool = True
    """Whether the source has taken the write."""


class MarkedValue(NamedTuple):
    """A key's write marker, and the head of its value (empty: the key is missing)."""

    mark: bytes | None
    head: bytes

    def contradicts(self, written: FinishedWrite) -> bool:
        """Return True if the value must be removed."""
        return (self.mark is None or self.mark == written.op_id) and self.differs(written)

    def differs(self, written: FinishedWrite) -> bool:
        """Return True if there is a value, and it isn't by `written` or the source hasn't taken `written`."""
        if not self.head:
            return False
        if not written.taken:
            return True
        if (op_id := op_id_of(self.head)) is not None:
            return op_id != written.op_id
        return self.head != written.payload  # a raw integer, whose every digit is in the head


@dataclass(frozen=True, slots=True)
class EndLoads:
    """End the loads of keys that are under way, then read the keys: values that these loads stored are seen."""

    leases: Sequence[bytes]
    marks: Sequence[bytes]
    places: Sequence[bytes]

    @property
    def replies(self) -> int:
        """One reply to UNLINK, one to MGET, and one for each key."""
        return 2 + len(self.places)

    @property
    def wire(self) -> bytes:
        """UNLINK of the load locks, MGET of the write markers, GETRANGE of the values."""
        heads = [pack(b"GETRANGE", place, b"0", LAST) for place in self.places]
        return b"".join([pack(b"UNLINK", *self.leases), pack(b"MGET", *self.marks), *heads])

    def parse(self, replies: list[Any]) -> list[MarkedValue]:
        """Return the write marker and the head of the value of each key."""
        check(replies[0])
        marks = check(replies[1])
        if type(marks) is not list or len(marks) != len(self.places):
            raise OutOfStepError("MGET")
        return [MarkedValue(marker_in(mark), head_in(reply)) for mark, reply in zip(marks, replies[2:], strict=True)]


class OnMarkedKey(Conditional[bool]):
    """A conditional write that depends on a key and its write marker."""

    __slots__ = ()

    replies: ClassVar[int] = 3
    mark: bytes
    place: bytes

    @property
    def wire(self) -> bytes:
        """WATCH, GET of the write marker, GETRANGE of the value."""
        watch = pack(b"WATCH", self.mark, self.place)
        return watch + pack(b"GET", self.mark) + pack(b"GETRANGE", self.place, b"0", LAST)

    def decide(self, replies: list[Any]) -> Command[bool]:
        """Return the second step for the current marker and value."""
        check(replies[0])
        return self.second(MarkedValue(marker_in(replies[1]), head_in(replies[2])))

    def second(self, found: MarkedValue) -> Command[bool]:
        """Return the second step; `found` is the current marker and value."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class RemoveContradiction(OnMarkedKey):
    """Remove a value that contradicts a finished write; returns False if marker or value changed meanwhile."""

    mark: bytes
    place: bytes
    lease: bytes
    written: FinishedWrite
    publication: Publication | None

    def second(self, found: MarkedValue) -> Command[bool]:
        """Remove the value if it contradicts the write."""
        if not found.contradicts(self.written):
            return Unchanged(True)
        return IfUnchanged(Remove([self.place], self.publication, [self.lease]))


def marker_in(reply: Any) -> bytes | None:
    """Return the write marker in a reply to GET or in a part of a reply to MGET."""
    mark = check(reply)
    if mark is not None and type(mark) is not bytes:
        raise OutOfStepError("GET")
    return mark


def head_in(reply: Any) -> bytes:
    """Return the head of a value, from GETRANGE's reply."""
    if type(reply) is ErrorReply and code(reply) == "WRONGTYPE":
        return b""  # reads take a key of another type for missing, too
    head = check(reply)
    if type(head) is not bytes:
        raise OutOfStepError("GETRANGE")
    return head
