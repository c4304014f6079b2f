"""The journal: keys (and tags) whose last write may not have reached the remote tier, to be made good there later.

One entry a key, bounded. Past the bound it forgets the keys and asks for the whole namespace to be cleared instead:
forgetting a key silently would leave its old value standing. While a key is in the journal, the remote tier's value of
it proves nothing, and reads of it are answered by the local tier.
"""

import itertools
import threading
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from twotier.core.tags import Tag
from twotier.opid import NO_OP


class Doubt(NamedTuple):
    """One write that may not have arrived."""

    op_id: bytes
    seen: int = NO_OP
    """Tag of the write that the remote tier's value was by, as far as was known before the outage."""
    expires: int = 0
    """Instant (ns) at which the written value expires; 0 for a removal."""
    kept: bool = False
    """Stale copies are to be kept: the key was expired, and nothing else was done to it in the outage."""

    def after(self, earlier: "Doubt") -> "Doubt":
        """Return the doubt about a key that was in doubt before: what was seen first stays what was seen."""
        return self._replace(seen=earlier.seen, kept=self.kept and earlier.kept)


class Journal:
    """Doubts by key, to be made good once the remote tier is back; any `overflows` ask for a clear instead."""

    __slots__ = ("_doubts", "_limit", "_lock", "overflows")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.RLock()  # an abandoned coroutine may be closed, and its write noted, anywhere
        self._doubts: dict[str | Tag, Doubt] = {}
        self.overflows = 0

    def __len__(self) -> int:
        return len(self._doubts)

    def __bool__(self) -> bool:
        """Tell whether there is anything to replay."""
        return self.overflows > 0 or bool(self._doubts)

    def __contains__(self, key: str | Tag) -> bool:
        return key in self._doubts or self.overflows > 0

    def add(self, doubts: Mapping[str, Doubt] | Mapping[Tag, Doubt]) -> None:
        """Remember writes."""
        with self._lock:
            for key, doubt in doubts.items():
                earlier = self._doubts.get(key)
                self._doubts[key] = doubt if earlier is None else doubt.after(earlier)
            if len(self._doubts) > self._limit:
                self._doubts.clear()
                self.overflows += 1

    def add_everything(self) -> None:
        """Ask for the whole namespace to be cleared."""
        with self._lock:
            self._doubts.clear()
            self.overflows += 1

    def peek(self, count: int) -> dict[str | Tag, Doubt]:
        """Return up to `count` of the oldest doubts."""
        with self._lock:
            return dict(itertools.islice(self._doubts.items(), count))

    def settle(self, good: Mapping[str | Tag, Doubt]) -> None:
        """Forget what was made good, unless a key has been written again since."""
        if not good:
            return
        with self._lock:
            for key, doubt in good.items():
                if self._doubts.get(key) is doubt:
                    del self._doubts[key]

    def settle_overflows(self, seen: int) -> None:
        """Forget the overflows, if there were `seen` of them when the clear that answers them began."""
        with self._lock:
            if self.overflows == seen:
                self.overflows = 0

    def noted(self, keys: Iterable[str | Tag]) -> dict[str | Tag, Doubt]:
        """Return the doubts about `keys`, for a write that will `settle` them if it reaches the remote tier.

        Only those: a doubt that comes up while the write is under way may be of a later one.
        """
        if not self._doubts:
            return {}
        with self._lock:
            return {key: self._doubts[key] for key in keys if key in self._doubts}
