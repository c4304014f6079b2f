"""The adaptive eviction policy of the twin: two lists, their ghosts, and a boundary that learns.

*Probation* (LRU, small) takes new keys; *main* (CLOCK: a hit only bumps a 2-bit counter) keeps proven ones. Keys that
leave either are remembered as *ghosts* (fingerprint, stamp), and a ghost that comes back moves the boundary `q`, the
target size of probation: a ghost of probation grows it, a ghost of main shrinks it. A ghost of probation that was seen
since main's oldest entry (LIRS's test) goes to main at once. A cold cache fills main first. Main's tail ages, so that
stale content leaves.

Every loop is capped (32 steps), so each call is O(1). Ghosts cost 8 bytes an entry of capacity when compiled.
Deleting leaves no ghost and no trace in `q`. Counters are unsigned 32-bit and compared as signed differences.
"""

from typing import Final

from twotier.local.twin.eviction import Entry

M16: Final = (1 << 16) - 1
M32: Final = (1 << 32) - 1
M64: Final = (1 << 64) - 1
STEPS: Final = 32
"""Most second chances, and most promotions, in one call."""
MOST_FREQ: Final = 3
PROVEN: Final = 2
"""Uses in probation that make an entry a candidate for main."""
WAYS: Final = 8
"""Ghosts in a bucket."""
FEWEST_BUCKETS: Final = 4
STEPS_BACK_BITS: Final = 12
"""Stamps of ghosts are 16 bits: the steps that they count in are such that a capacity is at most 2**12 of them."""
OF_PROBATION: Final = range(6)
OF_MAIN: Final = range(6, WAYS)
"""Where in a bucket ghosts of each kind are."""
DRIFT: Final = 1 / 256
"""Decrease of `q` for each entry that leaves probation."""
AGING_PERIOD: Final = 8192
"""Misses between two steps of aging, times the entries of main."""
LEAST_AGING: Final = 128
"""Misses between two steps of aging, whatever main holds."""


def mix64(x: int) -> int:
    """Return `x` through splitmix64's finalizer (Python's hash of an int is nearly the int).

    >>> hex(mix64(0))
    '0xe220a8397b1dcdaf'
    """
    x = (x + 0x9E3779B97F4A7C15) & M64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & M64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & M64
    return x ^ (x >> 31)


def since(later: int, earlier: int) -> int:
    """Return the signed difference of two 32-bit stamps."""
    return ((later - earlier + (1 << 31)) & M32) - (1 << 31)


class Ghosts:
    """Keys that left, as (fingerprint, stamp), in buckets of eight; the oldest of its kind in a bucket gives way."""

    def __init__(self, capacity: int) -> None:
        self.buckets = max(FEWEST_BUCKETS, (capacity + 3) // 4)
        self._shift = max(0, (capacity - 1).bit_length() - STEPS_BACK_BITS)
        self.live = dict.fromkeys((OF_PROBATION, OF_MAIN), 0)
        """How many there are of each kind."""
        self._cells: dict[int, tuple[int, int]] = {}

    def take(self, hash_: int, misses: int, main_ops: int) -> tuple[range, int] | None:
        """Forget the ghost of `hash_` and return its kind and stamp; None without one."""
        base, fingerprint = self._place(hash_)
        for kind in (OF_PROBATION, OF_MAIN):
            for i in kind:
                cell = self._cells.get(base + i)
                if cell is not None and cell[0] == fingerprint:
                    del self._cells[base + i]
                    self.live[kind] -= 1
                    return kind, self._stamp(cell[1], misses if kind is OF_PROBATION else main_ops)
        return None

    def put(self, kind: range, hash_: int, stamp: int, now: int) -> None:
        """Remember `hash_` with `stamp`."""
        base, fingerprint = self._place(hash_)
        best, oldest = base, -1
        for i in range(base + kind.start, base + kind.stop):
            cell = self._cells.get(i)
            if cell is None:
                best = i
                self.live[kind] += 1
                break
            age = ((now >> self._shift) - cell[1]) & M16
            if age >= oldest:
                oldest, best = age, i
        self._cells[best] = (fingerprint, stamp >> self._shift & M16)

    def resized(self, capacity: int, misses: int, main_ops: int) -> "Ghosts":
        """Return a table for `capacity` with the same ghosts, where their buckets have room (the newest stay)."""
        other = Ghosts(capacity)
        for i in sorted(self._cells):
            fingerprint, stamp = self._cells[i]
            # A bucket's place encodes the high hash bits; the middle of its range is the best guess of them.
            high = ((2 * (i // WAYS) + 1) << 31) // self.buckets
            kind, now = (OF_PROBATION, misses) if i % WAYS in OF_PROBATION else (OF_MAIN, main_ops)
            other.put(kind, (high << 32) | (fingerprint << 16), self._stamp(stamp, now), now)
        return other

    def _stamp(self, stamp: int, now: int) -> int:
        """Return the counter's value at the time of the stamp, without its lowest bits."""
        steps = now >> self._shift
        return (steps - ((steps - stamp) & M16)) << self._shift & M32

    def _place(self, hash_: int) -> tuple[int, int]:
        return ((hash_ >> 32) * self.buckets >> 32) * WAYS, (hash_ >> 16 & M16) or 1


class Adaptive:
    """Evicts by the rules at the head of this file."""

    def __init__(self, capacity: int, seed: int) -> None:
        self._multiplier = mix64(seed & M64) | 1
        self._probation, self._main = Entry(), Entry()  # next = newest, prev = oldest
        self._n_probation = self._n_main = 0
        self._misses = self._main_ops = self._age_count = 0
        self._promote = False
        self._set_capacity(capacity)
        self.q = min(float(self._q_max), max(float(self._q_min), float(int(capacity * 0.1 + 0.5))))
        self._ghosts = Ghosts(capacity)

    def hit(self, entry: Entry) -> None:
        """Count a use; in probation, also make it the newest."""
        if entry.freq < MOST_FREQ:
            entry.freq += 1
        if not entry.in_main:  # a main hit is a counter and nothing else
            if self._probation.next is not entry:
                entry.unlink()
                self._probation.push_front(entry)
            entry.stamp = self._misses

    def make_room(self, entry: Entry, crowded: bool) -> list[Entry]:
        """Learn from the ghost of `entry`, and evict one if there is no room."""
        victims: list[Entry] = []
        self._misses = (self._misses + 1) & M32
        if crowded:
            self._age(victims)
        self._promote = self._learn(self._spread(entry))
        if crowded and not victims:
            if self._promote and self._n_main and self._n_main >= self._main_target():
                victims.append(self._drop_main(self._settle()))
            else:
                victims.append(self.pop())
        return victims

    def insert(self, entry: Entry) -> None:
        """Put the entry on the list where it belongs."""
        if self._promote or self._n_main < self._main_target():  # a cold cache fills main first
            self._to_main(entry)
        else:
            entry.in_main, entry.freq, entry.stamp = False, 0, self._misses
            self._probation.push_front(entry)
            self._n_probation += 1

    def forget(self, entry: Entry) -> None:
        """Drop it, without a ghost."""
        entry.unlink()
        if entry.in_main:
            self._n_main -= 1
        else:
            self._n_probation -= 1

    def pop(self) -> Entry:
        """Evict one entry."""
        victims: list[Entry] = []
        self._evict_to(victims, self._n_probation + self._n_main - 1)
        return victims[0]

    def resize(self, capacity: int) -> list[Entry]:
        """Hold `capacity` entries from now on; the learned boundary is kept, in proportion."""
        share = self.q / self._capacity
        self._set_capacity(capacity)
        self.q = min(float(self._q_max), max(float(self._q_min), share * capacity))
        self._ghosts = self._ghosts.resized(capacity, self._misses, self._main_ops)
        victims: list[Entry] = []
        self._evict_to(victims, capacity)
        return victims

    def clear(self) -> None:
        """Drop every entry; the boundary and the ghosts stay, as they describe the work, not the content."""
        self._probation, self._main = Entry(), Entry()
        self._n_probation = self._n_main = 0

    def validate(self, entries: set[Entry]) -> None:
        """Assert that exactly `entries` are on the two lists."""
        seen: set[Entry] = set()
        for head, in_main, count in ((self._main, True, self._n_main), (self._probation, False, self._n_probation)):
            entry, length = head.next, 0
            while entry is not head:
                assert entry.next.prev is entry, "a broken ring"  # noqa: S101
                assert entry.in_main == in_main, "an entry on the wrong list"  # noqa: S101
                assert 0 <= entry.freq <= MOST_FREQ, "a use count out of range"  # noqa: S101
                seen.add(entry)
                entry, length = entry.next, length + 1
            assert length == count, "a list's count is off"  # noqa: S101
        assert seen == entries, "the lists and the table hold different entries"  # noqa: S101
        assert len(entries) <= self._capacity, "more entries than maxsize"  # noqa: S101
        assert self._q_min <= self.q <= self._q_max, "the boundary is out of range"  # noqa: S101

    def _set_capacity(self, capacity: int) -> None:
        self._capacity = capacity
        self._q_min = max(1, capacity // 100)
        self._q_max = max(self._q_min, min(capacity - 1, capacity * 99 // 100))
        self._horizon = max(1, capacity // 2)

    def _main_target(self) -> int:
        return self._capacity - int(self.q)

    def _spread(self, entry: Entry) -> int:
        return (entry.hash & M64) * self._multiplier & M64

    def _learn(self, spread: int) -> bool:
        """Move the boundary if the key left lately; return True if it belongs in main at once."""
        found = self._ghosts.take(spread, self._misses, self._main_ops)
        if found is None:
            return False
        kind, stamp = found
        if kind is OF_MAIN:
            if since(self._main_ops, stamp) <= self._horizon:  # main was too small
                self.q = max(float(self._q_min), self.q - self._step(OF_PROBATION, OF_MAIN))
            return False
        promote = self._is_newer(stamp)
        tail = self._probation.prev
        oldest = 0 if tail is self._probation else since(self._misses, tail.stamp)
        if since(self._misses, stamp) <= oldest + self._horizon:  # probation was too small
            self.q = min(float(self._q_max), self.q + self._step(OF_MAIN, OF_PROBATION))
        return promote

    def _step(self, others: range, own: range) -> float:
        """Return how far a ghost moves the boundary: by the ratio of ghosts, one to four."""
        live = self._ghosts.live
        return max(1.0, min(4.0, live[others] / max(1, live[own])))

    def _rotate(self, entry: Entry) -> None:
        entry.freq -= 1
        entry.unlink()
        self._main.push_front(entry)
        entry.stamp = self._misses
        self._main_ops = (self._main_ops + 1) & M32

    def _settle(self) -> Entry:
        """Give second chances at main's tail; return the tail (the ring's head when main is empty)."""
        for _ in range(STEPS):
            tail = self._main.prev
            if tail is self._main or tail.freq == 0:
                return tail
            self._rotate(tail)
        return self._main.prev

    def _is_newer(self, stamp: int) -> bool:
        """Return True if it was seen since main's oldest was: LIRS's test."""
        tail = self._settle()
        return tail is self._main or since(stamp, tail.stamp) > 0

    def _drop_main(self, entry: Entry) -> Entry:
        entry.unlink()
        self._n_main -= 1
        self._main_ops = (self._main_ops + 1) & M32
        self._ghosts.put(OF_MAIN, self._spread(entry), self._main_ops, self._main_ops)
        return entry

    def _to_main(self, entry: Entry) -> None:
        entry.in_main, entry.freq, entry.stamp = True, 0, self._misses
        self._main.push_front(entry)
        self._n_main += 1
        self._main_ops = (self._main_ops + 1) & M32

    def _age(self, victims: list[Entry]) -> None:
        """Let main forget: every so many misses its tail loses a chance, or its place."""
        self._age_count += 1
        if self._age_count < max(LEAST_AGING, AGING_PERIOD // max(1, self._n_main)):
            return
        self._age_count = 0
        tail = self._main.prev
        if tail is self._main:
            return
        if tail.freq > 0:
            self._rotate(tail)
        else:
            victims.append(self._drop_main(tail))

    def _evict_to(self, victims: list[Entry], size: int) -> None:
        """Evict until `size` entries are left."""
        promotions = 0
        while self._n_probation + self._n_main > size:
            if self._n_main > self._main_target() or self._n_probation == 0:
                victims.append(self._drop_main(self._settle()))
                continue
            oldest = self._probation.prev
            oldest.unlink()
            self._n_probation -= 1
            if oldest.freq >= PROVEN:
                promotions += 1
                if promotions <= STEPS and self._is_newer(oldest.stamp):
                    self._to_main(oldest)
                    continue
            self._ghosts.put(OF_PROBATION, self._spread(oldest), oldest.stamp, self._misses)
            victims.append(oldest)
            self.q = max(float(self._q_min), self.q - DRIFT)
