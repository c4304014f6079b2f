"""Turns: a long bulk call lets the other tasks of its event loop run every few milliseconds.

A flow handles many keys in parts of `PART`. After each part, once `LENGTH` is over, it yields
`Pause(0)`, which a loop uses for its other tasks. Threads get their turn anyway, so to them the pause
is next to nothing. A flow must iterate over its own copy, as the caller may change the original.

Costs: a reading of the clock for each part. A call of fewer keys than `PART` gives no turns, however
slow it is.
"""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, TypeVar

from twotier.core.access.missing import MISSING
from twotier.core.flow.requests import Pause

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")

PART: Final = 64
"""Keys between two readings of the clock."""
LENGTH: Final = 0.002
"""Seconds after which other tasks have their turn."""
_OTHERS: Final = Pause(0.0)


class Turns:
    """The turns of one flow; create it when the flow begins its work."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until = time.monotonic() + LENGTH

    def give(self, handled: int) -> Generator[Any, Any, None]:
        """Let other tasks run if the flow has run for `LENGTH`; skipped after a last part of fewer `handled` keys."""
        if handled >= PART and time.monotonic() >= self._until:
            yield _OTHERS
            self._until = time.monotonic() + LENGTH


def parts(items: Iterable[T]) -> Iterator[list[T]]:
    """Yield `items` in lists of `PART`.

    >>> [len(part) for part in parts(range(150))]
    [64, 64, 22]
    """
    rest = iter(items)
    while part := list(islice(rest, PART)):
        yield part


def in_order(
    keys: Iterable[str], found: Mapping[str, V], nothing: object = MISSING
) -> Generator[Any, Any, dict[str, V]]:
    """Return the items of `found` in the order of `keys`, without values that are `nothing`; let other tasks run."""
    turns, ordered = Turns(), {}
    for part in parts(keys):
        ordered.update({key: found[key] for key in part if key in found and found[key] is not nothing})
        yield from turns.give(len(part))
    return ordered


def told_in_turns(tell: Callable[[Mapping[K, V]], None], told: Mapping[K, V]) -> Generator[Any, Any, None]:
    """Call `tell` with parts of `told`, and let other tasks run in between."""
    turns = Turns()
    for part in parts(told.items()):
        tell(dict(part))
        yield from turns.give(len(part))
