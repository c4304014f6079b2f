"""Back-off: pauses between attempts, each twice as long as the one before, up to a limit.

A caller that spreads load shortens or lengthens a pause at random; the next pause doubles all the same.
"""

from typing import Generic, TypeVar

T = TypeVar("T", int, float)


class Backoff(Generic[T]):
    """The pauses after failed attempts, in whatever unit `first` and `longest` have.

    >>> backoff = Backoff(1, 5)
    >>> backoff.next(), backoff.next(), backoff.next(), backoff.next()
    (1, 2, 4, 5)
    >>> backoff.reset()
    >>> backoff.next()
    1
    """

    __slots__ = ("_first", "_longest", "_pause")

    def __init__(self, first: T, longest: T) -> None:
        self._first: T = first
        self._longest: T = longest
        self._pause: T = first

    def next(self) -> T:
        """Return the pause before the next attempt."""
        pause = self._pause
        self._pause = min(2 * pause, self._longest)
        return pause

    def reset(self) -> None:
        """Begin with the first pause again: an attempt has succeeded, or is likely to."""
        self._pause = self._first

    def hold(self) -> None:
        """Continue with the longest pause: an early retry would not help."""
        self._pause = self._longest
