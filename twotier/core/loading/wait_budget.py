"""A call's budget for waiting for other callers, in this process or another."""

from twotier.clock import SECOND, Clock


class WaitBudget:
    """Counts the time that a call has waited, against `seconds`.

    A manual clock may not advance during a wait, so the lengths of the waits are added up as well.

    >>> from twotier.clock import ManualClock
    >>> patience = WaitBudget(ManualClock(), 10)
    >>> patience.waited(4)
    >>> patience.left, patience.until(3), patience.until(5)
    (6.0, 0.0, 1.0)
    """

    __slots__ = ("_began", "_clock", "_ends", "_seconds", "_waited")

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._began = clock.now()
        self._waited = 0.0
        self._seconds = self._ends = seconds

    @property
    def elapsed(self) -> float:
        """Seconds since the call began."""
        return max((self._clock.now() - self._began) / SECOND, self._waited)

    @property
    def left(self) -> float:
        """Seconds for which the call may still wait; 0.0 once the budget is spent."""
        return self.until(self._ends)

    def until(self, seconds: float) -> float:
        """Return the seconds that are left until `seconds` after the call began, at least 0.0."""
        return max(0.0, seconds - self.elapsed)

    def waited(self, seconds: float) -> None:
        """Note a wait of `seconds`."""
        self._waited += seconds

    def renew(self) -> None:
        """Begin the budget again, from now on."""
        self._ends = self.elapsed + self._seconds
