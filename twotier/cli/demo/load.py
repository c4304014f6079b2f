"""The load chooses the next row to read. A few rows are read often and most seldom, by Zipf's law."""

import itertools
import random
from collections.abc import Sequence
from typing import Final, Generic, TypeVar

T = TypeVar("T")

SKEW: Final = 1.0
"""Exponent: the row of rank r is asked for in proportion to 1 / r**SKEW."""
_POPULARITY: Final = 7
"""Seed of the ranks, one for all processes, which therefore agree on the popular items."""


class Zipf(Generic[T]):
    """An endless draw from `items` under a Zipf law; processes with different seeds draw differently."""

    def __init__(self, items: Sequence[T], seed: int) -> None:
        self._items = list(items)
        random.Random(_POPULARITY).shuffle(self._items)  # noqa: S311 - a load pattern
        self._weights = list(itertools.accumulate(1 / rank**SKEW for rank in range(1, len(items) + 1)))
        self._random = random.Random(seed)  # noqa: S311 - a load pattern

    def draw(self, count: int) -> list[T]:
        """Return the next `count` items."""
        return self._random.choices(self._items, cum_weights=self._weights, k=count)
