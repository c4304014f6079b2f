"""Writes that also read the current value of their key: the value may be unusable, or have ended with its tags."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from twotier.remote.commands.base import Publication, Put, Write, live
from twotier.remote.commands.conditional import only_value
from twotier.resp import pack


class WithPrevious(NamedTuple):
    """Whether a write changed something, and the previous value of its key (None: missing)."""

    done: bool
    stood: bytes | None


@dataclass(frozen=True, slots=True)
class Add(Write[WithPrevious]):
    """Write a value if the key is missing; returns whether it was written, and the previous value."""

    key: bytes
    data: bytes
    ttl_ms: int | None
    publication: Publication | None
    voids: Sequence[bytes] = ()

    def steps(self) -> list[bytes]:
        """MGET, which returns None for a key of another type, and SET NX."""
        return [pack(b"MGET", self.key), *self._put.steps()]

    @property
    def count(self) -> int:
        """Two commands."""
        return 2

    def outcome(self, results: list[Any]) -> WithPrevious:
        """Return whether SET wrote, and the value from MGET."""
        return WithPrevious(self._put.outcome(results[1:]), only_value(results[0]))

    @property
    def _put(self) -> Put:
        return Put(self.key, self.data, self.ttl_ms, absent=True, publication=None)


@dataclass(frozen=True, slots=True)
class ExpireIfLive(Write[WithPrevious]):
    """Set the expiry of a key (ms), or with None remove it; returns the key's value, which may be missing."""

    key: bytes
    ttl_ms: int | None
    publication: Publication | None
    voids: Sequence[bytes] = ()
    along: Sequence[bytes] = ()
    """Keys beside the key that get the same expiry."""

    def steps(self) -> list[bytes]:
        """MGET, and the change of the expiry."""
        return [pack(b"MGET", self.key), *[live(key, self.ttl_ms) for key in (self.key, *self.along)]]

    @property
    def count(self) -> int:
        """Two commands, and one for each of `along`."""
        return 2 + len(self.along)

    def outcome(self, results: list[Any]) -> WithPrevious:
        """Return the value from MGET."""
        stood = only_value(results[0])
        return WithPrevious(stood is not None, stood)
