"""What a flow yields beside remote commands: waiting, calling a loader, pausing, and running another flow meanwhile.

A driver runs each and sends the result back in, or throws what was raised.
"""

from collections.abc import Callable, Generator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for `future` and give its result; TimeoutError past `seconds`, which ends the waiting alone."""

    future: Future[Any]
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """Call `loader` and give what it returns."""

    loader: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Pause:
    """Let `seconds` pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Spawn:
    """Run `flow` in the background, in a copy of the caller's context, and give the future of its result at once.

    What the flow raises is the future's: one that nobody waits for has to take care of its errors itself. Raises
    TwoTierError once the cache is closed; the flow has not begun then.
    """

    flow: Generator[Any, Any, Any]
