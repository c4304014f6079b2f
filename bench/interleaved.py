"""Timing of candidates in turns, in one run: machines drift and have noisy neighbours, ratios between turns hold.

Each round times every candidate once, in an order that is shuffled anew; a candidate's figure is the median of its
rounds, and a ratio is the median of the rounds' own ratios.
"""

import random
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something to time: `run` does `operations` operations."""

    name: str
    run: Callable[[], object]
    operations: int


@dataclass(frozen=True, slots=True)
class Timings:
    """What each candidate took in each round (ns an operation)."""

    rounds: dict[str, list[float]]

    @classmethod
    def joined(cls, parts: Iterable["Timings"]) -> "Timings":
        """Make one of the rounds of several runs with the same candidates."""
        rounds: dict[str, list[float]] = {}
        for part in parts:
            for name, taken in part.rounds.items():
                rounds.setdefault(name, []).extend(taken)
        return cls(rounds)

    def median(self, name: str) -> float:
        """Return the median of a candidate (ns an operation)."""
        return statistics.median(self.rounds[name])

    def ratio(self, name: str, peer: str) -> float:
        """Return how many times a candidate takes what `peer` takes: the median over the rounds."""
        return statistics.median(self._ratios(name, peer))

    def spread(self, name: str, peer: str) -> tuple[float, float]:
        """Return the quartiles of the rounds' ratios: half of the rounds lie between them."""
        low, _, high = statistics.quantiles(self._ratios(name, peer), n=4)
        return low, high

    def _ratios(self, name: str, peer: str) -> list[float]:
        return [ours / theirs for ours, theirs in zip(self.rounds[name], self.rounds[peer], strict=True)]


def interleave(candidates: list[Candidate], rounds: int = 31, *, warm: bool = False) -> Timings:
    """Time the candidates in turns; the first round warms up and isn't counted.

    `warm`: before each timed run comes an untimed one, so that the processor's caches hold what the candidate uses, as
    in a hot loop, and not what the one before it left there. For operations that take nanoseconds.
    """
    taken: dict[str, list[float]] = {candidate.name: [] for candidate in candidates}
    for turn in range(rounds + 1):
        for candidate in random.sample(candidates, len(candidates)):
            if warm:
                candidate.run()
            start = time.perf_counter_ns()
            candidate.run()
            spent = time.perf_counter_ns() - start
            if turn:
                taken[candidate.name].append(spent / candidate.operations)
    return Timings(taken)


def each(call: Callable[[str], object], keys: list[str]) -> Callable[[], None]:
    """Return a run that makes one call a key."""

    def run() -> None:
        for key in keys:
            call(key)

    return run
