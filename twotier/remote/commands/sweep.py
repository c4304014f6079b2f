"""Commands that remove what ended generations leave on the server: the record of generations, and the sweep itself.

The record of a generation key is a string in its slot: names, each with a comma after it. A string, as a part of it can
be read: whoever plants a large one costs nobody more than `LONGEST` bytes. Names that occur twice do no harm.

The sweep needs no transaction: a server at `maxmemory` refuses whatever is queued in one, removals too.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple

from twotier.errors import AccessDenied
from twotier.remote.commands.base import Command, integer
from twotier.remote.commands.conditional import Conditional, IfUnchanged, PackedWrite, Removal, Unchanged, only_value
from twotier.remote.commands.generations import generation_in
from twotier.remote.commands.permissions import CheckAccess, Wanted
from twotier.remote.io.errors import (
    CrossSlotError,
    MovingError,
    OutOfStepError,
    RedirectionError,
    check,
    code,
    refusal,
)
from twotier.resp import ErrorReply, pack

LONGEST: Final = 32 << 10
"""Bytes of a record that are read: 3,640 unsigned names, or 992 signed ones. What follows is dropped."""

_CURSOR: Final = re.compile(rb"[0-9]{1,20}")
_ELSEWHERE: Final = (RedirectionError, CrossSlotError, MovingError)


def needed(namespace: str) -> list[Wanted]:
    """Return what a sweep asks a server for beyond what every cache does."""
    key = f"{namespace}:access:0".encode()
    return [
        Wanted((b"APPEND", key, b"")),
        Wanted((b"GETRANGE", key, b"0", b"0")),
        Wanted((b"SCAN", b"0", b"COUNT", b"1")),
    ]


@dataclass(frozen=True, slots=True)
class AddNames:
    """Add names to a record; return True if it was done. A refusal changes nothing, and raises nothing."""

    key: bytes
    names: Sequence[bytes]
    replies: ClassVar[int] = 1

    @property
    def wire(self) -> bytes:
        """APPEND."""
        return pack(b"APPEND", self.key, b"".join([name + b"," for name in self.names]))

    def parse(self, replies: list[Any]) -> bool:
        """Return False for a refusal; raise RemoteError where another node is to be asked."""
        if type(replies[0]) is ErrorReply:
            error = refusal(replies[0])
            if isinstance(error, _ELSEWHERE):
                raise error
            return False
        return integer(replies[0]) > 0


class Record(NamedTuple):
    """The names in a record, the generation that stands beside it, and whether the record is one, and short enough."""

    names: frozenset[bytes]
    generation: bytes | None
    is_sound: bool


@dataclass(frozen=True, slots=True)
class ReadRecord:
    """Read a record, and the generation that stands."""

    key: bytes
    generation_key: bytes
    replies: ClassVar[int] = 2

    @property
    def wire(self) -> bytes:
        """GETRANGE and MGET, to which a key of another type is none."""
        return pack(b"GETRANGE", self.key, b"0", b"%d" % LONGEST) + pack(b"MGET", self.generation_key)

    def parse(self, replies: list[Any]) -> Record:
        """Return what was read."""
        generation = only_value(check(replies[1]))
        if type(replies[0]) is ErrorReply and code(replies[0]) == "WRONGTYPE":
            return Record(frozenset(), generation, is_sound=False)
        data = check(replies[0])
        if type(data) is not bytes or len(data) > LONGEST + 1:
            raise OutOfStepError("GETRANGE")
        return Record(frozenset(_names_in(data)), generation, is_sound=len(data) <= LONGEST)


@dataclass(frozen=True, slots=True)
class KeepNames(Conditional[bool]):
    """Keep those names of a record that `keeps` returns True for; return False if the record has changed meanwhile."""

    watched: bytes
    keeps: Callable[[bytes], bool]

    @property
    def wire(self) -> bytes:
        """WATCH and GETRANGE."""
        return pack(b"WATCH", self.watched) + pack(b"GETRANGE", self.watched, b"0", b"%d" % (LONGEST - 1))

    def decide(self, replies: list[Any]) -> Command[bool]:
        """Return the second step, for what the record holds; what isn't a string holds nothing."""
        check(replies[0])
        data = replies[1]
        if type(data) is ErrorReply and code(data) == "WRONGTYPE":
            data = b""
        if type(check(data)) is not bytes:
            raise OutOfStepError("GETRANGE")
        kept = [name for name in dict.fromkeys(_names_in(data)) if self.keeps(name)]
        if not kept:
            return IfUnchanged(Removal((self.watched,)))
        return IfUnchanged(PackedWrite([pack(b"SET", self.watched, b",".join(kept) + b",")], lambda _: None))


def _names_in(data: bytes) -> list[bytes]:
    """Return the names in a record; the last part is none, as it has no comma after it."""
    return data.split(b",")[:-1]


class Scanned(NamedTuple):
    """Keys of one server, and where to go on; b"0": there are no more."""

    cursor: bytes
    keys: list[bytes]


@dataclass(frozen=True, slots=True)
class Scan:
    """Look at about `count` keys of one server, and return those that begin with `stem`."""

    cursor: bytes
    stem: bytes
    count: int
    replies: ClassVar[int] = 1

    @property
    def wire(self) -> bytes:
        """SCAN. No character that a namespace may have means anything in a pattern."""
        return pack(b"SCAN", self.cursor, b"MATCH", self.stem + b"*", b"COUNT", b"%d" % self.count)

    def parse(self, replies: list[Any]) -> Scanned:
        """Return keys and cursor."""
        match check(replies[0]):
            case [bytes() as cursor, [*keys]] if _CURSOR.fullmatch(cursor) and all(type(key) is bytes for key in keys):
                return Scanned(cursor, keys)
        raise OutOfStepError("SCAN")


@dataclass(frozen=True, slots=True)
class RemoveEnded(Conditional[int | None]):
    """Remove keys of ended generations, unless one of `names` stands, or none at all: then return None, else how many.

    The generation is read right before, on the same connection, and so on the same server.
    """

    generation_key: bytes
    names: frozenset[bytes]
    keys: Sequence[bytes]

    @property
    def replies(self) -> int:
        """One to the first step."""
        return 1

    @property
    def wire(self) -> bytes:
        """GET of the generation."""
        return pack(b"GET", self.generation_key)

    def decide(self, replies: list[Any]) -> Command[int | None]:
        """Remove the keys, if their generations have ended."""
        stands = generation_in(replies[0])
        return Unchanged(None) if stands is None or stands in self.names else RemoveEach((self.keys,))


@dataclass(frozen=True, slots=True)
class RemoveEach:
    """Remove keys, in as many commands as there are `batches`; return how many were there.

    A node of a cluster takes a command of one slot only. Keys that it hasn't got any more stay.
    """

    batches: Sequence[Sequence[bytes]]

    @property
    def replies(self) -> int:
        """One a batch."""
        return len(self.batches)

    @property
    def wire(self) -> bytes:
        """UNLINK."""
        return b"".join([pack(b"UNLINK", *keys) for keys in self.batches])

    def parse(self, replies: list[Any]) -> int:
        """Return the sum."""
        count = 0
        for reply in replies:
            if not (type(reply) is ErrorReply and isinstance(refusal(reply), _ELSEWHERE)):
                count += integer(reply)
        return count


@dataclass(frozen=True, slots=True)
class FindDenied(Conditional[str]):
    """Return what our user is denied of `commands`, in words; empty: nothing."""

    namespace: str
    commands: Sequence[Wanted]

    @property
    def wire(self) -> bytes:
        """As `CheckAccess`."""
        return CheckAccess(self.namespace, self.commands).wire

    def decide(self, replies: list[Any]) -> Command[str]:
        """Return the transaction that fails."""
        return _Denied(CheckAccess(self.namespace, self.commands).decide(replies))


@dataclass(frozen=True, slots=True)
class _Denied:
    question: Command[None]

    @property
    def replies(self) -> int:
        """The question's."""
        return self.question.replies

    @property
    def wire(self) -> bytes:
        """The question's."""
        return self.question.wire

    def parse(self, replies: list[Any]) -> str:
        """Return what the question raises."""
        try:
            self.question.parse(replies)
        except AccessDenied as denied:
            return str(denied)
        except _ELSEWHERE:  # nodes check permissions first
            pass
        return ""
