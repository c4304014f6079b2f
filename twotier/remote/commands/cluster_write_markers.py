"""Write markers in a cluster, where appending a write to the stream and putting its value are two steps in two slots.

In a cluster a write marker holds, beside the op id, the write's entry id in the stream. The ids of one
stream only grow, and a key has one stream. So the later of two writes is known in whatever order their
second steps run, and a value is put only if no later write's marker is there. A marker stays for a while
after its write has reached the source: within that time a delayed write finds the marker of the write
that has overtaken it, and past that time a delayed write no longer puts its value.
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
"""Suffix of the write marker of a write that was given up."""
_REMOVED: Final = b"r"
"""Suffix of the write marker of a delete that reached the source before its second step; the value was removed then."""


def marker_of(op_id: bytes, entry_id: bytes, *, taken: bool = True) -> bytes:
    """Return the write marker of a write; not `taken`: the source never got the write.

    >>> is_later(marker_of(bytes(16), b"12-10"), than=marker_of(bytes(16), b"12-9"))
    True
    """
    time, _, number = entry_id.partition(b"-")
    place = int(time).to_bytes(_ID_BYTES // 2, "big") + int(number).to_bytes(_ID_BYTES // 2, "big")
    return op_id + place + (b"" if taken else _REFUSED)


def is_later(mark: bytes | None, *, than: bytes) -> bool:
    """Return True if `mark` is the marker of a write appended later than that of `than`; False if it is no marker."""
    if mark is None or len(mark) not in (OP_ID_BYTES + _ID_BYTES, OP_ID_BYTES + _ID_BYTES + len(_REFUSED)):
        return False
    return _place(mark) > _place(than)


def entry_id_in(mark: bytes) -> bytes:
    """Return the id of the stream entry that a write marker belongs to.

    >>> entry_id_in(marker_of(bytes(16), b"12-10"))
    b'12-10'
    """
    place = _place(mark)
    half = _ID_BYTES // 2
    return b"%d-%d" % (int.from_bytes(place[:half], "big"), int.from_bytes(place[half:], "big"))


def op_id_in(mark: bytes) -> bytes:
    """Return the op id of the write that a write marker belongs to."""
    return mark[:OP_ID_BYTES]


def _place(mark: bytes) -> bytes:
    return mark[OP_ID_BYTES : OP_ID_BYTES + _ID_BYTES]


class LatestWrite(NamedTuple):
    """Result of the second step of a write: whether the write is the latest, and how many keys it removed."""

    stands: bool
    removed: int


_OVERTAKEN: Final = LatestWrite(stands=False, removed=0)


def _value_put(results: list[Any]) -> LatestWrite:  # noqa: ARG001 - SET has no result to count
    return LatestWrite(stands=True, removed=0)


def _removal_done(results: list[Any]) -> LatestWrite:
    return LatestWrite(stands=True, removed=integer(results[0]))


@dataclass(frozen=True, slots=True)
class PutIfLatest(OnOneKey[LatestWrite | None]):
    """Put a value (None: remove it), set its write marker and take its load lock, unless a later write was there.

    The result is None if the marker changed between the steps: nothing was written, and the caller may try
    again. If the marker is already this write's own, the source has the write, and loads needn't wait for it.
    `in_time` is called after the marker was read: past that time a later write's marker may have come and
    gone, so this write counts as overtaken.
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
        """Write unless a later write has overtaken this one."""
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
    """End the load of a key that is under way, and read the key's write marker and value.

    The commands are one transaction: while a slot moves, its keys are on two nodes, and the transaction
    then fails as a whole.
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
        """Return the write marker and the start of the value."""
        ended, mark, head = executed(replies)
        check(ended)
        return MarkedValue(marker_in(mark), head_in(head))


@dataclass(frozen=True, slots=True)
class RemoveStale(OnMarkedKey):
    """Remove a value that contradicts a finished write, and set the write's marker for `mark_ms`.

    The result is False if nothing was done: a later write's marker is there (and isn't `lost`, a marker
    without an entry), or marker or value changed meanwhile.
    """

    mark: bytes
    place: bytes
    lease: bytes
    written: FinishedWrite
    mark_ms: int
    lost: bytes | None = None

    def second(self, found: MarkedValue) -> Command[bool]:
        """Remove the value and set the marker unless a later write's marker is there."""
        op_id, _, entry_id, taken = self.written
        ours = marker_of(op_id, entry_id, taken=taken)
        if found.mark != self.lost and is_later(found.mark, than=ours):
            return Unchanged(False)
        removal = [pack(b"UNLINK", self.place)] if found.differs(self.written) else []
        if removal and taken and self.written.payload is None:
            ours += _REMOVED
        steps = [*removal, put(self.mark, ours, self.mark_ms)]
        return IfUnchanged(PackedWrite(steps, _value_put, voids=(self.lease,)))
