"""Replicas: writes that wait for them, and reads from one of them while the primary is away."""

from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from twotier.remote.commands.base import Command
from twotier.resp import pack

R = TypeVar("R")


class Acknowledged(NamedTuple, Generic[R]):
    """Result of a write, and the number of replicas that have it."""

    result: R
    replicas: int


@dataclass(frozen=True, slots=True)
class Replicated(Generic[R]):
    """A write followed in the same round trip by WAIT for `wanted` replicas, for up to `patience` ms."""

    write: Command[R]
    wanted: int
    patience: int

    @property
    def replies(self) -> int:
        """The replies to the write, and one to WAIT."""
        return self.write.replies + 1

    @property
    def wire(self) -> bytes:
        """The write, and WAIT."""
        return self.write.wire + pack(b"WAIT", b"%d" % self.wanted, b"%d" % self.patience)

    def parse(self, replies: list[Any]) -> Acknowledged[R]:
        """Return the write's outcome, or raise its error; a refused WAIT counts as no replica."""
        result = self.write.parse(replies[:-1])
        return Acknowledged(result, replies[-1] if type(replies[-1]) is int else 0)


@dataclass(frozen=True, slots=True)
class OnReplica(Generic[R]):
    """A read from a replica, whether or not the primary is there; RemoteUnavailable if there is no replica."""

    read: Command[R]


@dataclass(frozen=True, slots=True)
class ReadGeneration:
    """Read a namespace's generation (None: there is none) without making one, as a replica takes no writes."""

    key: bytes
    replies: int = 1

    @property
    def wire(self) -> bytes:
        """GET."""
        return pack(b"GET", self.key)

    def parse(self, replies: list[Any]) -> bytes | None:
        """Return the generation; any reply that isn't a name counts as None."""
        return replies[0] if type(replies[0]) is bytes else None
