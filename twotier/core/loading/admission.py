"""Admission of one load through the gate: the load takes a place just before it calls the loader.

A caller that waits for another process's load holds no place: the cap is on loaders. If every place
is taken, the load follows the policy: it serves stale copies, is shed, or queues without a load
lock, so that other processes may load. A caller stops queueing, and loads without a place, when its
patience is over, or when an executor needs its thread while a task of an event loop holds a place.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from twotier.core.flow.blocking import holds_up_a_loop, is_needed, running_loop
from twotier.core.flow.drive import Flow
from twotier.core.flow.wait import LONGEST_SPELL, wait_for
from twotier.core.loading.load_gate import LoadGate, Place
from twotier.core.loading.single_flight import inside_loader
from twotier.core.loading.wait_budget import WaitBudget
from twotier.errors import LoadShed

if TYPE_CHECKING:
    from twotier.core.loading.claims import Claim

Instead = Callable[[Sequence[str]], list[str]]
"""Called instead of queueing; returns the keys that are to be loaded all the same. May raise LoadShed."""


class Admission:
    """The place of one load, for all of its keys. The creator gives it back with `leave`, whatever happens."""

    __slots__ = ("_gate", "_instead", "_place", "claim", "loop", "passes", "patience", "was_shed")

    def __init__(self, gate: LoadGate, patience: WaitBudget, *, passes: bool = False) -> None:
        self._gate = gate
        self._instead: Instead | None = None
        self.loop = running_loop()
        """The event loop whose task loads, if one does."""
        self._place = Place(gate, self.loop)
        self.passes = passes or inside_loader() or holds_up_a_loop()
        """Whether no place is needed."""
        self.patience = patience
        self.claim: Claim | None = None
        """The load locks of the load."""
        self.was_shed = False

    def instead(self, instead: Instead) -> None:
        """Call `instead` where the load would have to queue."""
        self._instead = instead

    @property
    def is_barred(self) -> bool:
        """Whether every place is taken, so that taking a load lock is of no use yet."""
        return not self.passes and not self._place.is_held and self._gate.is_full

    def take_at_once(self) -> bool:
        """Take a place if one is free, even if none is needed; return True if a place was taken."""
        return self._gate.enter_at_once(self._place) is not None

    def enter(self) -> bool:
        """Take a place if one is free, or none is needed; return True if the loader may be called."""
        return self.passes or self._place.is_held or self._gate.enter_at_once(self._place) is not None

    def queue(self, keys: Sequence[str]) -> Flow[list[str]]:
        """Wait for a place; return those of `keys` that are still to be loaded."""
        try:
            left = list(keys) if self._instead is None else self._instead(keys)
        except LoadShed:
            self.was_shed = True
            raise
        if left and not self.passes:
            yield from self._wait()
        return left

    def leave(self) -> None:
        """Give the place back; another call does nothing."""
        self._place.leave()

    def give_back(self) -> None:
        """Give back the place and abandon the load locks of a task whose event loop was closed or stopped."""
        self.leave()
        if self.claim is not None:
            self.claim.close()

    def _wait(self) -> Flow[None]:
        gate, place, patience = self._gate, self._place, self.patience
        gate.enter(place)
        while not place.is_held:
            spell = min(LONGEST_SPELL, patience.left)
            if not spell or self._is_needed():
                self.passes = True
                place.leave()
                return
            yield from wait_for(gate.wake(place), spell, self._is_needed)
            patience.waited(spell)

    def _is_needed(self) -> bool:
        return is_needed(for_loops=self._gate.serves_loops)
