"""The local commands of a flow: waiting, calling a loader, pausing, and running another flow meanwhile.

A driver runs each command and sends the result back into the flow, or throws the command's error.
"""

import math
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

_FIRST_LOOK: Final = 0.002
_LAST_LOOK: Final = 0.05
"""Seconds between two checks whether waiting has become pointless: doubled from the first to the last."""


class Local:
    """A command that the driver itself runs; all others go to the remote tier's executor."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Wait(Local):
    """Wait for `future` and return its result; TimeoutError after `seconds` (None: no limit), ending the wait alone.

    The waiter calls `pointless`, if given, every 2 to 50 ms; once it returns True, the wait ends in the same way.
    """

    future: Future[Any]
    seconds: float | None = None
    pointless: Callable[[], bool] | None = None

    def spells(self) -> Iterator[float | None]:
        """Yield the seconds of each spell of waiting, until waiting is over or pointless."""
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
    """Call `loader` and return its result."""

    loader: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Pause(Local):
    """Let `seconds` pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Spawn(Local):
    """Run `flow` in the background, in a copy of the caller's context; return the future of its result at once.

    The future receives the flow's error: a flow whose future nobody waits for must handle its own errors.
    Raises TwoTierError, before the flow has begun, once the cache is closed, or if no thread can be
    started, unless `is_awaited`: then the caller runs the flow first.
    """

    flow: Generator[Any, Any, Any]
    undo: Callable[[], object] | None = None
    """Releases the resources handed to the flow; called once the flow is over, even if it has not begun."""
    is_awaited: bool = False
