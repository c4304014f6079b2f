"""The twin's eviction policies choose the entry that leaves a full store. The compiled policies match these.

A policy orders entries and never sees values. It calls nothing back: it returns the entries to evict.

- `Lru` is cachetools' LRUCache over the entries themselves.
- `Lfu` counts uses up to 63 and evicts the oldest of the least used; every ten turnovers' worth of uses it halves all
  counts, so that yesterday's hot keys leave.
- `Adaptive` is in `adaptive.py`.
"""

import math
from typing import Any, Final, Protocol

from cachetools import LRUCache

MOST_USES: Final = 63
"""A use count stops here."""

USES_PER_HALVING: Final = 10
"""Uses, per entry of capacity, between two halvings of all counts."""


class Entry:
    """One cached value with its times, its epoch and op tag, and the policy's own links."""

    __slots__ = (
        "alive",
        "deadline",
        "demoted",
        "epoch",
        "expires",
        "freq",
        "hash",
        "in_main",
        "key",
        "kind",
        "next",
        "op",
        "prev",
        "stale",
        "stamp",
        "value",
        "weight",
    )

    def __init__(self, key: Any = None, hash_: int = 0) -> None:
        self.key = key
        self.hash = hash_
        self.value: Any = None
        self.kind = 0
        self.weight = 0
        self.epoch = 0
        self.op = 0
        self.expires = 0
        self.stale = 0
        self.deadline = 0
        self.demoted = False
        self.alive = False
        self.freq = 0
        self.stamp = 0
        self.in_main = False
        self.prev: Entry = self
        self.next: Entry = self

    def unlink(self) -> None:
        """Leave the ring."""
        self.prev.next, self.next.prev = self.next, self.prev
        self.prev = self.next = self

    def push_front(self, entry: "Entry") -> None:
        """Make `entry` the newest of the ring whose head this entry is."""
        entry.prev, entry.next = self, self.next
        self.next.prev = entry
        self.next = entry


class Order(Protocol):
    """The interface of an eviction policy, as the store calls it."""

    def hit(self, entry: Entry) -> None:
        """Note a use of a resident entry."""

    def make_room(self, entry: Entry, crowded: bool) -> list[Entry]:
        """Prepare for a new entry, which doesn't fit in if `crowded`; return those that leave for it."""

    def insert(self, entry: Entry) -> None:
        """Add the entry for which `make_room` made room."""

    def forget(self, entry: Entry) -> None:
        """Drop an entry that was deleted or has expired."""

    def pop(self) -> Entry:
        """Evict one entry (there is at least one)."""

    def resize(self, capacity: int) -> list[Entry]:
        """Hold `capacity` entries from now on; return those that leave."""

    def clear(self) -> None:
        """Drop every entry and everything learned from the entries."""

    def validate(self, entries: set[Entry]) -> None:
        """Assert that exactly `entries` are ordered, each in its place."""


class Lru:
    """Evicts the least recently used entry."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._order: LRUCache[Entry, None] = LRUCache(math.inf)

    def hit(self, entry: Entry) -> None:
        """Make it the newest."""
        self._order[entry] = None

    def make_room(self, entry: Entry, crowded: bool) -> list[Entry]:  # noqa: ARG002 - the protocol's
        """Evict one if there is no room."""
        return [self.pop()] if crowded else []

    def insert(self, entry: Entry) -> None:
        """Take it in as the newest."""
        self._order[entry] = None

    def forget(self, entry: Entry) -> None:
        """Drop it."""
        del self._order[entry]

    def pop(self) -> Entry:
        """Evict the oldest."""
        return self._order.popitem()[0]

    def resize(self, capacity: int) -> list[Entry]:
        """Hold `capacity` entries from now on; return those that leave."""
        self._capacity = capacity
        return self._shrink(capacity)

    def clear(self) -> None:
        """Drop every entry."""
        self._order = LRUCache(math.inf)

    def validate(self, entries: set[Entry]) -> None:
        """Assert that exactly `entries` are ordered."""
        assert set(self._order) == entries, "the order and the table hold different entries"  # noqa: S101
        assert len(entries) <= self._capacity, "more entries than maxsize"  # noqa: S101

    def _shrink(self, size: int) -> list[Entry]:
        return [self.pop() for _ in range(len(self._order) - size)]


class Lfu:
    """Evicts the oldest of the least used; all counts are halved as uses go by."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._uses = 0
        self._by_count: list[dict[Entry, None]] = [{} for _ in range(MOST_USES + 1)]
        self._size = 0

    def hit(self, entry: Entry) -> None:
        """Count one more use."""
        del self._by_count[entry.freq][entry]
        entry.freq = min(entry.freq + 1, MOST_USES)
        self._by_count[entry.freq][entry] = None
        self._used()

    def make_room(self, entry: Entry, crowded: bool) -> list[Entry]:  # noqa: ARG002 - the protocol's
        """Evict one if there is no room."""
        return [self.pop()] if crowded else []

    def insert(self, entry: Entry) -> None:
        """Take it in with one use."""
        entry.freq = 1
        self._by_count[1][entry] = None
        self._size += 1
        self._used()

    def forget(self, entry: Entry) -> None:
        """Drop it."""
        del self._by_count[entry.freq][entry]
        self._size -= 1

    def pop(self) -> Entry:
        """Evict the oldest of the least used."""
        entry = next(next(iter(entries)) for entries in self._by_count if entries)
        self.forget(entry)
        return entry

    def resize(self, capacity: int) -> list[Entry]:
        """Hold `capacity` entries from now on; return those that leave."""
        self._capacity = capacity
        return self._shrink(capacity)

    def clear(self) -> None:
        """Drop every entry and every count."""
        self.__init__(self._capacity)  # type: ignore[misc]

    def validate(self, entries: set[Entry]) -> None:
        """Assert that exactly `entries` are ordered, each under its count."""
        seen = {entry for by_count in self._by_count for entry in by_count}
        assert seen == entries, "the counts and the table hold different entries"  # noqa: S101
        assert self._size == len(entries) <= self._capacity, "the size is off"  # noqa: S101
        for count, held in enumerate(self._by_count):
            assert all(entry.freq == count for entry in held), f"an entry of another count under {count}"  # noqa: S101

    def _shrink(self, size: int) -> list[Entry]:
        return [self.pop() for _ in range(self._size - size)]

    def _used(self) -> None:
        self._uses += 1
        if self._uses < USES_PER_HALVING * self._capacity:
            return
        self._uses = 0
        halved: list[dict[Entry, None]] = [{} for _ in range(MOST_USES + 1)]
        for count, entries in enumerate(self._by_count):
            for entry in entries:
                entry.freq = count // 2
                halved[entry.freq][entry] = None
        self._by_count = halved
