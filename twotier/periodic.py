"""Rounds: one worker visits many objects at regular intervals for as long as they live.

The worker holds weak references. Its thread ends with the last object, and starts with the next.
"""

import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

from twotier.fork import reset_first_on_fork
from twotier.worker import Worker

T = TypeVar("T")


class Periodic(Generic[T]):
    """Calls `visit` with each thing that is watched, every `interval` seconds, on a thread named `name`.

    `visit` returns False for a thing that needs no more visits until it is watched again.
    """

    def __init__(self, visit: Callable[[T], bool], interval: float, name: str) -> None:
        self._visit = visit
        self._interval = interval
        self._worker = Worker(self._step, name)
        self._begin()
        reset_first_on_fork(self, Periodic._begin)

    def _begin(self) -> None:
        self._watched: set[weakref.ref[T]] = set()

    def watch(self, thing: T) -> None:
        """Visit `thing` from now on; a forked child must call this again. Raises nothing."""
        self._watched.add(weakref.ref(thing, self._watched.discard))
        self._worker.start()

    def forget(self, thing: T) -> None:
        """Visit `thing` no more; after the last one wait a moment for the thread to end."""
        self._watched.discard(weakref.ref(thing))
        if not self._watched and self._worker.thread is not None:
            self._worker.wake()
            self._worker.join(self._interval)

    def _step(self, woken: bool) -> float | None:
        if not woken:
            for each in list(self._watched):
                thing = each()
                if thing is None:
                    continue
                self._watched.discard(each)  # before the visit, during which it may be watched again
                if self._visit(thing):
                    self._watched.add(each)
                del thing  # or it would live for another round
        return self._interval if self._watched else None
