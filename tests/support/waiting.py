"""Waiting for a state: polled with a deadline, never slept for."""

import time
from collections.abc import Callable

from twotier import Cache

PATIENCE = 30.0
"""Seconds that a state may take to come about on a busy machine."""

PATIENT = {"timeout": 2.0, "connect_timeout": 2.0, "max_staleness": 8.0}
"""Options of caches whose test isn't about deadlines: a busy machine isn't an outage to them."""


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Poll `condition` until it holds; fail with `what` when it doesn't in time."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.002)


def live(cache: Cache) -> bool:
    """Tell whether the cache's link is live; asks it something first, as the link starts on use."""
    cache.get("is the link up?")
    return cache.health().link == "live"
