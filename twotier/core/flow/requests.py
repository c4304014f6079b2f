"""What a flow yields beside remote commands: waiting, calling a loader, pausing, and running another flow meanwhile.

A driver runs each and sends the result back in, or throws what was raised.
"""

import math
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

_FIRST_LOOK: Final = 0.002
_LAST_LOOK: Final = 0.05
"""Seconds between two looks of a waiter whether waiting has become pointless: doubled from the first to the last."""


class Local:
    """What a driver does by itself; it hands all else to the remote tier's executor."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Wait(Local):
    """Wait for `future` and give its result; TimeoutError past `seconds` (None: no limit), which ends the wait alone.

    With `pointless`, the waiter calls that every 2 to 50 ms; once it gives True, waiting ends like that as well.
    """

    future: Future[Any]
    seconds: float | None = None
    pointless: Callable[[], bool] | None = None

    def spells(self) -> Iterator[float | None]:
        """Yield for how many seconds to wait, again and again, until waiting is over or pointless."""
        if self.pointless is None:
            yield self.seconds
            return
        deadline, look = time.monotonic() + (math.inf if self.seconds is None else self.seconds), _FIRST_LOOK
        while not self.pointless():
            left = deadline - time.monotonic()
            if left <= 0:
                return
            yield min(look, left)
            look = min(2 * look, _LAST_LOOK)


@dataclass(frozen=True, slots=True)
class Load(Local):
    """Call `loader` and give what it returns."""

    loader: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Pause(Local):
    """Let `seconds` pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Spawn(Local):
    """Run `flow` in the background, in a copy of the caller's context, and give the future of its result at once.

    What the flow raises is the future's: one that nobody waits for has to take care of its errors itself. Raises
    TwoTierError once the cache is closed, or where no thread can be started, unless `is_awaited`: then the caller runs
    it first. The flow has not begun then.
    """

    flow: Generator[Any, Any, Any]
    undo: Callable[[], object] | None = None
    """Gives back what the flow was given; called once the flow is over, also where it has not begun."""
    is_awaited: bool = False
