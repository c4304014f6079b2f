"""Log lines for events that may repeat without end: at most one line per minute and kind."""

import logging
from typing import Final

from twotier.clock import SECOND, Clock

INTERVAL: Final = 60 * SECOND

_logger: Final = logging.getLogger("twotier")


class RateLimitedLog:
    """Logs one line a minute of each kind, and counts the others into the next."""

    __slots__ = ("_clock", "_kinds")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kinds: dict[str, tuple[int, int]] = {}
        """When the kind was last logged (ns), and how many were left out since."""

    def log(self, level: int, kind: str, message: str, *arguments: object, trace: bool = False) -> None:
        """Log `message % arguments`, with the traceback of the exception being handled if `trace`."""
        now = self._clock.now()
        last, left_out = self._kinds.get(kind, (now - INTERVAL, 0))
        if now - last < INTERVAL:
            self._kinds[kind] = last, left_out + 1
            return
        self._kinds[kind] = now, 0
        if left_out:
            message, arguments = message + " (and %d like it since the last line)", (*arguments, left_out)
        _logger.log(level, message, *arguments, exc_info=trace)
