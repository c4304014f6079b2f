"""The drainers of one process, one a stream, run by one thread or task: each does its next step when it is due.

The one that has waited longest goes first, so none starves. A step is one call of the writer at most; one that takes
long holds up the others here, and nobody elsewhere.
"""

from collections.abc import Sequence
from typing import Final

from twotier.clock import SECOND, Clock
from twotier.core.flow.drive import Flow
from twotier.core.write_behind.drainer import Drainer

_AFTER_A_FAULT: Final = SECOND
"""Until one goes on after an error that nobody expected (ns)."""


class Drainers:
    """What drains the streams of one namespace: `step` again and again, `renew` meanwhile, `release` at the end."""

    def __init__(self, drainers: Sequence[Drainer], clock: Clock) -> None:
        self.all: Final = drainers
        self._clock = clock
        self._due = [0] * len(drainers)
        self._hurried = False

    @property
    def draining(self) -> bool:
        """Whether this process drains a stream."""
        return any(drainer.draining for drainer in self.all)

    @property
    def hurried(self) -> bool:
        """Whether something was appended to a stream that is drained here, and nobody has looked since."""
        return self._hurried

    def hurry(self, number: int) -> None:
        """Note that something was appended to a stream."""
        if self.all[number].draining:
            self._due[number] = 0
            self._hurried = True

    def step(self) -> Flow[float]:
        """Do the next thing there is to do; return the seconds until there may be more."""
        self._hurried = False
        if len(self.all) == 1:
            return (yield from self.all[0].step())
        number = min(range(len(self._due)), key=self._due.__getitem__)
        now = self._clock.now()
        if self._due[number] <= now:
            self._due[number] = now + _AFTER_A_FAULT  # unless it ends well, or is hurried meanwhile
            pause = yield from self.all[number].step()
            if self._due[number]:
                self._due[number] = self._clock.now() + round(pause * SECOND)
        return max(0, min(self._due) - self._clock.now()) / SECOND

    def renew(self) -> Flow[None]:
        """Prolong the leases that are ours; called at least every third of their life."""
        for drainer in self.all:
            yield from drainer.renew()

    def release(self) -> Flow[None]:
        """Give the leases back, so that other processes needn't wait for their end."""
        for drainer in self.all:
            yield from drainer.release()
