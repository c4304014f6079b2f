"""Replicas: writes that wait for them, and reads from one of them while the primary is away."""

from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from twotier.remote.commands.base import Command
from twotier.resp import pack

R = TypeVar("R")


class Acknowledged(NamedTuple, Generic[R]):
    """What a write gave, and how many replicas have it."""

    result: R
    replicas: int


@dataclass(frozen=True, slots=True)
class Replicated(Generic[R]):
    """A write, and in the same trip WAIT for `wanted` replicas to have it, for up to `patience` ms."""

    write: Command[R]
    wanted: int
    patience: int

    @property
    def replies(self) -> int:
        """The write's, and one for WAIT."""
        return self.write.replies + 1

    @property
    def wire(self) -> bytes:
        """The write, and WAIT."""
        return self.write.wire + pack(b"WAIT", b"%d" % self.wanted, b"%d" % self.patience)

    def parse(self, replies: list[Any]) -> Acknowledged[R]:
        """Return the write's outcome, or raise it; a WAIT that was refused has seen no replica."""
        result = self.write.parse(replies[:-1])
        return Acknowledged(result, replies[-1] if type(replies[-1]) is int else 0)


@dataclass(frozen=True, slots=True)
class OnReplica(Generic[R]):
    """A read that goes to a replica, wherever the primary is; RemoteUnavailable where there is none."""

    read: Command[R]


@dataclass(frozen=True, slots=True)
class ReadGeneration:
    """Read a namespace's generation (None: there is none), without making one, which a replica can't."""

    key: bytes
    replies: int = 1

    @property
    def wire(self) -> bytes:
        """GET."""
        return pack(b"GET", self.key)

    def parse(self, replies: list[Any]) -> bytes | None:
        """Return what stands; anything else than a name counts as none."""
        return replies[0] if type(replies[0]) is bytes else None
