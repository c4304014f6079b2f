"""Waiting for a future as part of a flow, a spell at a time: between two spells the waiter checks for other ways on."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

from twotier.core.flow.drive import Flow
from twotier.core.flow.requests import Wait

FIRST_SPELL: Final = 0.05
LONGEST_SPELL: Final = 1.0
"""Seconds between a waiter's checks of both tiers; doubled from the first to the longest."""


def wait_for(
    future: Future[Any], seconds: float, pointless: Callable[[], bool] | None = None
) -> Flow[tuple[bool, Any]]:
    """Wait; return True and the result if `future` is done. Its own error may be a TimeoutError, too."""
    try:
        return True, (yield Wait(future, seconds, pointless))
    except TimeoutError:
        if future.done():
            return True, future.result()
        return False, None
