"""Time as the tiers use it: whole nanoseconds on a clock that never steps and that counts suspend.

Expiry, leases and deadlines are all measured on one `Clock`, which is passed in, so that a test drives time
instead of sleeping. The compiled store recognises `SystemClock` and reads the same clock in C.
"""

import time
from typing import Final, Protocol

SECOND: Final = 1_000_000_000
"""Nanoseconds in a second."""

NEVER: Final = (1 << 63) - 1
"""The instant that doesn't come: the expiry of an entry without one."""

# CLOCK_BOOTTIME (Linux) goes on through suspend; macOS's monotonic clock is the nearest there.
_SYSTEM: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """A source of time in nanoseconds; only differences mean anything."""

    def now(self) -> int:
        """Return the current instant (ns)."""
        ...


class SystemClock:
    """The machine's own steady clock.

    >>> clock = SystemClock()
    >>> clock.now() <= clock.now()
    True
    """

    __slots__ = ()

    def now(self) -> int:
        """Return the nanoseconds since boot, time asleep included."""
        return time.clock_gettime_ns(_SYSTEM)


def wall_clock() -> int:
    """Return the microseconds since 1970 by the machine's wall clock, which steps: for measuring across processes."""
    return time.time_ns() // 1000


class ManualClock:
    """A clock for tests, which moves only when a test calls `advance`.

    >>> clock = ManualClock()
    >>> start = clock.now()
    >>> clock.advance(1.5)
    >>> clock.now() - start
    1500000000
    """

    __slots__ = ("_now",)

    def __init__(self, start: int = 1_000 * SECOND) -> None:
        self._now = start

    def now(self) -> int:
        """Return the instant last set (ns)."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move forward by `seconds`."""
        if seconds < 0:
            raise ValueError(f"seconds must be >= 0, as steady clocks don't go back; got {seconds!r}")
        self._now += round(seconds * SECOND)
