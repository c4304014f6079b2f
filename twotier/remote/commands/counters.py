"""Counters: a number to which the server adds, and if values are signed, a signed warrant beside it.

The server can't sign the sum, so a counter's number is raw. Where values are signed, a raw number alone
is a miss: only a warrant beside it, which names its key and generation, proves that `incr` was called on
that key. So a number that someone plants under another key is a miss. A number stored by `set` is signed;
the first `incr` turns it into a counter.

The transaction that adds also makes the warrant, before the number becomes visible, with the life of a
new number. A number that was there already keeps its own life, which is read in the same round trip.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from twotier.remote.commands.base import (
    LAST_MOMENT,
    Command,
    Fetched,
    Publication,
    Write,
    fetched,
    integer,
    put,
)
from twotier.remote.commands.conditional import OnOneKey, OutcomeIfUnchanged, PackedWrite, Unchanged
from twotier.remote.commands.generations import UnderGeneration, WithGeneration
from twotier.remote.io.errors import check
from twotier.resp import pack


@dataclass(frozen=True, slots=True)
class Increment(Write[int | None]):
    """Add `delta` to an integer and return the sum; if there is none, start from 0 or (not `create`) return None.

    Raises NotAnInteger or OtherTypeError for any other value, IntegerOverflow if the sum doesn't fit into 64 bits.

    INCRBY creates a missing key, and MULTI can't test for one. So a missing key is created beforehand (SET
    NX): with its proper life if `create`, else with a life of 1 ms, so that the server removes the key even
    if this process dies. Reads count a key in its last millisecond as gone, so they don't see the key
    meanwhile; other writes do. So without `create`, read `TimeLeft` first: then only a key that vanishes
    between the two requests is created for 1 ms.
    """

    key: bytes
    delta: int
    ttl_ms: int | None
    create: bool
    publication: Publication | None
    voids: Sequence[bytes] = ()

    def steps(self) -> list[bytes]:
        """SET NX and INCRBY."""
        life = self.ttl_ms if self.create else LAST_MOMENT
        return [put(self.key, b"0", life, b"NX"), pack(b"INCRBY", self.key, b"%d" % self.delta)]

    @property
    def count(self) -> int:
        """Two commands."""
        return 2

    def outcome(self, results: list[Any]) -> int | None:
        """Return the sum, or None if the key was missing and isn't to be created."""
        if results[0] is not None and not self.create:
            return None
        return integer(results[1])


class WarrantedNumber(NamedTuple):
    """Result of an increment: the sum (None: no such key), and the number's present warrant and life (ms)."""

    value: int | None
    warrant: bytes | None
    pttl: int
    settled: bool
    """The warrant was there before, or is as old as the number; either way both have the same life."""


@dataclass(frozen=True, slots=True)
class WarrantedIncrement(Write[WarrantedNumber]):
    """Add to the number at `key` as `Increment` does, and warrant it as a counter's by `warrant` at `warrant_key`."""

    key: bytes
    delta: int
    ttl_ms: int | None
    create: bool
    warrant_key: bytes
    warrant: bytes
    publication: Publication | None
    voids: Sequence[bytes] = ()

    def steps(self) -> list[bytes]:
        """SET NX and INCRBY of the number; SET NX and GET of the warrant; PTTL."""
        life = self.ttl_ms if self.create else LAST_MOMENT
        return [
            put(self.key, b"0", life, b"NX"),
            pack(b"INCRBY", self.key, b"%d" % self.delta),
            put(self.warrant_key, self.warrant, life, b"NX"),
            pack(b"GET", self.warrant_key),
            pack(b"PTTL", self.key),
        ]

    @property
    def count(self) -> int:
        """Five commands."""
        return 5

    def outcome(self, results: list[Any]) -> WarrantedNumber:
        """Return the sum, the warrant and the time left."""
        made, total, warranted, warrant, left = results[: self.count]
        value = None if made is not None and not self.create else integer(total)
        return WarrantedNumber(
            value, warrant if type(warrant) is bytes else None, integer(left), made is not None or warranted is None
        )


NOT_A_NUMBER: Final = "not a number"
"""Result in place of a sum: the key holds no signed number."""
OVERFLOW: Final = "overflow"
"""Result in place of a sum that wouldn't fit into 64 bits."""


@dataclass(frozen=True, slots=True)
class IncrementFrom(OnOneKey[UnderGeneration[int | str | None]]):
    """Replace a signed number by a counter that holds its sum with `delta`; the life stays.

    `number_in` returns the number in a stored value, or None if the value holds no number. The result is the
    sum; None if the key has changed meanwhile; NOT_A_NUMBER or OVERFLOW.
    """

    watched: bytes
    delta: int
    number_in: Callable[[bytes], int | None]
    range: range
    warrant_key: bytes
    warrant: bytes
    publication: Publication | None
    voids: Sequence[bytes]
    generation_key: bytes | None
    """Key of the generation to read afterwards; None: don't read one."""

    @property
    def replies(self) -> int:
        """Three replies."""
        return 3

    @property
    def wire(self) -> bytes:
        """WATCH, GET and PTTL."""
        return pack(b"WATCH", self.watched) + pack(b"GET", self.watched) + pack(b"PTTL", self.watched)

    def decide(self, replies: list[Any]) -> Command[UnderGeneration[int | str | None]]:
        """Return the second step for the current value and its time left."""
        check(replies[0])
        stands: Fetched = fetched(replies[1], replies[2])
        return WithGeneration(self._step(stands), self.generation_key)

    def _step(self, stands: Fetched) -> Command[int | str | None]:
        number = None if stands.data is None else self.number_in(stands.data)
        if number is None:
            return Unchanged(NOT_A_NUMBER)
        total = number + self.delta
        if total not in self.range:
            return Unchanged(OVERFLOW)
        life = None if stands.pttl == -1 else stands.pttl
        steps = [put(self.watched, b"%d" % total, life), put(self.warrant_key, self.warrant, life)]
        return OutcomeIfUnchanged(PackedWrite(steps, lambda _: total, self.publication, self.voids))
