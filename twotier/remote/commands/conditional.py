"""Writes that depend on the current value of a key: two steps on one connection, guarded by WATCH.

The first step watches a key and reads it; `decide` reads the replies and returns the second step.
If the key changes between the steps, the server drops the second step's MULTI and the write does not
take place. An expiry counts as a change to WATCH.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Generic, TypeVar

from twotier.codec.envelope import op_id_of
from twotier.opid import NO_OP, op_tag
from twotier.remote.commands.base import Command, Publication, Put, Remove, Write
from twotier.remote.io.errors import OutOfStepError, check
from twotier.resp import pack

R = TypeVar("R")

_UNWATCH: Final = b"*1\r\n$7\r\nUNWATCH\r\n"


class Conditional(Generic[R]):
    """A request in two round trips: `decide` derives the second one from the replies to the first."""

    __slots__ = ()

    @property
    def replies(self) -> int:
        """Number of replies to the first step, usually two."""
        return 2

    @property
    def wire(self) -> bytes:
        """WATCH, and a read of the current value."""
        raise NotImplementedError

    def decide(self, replies: list[Any]) -> Command[R]:
        """Return the second step for the current value."""
        raise NotImplementedError


class OnOneKey(Conditional[R]):
    """A conditional write that depends on one key. A value that is no string counts as missing."""

    __slots__ = ()

    watched: bytes

    @property
    def wire(self) -> bytes:
        """WATCH and MGET; MGET returns None for a key of another type."""
        return pack(b"WATCH", self.watched) + pack(b"MGET", self.watched)

    def decide(self, replies: list[Any]) -> Command[R]:
        """Return the second step for the current value."""
        check(replies[0])
        return self.second(only_value(check(replies[1])))

    def second(self, stands: bytes | None) -> Command[R]:
        """Return the second step; `stands` is the current value of the watched key."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Unchanged(Generic[R]):
    """A second step that changes nothing."""

    result: R
    replies: ClassVar[int] = 1

    @property
    def wire(self) -> bytes:
        """UNWATCH."""
        return _UNWATCH

    def parse(self, replies: list[Any]) -> R:
        """Return the result that was decided on."""
        check(replies[0])
        return self.result


@dataclass(frozen=True, slots=True)
class Removal:
    """Remove keys in a transaction, without an invalidation."""

    keys: Sequence[bytes]
    replies: ClassVar[int] = 3

    @property
    def wire(self) -> bytes:
        """MULTI, UNLINK, EXEC."""
        return pack(b"MULTI") + pack(b"UNLINK", *self.keys) + pack(b"EXEC")

    def parse(self, replies: list[Any]) -> None:
        """Raise the first error among the replies."""
        for reply in replies:
            check(reply)


class ExecutedWrite(Generic[R]):
    """A second step that is a write; subclasses define its result."""

    __slots__ = ()

    write: Command[Any]

    @property
    def replies(self) -> int:
        """Number of replies to the write."""
        return self.write.replies

    @property
    def wire(self) -> bytes:
        """The write's MULTI."""
        return self.write.wire

    def parse(self, replies: list[Any]) -> R:
        """Return the result; the write's last reply is None if the watched key has changed."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class IfUnchanged(ExecutedWrite[bool]):
    """A second step that writes unless the watched key has changed; returns True if it wrote."""

    write: Write[Any] | Removal

    def parse(self, replies: list[Any]) -> bool:
        """Return True if the server ran the transaction."""
        if replies[-1] is None:
            return False
        self.write.parse(replies)
        return True


@dataclass(frozen=True, slots=True)
class PackedWrite(Write[R]):
    """Packed commands as one write; `gives` turns their results into the outcome."""

    packed: list[bytes]
    gives: Callable[[list[Any]], R]
    publication: Publication | None = None
    voids: Sequence[bytes] = ()

    def steps(self) -> list[bytes]:
        """Return the packed commands."""
        return self.packed

    @property
    def count(self) -> int:
        """Number of packed commands."""
        return len(self.packed)

    def outcome(self, results: list[Any]) -> R:
        """Return the outcome that `gives` makes of the results."""
        return self.gives(results)


@dataclass(frozen=True, slots=True)
class OutcomeIfUnchanged(ExecutedWrite[R | None]):
    """A second step that writes; returns the write's outcome, or None if the watched key has changed."""

    write: Write[R]

    def parse(self, replies: list[Any]) -> R | None:
        """Return the write's outcome, or None if the write did not take place."""
        return None if replies[-1] is None else self.write.parse(replies)


@dataclass(frozen=True, slots=True)
class PutUnchanged(OnOneKey[bool]):
    """Write a value if the current one is still by the write tagged `seen`; returns True if the value is there.

    The value may be there already: an earlier request wrote it, but the reply was lost.
    """

    watched: bytes
    seen: int
    put: Put

    def second(self, stands: bytes | None) -> Command[bool]:
        """Write if the op id in the envelope is the one that was seen."""
        op_id = None if stands is None else op_id_of(stands)
        if stands is not None and (stands == self.put.data or (op_id is not None and op_id == op_id_of(self.put.data))):
            return Unchanged(True)
        seen = self.seen != NO_OP and op_id is not None and op_tag(op_id) == self.seen
        return IfUnchanged(self.put) if seen else Unchanged(False)


@dataclass(frozen=True, slots=True)
class RemoveLateWrite(OnOneKey[bool]):
    """Remove a value written by one of `op_ids`, or equal to one of `raws`; returns True if it was removed."""

    watched: bytes
    op_ids: frozenset[bytes]
    raws: frozenset[bytes | None]
    removal: Remove
    """Raw integers; None among `raws` stands for any raw value."""

    def second(self, stands: bytes | None) -> Command[bool]:
        """Remove the value if it is one of these."""
        if stands is None:
            return Unchanged(False)
        op_id = op_id_of(stands)
        late = op_id in self.op_ids if op_id is not None else None in self.raws or stands in self.raws
        return IfUnchanged(self.removal) if late else Unchanged(False)


@dataclass(frozen=True, slots=True)
class Replace(OnOneKey[bool]):
    """Write a value if the key is empty or still holds `seen` (None: no string); returns True if it was written."""

    watched: bytes
    seen: bytes | None
    put: Write[Any]

    def second(self, stands: bytes | None) -> Command[bool]:
        """Write unless another value has been written since."""
        return IfUnchanged(self.put) if stands is None or stands == self.seen else Unchanged(False)


@dataclass(frozen=True, slots=True)
class IfEqual(OnOneKey[bool]):
    """Write if the watched key holds `expected` (None: no string); returns True if it was written."""

    watched: bytes
    expected: bytes | None
    write: Write[Any] | Removal

    def second(self, stands: bytes | None) -> Command[bool]:
        """Write if the current value is the expected one."""
        return IfUnchanged(self.write) if stands == self.expected else Unchanged(False)


def only_value(reply: Any) -> bytes | None:
    """Return the value in the reply to MGET of one key."""
    if type(reply) is not list or len(reply) != 1 or type(reply[0]) not in (bytes, type(None)):
        raise OutOfStepError("MGET")
    found: bytes | None = reply[0]
    return found
