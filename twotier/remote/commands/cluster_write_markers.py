"""Marks in a cluster, where a write's place in the stream and its value are two steps, in two slots.

There a mark tells beside the op id where in the stream the write stands. Ids of one stream only grow, and a key has one
stream: so whose write is the later one is known whatever the order in which the second steps come about, and a value is
put only where no later write's mark stands. A mark outlives its write's arrival at the source for a while: a write that
was held up between its steps for longer than that doesn't put its value any more, and before that it finds the mark of
whatever has overtaken it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple

from twotier.opid import OP_ID_BYTES
from twotier.remote.commands.base import Command, integer, put
from twotier.remote.commands.conditional import IfUnchanged, OnOneKey, OutcomeIfUnchanged, PackedWrite, Unchanged
from twotier.remote.commands.write_markers import LAST, FinishedWrite, MarkedValue, OnMarkedKey, head_in, marker_in
from twotier.remote.io.errors import check, executed
from twotier.resp import pack

_ID_BYTES: Final = 16
_REFUSED: Final = b"x"
"""At the end of the mark of a write that was given up."""
_REMOVED: Final = b"r"
"""At the end of that of a delete whose value was removed when it reached the source, before its second step."""


def marker_of(op_id: bytes, entry_id: bytes, *, taken: bool = True) -> bytes:
    """Return the mark of a write; not `taken`: the source never got it.

    >>> is_later(marker_of(bytes(16), b"12-10"), than=marker_of(bytes(16), b"12-9"))
    True
    """
    time, _, number = entry_id.partition(b"-")
    place = int(time).to_bytes(_ID_BYTES // 2, "big") + int(number).to_bytes(_ID_BYTES // 2, "big")
    return op_id + place + (b"" if taken else _REFUSED)


def is_later(mark: bytes | None, *, than: bytes) -> bool:
    """Return True if a mark is of a write that was appended later than another; what isn't a mark is none."""
    if mark is None or len(mark) not in (OP_ID_BYTES + _ID_BYTES, OP_ID_BYTES + _ID_BYTES + len(_REFUSED)):
        return False
    return _place(mark) > _place(than)


def entry_id_in(mark: bytes) -> bytes:
    """Return the id of the entry that a mark is of.

    >>> entry_id_in(marker_of(bytes(16), b"12-10"))
    b'12-10'
    """
    place = _place(mark)
    half = _ID_BYTES // 2
    return b"%d-%d" % (int.from_bytes(place[:half], "big"), int.from_bytes(place[half:], "big"))


def op_id_in(mark: bytes) -> bytes:
    """Return the op id of the write that a mark is of."""
    return mark[:OP_ID_BYTES]


def _place(mark: bytes) -> bytes:
    return mark[OP_ID_BYTES : OP_ID_BYTES + _ID_BYTES]


class LatestWrite(NamedTuple):
    """What came of the second step of a write: whether it is the last one, and how many keys it removed."""

    stands: bool
    removed: int


_OVERTAKEN: Final = LatestWrite(stands=False, removed=0)


def _value_put(results: list[Any]) -> LatestWrite:  # noqa: ARG001 - SET gives nothing that counts
    return LatestWrite(stands=True, removed=0)


def _removal_done(results: list[Any]) -> LatestWrite:
    return LatestWrite(stands=True, removed=integer(results[0]))


@dataclass(frozen=True, slots=True)
class PutIfLatest(OnOneKey[LatestWrite | None]):
    """Put a value (None: remove it), mark it and take the lease on its key, unless a later write has been there.

    None when somebody else was at the mark in between: nothing was done, and it may be tried again. Where the mark is
    our own, the source has the write already, and loads needn't wait for it. `in_time` is asked after the look: past
    it, a later write's mark may have come and gone, and this one is taken to be overtaken.
    """

    watched: bytes
    place: bytes
    data: bytes | None
    ttl_ms: int | None
    mark: bytes
    mark_ms: int
    lease: bytes
    lease_ms: int
    in_time: Callable[[], bool]

    def second(self, stands: bytes | None) -> Command[LatestWrite | None]:
        """Write, if it is our turn."""
        if is_later(stands, than=self.mark) or stands == self.mark + _REFUSED or not self.in_time():
            return Unchanged(_OVERTAKEN)
        change = pack(b"UNLINK", self.place) if self.data is None else put(self.place, self.data, self.ttl_ms)
        if stands == self.mark + _REMOVED:
            return Unchanged(LatestWrite(stands=True, removed=1))
        landed = _removal_done if self.data is None else _value_put
        if stands == self.mark:
            return OutcomeIfUnchanged(PackedWrite([change], landed, voids=(self.lease,)))
        token = op_id_in(self.mark)
        steps = [change, put(self.watched, self.mark, self.mark_ms), put(self.lease, token, self.lease_ms)]
        return OutcomeIfUnchanged(PackedWrite(steps, landed))


@dataclass(frozen=True, slots=True)
class EndMarkedLoad:
    """Void the load of a key that is under way, and look at the key.

    In a transaction, as the keys of a slot that is being moved are on two nodes for a moment: then it fails whole.
    """

    lease: bytes
    mark: bytes
    place: bytes
    replies: ClassVar[int] = 5

    @property
    def wire(self) -> bytes:
        """MULTI, UNLINK, GET, GETRANGE, EXEC."""
        look = pack(b"GET", self.mark) + pack(b"GETRANGE", self.place, b"0", LAST)
        return pack(b"MULTI") + pack(b"UNLINK", self.lease) + look + pack(b"EXEC")

    def parse(self, replies: list[Any]) -> MarkedValue:
        """Return what was found."""
        ended, mark, head = executed(replies)
        check(ended)
        return MarkedValue(marker_in(mark), head_in(head))


@dataclass(frozen=True, slots=True)
class RemoveStale(OnMarkedKey):
    """Remove what contradicts a write that is over, and mark the key as the write's for `mark_ms`.

    False where that couldn't be done: a later write's mark stands, and it isn't `lost`, one that has no entry, or
    something has changed meanwhile.
    """

    mark: bytes
    place: bytes
    lease: bytes
    written: FinishedWrite
    mark_ms: int
    lost: bytes | None = None

    def second(self, found: MarkedValue) -> Command[bool]:
        """Remove and mark, if it is still to be done."""
        op_id, _, entry_id, taken = self.written
        ours = marker_of(op_id, entry_id, taken=taken)
        if found.mark != self.lost and is_later(found.mark, than=ours):
            return Unchanged(False)
        removal = [pack(b"UNLINK", self.place)] if found.differs(self.written) else []
        if removal and taken and self.written.payload is None:
            ours += _REMOVED
        steps = [*removal, put(self.mark, ours, self.mark_ms)]
        return IfUnchanged(PackedWrite(steps, _value_put, voids=(self.lease,)))
