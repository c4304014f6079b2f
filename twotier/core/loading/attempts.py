"""Loads in the background: one a key at a time, and none for a moment after one has failed."""

import threading
from typing import Final

from twotier.clock import SECOND, Clock
from twotier.core.loading.bounded import Bounded

BACK_OFF: Final = SECOND
"""How long a key isn't loaded again, by those who have something else to serve, after its loader has raised (ns)."""
MOST: Final = 10_000
"""Failures remembered."""


class Attempts:
    """Which keys are being loaded in the background, and which have failed a moment ago."""

    __slots__ = ("_clock", "_failed", "_lock", "_under_way")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.RLock()  # an abandoned coroutine may be closed, and end its attempt, anywhere
        self._under_way: set[str] = set()
        self._failed: Bounded[str, int] = Bounded(MOST)

    def begin(self, key: str) -> bool:
        """Tell whether `key` may be loaded in the background now; then `end` has to follow."""
        with self._lock:
            if key in self._under_way or self.is_backing_off(key):
                return False
            self._under_way.add(key)
            return True

    def end(self, key: str) -> None:
        """Let `key` be loaded in the background again."""
        with self._lock:
            self._under_way.discard(key)

    def failed(self, key: str) -> None:
        """Hold the next attempt off for a moment."""
        self._failed.put(key, self._clock.now() + BACK_OFF)

    def is_backing_off(self, key: str) -> bool:
        """Tell whether a load of `key` has failed a moment ago."""
        until = self._failed.get(key)
        if until is None:
            return False
        if self._clock.now() < until:
            return True
        self._failed.drop(key)
        return False
