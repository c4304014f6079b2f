"""The cap on loads: how many loaders run in this process at once, so that a cold start doesn't flood the source.

Callers over the cap queue, first come, first served. A loader that loads other keys passes for those without a place of
its own: were it made to wait, it would hold the place that it waits for.

Places and the queue are one ordered dict: its first `limit` entries have a place, the others wait for one. So a place
is taken, passed on and given back by one operation on a dict, which an exception that comes between two lines (a
signal, a killed greenlet) can't split, and no lock can be left held. A caller in the queue checks now and then whether
its turn has come, so a lost wake-up costs a moment only. Costs: 32 steps of C a look, about 200 bytes a caller.
"""

import asyncio
import contextlib
from concurrent.futures import Future, InvalidStateError
from itertools import islice

from twotier.core.flow.blocking import is_gone


class Place:
    """A place at the gate, or in its queue. Create it, then `enter` with it: it can then be given back at any moment.

    `loop`: the event loop of the task that holds the place, if a task does.
    """

    __slots__ = ("gate", "loop", "turn")

    def __init__(self, gate: "LoadGate", loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.gate = gate
        self.loop = loop
        self.turn: Future[None] | None = None
        """Done once a caller that queued has a place."""

    @property
    def is_held(self) -> bool:
        """Whether the holder may load now."""
        return self.gate.has_place(self)

    def leave(self) -> None:
        """Give the place, or the turn in the queue, back; another call does nothing."""
        self.gate.leave(self)


class LoadGate:
    """Places for `limit` loads.

    >>> gate = LoadGate(1)
    >>> first, second = gate.enter(), gate.enter()
    >>> first.is_held, second.is_held, gate.enter_at_once() is None
    (True, False, True)
    >>> first.leave()
    >>> second.is_held
    True
    """

    __slots__ = ("_callers", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._callers: dict[Place, None] = {}

    def enter(self, place: Place | None = None) -> Place:
        """Take a place, or a turn in the queue; see `Place.is_held`."""
        if place is None:
            place = Place(self)
        self._callers[place] = None
        if not self.has_place(place):
            self._drop_lost()
        return place

    def enter_at_once(self, place: Place | None = None) -> Place | None:
        """Take a place if one is free."""
        if self.is_full:
            self._drop_lost()
        if self.is_full:
            return None
        place = self.enter(place)
        if self.has_place(place):
            return place
        place.leave()
        return None

    def has_place(self, place: Place) -> bool:
        """Return True if the cap allows the holder of `place` to load."""
        return place in self._holders()

    @property
    def is_full(self) -> bool:
        """Whether every place is taken."""
        return len(self._callers) >= self._limit

    @property
    def free(self) -> int:
        """Number of free places."""
        return max(0, self._limit - len(self._callers))

    @property
    def queued(self) -> int:
        """Number of callers in the queue."""
        return max(0, len(self._callers) - self._limit)

    @property
    def serves_loops(self) -> bool:
        """Whether a task of an event loop holds a place."""
        return any(place.loop is not None for place in self._holders())

    def leave(self, place: Place) -> None:
        """Take back a place, or a turn in the queue, and wake the callers whose turn has come."""
        self._callers.pop(place, None)
        if len(self._callers) >= self._limit:
            self._wake()

    def wake(self, place: Place) -> Future[None]:
        """Return a future that is done once `place` is held; its waiter must also check `is_held` now and then."""
        if place.turn is None:
            place.turn = Future()
        self._wake()
        self._drop_lost()
        return place.turn

    def _holders(self) -> list[Place]:
        return list(islice(self._callers, self._limit))

    def _wake(self) -> None:
        for place in self._holders():
            turn = place.turn
            if turn is not None and not turn.done():
                with contextlib.suppress(InvalidStateError):  # another thread was faster
                    turn.set_result(None)

    def _drop_lost(self) -> None:
        """Take back the places of tasks whose event loop was closed or stopped: the tasks no longer can."""
        for place in self._holders():
            if place.loop is not None and is_gone(place.loop):
                self.leave(place)
