"""Counters: a number to which the server adds, and if values are signed, a signed warrant beside it.

The server can't sign what it adds up, so a counter's number is raw. A raw number alone counts for nothing: only a
warrant beside it, which names its key and generation, says that `incr` has been called on that key. So a number that
someone plants under another key is a miss. What `set` has stored is signed, and the first `incr` makes a counter of it.

The warrant is made in the transaction that adds, before the number can be seen, with the life of a number that is new.
A number that was there already keeps its own, which is looked at in the same trip.
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
    """Add `delta` to an integer and return it; without one, start from 0 or (not `create`) return None.

    Raises NotAnInteger or OtherTypeError for any other value, IntegerOverflow if the sum doesn't fit into 64 bits.

    INCRBY makes what it doesn't find, and MULTI can't ask first. So a missing key is made beforehand (SET NX): with
    its proper life if it is to be created, else with a life of 1 ms, so that the server itself takes it back, whatever
    becomes of us. Reads count a key in its last millisecond as gone, so they don't see it meanwhile; other writes do.
    So without `create`, ask for the `TimeLeft` first: then this can only happen to a key that vanishes in between.
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
        """Two."""
        return 2

    def outcome(self, results: list[Any]) -> int | None:
        """Return the sum, unless it stands in a key that was missing and isn't wanted."""
        if results[0] is not None and not self.create:
            return None
        return integer(results[1])


class WarrantedNumber(NamedTuple):
    """What an increment gave: the sum (None: not there), and the warrant and life (ms) that the number has now."""

    value: int | None
    warrant: bytes | None
    pttl: int
    settled: bool
    """The warrant was there before, or is as old as the number: then it lives as long."""


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
        """Five."""
        return 5

    def outcome(self, results: list[Any]) -> WarrantedNumber:
        """Return the sum, and what there is to know of the warrant."""
        made, total, warranted, warrant, left = results[: self.count]
        value = None if made is not None and not self.create else integer(total)
        return WarrantedNumber(
            value, warrant if type(warrant) is bytes else None, integer(left), made is not None or warranted is None
        )


NOT_A_NUMBER: Final = "not a number"
"""In place of a sum: something else than a signed number stands there."""
OVERFLOW: Final = "overflow"
"""In place of a sum: it would leave 64 bits."""


@dataclass(frozen=True, slots=True)
class IncrementFrom(OnOneKey[UnderGeneration[int | str | None]]):
    """Put the sum of a signed number and `delta` in its place, as a counter; its life stays.

    `number_in` gives the number in what stands there, None if there is none. Gives the sum; None where the key has
    changed meanwhile; NOT_A_NUMBER or OVERFLOW.
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
    """Of the generation that is looked at afterwards; None: none is."""

    @property
    def replies(self) -> int:
        """Three."""
        return 3

    @property
    def wire(self) -> bytes:
        """WATCH, GET and PTTL."""
        return pack(b"WATCH", self.watched) + pack(b"GET", self.watched) + pack(b"PTTL", self.watched)

    def decide(self, replies: list[Any]) -> Command[UnderGeneration[int | str | None]]:
        """Return the second step, for what stands and has some time left."""
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
