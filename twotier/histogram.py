"""Histograms of durations, on a log scale: cheap to add to, of a fixed size, exact to a quarter.

A bucket holds the durations that agree in their highest bit and the two below it (in whole microseconds), so that its
bounds lie at most a quarter apart, from 1 us to over an hour in 128 buckets. One list of counts, no lock: the addition
to an element of it isn't parted by a switch of threads.
"""

from dataclasses import dataclass
from typing import Final

BUCKETS: Final = 128


@dataclass(frozen=True, slots=True)
class Histogram:
    """Durations as they were counted until now.

    >>> recorder = Recorder()
    >>> for microseconds in (100, 100, 100, 90_000):
    ...     recorder.add(microseconds)
    >>> histogram = recorder.histogram()
    >>> histogram.count, round(histogram.p50, 6), round(histogram.p99, 3)
    (4, 0.000111, 0.098)
    """

    counts: tuple[int, ...] = ()
    """How many durations fell into each bucket, shortest first; the empty ones at the end are left out."""

    @property
    def count(self) -> int:
        """Durations counted."""
        return sum(self.counts)

    @property
    def p50(self) -> float:
        """The median (s)."""
        return self.quantile(0.5)

    @property
    def p99(self) -> float:
        """The 99th percentile (s)."""
        return self.quantile(0.99)

    def quantile(self, share: float) -> float:
        """Return the duration (s) that `share` of all don't exceed, at most a quarter too long; 0.0 without any."""
        if not 0 <= share <= 1:
            raise ValueError(f"share must be from 0 to 1, got {share!r}")
        wanted, seen = share * self.count, 0
        for bucket, count in enumerate(self.counts):
            seen += count
            if count and seen >= wanted:
                return _longest(bucket) / 1_000_000
        return 0.0


NOTHING: Final = Histogram()
"""No durations."""


class Recorder:
    """Counts durations."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts = [0] * BUCKETS

    def add(self, microseconds: int) -> None:
        """Count one; less than nothing, as clocks may disagree, counts as nothing."""
        if microseconds < 4:  # noqa: PLR2004 - these have a bucket each
            bucket = max(0, microseconds)
        else:
            bits = microseconds.bit_length()
            bucket = min(4 * (bits - 2) + (microseconds >> (bits - 3) & 3), BUCKETS - 1)
        self._counts[bucket] += 1

    def histogram(self) -> Histogram:
        """Return the counts so far as a `Histogram`."""
        counts = list(self._counts)
        while counts and not counts[-1]:
            counts.pop()
        return Histogram(tuple(counts))


def _longest(bucket: int) -> int:
    """Return the longest duration of a bucket (us)."""
    if bucket < 4:  # noqa: PLR2004 - these have a bucket each
        return bucket
    octave, quarter = divmod(bucket, 4)
    return ((5 + quarter) << (octave - 1)) - 1
