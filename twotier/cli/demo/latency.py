"""A fixed-size sample of any number of latencies: reservoir sampling (Vitter's algorithm R)."""

import random
from array import array
from collections.abc import Iterable
from typing import Final

SIZE: Final = 20_000
"""Latencies kept: the p99 then rests on 200 of them."""


class Sample:
    """A uniform sample of the latencies (ns) that were added."""

    def __init__(self, seed: int, size: int = SIZE) -> None:
        self.kept = array("q")
        self._size = size
        self._seen = 0
        self._random = random.Random(seed).random  # noqa: S311 - a sample

    def add(self, latency: int) -> None:
        """Add a latency; each latency so far is in the sample with equal chance."""
        self._seen += 1
        if len(self.kept) < self._size:
            self.kept.append(latency)
        elif (place := int(self._random() * self._seen)) < self._size:
            self.kept[place] = latency


def percentile(latencies: Iterable[int], share: float) -> int | None:
    """Return the smallest latency that at least `share` of `latencies` don't exceed (nearest rank); None without any.

    >>> percentile([10, 20, 30, 40], 0.5), percentile([10, 20, 30, 40], 0.99), percentile([], 0.5)
    (20, 40, None)
    """
    ordered = sorted(latencies)
    if not ordered:
        return None
    rank = -int(-share * len(ordered) // 1)  # rounded up
    return ordered[max(0, rank - 1)]
