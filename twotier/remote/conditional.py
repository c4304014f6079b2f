"""Writes that depend on what stands: two steps on one connection, with WATCH around them.

The first step watches a key and reads it; `decide` looks at the replies and returns the second. When the key changes in
between, the server drops the second step's MULTI, and the write didn't take place. WATCH also sees expiry.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Generic, NamedTuple, TypeVar

from twotier.opid import op_tag
from twotier.remote.commands import Command, Fetched, Put, Write, fetched
from twotier.remote.envelope import op_id_of
from twotier.remote.refusals import OutOfStepError, check
from twotier.resp import pack

R = TypeVar("R")

_UNWATCH: Final = b"*1\r\n$7\r\nUNWATCH\r\n"


class Conditional(Generic[R]):
    """A request in two trips: the second is `decide`d by the replies to the first."""

    __slots__ = ()

    replies: ClassVar[int] = 2

    @property
    def wire(self) -> bytes:
        """WATCH, and a look at what stands."""
        raise NotImplementedError

    def decide(self, replies: list[Any]) -> Command[R]:
        """Return the second step, for what stands."""
        raise NotImplementedError


class OnOneKey(Conditional[R]):
    """A conditional write that depends on one key."""

    __slots__ = ()

    watched: bytes

    @property
    def wire(self) -> bytes:
        """WATCH and GET."""
        return pack(b"WATCH", self.watched) + pack(b"GET", self.watched)

    def decide(self, replies: list[Any]) -> Command[R]:
        """Return the second step, for what stands."""
        check(replies[0])
        stands = check(replies[1])
        if stands is not None and type(stands) is not bytes:
            raise OutOfStepError("GET")
        return self.second(stands)

    def second(self, stands: bytes | None) -> Command[R]:
        """Return the second step, where `stands` is under the watched key."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class LetBe(Generic[R]):
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


@dataclass(frozen=True, slots=True)
class IfUnchanged:
    """A second step that writes, unless the watched key has changed; tells whether it did."""

    write: Write[Any] | Removal

    @property
    def replies(self) -> int:
        """As many as the write's."""
        return self.write.replies

    @property
    def wire(self) -> bytes:
        """The write's MULTI."""
        return self.write.wire

    def parse(self, replies: list[Any]) -> bool:
        """Tell whether EXEC took place."""
        if replies[-1] is None:
            return False
        self.write.parse(replies)
        return True


@dataclass(frozen=True, slots=True)
class PutUnchanged(OnOneKey[bool]):
    """Write a value where what stands is still by the write tagged `seen`; tells whether it was written."""

    watched: bytes
    seen: int
    put: Put

    def second(self, stands: bytes | None) -> Command[bool]:
        """Write, if the op id in the envelope is the one that was seen."""
        op_id = None if stands is None else op_id_of(stands)
        return IfUnchanged(self.put) if op_id is not None and op_tag(op_id) == self.seen else LetBe(False)


class Taken(NamedTuple):
    """Whether the lease is ours now, and what stands under its key."""

    taken: bool
    fetched: Fetched


@dataclass(frozen=True, slots=True)
class TakeLease:
    """Take the lease on loading `key`, unless somebody has it, and read the key.

    `token` names the holder; the lease ends by itself after `ttl_ms`, or with the next write of the key.
    """

    key: bytes
    lease: bytes
    token: bytes
    ttl_ms: int
    replies: ClassVar[int] = 3

    @property
    def wire(self) -> bytes:
        """SET NX PX of the lease, GET and PTTL of the key."""
        return b"".join(
            (
                pack(b"SET", self.lease, self.token, b"NX", b"PX", b"%d" % self.ttl_ms),
                pack(b"GET", self.key),
                pack(b"PTTL", self.key),
            )
        )

    def parse(self, replies: list[Any]) -> Taken:
        """Return what was found."""
        return Taken(check(replies[0]) is not None, fetched(replies[1], replies[2]))


@dataclass(frozen=True, slots=True)
class PutLeased(OnOneKey[bool]):
    """Write what was loaded if the lease under which it was loaded still stands; tells whether it was written."""

    watched: bytes
    token: bytes
    put: Put

    def second(self, stands: bytes | None) -> Command[bool]:
        """Write, and end the lease with it, if it is ours."""
        return IfUnchanged(self.put) if stands == self.token else LetBe(False)


@dataclass(frozen=True, slots=True)
class EndLease(OnOneKey[bool]):
    """Give a lease back, if it is still ours."""

    watched: bytes
    token: bytes

    def second(self, stands: bytes | None) -> Command[bool]:
        """Remove it, if it is ours."""
        return IfUnchanged(Removal((self.watched,))) if stands == self.token else LetBe(False)
