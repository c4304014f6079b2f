"""The journal: keys whose last write may not have reached the remote tier, to be invalidated there later.

One entry a key, bounded. Past the bound it forgets the keys and asks for the whole namespace to be cleared instead:
forgetting a key silently would leave its old value standing. While a key is in the journal, the remote tier's value of
it proves nothing, and reads of it are answered by the local tier.
"""

import itertools
import threading
from collections.abc import Iterable


class Journal:
    """Keys to invalidate once the remote tier is back; any `overflows` ask for a clear instead."""

    __slots__ = ("_keys", "_limit", "_lock", "overflows")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._keys: dict[str, int] = {}
        self.overflows = 0

    def __len__(self) -> int:
        return len(self._keys)

    def __bool__(self) -> bool:
        """Tell whether there is anything to replay."""
        return self.overflows > 0 or bool(self._keys)

    def __contains__(self, key: str) -> bool:
        return key in self._keys or self.overflows > 0

    def add(self, keys: Iterable[str], op: int) -> None:
        """Remember `keys`, last written by the write tagged `op`."""
        with self._lock:
            for key in keys:
                self._keys[key] = op
            if len(self._keys) > self._limit:
                self._keys.clear()
                self.overflows += 1

    def add_everything(self) -> None:
        """Ask for the whole namespace to be cleared."""
        with self._lock:
            self._keys.clear()
            self.overflows += 1

    def peek(self, count: int) -> dict[str, int]:
        """Return up to `count` of the oldest keys with the write each stands for."""
        with self._lock:
            return dict(itertools.islice(self._keys.items(), count))

    def settle(self, replayed: dict[str, int]) -> None:
        """Forget what was replayed, unless a key has been written again since."""
        with self._lock:
            for key, op in replayed.items():
                if self._keys.get(key) == op:
                    del self._keys[key]

    def settle_overflows(self, seen: int) -> None:
        """Forget the overflows, if there were `seen` of them when the clear that answers them began."""
        with self._lock:
            if self.overflows == seen:
                self.overflows = 0

    def forget(self, keys: Iterable[str]) -> None:
        """Forget keys that a later write has reached the remote tier for."""
        with self._lock:
            for key in keys:
                self._keys.pop(key, None)
