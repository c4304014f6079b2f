"""A run's progress: its phase, and the processes' counts over the last second."""

import enum
import functools
from collections import deque
from dataclasses import dataclass

from twotier.cli.demo.board import Counts


class Phase(enum.Enum):
    """The phases of a run."""

    WARM = "warming up"
    STEADY = "steady"
    AWAY = "server away"
    RECOVERING = "recovering"


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a run at one moment. Times are seconds from its start."""

    phase: Phase
    elapsed: float
    seconds: float
    """How long the run is to take."""
    counts: list[Counts]
    """One for each worker, and the writer's."""

    @property
    def total(self) -> Counts:
        """The workers' counts as one."""
        return functools.reduce(Counts.__add__, self.counts[:-1])


@dataclass(frozen=True, slots=True)
class Rates:
    """Recent reads per second, and the share that each tier answered."""

    reads: float = 0.0
    local: float = 0.0
    remote: float = 0.0
    stale: float = 0.0
    loaded: float = 0.0


class Meter:
    """Turns counts into rates over the last second."""

    def __init__(self, window: float = 1.0) -> None:
        self._window = window
        self._seen: deque[Progress] = deque()

    def rates(self, now: Progress) -> Rates:
        """Return the rates up to `now`; all zero while nothing has been read."""
        seen = self._seen
        seen.append(now)
        while len(seen) > 2 and now.elapsed - seen[1].elapsed >= self._window:  # noqa: PLR2004 - now, and one before
            seen.popleft()
        then, passed = seen[0], now.elapsed - seen[0].elapsed
        reads = now.total.reads - then.total.reads
        if reads <= 0 or passed <= 0:
            return Rates()
        shares = {
            tier: (getattr(now.total, tier) - getattr(then.total, tier)) / reads
            for tier in ("local", "remote", "stale", "loaded")
        }
        return Rates(reads=reads / passed, **shares)
