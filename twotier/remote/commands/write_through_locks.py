"""Leases on keys that are being written through: taken whoever has them, looked at when the source was written.

A write-through takes the lease on its key with a token of its own before it writes to the source. That ends whatever
load or write-through had it. Afterwards the cache is written only where the lease still stands: else somebody has
written since, and nobody knows whose write reached the source last.
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
    """Take `leases` for `ttl_ms`, whoever has them; `token` names the holder."""

    leases: Sequence[bytes]
    token: bytes
    ttl_ms: int

    @property
    def replies(self) -> int:
        """One a lease."""
        return len(self.leases)

    @property
    def wire(self) -> bytes:
        """SET PX, once a lease."""
        life = b"%d" % self.ttl_ms
        return b"".join([pack(b"SET", lease, self.token, b"PX", life) for lease in self.leases])

    def parse(self, replies: list[Any]) -> None:
        """Raise what went wrong."""
        for reply in replies:
            check(reply)


class WhereLocked(Conditional[R]):
    """A write that depends on which of several leases are still held."""

    __slots__ = ()

    leases: Sequence[bytes]
    token: bytes

    @property
    def wire(self) -> bytes:
        """WATCH and MGET."""
        return pack(b"WATCH", *self.leases) + pack(b"MGET", *self.leases)

    def decide(self, replies: list[Any]) -> Command[R]:
        """Return the second step, for the leases that stand."""
        check(replies[0])
        holders = check(replies[1])
        if type(holders) is not list or len(holders) != len(self.leases):
            raise OutOfStepError("MGET")
        return self.second([holder == self.token for holder in holders])

    def second(self, held: list[bool]) -> Command[R]:
        """Return the second step, where `held` tells of each lease whether it is ours."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class PutLocked(WhereLocked[UnderGeneration[list[bool]]]):
    """Write the items whose lease is held, and end those leases; tells which were written, and the generation.

    `items`, in the order of `leases`, are (key, data, ttl in ms or None). Without the generation's key, it isn't looked
    at.
    """

    leases: Sequence[bytes]
    token: bytes
    items: Sequence[tuple[bytes, bytes, int | None]]
    publication: Publication | None
    generation_key: bytes | None

    def second(self, held: list[bool]) -> Command[UnderGeneration[list[bool]]]:
        """Write what may be written."""
        ours = [at for at, holds in enumerate(held) if holds]
        if not ours:
            return WithGeneration(Unchanged(held), self.generation_key)
        put = PutMany([self.items[at] for at in ours], self.publication, [self.leases[at] for at in ours])
        return WithGeneration(_PerLock(IfUnchanged(put), held), self.generation_key)


@dataclass(frozen=True, slots=True)
class _PerLock(ExecutedWrite[list[bool]]):
    """A write of what is held: tells of each item whether it was written."""

    write: IfUnchanged
    held: list[bool]

    def parse(self, replies: list[Any]) -> list[bool]:
        """Return what was written: what was held, or nothing if a lease has changed meanwhile."""
        return self.held if self.write.parse(replies) else [False] * len(self.held)
