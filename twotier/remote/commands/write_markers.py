"""Marks of writes that have not reached the source yet: looking at them, and removing what they contradict.

A write-behind leaves its op id in a mark beside its key until it has reached the source. Loads read a source that lags
meanwhile. So when it has, what stands under the key is looked at: the value of that very write may stay, and if a later
write's mark is there, that one will see to it. Anything else was loaded from the source before, and goes; so does the
value of a write that was given up, as the source hasn't got it. In a cluster a mark says more: see
cluster_write_markers.py.
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
"""Where the part of a value ends that is looked at."""


class FinishedWrite(NamedTuple):
    """A write that is over: its op id, the payload it put (None: it removed), its id in the stream, and its fate."""

    op_id: bytes
    payload: bytes | None
    entry_id: bytes = b"0-0"
    taken: bool = True
    """Whether the source has taken it."""


class MarkedValue(NamedTuple):
    """A key's mark, and how its value begins (empty: nothing is there)."""

    mark: bytes | None
    head: bytes

    def contradicts(self, written: FinishedWrite) -> bool:
        """Return True if the value is to go."""
        return (self.mark is None or self.mark == written.op_id) and self.differs(written)

    def differs(self, written: FinishedWrite) -> bool:
        """Return True if there is a value that isn't by that write, or is by one that the source hasn't taken."""
        if not self.head:
            return False
        if not written.taken:
            return True
        if (op_id := op_id_of(self.head)) is not None:
            return op_id != written.op_id
        return self.head != written.payload  # a raw integer, whose every digit is in the head


@dataclass(frozen=True, slots=True)
class EndLoads:
    """Void the loads of keys that are under way, then look at the keys: what these loads stored before is seen."""

    leases: Sequence[bytes]
    marks: Sequence[bytes]
    places: Sequence[bytes]

    @property
    def replies(self) -> int:
        """One for UNLINK, one for MGET, and one a key."""
        return 2 + len(self.places)

    @property
    def wire(self) -> bytes:
        """UNLINK of the leases, MGET of the marks, GETRANGE of the values."""
        heads = [pack(b"GETRANGE", place, b"0", LAST) for place in self.places]
        return b"".join([pack(b"UNLINK", *self.leases), pack(b"MGET", *self.marks), *heads])

    def parse(self, replies: list[Any]) -> list[MarkedValue]:
        """Return what was found, key by key."""
        check(replies[0])
        marks = check(replies[1])
        if type(marks) is not list or len(marks) != len(self.places):
            raise OutOfStepError("MGET")
        return [MarkedValue(marker_in(mark), head_in(reply)) for mark, reply in zip(marks, replies[2:], strict=True)]


class OnMarkedKey(Conditional[bool]):
    """A conditional write that depends on a key and its mark."""

    __slots__ = ()

    replies: ClassVar[int] = 3
    mark: bytes
    place: bytes

    @property
    def wire(self) -> bytes:
        """WATCH, GET of the mark, GETRANGE of the value."""
        watch = pack(b"WATCH", self.mark, self.place)
        return watch + pack(b"GET", self.mark) + pack(b"GETRANGE", self.place, b"0", LAST)

    def decide(self, replies: list[Any]) -> Command[bool]:
        """Return the second step, for what stands."""
        check(replies[0])
        return self.second(MarkedValue(marker_in(replies[1]), head_in(replies[2])))

    def second(self, found: MarkedValue) -> Command[bool]:
        """Return the second step, where `found` stands."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class RemoveContradiction(OnMarkedKey):
    """Remove what contradicts a write that has reached the source; False where it has changed meanwhile."""

    mark: bytes
    place: bytes
    lease: bytes
    written: FinishedWrite
    publication: Publication | None

    def second(self, found: MarkedValue) -> Command[bool]:
        """Remove it, if it is still to go."""
        if not found.contradicts(self.written):
            return Unchanged(True)
        return IfUnchanged(Remove([self.place], self.publication, [self.lease]))


def marker_in(reply: Any) -> bytes | None:
    """Return a mark, from GET's reply or a part of MGET's."""
    mark = check(reply)
    if mark is not None and type(mark) is not bytes:
        raise OutOfStepError("GET")
    return mark


def head_in(reply: Any) -> bytes:
    """Return how a value begins, from GETRANGE's reply."""
    if type(reply) is ErrorReply and code(reply) == "WRONGTYPE":
        return b""  # reads take that for nothing, too
    head = check(reply)
    if type(head) is not bytes:
        raise OutOfStepError("GETRANGE")
    return head
