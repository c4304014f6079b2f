"""The journal: keys (and tags) whose last write may not have reached the remote tier, to be replayed there later.

The journal has one entry a key, and two bounds. Beyond `limit` keys a further key is kept by name
only: once the remote tier is back, the key is removed, 256 keys a round trip, and its value isn't put
again. Once all entries together also take more than `MOST_BYTES`, the journal forgets the keys and
requests a clear of their groups (of slots, in a cluster; else there is one group) instead:
forgetting a key silently would leave its old value on the server. While a key is in the journal, the
remote tier's value of the key proves nothing, and reads of the key are answered by the local tier.
"""

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Final, Literal, NamedTuple

from twotier.core.outage.late_writes import Abandoned
from twotier.core.tags.tag_index import Tag
from twotier.opid import NO_OP, is_earlier

MOST_BYTES: Final = 32 << 20
"""Memory that a journal of more keys than its limit may take; enough for 98,000 keys of 40 letters."""
ENTRY_BYTES: Final = 250
"""Most memory of an entry without its key: the doubt, its op id, and its place in a table that is just growing."""


class Doubt(NamedTuple):
    """One write that may not have reached the remote tier."""

    op_id: bytes
    seen: int = NO_OP
    """Op tag of the write that made the remote tier's value, as far as was known before the outage."""
    expires: int = 0
    """Instant (ns) at which the written value expires; 0 for a removal."""
    kept: bool = False
    """Whether to keep stale copies: the key was only expired during the outage."""
    late: tuple[Abandoned, ...] = ()
    """Late writes to undo; nothing else about the key is in doubt then."""

    def after(self, earlier: "Doubt") -> "Doubt":
        """Return the doubt about a key that was in doubt before; the first `seen` stays."""
        late = self.late + earlier.late if self.late and earlier.late else ()
        return self._replace(seen=earlier.seen, kept=self.kept and earlier.kept, late=late)

    def of_the_name(self) -> "Doubt":
        """Return the doubt without the data for putting the value again: the key is to be removed."""
        return self._replace(seen=NO_OP, expires=0)


Outcome = Literal["settled", "doubted", "unknown"]
"""The state of the doubt about a key: settled, another write is in doubt, or no write is."""


class Journal:
    """Doubts by key, and groups of keys to clear, for the replay once the remote tier is back.

    `groups` is the number of groups, `group_of` returns the group of a key.
    """

    __slots__ = ("_bytes", "_clears", "_doubts", "_group_of", "_groups", "_limit", "_lock", "_tags_forgotten")

    def __init__(self, limit: int, groups: int = 1, group_of: Callable[[str], int] = lambda _: 0) -> None:
        self._limit = limit
        self._groups = groups
        self._group_of = group_of
        self._lock = threading.RLock()  # an abandoned coroutine may be closed, and its write noted, anywhere
        self._doubts: dict[str | Tag, Doubt] = {}
        self._bytes = 0
        """Approximate memory of the doubts (bytes)."""
        self._clears: dict[int, int] = {}
        """How often a clear of each group was requested since the last one took place."""
        self._tags_forgotten = False
        """Whether doubts about tags were dropped for clears, some of which haven't taken place yet."""

    def __len__(self) -> int:
        return len(self._doubts)

    def __bool__(self) -> bool:
        """Return True if there is anything to replay."""
        return bool(self._clears) or bool(self._doubts)

    def __contains__(self, key: str | Tag) -> bool:
        return key in self._doubts or (bool(self._clears) and self._awaits_clear(key))

    def _awaits_clear(self, key: str | Tag) -> bool:
        return self._tags_forgotten if isinstance(key, Tag) else self._group_of(key) in self._clears

    def knows_better(self, key: str, op_id: bytes) -> bool:
        """Return True if this process began write `op_id` before the write of `key` that is in doubt.

        The op ids of one process are in the order in which its writes began.
        """
        doubt = self._doubts.get(key)
        return doubt is not None and is_earlier(op_id, than=doubt.op_id)

    def add(self, doubts: Mapping[str, Doubt] | Mapping[Tag, Doubt]) -> bool:
        """Remember writes; return True if they are too many, so that groups of keys are cleared instead."""
        with self._lock:
            for key, doubt in doubts.items():
                self._add(key, doubt)
            if len(self._doubts) > self._limit and self._bytes > MOST_BYTES:
                tagged = any(isinstance(key, Tag) for key in self._doubts)
                self.add_clear(range(self._groups) if tagged else {self._group_of(str(key)) for key in self._doubts})
                return True
        return False

    def _add(self, key: str | Tag, doubt: Doubt) -> None:
        earlier = self._doubts.get(key)
        if earlier is not None:
            doubt = doubt.after(earlier)
        else:
            self._bytes += _size(key)
        in_full = len(self._doubts) < self._limit or (earlier is not None and earlier.expires)
        self._doubts[key] = doubt if in_full else doubt.of_the_name()

    def _remove(self, key: str | Tag) -> None:
        del self._doubts[key]
        self._bytes -= _size(key)

    def add_clear(self, groups: Iterable[int]) -> None:
        """Request a clear of groups of keys; this drops the doubts about their keys."""
        with self._lock:
            for group in groups:
                self._clears[group] = self._clears.get(group, 0) + 1
            if len(self._clears) == self._groups:
                self._tags_forgotten |= any(isinstance(key, Tag) for key in self._doubts)
                self._doubts.clear()
                self._bytes = 0
            else:
                for key in [key for key in self._doubts if not isinstance(key, Tag) and self._awaits_clear(key)]:
                    self._remove(key)

    def undoes(self, key: str) -> bool:
        """Return True if only late writes of a key are to be undone: there was no outage, so a read is a miss."""
        doubt = self._doubts.get(key)
        return doubt is not None and bool(doubt.late)

    def took_place(self, key: str, op_id: bytes) -> Outcome:
        """Settle the doubt about a key if it is about write `op_id`, which has taken place.

        A doubt about another write begins anew: its replay may have come before the late write.
        """
        with self._lock:
            doubt = self._doubts.get(key)
            if doubt is None:
                return "doubted" if self._awaits_clear(key) else "unknown"
            if doubt.op_id == op_id:
                self._remove(key)
                return "settled"
            self._doubts[key] = doubt._replace()
            return "doubted"

    def clears(self) -> dict[int, int]:
        """Return the groups to clear, each with the number of requests."""
        with self._lock:
            return dict(self._clears)

    def batches(self, count: int) -> Iterator[dict[str | Tag, Doubt]]:
        """Yield the present doubts, the oldest first, `count` at a time."""
        with self._lock:
            doubts = iter(list(self._doubts.items()))
        while batch := dict(islice(doubts, count)):
            yield batch

    def settle(self, good: Mapping[str | Tag, Doubt]) -> None:
        """Forget the doubts that were replayed, unless a newer doubt has replaced them."""
        if not good:
            return
        with self._lock:
            for key, doubt in good.items():
                if self._doubts.get(key) is doubt:
                    self._remove(key)

    def settle_clears(self, done: Mapping[int, int]) -> None:
        """Forget the groups that were cleared, unless more clears were requested since."""
        with self._lock:
            for group, asked in done.items():
                if self._clears.get(group) == asked:
                    del self._clears[group]
            self._tags_forgotten &= bool(self._clears)

    def noted(self, keys: Iterable[str | Tag]) -> dict[str | Tag, Doubt]:
        """Return the present doubts about `keys`, for a write that will `settle` them if it reaches the remote tier.

        A doubt that is added while the write is under way isn't included: it may be of a later write.
        """
        if not self._doubts:
            return {}
        with self._lock:
            return {key: self._doubts[key] for key in keys if key in self._doubts}


def _size(key: str | Tag) -> int:
    """Return the approximate memory (bytes) of an entry; the same for one key every time."""
    return sys.getsizeof(key.name if isinstance(key, Tag) else key) + ENTRY_BYTES
