"""The drainers of one process, one a stream: one thread or task runs each drainer's next step when it is due.

The drainer that has waited longest goes first, so none starves. A step makes at most one call of
the writer; a slow call delays this process's other streams, and no other process.
"""

from collections.abc import Sequence
from typing import Final

from twotier.clock import SECOND, Clock
from twotier.core.flow.drive import Flow
from twotier.core.write_behind.drainer import Drainer

_AFTER_A_FAULT: Final = SECOND
"""Pause of a drainer after an unexpected error (ns)."""


class Drainers:
    """Drains the streams of one namespace: `step` again and again, `renew` meanwhile, `release` at the end."""

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
        """Whether an entry was appended to a stream that is drained here since the last step began."""
        return self._hurried

    def hurry(self, number: int) -> None:
        """Note that an entry was appended to the stream `number`."""
        if self.all[number].draining:
            self._due[number] = 0
            self._hurried = True

    def step(self) -> Flow[float]:
        """Run the next step that is due; return the seconds until another one is."""
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
        """Renew the drain locks that are held; called at least every third of a lock's life."""
        for drainer in self.all:
            yield from drainer.renew()

    def release(self) -> Flow[None]:
        """Release the drain locks, so that other processes needn't wait until the locks expire."""
        for drainer in self.all:
            yield from drainer.release()
