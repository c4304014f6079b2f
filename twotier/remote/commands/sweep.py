"""Commands that remove the keys of ended generations from the server: the record of generations, and the sweep.

The record of a generation key is a string in the key's slot: names, each followed by a comma. It is a
string because a read can be limited to a part: a planted large record costs a reader at most `LONGEST`
bytes. Names that occur twice do no harm.

The sweep uses no transaction: a server at `maxmemory` refuses to queue commands, removals included.
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
"""Bytes of a record that are read: 3,640 unsigned names, or 992 signed ones. The rest is dropped."""

_CURSOR: Final = re.compile(rb"[0-9]{1,20}")
_ELSEWHERE: Final = (RedirectionError, CrossSlotError, MovingError)


def needed(namespace: str) -> list[Wanted]:
    """Return the commands that a sweep sends beyond those of every cache."""
    key = f"{namespace}:access:0".encode()
    return [
        Wanted((b"APPEND", key, b"")),
        Wanted((b"GETRANGE", key, b"0", b"0")),
        Wanted((b"SCAN", b"0", b"COUNT", b"1")),
    ]


@dataclass(frozen=True, slots=True)
class AddNames:
    """Add names to a record; returns True if they were added, False if the server refused."""

    key: bytes
    names: Sequence[bytes]
    replies: ClassVar[int] = 1

    @property
    def wire(self) -> bytes:
        """APPEND."""
        return pack(b"APPEND", self.key, b"".join([name + b"," for name in self.names]))

    def parse(self, replies: list[Any]) -> bool:
        """Return False for a refusal; raise RemoteError if another node has the slot."""
        if type(replies[0]) is ErrorReply:
            error = refusal(replies[0])
            if isinstance(error, _ELSEWHERE):
                raise error
            return False
        return integer(replies[0]) > 0


class Record(NamedTuple):
    """The names in a record, the current generation, and whether the record is a string and short enough."""

    names: frozenset[bytes]
    generation: bytes | None
    is_sound: bool


@dataclass(frozen=True, slots=True)
class ReadRecord:
    """Read a record and the current generation."""

    key: bytes
    generation_key: bytes
    replies: ClassVar[int] = 2

    @property
    def wire(self) -> bytes:
        """GETRANGE and MGET; MGET returns None for a key of another type."""
        return pack(b"GETRANGE", self.key, b"0", b"%d" % LONGEST) + pack(b"MGET", self.generation_key)

    def parse(self, replies: list[Any]) -> Record:
        """Return the record."""
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
        """Return the second step for the record's content; a key of another type counts as empty."""
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
    """Return the names in a record, without the last part, which no comma follows."""
    return data.split(b",")[:-1]


class Scanned(NamedTuple):
    """Keys of one server, and the cursor of the next scan; b"0": there are no more keys."""

    cursor: bytes
    keys: list[bytes]


@dataclass(frozen=True, slots=True)
class Scan:
    """Scan about `count` keys of one server; returns those that begin with `stem`."""

    cursor: bytes
    stem: bytes
    count: int
    replies: ClassVar[int] = 1

    @property
    def wire(self) -> bytes:
        """SCAN. A namespace contains no character that is special in a pattern."""
        return pack(b"SCAN", self.cursor, b"MATCH", self.stem + b"*", b"COUNT", b"%d" % self.count)

    def parse(self, replies: list[Any]) -> Scanned:
        """Return keys and cursor."""
        match check(replies[0]):
            case [bytes() as cursor, [*keys]] if _CURSOR.fullmatch(cursor) and all(type(key) is bytes for key in keys):
                return Scanned(cursor, keys)
        raise OutOfStepError("SCAN")


@dataclass(frozen=True, slots=True)
class RemoveEnded(Conditional[int | None]):
    """Remove keys of ended generations; returns how many were removed.

    The result is None, and nothing is removed, if the current generation is one of `names` or there is none.
    The generation is read right before, on the same connection, and so on the same server.
    """

    generation_key: bytes
    names: frozenset[bytes]
    keys: Sequence[bytes]

    @property
    def replies(self) -> int:
        """One reply to the first step."""
        return 1

    @property
    def wire(self) -> bytes:
        """GET of the generation."""
        return pack(b"GET", self.generation_key)

    def decide(self, replies: list[Any]) -> Command[int | None]:
        """Remove the keys if their generations have ended."""
        stands = generation_in(replies[0])
        return Unchanged(None) if stands is None or stands in self.names else RemoveEach((self.keys,))


@dataclass(frozen=True, slots=True)
class RemoveEach:
    """Remove keys with one command for each of `batches`; returns how many were there.

    A cluster node accepts only commands whose keys are in one slot. Keys whose slot has left the node stay.
    """

    batches: Sequence[Sequence[bytes]]

    @property
    def replies(self) -> int:
        """One reply for each batch."""
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
    """Return a text that names the `commands` denied to our user; empty if none is."""

    namespace: str
    commands: Sequence[Wanted]

    @property
    def wire(self) -> bytes:
        """The first step of `CheckAccess`."""
        return CheckAccess(self.namespace, self.commands).wire

    def decide(self, replies: list[Any]) -> Command[str]:
        """Return the transaction that is made to fail."""
        return _Denied(CheckAccess(self.namespace, self.commands).decide(replies))


@dataclass(frozen=True, slots=True)
class _Denied:
    question: Command[None]

    @property
    def replies(self) -> int:
        """That of `question`."""
        return self.question.replies

    @property
    def wire(self) -> bytes:
        """That of `question`."""
        return self.question.wire

    def parse(self, replies: list[Any]) -> str:
        """Return the text of the AccessDenied that `question` raises, or an empty one."""
        try:
            self.question.parse(replies)
        except AccessDenied as denied:
            return str(denied)
        except _ELSEWHERE:  # nodes check permissions first
            pass
        return ""
