"""What is asked of the remote tier about tags: the versions that they have, each under a key of its own.

A version is random and never comes back, so one that is gone was ended, or lost, for good: who finds another, or none,
knows that what was marked with it is over. The keys live as long as the longest entry that is marked with them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from twotier.remote.io.errors import OutOfStepError, check
from twotier.resp import pack


class Version(NamedTuple):
    """The version under a tag's key (None: the tag has none), and the ms that the key has left (-1: no expiry)."""

    name: bytes | None
    pttl: int


@dataclass(frozen=True, slots=True)
class ReadVersions:
    """Read the versions under the keys of several tags."""

    keys: Sequence[bytes]

    @property
    def replies(self) -> int:
        """One for MGET, one a key for PTTL."""
        return 1 + len(self.keys)

    @property
    def wire(self) -> bytes:
        """MGET, and a PTTL a key."""
        return pack(b"MGET", *self.keys) + b"".join([pack(b"PTTL", key) for key in self.keys])

    def parse(self, replies: list[Any]) -> list[Version]:
        """Return what was found."""
        names = check(replies[0])
        lives = [check(reply) for reply in replies[1:]]
        if type(names) is not list or len(names) != len(lives):
            raise OutOfStepError("MGET")
        if not all(type(life) is int for life in lives) or not all(type(n) in (bytes, type(None)) for n in names):
            raise OutOfStepError("MGET and PTTL")
        return [Version(name, life) for name, life in zip(names, lives, strict=True)]


@dataclass(frozen=True, slots=True)
class MakeVersions:
    """Give each tag that has no version a candidate, whose key lives `ttl_ms` (None: for ever); read what stands."""

    keys: Sequence[bytes]
    candidates: Sequence[bytes]
    ttl_ms: int | None

    @property
    def replies(self) -> int:
        """One a key for SET, and those of reading."""
        return len(self.keys) + ReadVersions(self.keys).replies

    @property
    def wire(self) -> bytes:
        """SET NX, once a key; then reading."""
        life = () if self.ttl_ms is None else (b"PX", b"%d" % self.ttl_ms)
        made = [pack(b"SET", key, name, b"NX", *life) for key, name in zip(self.keys, self.candidates, strict=True)]
        return b"".join(made) + ReadVersions(self.keys).wire

    def parse(self, replies: list[Any]) -> list[Version]:
        """Return what stands; raise where a version could not be made and there is none (out of memory)."""
        made = replies[: len(self.keys)]
        found = ReadVersions(self.keys).parse(replies[len(self.keys) :])
        for reply, version in zip(made, found, strict=True):
            if version.name is None:
                check(reply)
        return found


@dataclass(frozen=True, slots=True)
class ExtendVersions:
    """Let the keys of tags live for `ttl_ms` from now (None: for ever), unless they live longer anyway."""

    keys: Sequence[bytes]
    ttl_ms: int | None

    @property
    def replies(self) -> int:
        """One a key."""
        return len(self.keys)

    @property
    def wire(self) -> bytes:
        """PEXPIRE GT or PERSIST, once a key."""
        if self.ttl_ms is None:
            return b"".join([pack(b"PERSIST", key) for key in self.keys])
        return b"".join([pack(b"PEXPIRE", key, b"%d" % self.ttl_ms, b"GT") for key in self.keys])

    def parse(self, replies: list[Any]) -> None:
        """Raise what went wrong."""
        for reply in replies:
            check(reply)
