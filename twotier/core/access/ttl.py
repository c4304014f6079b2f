"""Lives of entries (ns) as instants, and as the server takes them."""

from typing import Final

from twotier.clock import NEVER

MILLISECOND: Final = 1_000_000


def after(now: int, ttl: int) -> int:
    """Return the instant `ttl` after `now`; NEVER where that is out of reach."""
    return NEVER if ttl >= NEVER - now else now + ttl


def milliseconds(ttl: int) -> int | None:
    """Return a ttl in ns as the server takes it: whole ms, at least 1; None for no expiry."""
    return None if ttl == NEVER else max(1, round(ttl / MILLISECOND))
