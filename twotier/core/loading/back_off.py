"""Loads in the background: one a key at a time, and none for a moment after a failure.

A background task ends with its event loop. Where each request has a loop of its own, no attempt
would ever finish. The next caller after a stopped attempt therefore makes the attempt itself, and
waits for it. With a `hard_timeout` this caller waits in overtime, up to `load_lease`; after an
overtime in vain, no caller waits in overtime for as long.
"""

import asyncio
from typing import Final, Protocol

from twotier.clock import SECOND, Clock
from twotier.core.flow.blocking import is_gone
from twotier.core.loading.bounded_dict import BoundedDict

BACK_OFF: Final = SECOND
"""After a failed load, how long callers that have a stale copy to serve don't load the key again (ns)."""
MOST: Final = 10_000
"""Failures remembered, and likewise stopped attempts."""


class BackgroundLoad(Protocol):
    """One attempt at loading keys in the background; `loop` is the event loop of its task, if a task makes it."""

    loop: asyncio.AbstractEventLoop | None


class BackgroundLoads:
    """The keys that are being loaded in the background, and those whose load has just failed."""

    __slots__ = ("_clock", "_failed", "_in_vain", "_stopped", "_under_way")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._under_way: dict[str, BackgroundLoad] = {}
        self._failed: BoundedDict[str, int] = BoundedDict(MOST)
        self._stopped: BoundedDict[str, None] = BoundedDict(MOST)
        self._in_vain: BoundedDict[str, int] = BoundedDict(MOST)

    def begin(self, key: str, attempt: BackgroundLoad) -> bool:
        """Return True if `attempt` may load `key` in the background now; the caller must call `end` in any case."""
        if self.is_backing_off(key):
            return False
        other = self._under_way.setdefault(key, attempt)
        if other is not attempt and is_gone(other.loop):
            self.end(key, other)  # nothing else ends it
            self.stopped(key)
            other = self._under_way.setdefault(key, attempt)
        return other is attempt

    def end(self, key: str, attempt: BackgroundLoad) -> None:
        """Let `key` be loaded in the background again if `attempt` loads it; another call does nothing."""
        if self._under_way.get(key) is attempt:
            self._under_way.pop(key, None)

    def stopped(self, key: str) -> None:
        """Note that an attempt at `key` ended early because its task was stopped."""
        self._stopped.put(key, None)

    def take_stopped(self, key: str) -> bool:
        """Return True, once, if the last attempt at `key` was stopped: the caller makes the next one itself."""
        if key not in self._stopped:
            return False
        self._stopped.drop(key)
        return True

    def take_overtime(self, key: str) -> bool:
        """Return True, once, if the last attempt at `key` was stopped, and no overtime was in vain lately."""
        until = self._in_vain.get(key)
        if until is not None:
            if self._clock.now() < until:
                return False
            self._in_vain.drop(key)
        return self.take_stopped(key)

    def in_vain(self, key: str, wait: int) -> None:
        """Note that an attempt at `key` outlasted its overtime: allow no overtime for the next `wait` ns."""
        self._in_vain.put(key, self._clock.now() + wait)

    def failed(self, key: str) -> None:
        """Delay the next attempt at `key` by `BACK_OFF`."""
        self._failed.put(key, self._clock.now() + BACK_OFF)

    def is_backing_off(self, key: str) -> bool:
        """Return True if a load of `key` has failed within `BACK_OFF`."""
        until = self._failed.get(key)
        if until is None:
            return False
        if self._clock.now() < until:
            return True
        self._failed.drop(key)
        return False
