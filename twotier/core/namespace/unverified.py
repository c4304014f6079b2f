"""Messages that can't be verified: they put everything in doubt, at a bounded rate.

A message that no secret of ours has signed, or that can't be read, may name any key. So nothing is
fresh after it. Anybody that can publish could send such messages without end, and each would cost
every key a round trip. The first message therefore counts at once, and the messages that follow
within a lease interval count together, at the next lease: at most two doubts an interval, and never
one too late, as no lease is extended past a message that still has to count.

Only the listener's thread counts messages; any thread may ask for `recent`.
"""

from collections.abc import Callable
from typing import Final

from twotier.clock import SECOND, Clock

REMEMBERED: Final = 60 * SECOND
"""How long health reports such a message (ns)."""


class UnverifiedMessages:
    """Calls `doubt` for messages that can't be verified, at once or when the lease is renewed.

    >>> from twotier.clock import ManualClock
    >>> doubts = []
    >>> messages = UnverifiedMessages(lambda: doubts.append(1), ManualClock(), interval=1.0)
    >>> for _ in range(1000): messages.heard()
    >>> len(doubts)
    1
    >>> messages.settle()
    >>> messages.settle()
    >>> len(doubts)
    2
    """

    __slots__ = ("_clock", "_doubt", "_heard_at", "_interval", "_pending", "_quiet_until")

    def __init__(self, doubt: Callable[[], None], clock: Clock, interval: float) -> None:
        self._doubt = doubt
        self._clock = clock
        self._interval = round(interval * SECOND)
        self._pending = False
        """Whether a message has arrived that still has to count."""
        self._quiet_until: int | None = None
        """Until when messages are deferred to the next lease (ns)."""
        self._heard_at: int | None = None

    @property
    def recent(self) -> bool:
        """Whether there was such a message within the last minute."""
        heard_at = self._heard_at
        return heard_at is not None and self._clock.now() - heard_at < REMEMBERED

    def heard(self) -> None:
        """Count a message that can't be verified."""
        self._heard_at = now = self._clock.now()
        if self._quiet_until is not None and now < self._quiet_until:
            self._pending = True
            return
        self._quiet_until = now + self._interval
        self._doubt()

    def settle(self) -> None:
        """Count the deferred messages. Call it before a lease is extended."""
        if self._pending:
            self._pending = False
            self._doubt()
