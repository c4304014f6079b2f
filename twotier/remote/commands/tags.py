"""Commands on tag versions, each of which has a key of its own.

A version is random and never comes back: one that is gone was ended, or lost, for good. So an entry whose
stamp names a version other than the tag's current one is over. A tag's key lives as long as the
longest-lived entry that carries the tag.
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
        """One reply to MGET, and one to PTTL of each key."""
        return 1 + len(self.keys)

    @property
    def wire(self) -> bytes:
        """MGET, and PTTL of each key."""
        return pack(b"MGET", *self.keys) + b"".join([pack(b"PTTL", key) for key in self.keys])

    def parse(self, replies: list[Any]) -> list[Version]:
        """Return the version of each tag."""
        names = check(replies[0])
        lives = [check(reply) for reply in replies[1:]]
        if type(names) is not list or len(names) != len(lives):
            raise OutOfStepError("MGET")
        if not all(type(life) is int for life in lives) or not all(type(n) in (bytes, type(None)) for n in names):
            raise OutOfStepError("MGET and PTTL")
        return [Version(name, life) for name, life in zip(names, lives, strict=True)]


@dataclass(frozen=True, slots=True)
class MakeVersions:
    """Give each tag without a version its candidate for `ttl_ms` (None: without expiry), and read the versions."""

    keys: Sequence[bytes]
    candidates: Sequence[bytes]
    ttl_ms: int | None

    @property
    def replies(self) -> int:
        """One reply to SET of each key, and those of `ReadVersions`."""
        return len(self.keys) + ReadVersions(self.keys).replies

    @property
    def wire(self) -> bytes:
        """SET NX of each key, then the commands of `ReadVersions`."""
        life = () if self.ttl_ms is None else (b"PX", b"%d" % self.ttl_ms)
        made = [pack(b"SET", key, name, b"NX", *life) for key, name in zip(self.keys, self.candidates, strict=True)]
        return b"".join(made) + ReadVersions(self.keys).wire

    def parse(self, replies: list[Any]) -> list[Version]:
        """Return the current versions; raise if a tag has none and SET was refused (out of memory)."""
        made = replies[: len(self.keys)]
        found = ReadVersions(self.keys).parse(replies[len(self.keys) :])
        for reply, version in zip(made, found, strict=True):
            if version.name is None:
                check(reply)
        return found


@dataclass(frozen=True, slots=True)
class ExtendVersions:
    """Let the keys of tags live for `ttl_ms` from now (None: without expiry), unless they live longer already."""

    keys: Sequence[bytes]
    ttl_ms: int | None

    @property
    def replies(self) -> int:
        """One reply for each key."""
        return len(self.keys)

    @property
    def wire(self) -> bytes:
        """PEXPIRE GT or PERSIST of each key."""
        if self.ttl_ms is None:
            return b"".join([pack(b"PERSIST", key) for key in self.keys])
        return b"".join([pack(b"PEXPIRE", key, b"%d" % self.ttl_ms, b"GT") for key in self.keys])

    def parse(self, replies: list[Any]) -> None:
        """Raise the first error among the replies."""
        for reply in replies:
            check(reply)
