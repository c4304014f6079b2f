"""Writes that also read the current value of their key: it may be unusable, or have ended with its tags."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from twotier.remote.commands.base import Publication, Put, Write, live
from twotier.remote.commands.conditional import only_value
from twotier.resp import pack


class WithPrevious(NamedTuple):
    """Whether a write did something, and what stood under its key before it (None: nothing)."""

    done: bool
    stood: bytes | None


@dataclass(frozen=True, slots=True)
class Add(Write[WithPrevious]):
    """Write a value if there is none; returns whether it was written, and the earlier value."""

    key: bytes
    data: bytes
    ttl_ms: int | None
    publication: Publication | None
    voids: Sequence[bytes] = ()

    def steps(self) -> list[bytes]:
        """MGET, to which a key of another type is none, and SET NX."""
        return [pack(b"MGET", self.key), *self._put.steps()]

    @property
    def count(self) -> int:
        """Two."""
        return 2

    def outcome(self, results: list[Any]) -> WithPrevious:
        """Return whether SET wrote, and what MGET found."""
        return WithPrevious(self._put.outcome(results[1:]), only_value(results[0]))

    @property
    def _put(self) -> Put:
        return Put(self.key, self.data, self.ttl_ms, absent=True, publication=None)


@dataclass(frozen=True, slots=True)
class ExpireIfLive(Write[WithPrevious]):
    """Give a key a new life (ms), or with None one without end; tells what stands there, which may be nothing."""

    key: bytes
    ttl_ms: int | None
    publication: Publication | None
    voids: Sequence[bytes] = ()
    along: Sequence[bytes] = ()
    """What stands beside the key, and is to live as long."""

    def steps(self) -> list[bytes]:
        """MGET, and the change."""
        return [pack(b"MGET", self.key), *[live(key, self.ttl_ms) for key in (self.key, *self.along)]]

    @property
    def count(self) -> int:
        """Two, and one more for each key beside."""
        return 2 + len(self.along)

    def outcome(self, results: list[Any]) -> WithPrevious:
        """Tell what MGET found."""
        stood = only_value(results[0])
        return WithPrevious(stood is not None, stood)
