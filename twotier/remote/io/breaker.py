"""The circuit breaker: after a few failures in a row, round trips fail at once, until a probe succeeds.

States: *closed* (in use), *open* (away: calls fail at once), *half-open* (away, one prober is trying the
server). Callers never probe; recovery does, and closes the breaker only after the replay. So successes of
calls that began before an opening change nothing. Only outages count as failures: the server can't be
reached, doesn't reply, or is loading. A refused command is a reply.
"""

import logging
import threading
from typing import TYPE_CHECKING, Final, Literal

from twotier.clock import SECOND, Clock
from twotier.errors import RemoteUnavailable
from twotier.worker import start_pending

if TYPE_CHECKING:
    from collections.abc import Callable

State = Literal["closed", "open", "half-open"]

THRESHOLD: Final = 3
"""Failures in a row that open the breaker."""
_LOG_EVERY: Final = 60 * SECOND
"""Least time from one logged opening to the next (ns)."""

_log = logging.getLogger("twotier")


class BreakerOpenError(RemoteUnavailable):
    """The circuit breaker isn't closed: the call wasn't begun."""


class Breaker:
    """Counts outages of one remote tier. Threads may share it.

    >>> from twotier.clock import ManualClock
    >>> breaker = Breaker(ManualClock(), threshold=1)
    >>> breaker.failed()
    >>> breaker.state, breaker.begin_probe(), breaker.begin_probe()
    ('open', True, False)
    >>> breaker.close()
    >>> breaker.state
    'closed'
    """

    def __init__(self, clock: Clock, threshold: int = THRESHOLD, label: str = "") -> None:
        self._clock = clock
        self._label = label
        """Name of the server in the log; if empty, nothing is logged."""
        self._logged: int | None = None
        """When an opening was last logged (ns)."""
        self._log_close = False
        """Whether the opening was logged, so that the closing is to be."""
        self.openings = 0
        """How often it has opened."""
        self._threshold = threshold
        self._lock = threading.Lock()
        self._failures = 0
        self._since = 0
        self.state: State = "closed"
        """State of the breaker; anyone may read it, only the methods change it."""
        self.on_open: Callable[[], None] | None = None
        """Called once for each opening, on the thread that caused it, outside the lock."""

    def check(self) -> None:
        """Raise BreakerOpenError unless the breaker is closed."""
        if self.state != "closed":
            start_pending()  # recovery may have had no thread to run on
            away = (self._clock.now() - self._since) / SECOND
            raise BreakerOpenError(f"the remote tier is away (circuit breaker open for {away:.1f} s)")

    def succeeded(self) -> None:
        """Note a successful call: the failures before it no longer count."""
        if self._failures:
            with self._lock:
                self._failures = 0

    def failed(self) -> None:
        """Count an outage that a call has met."""
        with self._lock:
            self._failures += 1
            if self._failures < self._threshold or self.state != "closed":
                return
            self._open()
        self._tell()

    def trip(self) -> None:
        """Open at once, whatever the count; a probe under way no longer closes the breaker."""
        with self._lock:
            was = self.state
            self._open()
        if was == "closed":
            self._tell()

    def begin_probe(self) -> bool:
        """Go from open to half-open; return True to the one caller who may probe."""
        with self._lock:
            if self.state != "open":
                return False
            self.state = "half-open"
            return True

    def probe_failed(self) -> None:
        """Go back from half-open to open."""
        with self._lock:
            if self.state == "half-open":
                self.state = "open"

    def close(self) -> None:
        """Go from half-open to closed; nothing happens if the breaker was tripped meanwhile."""
        with self._lock:
            if self.state != "half-open":
                return
            self.state = "closed"
            self._failures = 0
            logged, self._log_close = self._log_close, False
            away = (self._clock.now() - self._since) / SECOND
        if logged:
            _log.warning("%s: the circuit breaker is closed, after an outage of %.1f s", self._label, away)

    def _open(self) -> None:
        if self.state == "closed":
            self._since = now = self._clock.now()
            self.openings += 1
            if self._label and (self._logged is None or now - self._logged >= _LOG_EVERY):
                self._logged, self._log_close = now, True
        self.state = "open"
        self._failures = 0

    def _tell(self) -> None:
        if self._log_close:
            message = "%s: the circuit breaker is open, as the server doesn't answer (outage %d of this process)"
            _log.warning(message, self._label, self.openings)
        if self.on_open is not None:
            self.on_open()
