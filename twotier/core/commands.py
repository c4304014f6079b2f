"""What a flow yields beside remote commands: waiting for another caller's load, calling a loader, and pausing.

A driver runs each and sends the result back in, or throws what was raised.
"""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for `future` and give its result."""

    future: Future[Any]


@dataclass(frozen=True, slots=True)
class Load:
    """Call `loader` and give what it returns."""

    loader: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Pause:
    """Let `seconds` pass."""

    seconds: float
