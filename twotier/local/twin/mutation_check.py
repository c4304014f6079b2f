"""`copy="check"` hands out values by reference and reports those that were changed after they were cached.

Use it in development. Code that mutates a cached value by reference changes it for every later reader;
with this option, the next hit logs the change (at most once per change, and one line per minute and
store). Each hit costs a pickle of the value.
"""

import logging
import pickle
from typing import Any, Final

from twotier.clock import SystemClock
from twotier.rate_limited_log import RateLimitedLog


class Watched:
    """A value, and its pickle when it was last handed out."""

    __slots__ = ("looks", "value")

    def __init__(self, value: object) -> None:
        self.value = value
        self.looks = _looks_of(value)


class Watch:
    """Hands out the watched values of one store, and reports those that have changed."""

    __slots__ = ("_log",)

    def __init__(self) -> None:
        self._log: Final = RateLimitedLog(SystemClock())

    def value(self, watched: Watched) -> Any:
        """Return the value; report it if it has changed."""
        looks = _looks_of(watched.value)
        if looks != watched.looks:
            watched.looks = looks
            self._log.log(
                logging.WARNING,
                "changed",
                "a cached value was changed in place, for all readers: %.200r (cache a copy, or use copy='auto')",
                watched.value,
            )
        return watched.value


def _looks_of(value: object) -> bytes | None:
    try:
        return pickle.dumps(value, protocol=5)
    except Exception:  # noqa: BLE001 - an unpicklable value can't be watched
        return None
