"""Signed clears: each counts once, and only in time.

An attacker can record a signed clear and replay it, and each replay would empty the local tiers,
including the stale copies for outages. A process therefore remembers the op ids of the clears that it
has received, and ignores a known one. A clear that was sent before the remembered ones may still be
new, as clocks differ and messages are late; it puts all entries in doubt, which keeps the bound on
staleness whatever the clocks say, and keeps the copies.

Costs: about 100 KB a namespace once 1,024 are known, and about 1 us a clear.
"""

import enum
from collections.abc import Callable
from typing import Final

from twotier.clock import wall_clock

OLDEST: Final = 300_000_000
"""How long ago a clear may have been sent by its sender's wall clock, to be obeyed (us)."""
MOST: Final = 1024
"""Clears that are remembered; a clear sent before a forgotten one counts as sent too long ago."""


class Verdict(enum.Enum):
    """The treatment of a clear."""

    NEW = "obey it"
    LATE = "put everything in doubt"
    KNOWN = "pass over it"


class HeardClears:
    """The clears that one process has received. Only the listener's thread uses it.

    >>> heard = HeardClears(now=lambda: 1_700_000_000_000_000)
    >>> heard.judge(b"op", 1_699_999_999_000_000), heard.judge(b"op", 1_699_999_999_000_000)
    (<Verdict.NEW: 'obey it'>, <Verdict.KNOWN: 'pass over it'>)
    >>> heard.judge(b"other", 1_600_000_000_000_000)
    <Verdict.LATE: 'put everything in doubt'>
    """

    __slots__ = ("_forgotten", "_heard", "_now")

    def __init__(self, now: Callable[[], int] = wall_clock) -> None:
        self._now = now
        self._heard: dict[bytes, int] = {}
        """Op id to time of sending (us), in the order of arrival."""
        self._forgotten = 0
        """The latest time of sending of the forgotten clears (us)."""

    def judge(self, op_id: bytes, sent_at: int) -> Verdict:
        """Return the verdict on the clear `op_id`, which says that it was sent at `sent_at` (us since 1970)."""
        if op_id in self._heard:
            return Verdict.KNOWN
        now = self._now()
        verdict = Verdict.NEW if sent_at > max(now - OLDEST, self._forgotten) else Verdict.LATE
        self._heard[op_id] = sent_at
        if len(self._heard) > MOST:
            oldest = next(iter(self._heard))
            # A clock that is ahead must not make later clears of other processes count as late.
            self._forgotten = max(self._forgotten, min(self._heard.pop(oldest), now))
        return verdict
