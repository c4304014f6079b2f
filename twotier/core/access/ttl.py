"""Conversions of an entry's ttl (ns) to an expiry instant, and to the server's unit."""

from typing import Final

from twotier.clock import NEVER

MILLISECOND: Final = 1_000_000


def after(now: int, ttl: int) -> int:
    """Return the instant `ttl` after `now`; NEVER if the sum is out of range."""
    return NEVER if ttl >= NEVER - now else now + ttl


def milliseconds(ttl: int) -> int | None:
    """Return a ttl in ns in the server's unit: whole ms, at least 1; None for no expiry."""
    return None if ttl == NEVER else max(1, round(ttl / MILLISECOND))
