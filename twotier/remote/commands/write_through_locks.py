"""Commands on write-through locks: take them from any holder, and write to the cache while they are still held.

A write-through takes the lock of its key, under a token of its own, before it writes to the source. That
ends any load or other write-through that held the lock. Afterwards the cache is written only if the lock
is still held: otherwise somebody has written since, and the write that reached the source last is unknown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from twotier.remote.commands.base import Command, Publication, PutMany
from twotier.remote.commands.conditional import Conditional, ExecutedWrite, IfUnchanged, Unchanged
from twotier.remote.commands.generations import UnderGeneration, WithGeneration
from twotier.remote.io.errors import OutOfStepError, check
from twotier.resp import pack

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class TakeWriteLocks:
    """Take the locks `leases` for `ttl_ms`, from any other holder too; `token` names the new holder."""

    leases: Sequence[bytes]
    token: bytes
    ttl_ms: int

    @property
    def replies(self) -> int:
        """One reply for each lock."""
        return len(self.leases)

    @property
    def wire(self) -> bytes:
        """SET PX of each lock."""
        life = b"%d" % self.ttl_ms
        return b"".join([pack(b"SET", lease, self.token, b"PX", life) for lease in self.leases])

    def parse(self, replies: list[Any]) -> None:
        """Raise the first error among the replies."""
        for reply in replies:
            check(reply)


class WhereLocked(Conditional[R]):
    """A write that depends on which of several locks are still held."""

    __slots__ = ()

    leases: Sequence[bytes]
    token: bytes

    @property
    def wire(self) -> bytes:
        """WATCH and MGET."""
        return pack(b"WATCH", *self.leases) + pack(b"MGET", *self.leases)

    def decide(self, replies: list[Any]) -> Command[R]:
        """Return the second step for the locks that are still held."""
        check(replies[0])
        holders = check(replies[1])
        if type(holders) is not list or len(holders) != len(self.leases):
            raise OutOfStepError("MGET")
        return self.second([holder == self.token for holder in holders])

    def second(self, held: list[bool]) -> Command[R]:
        """Return the second step; `held` is True for each lock that is still ours."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class PutLocked(WhereLocked[UnderGeneration[list[bool]]]):
    """Write the items whose lock is held, and end those locks; returns which were written, and the generation.

    `items`, in the order of `leases`, are (key, data, ttl in ms or None). Without `generation_key`, the
    generation isn't read.
    """

    leases: Sequence[bytes]
    token: bytes
    items: Sequence[tuple[bytes, bytes, int | None]]
    publication: Publication | None
    generation_key: bytes | None

    def second(self, held: list[bool]) -> Command[UnderGeneration[list[bool]]]:
        """Write the items whose lock is held."""
        ours = [at for at, holds in enumerate(held) if holds]
        if not ours:
            return WithGeneration(Unchanged(held), self.generation_key)
        put = PutMany([self.items[at] for at in ours], self.publication, [self.leases[at] for at in ours])
        return WithGeneration(_PerLock(IfUnchanged(put), held), self.generation_key)


@dataclass(frozen=True, slots=True)
class _PerLock(ExecutedWrite[list[bool]]):
    """A write of the items whose lock is held; returns for each item whether it was written."""

    write: IfUnchanged
    held: list[bool]

    def parse(self, replies: list[Any]) -> list[bool]:
        """Return `held` if the write took place, else False for each item: a lock has changed meanwhile."""
        return self.held if self.write.parse(replies) else [False] * len(self.held)
