"""Writes that depend on what stands: two steps on one connection, with WATCH around them.

The first step watches a key and reads it; `decide` looks at the replies and returns the second. When the key changes in
between, the server drops the second step's MULTI, and the write didn't take place. WATCH also sees expiry.
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
    """A request in two trips: the second is `decide`d by the replies to the first."""

    __slots__ = ()

    @property
    def replies(self) -> int:
        """Two to the first step, as a rule."""
        return 2

    @property
    def wire(self) -> bytes:
        """WATCH, and a look at what stands."""
        raise NotImplementedError

    def decide(self, replies: list[Any]) -> Command[R]:
        """Return the second step, for what stands."""
        raise NotImplementedError


class OnOneKey(Conditional[R]):
    """A conditional write that depends on one key. What is of another type than string counts as nothing."""

    __slots__ = ()

    watched: bytes

    @property
    def wire(self) -> bytes:
        """WATCH and MGET, to which a key of another type is none."""
        return pack(b"WATCH", self.watched) + pack(b"MGET", self.watched)

    def decide(self, replies: list[Any]) -> Command[R]:
        """Return the second step, for what stands."""
        check(replies[0])
        return self.second(only_value(check(replies[1])))

    def second(self, stands: bytes | None) -> Command[R]:
        """Return the second step, where `stands` is under the watched key."""
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
        """Return what was decided."""
        check(replies[0])
        return self.result


@dataclass(frozen=True, slots=True)
class Removal:
    """Remove keys in a transaction, and tell nobody."""

    keys: Sequence[bytes]
    replies: ClassVar[int] = 3

    @property
    def wire(self) -> bytes:
        """MULTI, UNLINK, EXEC."""
        return pack(b"MULTI") + pack(b"UNLINK", *self.keys) + pack(b"EXEC")

    def parse(self, replies: list[Any]) -> None:
        """Raise what went wrong."""
        for reply in replies:
            check(reply)


class ExecutedWrite(Generic[R]):
    """A second step that is a write; subclasses say what it gives."""

    __slots__ = ()

    write: Command[Any]

    @property
    def replies(self) -> int:
        """As many as the write's."""
        return self.write.replies

    @property
    def wire(self) -> bytes:
        """The write's MULTI."""
        return self.write.wire

    def parse(self, replies: list[Any]) -> R:
        """Return what it gives: the write's last reply is None if the watched key has changed."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class IfUnchanged(ExecutedWrite[bool]):
    """A second step that writes, unless the watched key has changed; returns True if it did."""

    write: Write[Any] | Removal

    def parse(self, replies: list[Any]) -> bool:
        """Return True if EXEC took place."""
        if replies[-1] is None:
            return False
        self.write.parse(replies)
        return True


@dataclass(frozen=True, slots=True)
class PackedWrite(Write[R]):
    """Commands that are packed already, as one write; `gives` makes the outcome of their results."""

    packed: list[bytes]
    gives: Callable[[list[Any]], R]
    publication: Publication | None = None
    voids: Sequence[bytes] = ()

    def steps(self) -> list[bytes]:
        """Return them."""
        return self.packed

    @property
    def count(self) -> int:
        """How many they are."""
        return len(self.packed)

    def outcome(self, results: list[Any]) -> R:
        """Return what it gives."""
        return self.gives(results)


@dataclass(frozen=True, slots=True)
class OutcomeIfUnchanged(ExecutedWrite[R | None]):
    """A second step that writes, unless the watched key has changed: then it gives None, else the write's outcome."""

    write: Write[R]

    def parse(self, replies: list[Any]) -> R | None:
        """Return the write's outcome, if it took place."""
        return None if replies[-1] is None else self.write.parse(replies)


@dataclass(frozen=True, slots=True)
class PutUnchanged(OnOneKey[bool]):
    """Write a value where what stands is still by the write tagged `seen`; returns True if it is there.

    It is also where it was written already: by a request that took place, but whose reply was lost.
    """

    watched: bytes
    seen: int
    put: Put

    def second(self, stands: bytes | None) -> Command[bool]:
        """Write, if the op id in the envelope is the one that was seen."""
        op_id = None if stands is None else op_id_of(stands)
        if stands is not None and (stands == self.put.data or (op_id is not None and op_id == op_id_of(self.put.data))):
            return Unchanged(True)
        seen = self.seen != NO_OP and op_id is not None and op_tag(op_id) == self.seen
        return IfUnchanged(self.put) if seen else Unchanged(False)


@dataclass(frozen=True, slots=True)
class RemoveLateWrite(OnOneKey[bool]):
    """Remove a value that is by one of some writes, or is one of some raw integers; returns True if it was removed."""

    watched: bytes
    op_ids: frozenset[bytes]
    raws: frozenset[bytes | None]
    removal: Remove
    """None among `raws`: any raw value."""

    def second(self, stands: bytes | None) -> Command[bool]:
        """Remove it, if it is one of these."""
        if stands is None:
            return Unchanged(False)
        op_id = op_id_of(stands)
        late = op_id in self.op_ids if op_id is not None else None in self.raws or stands in self.raws
        return IfUnchanged(self.removal) if late else Unchanged(False)


@dataclass(frozen=True, slots=True)
class Replace(OnOneKey[bool]):
    """Write a value if the key still holds what was `seen` (None: no string); returns True if it was written."""

    watched: bytes
    seen: bytes | None
    put: Write[Any]

    def second(self, stands: bytes | None) -> Command[bool]:
        """Write, if nothing else came there."""
        return IfUnchanged(self.put) if stands is None or stands == self.seen else Unchanged(False)


@dataclass(frozen=True, slots=True)
class IfEqual(OnOneKey[bool]):
    """Write where `expected` stands under the watched key (None: no string); return True if it was written."""

    watched: bytes
    expected: bytes | None
    write: Write[Any] | Removal

    def second(self, stands: bytes | None) -> Command[bool]:
        """Write, if it is what was expected."""
        return IfUnchanged(self.write) if stands == self.expected else Unchanged(False)


def only_value(reply: Any) -> bytes | None:
    """Return what MGET of one key found."""
    if type(reply) is not list or len(reply) != 1 or type(reply[0]) not in (bytes, type(None)):
        raise OutOfStepError("MGET")
    found: bytes | None = reply[0]
    return found
