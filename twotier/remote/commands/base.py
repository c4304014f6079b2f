"""Commands to the remote tier: one object for each request, one round trip each, for any executor, sync or async.

A command has `wire` (all its server commands, packed), `replies` (the number of replies to them) and
`parse`, which turns those replies into the result. An error among the replies becomes a RemoteError;
replies of a shape that the command can't have produced raise `OutOfStepError`. A write changes keys and
publishes its invalidation in one MULTI, so no reader sees the change before the invalidation is under
way. Writes need no permissions beyond the least-privilege list (docs), and no scripts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Generic, NamedTuple, Protocol, TypeVar

from twotier.remote.io.errors import (
    IntegerOverflow,
    NotAnInteger,
    OtherTypeError,
    OutOfStepError,
    check,
    code,
    executed,
    refusal,
)
from twotier.resp import ErrorReply, pack

__all__ = [
    "KEY_MISSING",
    "Command",
    "Expire",
    "Fetch",
    "FetchMany",
    "Fetched",
    "Generation",
    "IntegerOverflow",
    "NotAnInteger",
    "OtherTypeError",
    "Ping",
    "Publication",
    "Put",
    "PutMany",
    "Remove",
    "SetGeneration",
    "TimeLeft",
]

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

_MULTI: Final = b"*1\r\n$5\r\nMULTI\r\n"
_EXEC: Final = b"*1\r\n$4\r\nEXEC\r\n"
NO_EXPIRY: Final = -1
"""The time left of a key that has no expiry."""
KEY_MISSING: Final = -2
"""The time left of a missing key."""
LAST_MOMENT: Final = 1
"""Milliseconds left at which a key counts as gone already; see `Increment`."""


class Command(Protocol[R_co]):
    """A request in one round trip."""

    @property
    def wire(self) -> bytes:
        """The packed bytes of every server command."""
        ...

    @property
    def replies(self) -> int:
        """Number of replies from the server."""
        ...

    def parse(self, replies: list[Any]) -> R_co:
        """Turn the replies into the result, or raise the error among them."""
        ...


@dataclass(frozen=True, slots=True)
class Publication:
    """An invalidation message and the channel it goes to."""

    channel: bytes
    payload: bytes

    @property
    def wire(self) -> bytes:
        """The packed PUBLISH."""
        return pack(b"PUBLISH", self.channel, self.payload)


class Fetched(NamedTuple):
    """Content of a key: its bytes (None: missing) and the ms that it has left (-1: no expiry)."""

    data: bytes | None
    pttl: int


_NOTHING: Final = Fetched(None, KEY_MISSING)


@dataclass(frozen=True, slots=True)
class Fetch:
    """Read a value and the time it has left. A key of another type than string counts as missing."""

    key: bytes
    replies: ClassVar[int] = 2

    @property
    def wire(self) -> bytes:
        """GET and PTTL."""
        key = self.key
        size = len(key)
        return b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n*2\r\n$4\r\nPTTL\r\n$%d\r\n%b\r\n" % (size, key, size, key)

    def parse(self, replies: list[Any]) -> Fetched:
        """Return the bytes and the time."""
        return fetched(*replies)


@dataclass(frozen=True, slots=True)
class FetchMany:
    """Read several values and their times, in the order of `keys`."""

    keys: Sequence[bytes]

    @property
    def replies(self) -> int:
        """One reply to MGET, and one to PTTL of each key."""
        return 1 + len(self.keys)

    @property
    def wire(self) -> bytes:
        """MGET, and PTTL of each key."""
        return pack(b"MGET", *self.keys) + b"".join([pack(b"PTTL", key) for key in self.keys])

    def parse(self, replies: list[Any]) -> list[Fetched]:
        """Return bytes and time of each key."""
        found = check(replies[0])
        if type(found) is not list or len(found) != len(self.keys):
            raise OutOfStepError("MGET")
        return [fetched(data, pttl) for data, pttl in zip(found, replies[1:], strict=True)]


class Write(Generic[R]):
    """Base of commands that change keys: a MULTI of `steps()`, of UNLINK of `voids`, and of the publication.

    `voids` are the keys of the load locks that the write ends.
    """

    __slots__ = ()

    publication: Publication | None
    voids: Sequence[bytes]

    def steps(self) -> list[bytes]:
        """Return the packed commands that change something."""
        raise NotImplementedError

    @property
    def count(self) -> int:
        """Number of commands that `steps` returns."""
        return 1

    def outcome(self, results: list[Any]) -> R:
        """Turn the results of the steps into the command's."""
        raise NotImplementedError

    @property
    def replies(self) -> int:
        """One for MULTI, for each queued step, for UNLINK of the load locks, for the publication, and for EXEC."""
        return self.count + 2 + bool(self.voids) + bool(self.publication)

    @property
    def wire(self) -> bytes:
        """MULTI, the steps, UNLINK of the load locks, PUBLISH, EXEC."""
        voiding = (pack(b"UNLINK", *self.voids),) if self.voids else ()
        telling = (self.publication.wire,) if self.publication else ()
        return b"".join([_MULTI, *self.steps(), *voiding, *telling, _EXEC])

    def parse(self, replies: list[Any]) -> R:
        """Return the outcome of EXEC's results, or raise the error of a step that failed when queued or run."""
        results = executed(replies)
        for result in results:
            check(result)
        return self.outcome(results)


def put(key: bytes, data: bytes, ttl_ms: int | None, *flags: bytes) -> bytes:
    life = () if ttl_ms is None else (b"PX", b"%d" % ttl_ms)
    return pack(b"SET", key, data, *life, *flags)


def live(key: bytes, ttl_ms: int | None) -> bytes:
    return pack(b"PERSIST", key) if ttl_ms is None else pack(b"PEXPIRE", key, b"%d" % ttl_ms)


@dataclass(frozen=True, slots=True)
class Put(Write[bool]):
    """Write a value; with `absent`, only if the key is missing. Returns True if the value was written."""

    key: bytes
    data: bytes
    ttl_ms: int | None
    absent: bool
    publication: Publication | None
    voids: Sequence[bytes] = ()

    def steps(self) -> list[bytes]:
        """SET, with its expiry."""
        return [put(self.key, self.data, self.ttl_ms, *((b"NX",) if self.absent else ()))]

    def outcome(self, results: list[Any]) -> bool:
        """Return True if SET wrote."""
        return results[0] is not None


@dataclass(frozen=True, slots=True)
class PutMany(Write[None]):
    """Write several values, all or none: `items` are (key, data, ttl in ms or None)."""

    items: Sequence[tuple[bytes, bytes, int | None]]
    publication: Publication | None
    voids: Sequence[bytes] = ()

    def steps(self) -> list[bytes]:
        """SET for each item."""
        return [put(*item) for item in self.items]

    @property
    def count(self) -> int:
        """One command for each item."""
        return len(self.items)

    def outcome(self, results: list[Any]) -> None:
        """Return nothing: no error is success."""


@dataclass(frozen=True, slots=True)
class Remove(Write[int]):
    """Remove keys; returns how many were there."""

    keys: Sequence[bytes]
    publication: Publication | None
    voids: Sequence[bytes] = ()

    def steps(self) -> list[bytes]:
        """UNLINK, which frees large values off the server's main thread."""
        return [pack(b"UNLINK", *self.keys)]

    def outcome(self, results: list[Any]) -> int:
        """Return the count."""
        return integer(results[0])


@dataclass(frozen=True, slots=True)
class Expire(Write[bool]):
    """Set the expiry of a key (ms), or with None remove it; returns True if the key exists."""

    key: bytes
    ttl_ms: int | None
    publication: Publication | None
    voids: Sequence[bytes] = ()
    along: Sequence[bytes] = ()
    """Keys beside the key that get the same expiry."""

    def steps(self) -> list[bytes]:
        """EXISTS, since PERSIST says 0 of a key that had no expiry; then the change."""
        return [pack(b"EXISTS", self.key), *[live(key, self.ttl_ms) for key in (self.key, *self.along)]]

    @property
    def count(self) -> int:
        """Two commands, and one for each of `along`."""
        return 2 + len(self.along)

    def outcome(self, results: list[Any]) -> bool:
        """Return True if EXISTS found the key."""
        return integer(results[0]) == 1


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """Read the ms that a key has left: -2 if the key is missing, -1 for no expiry."""

    key: bytes
    replies: ClassVar[int] = 1

    @property
    def wire(self) -> bytes:
        """PTTL."""
        return pack(b"PTTL", self.key)

    def parse(self, replies: list[Any]) -> int:
        """Return the time."""
        left = integer(replies[0])
        return KEY_MISSING if 0 <= left <= LAST_MOMENT else left


@dataclass(frozen=True, slots=True)
class Generation:
    """Make `candidate` the namespace's generation unless there is one; returns the current generation."""

    key: bytes
    candidate: bytes
    replies: ClassVar[int] = 2

    @property
    def wire(self) -> bytes:
        """SET NX and GET."""
        return pack(b"SET", self.key, self.candidate, b"NX") + pack(b"GET", self.key)

    def parse(self, replies: list[Any]) -> bytes:
        """Return the current generation, even if SET was refused (out of memory); `candidate` if evicted since."""
        stands = check(replies[1])
        if stands is None:
            check(replies[0])
            return self.candidate
        if type(stands) is not bytes:
            raise OutOfStepError("GET")
        return stands


@dataclass(frozen=True, slots=True)
class SetGeneration(Write[None]):
    """Make `value` the namespace's generation: every key under another becomes unreachable."""

    key: bytes
    value: bytes
    publication: Publication | None
    copies: Sequence[bytes] = ()
    """Keys that hold copies of the generation's name."""
    voids: Sequence[bytes] = ()

    def steps(self) -> list[bytes]:
        """SET without expiry, of the name and of its copies."""
        return [put(key, self.value, None) for key in (self.key, *self.copies)]

    @property
    def count(self) -> int:
        """One command for the name, and one for each copy."""
        return 1 + len(self.copies)

    def outcome(self, results: list[Any]) -> None:
        """Return nothing: no error is success."""


@dataclass(frozen=True, slots=True)
class Ping:
    """Check that the server replies and serves data."""

    replies: ClassVar[int] = 1

    @property
    def wire(self) -> bytes:
        """PING."""
        return b"*1\r\n$4\r\nPING\r\n"

    def parse(self, replies: list[Any]) -> None:
        """Raise unless the reply is PONG."""
        if check(replies[0]) != b"PONG":
            raise OutOfStepError("PING")


def fetched(data: Any, pttl: Any) -> Fetched:
    if type(pttl) is int:
        if type(data) is bytes:
            # A key that expired between GET and PTTL is gone, like one in its last millisecond (see Increment).
            return Fetched(data, pttl) if pttl > LAST_MOMENT or pttl == -1 else _NOTHING
        if data is None or (type(data) is ErrorReply and code(data) == "WRONGTYPE"):
            return _NOTHING
    for reply in (data, pttl):
        if type(reply) is ErrorReply:
            raise refusal(reply)
    raise OutOfStepError("GET")


def integer(reply: Any) -> int:
    if type(check(reply)) is not int:
        raise OutOfStepError("a command that counts")
    return reply  # type: ignore[no-any-return]
