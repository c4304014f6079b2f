"""A caller's wait for a connection, and the attempt to open one for that caller.

The pool refers to both weakly: they vanish with a caller that left them behind.
"""

import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twotier.errors import RemoteError


class OpenAttempt:
    """One attempt to open a channel, on behalf of a caller."""

    __slots__ = ("__weakref__", "failure", "is_callers", "turn")

    def __init__(self, turn: "Checkout") -> None:
        self.turn = weakref.ref(turn)
        self.failure: RemoteError | None = None
        self.is_callers = False
        """Whether the caller itself makes the attempt, as no thread could be started."""


@dataclass(slots=True, eq=False, weakref_slot=True)
class Checkout:
    """A caller's wait for a channel."""

    wake: Callable[[], object]
    """Called when another `Pool.look` may succeed."""
    deadline: float
    connects: bool = False
    woken: bool = False
    attempt: OpenAttempt | None = None
    """The caller's own attempt to open a channel."""

    def left(self) -> float:
        """Return the seconds until the deadline."""
        return max(0.0, self.deadline - time.monotonic())

    def expire(self) -> None:
        """End the wait, and wake the caller for a last check: a timer may go off just before the deadline."""
        self.deadline = 0.0
        self.wake()
