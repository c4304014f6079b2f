"""Copies of a generation's name, and the commands that restore the name from them.

A server that evicts any key (`allkeys-random`) may evict a generation's name, and without the name no
entry of the generation is found again. So the name is also stored in `COPIES` keys beside it.

Invariant: each of these keys holds the latest name or is missing. A new name is written to all of them in
one transaction; a missing one is restored in a transaction that takes place only if none of the keys has
changed since they were read (WATCH). So no copy survives a clear, and an evicted name is restored only
while it is the latest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from twotier.remote.commands.base import Command, Publication, Write, put
from twotier.remote.commands.conditional import Conditional, OutcomeIfUnchanged, Unchanged
from twotier.remote.commands.generations import generation_in
from twotier.remote.io.errors import OutOfStepError, check
from twotier.resp import pack

COPIES: Final = 2
"""Number of copies. A name is lost only if the server evicts it and all copies between two checks."""


def copies_of(generation_key: bytes) -> tuple[bytes, ...]:
    """Return the keys that hold copies of a generation's name, in the same slot; no other key has such a name.

    >>> copies_of(b"shop:gen")
    (b'shop:gen.copy0', b'shop:gen.copy1')
    """
    return tuple(b"%b.copy%d" % (generation_key, number) for number in range(COPIES))


@dataclass(frozen=True, slots=True)
class ReadName:
    """Read a generation's name (None: there is none)."""

    key: bytes
    replies: ClassVar[int] = 1

    @property
    def wire(self) -> bytes:
        """GET."""
        return pack(b"GET", self.key)

    def parse(self, replies: list[Any]) -> bytes | None:
        """Return the name, or raise the error in the reply."""
        return generation_in(replies[0])


@dataclass(frozen=True, slots=True)
class RestoreName(Conditional[bytes | None]):
    """Restore a generation's missing name and copies; returns the name, or None if they changed meanwhile.

    If the name is missing and the copies are missing too, differ or aren't `is_acceptable`, the name becomes
    `candidate`.
    """

    key: bytes
    candidate: bytes
    is_acceptable: Callable[[bytes], bool]

    @property
    def wire(self) -> bytes:
        """WATCH and MGET of all keys; MGET returns None for a key of another type."""
        keys = (self.key, *copies_of(self.key))
        return pack(b"WATCH", *keys) + pack(b"MGET", *keys)

    def decide(self, replies: list[Any]) -> Command[bytes | None]:
        """Return the write of the missing keys, or `Unchanged` if there is none."""
        check(replies[0])
        name, copies = _names(check(replies[1]))
        if name is not None and not self.is_acceptable(name):
            return Unchanged(name)
        written: Sequence[bytes] = [key for key, copy in zip(copies_of(self.key), copies, strict=True) if copy != name]
        if name is None:
            known = set(copies) - {None}
            kept = known.pop() if len(known) == 1 else None
            name = kept if kept is not None and self.is_acceptable(kept) else self.candidate
            written = (self.key, *copies_of(self.key))
        return OutcomeIfUnchanged(WriteName(written, name)) if written else Unchanged(name)


@dataclass(frozen=True, slots=True)
class WriteName(Write[bytes | None]):
    """Write the name of a generation to keys; returns the name."""

    keys: Sequence[bytes]
    value: bytes
    publication: Publication | None = None
    voids: Sequence[bytes] = ()

    def steps(self) -> list[bytes]:
        """SET without expiry."""
        return [put(key, self.value, None) for key in self.keys]

    @property
    def count(self) -> int:
        """One command for each key."""
        return len(self.keys)

    def outcome(self, results: list[Any]) -> bytes:  # noqa: ARG002 - no error is success
        """Return the name."""
        return self.value


def _names(reply: Any) -> tuple[bytes | None, list[bytes | None]]:
    if type(reply) is not list or len(reply) != 1 + COPIES or {*map(type, reply)} - {bytes, type(None)}:
        raise OutOfStepError("MGET")
    return reply[0], reply[1:]
