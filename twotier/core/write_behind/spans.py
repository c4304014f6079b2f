"""Sets of mostly consecutive numbers, kept as spans: memory grows with the number of gaps."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator


class Spans:
    """A set of numbers. Adding and removing cost a binary search and a move of the spans behind.

    >>> spans = Spans([(1, 5)])
    >>> spans.remove(3, 3)
    >>> list(spans), 3 in spans, 4 in spans
    ([(1, 2), (4, 5)], False, True)
    >>> spans.add(3, 3)
    >>> list(spans), spans.total
    ([(1, 5)], 5)
    """

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, spans: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in spans:
            self.add(first, last)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(list(zip(self._firsts, self._lasts, strict=True)))

    def __len__(self) -> int:
        """Return the number of spans."""
        return len(self._firsts)

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number) - 1
        return at >= 0 and number <= self._lasts[at]

    @property
    def total(self) -> int:
        """The number of numbers in the set."""
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts)

    def add(self, first: int, last: int) -> None:
        """Add the numbers from `first` to `last`, both included."""
        if first > last:
            return
        firsts, lasts = self._firsts, self._lasts
        start = bisect_right(firsts, first) - 1
        if start < 0 or lasts[start] < first - 1:
            start += 1
        end = bisect_right(firsts, last + 1)
        if start < end:
            first, last = min(first, firsts[start]), max(last, lasts[end - 1])
        firsts[start:end], lasts[start:end] = [first], [last]

    def remove(self, first: int, last: int) -> None:
        """Remove the numbers from `first` to `last`, both included; numbers not in the set are ignored."""
        firsts, lasts = self._firsts, self._lasts
        start = bisect_right(firsts, first) - 1
        if start < 0 or lasts[start] < first:
            start += 1
        end = bisect_right(firsts, last)
        if start >= end:
            return
        rest = [(firsts[start], first - 1), (last + 1, lasts[end - 1])]
        kept = [(low, high) for low, high in rest if low <= high]
        firsts[start:end], lasts[start:end] = [low for low, _ in kept], [high for _, high in kept]

    def difference(self, others: "Spans") -> "Spans":
        """Return the numbers of this set that aren't in `others`."""
        rest = Spans(self)
        for first, last in others:
            rest.remove(first, last)
        return rest

    def intersection(self, others: "Spans") -> "Spans":
        """Return the numbers that are in both sets."""
        return self.difference(self.difference(others))
