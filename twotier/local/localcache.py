"""`LocalCache`: the local tier on its own, as a mapping."""

from collections.abc import Callable, Hashable, ItemsView, Iterable, Iterator, Mapping, MutableMapping, ValuesView
from typing import Any, Literal

from twotier.clock import NEVER, Clock
from twotier.local import LocalFront, Store
from twotier.local.sweeper import sweeper
from twotier.options import DEFAULT_TTL, Policy, Ttl
from twotier.stats import Stats

_MISSING: Any = object()


class LocalCache(LocalFront, MutableMapping[Any, Any]):
    """A bounded mapping in this process, with any hashable key and any value. Threads may share it.

    `maxsize`: most entries held. `policy`: which entry is evicted when the cache is full: "adaptive" (the best hit
    ratio on most workloads), "lru" or "lfu". `ttl`: lifetime of an entry set without one (s); None for no expiry.
    `max_bytes`: largest sum of `weigher(key, value)` (bytes; by default the size of the pickled value); a value that
    alone weighs more is not held. `on_removal(key, value, cause)` is called for each entry that leaves; the cause is
    "explicit", "replaced", "size", "expired" or "invalidated". `copy="auto"` returns copies of mutable values; by
    default, as in a dict, callers get the stored object; `copy="check"` also logs values changed in place, for
    development. `clock`: for tests.

    >>> cache = LocalCache(maxsize=2, policy="lru", ttl=60)
    >>> cache["a"], cache["b"], cache["c"] = 1, 2, 3
    >>> cache.get("a"), cache["c"], sorted(cache)
    (None, 3, ['b', 'c'])
    """

    __slots__ = ()

    def __init__(
        self,
        maxsize: int = 100_000,
        *,
        policy: Policy = "adaptive",
        ttl: float | None = None,
        max_bytes: int | None = None,
        weigher: Callable[[Any, Any], int] | None = None,
        on_removal: Callable[[Any, Any, str], object] | None = None,
        copy: Literal["auto", "never", "check"] = "never",
        clock: Clock | None = None,
    ) -> None:
        store = Store(
            maxsize,
            policy=policy,
            clock=clock,
            copy=copy,
            max_bytes=max_bytes,
            weigher=weigher,
            on_removal=on_removal,
        )
        store.renew(NEVER)
        super().__init__(store, ttl)
        if ttl is not None:
            sweeper.watch(store)

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the keys there are now."""
        return iter(self.store.keys())

    def __repr__(self) -> str:
        """Return the class name, the size and the bound."""
        return f"{type(self).__name__}({len(self)} of {self.maxsize} entries)"

    def items(self) -> ItemsView[Any, Any]:
        """Return a view of the items. Iteration skips items that leave meanwhile, and counts no reads."""
        return _Items(self)

    def values(self) -> ValuesView[Any]:
        """Return a view of the values, as `items` does."""
        return _Values(self)

    @property
    def maxsize(self) -> int:
        """Most entries held."""
        return self.store.maxsize

    def resize(self, maxsize: int) -> None:
        """Hold at most `maxsize` entries from now on; the policy evicts the surplus."""
        self.store.resize(maxsize)

    def add(self, key: Hashable, value: object, ttl: Ttl = DEFAULT_TTL) -> bool:
        """Put `value` unless `key` has one; return True if it was put.

        >>> cache = LocalCache()
        >>> cache.add("a", 1), cache.add("a", 2), cache["a"]
        (True, False, 1)
        """
        return self.store.add(key, value, expires=self.expiry(ttl))

    def touch(self, key: Hashable, ttl: Ttl = DEFAULT_TTL) -> bool:
        """Give the value under `key` another `ttl` seconds from now; return True if there was one."""
        return self.store.touch(key, expires=self.expiry(ttl))

    def ttl(self, key: Hashable) -> float | None:
        """Return the remaining lifetime of the value under `key` (s): None for no expiry, 0.0 without a value.

        >>> cache = LocalCache()
        >>> cache.set("a", 1, ttl=60)
        >>> 59 < cache.ttl("a") <= 60
        True
        """
        expires = self.store.expires(key)
        if expires is None:
            return 0.0
        return None if expires == NEVER else max(0.0, (expires - self.store.after(0)) / 1e9)

    def get_many(self, keys: Iterable[Hashable]) -> dict[Any, Any]:
        """Return the values found under `keys`.

        >>> cache = LocalCache()
        >>> cache.set_many({"a": 1, "b": 2})
        >>> cache.get_many(["a", "c"])
        {'a': 1}
        """
        return self.store.get_many(keys)

    def set_many(self, items: Mapping[Any, Any], ttl: Ttl = DEFAULT_TTL) -> None:
        """Put every item of a mapping for `ttl` seconds."""
        for key, value in items.items():
            self.set(key, value, ttl)

    def clear(self) -> None:
        """Remove everything."""
        self.store.clear()

    def expire(self) -> int:
        """Reclaim the memory of expired entries without waiting for writes; return how many left (1,024 at most)."""
        return self.store.expire()

    def stats(self) -> Stats:
        """Return the counters since the cache was made."""
        counted = self.store.counters()
        return Stats(
            hits=counted["hits"],
            misses=counted["misses"],
            local_hits=counted["hits"],
            evictions=counted["evictions"],
            expirations=counted["expirations"],
            entries=counted["entries"],
            bytes=counted["bytes"],
            removal_errors=counted["removal_errors"],
        )


class _Items(ItemsView[Any, Any]):
    """The items of a LocalCache."""

    __slots__ = ()
    _mapping: LocalCache

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        store = self._mapping.store
        for key in self._mapping:
            value = store.suspect(key, _MISSING)
            if value is not _MISSING:
                yield key, value


class _Values(ValuesView[Any]):
    """The values of a LocalCache."""

    __slots__ = ()
    _mapping: LocalCache

    def __iter__(self) -> Iterator[Any]:
        return (value for _, value in _Items(self._mapping))
