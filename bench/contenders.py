"""The caches that are timed beside each other, each filled with the same entries and checked to answer what is asked.

What has a remote tier talks to one server, over whichever URL it is given. "Django ..." are backends called directly,
without the proxy that `django.core.cache.cache` is, which costs all of them the same.
"""

import functools
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import cachetools
import django
import redis
from django.conf import settings
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from twotier.django import TwoTierCache

from twotier import Cache, LocalCache

if TYPE_CHECKING:
    from twotier.options import OptionsDict

VALUE: Final = "v" * 100
TTL: Final = 300
"""Life of every entry (s): the default of `Cache` and of Django."""
FEW: Final = 10
"""Local entries of a cache whose local tier is to miss: asked for `REMOTE_KEYS` in turns, an LRU never has the next."""
PATIENCE: Final = 10.0
"""Seconds that a link may take."""

settings.configure(SECRET_KEY="for benchmarks alone")  # noqa: S106 - it guards nothing
django.setup()


def shuffled_keys(count: int) -> list[str]:
    """Return `count` keys in an order that neither memory nor hash tables know."""
    keys = [f"user:{number}:profile" for number in range(count)]
    random.Random(7).shuffle(keys)
    return keys


LOCAL_KEYS: Final = shuffled_keys(10_000)
REMOTE_KEYS: Final = shuffled_keys(100)
"""Few, so that a turn is short and a busy machine seldom stops in the middle of one."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A cache as it is timed: its bound `get` and `set`, and, of a two-tier cache, the cache for its counters."""

    get: Callable[[str], Any]
    set: Callable[[str, Any], Any]
    cache: Cache | None = None

    def fill(self, keys: list[str]) -> None:
        """Put VALUE under every key, and read it back, once the echoes of the writes have passed."""
        for key in keys:
            self.set(key, VALUE)
        if self.cache is not None:
            wait_until(functools.partial(_quiet, self.cache), "the echoes of every write")
        if any(self.get(key) is None for key in keys):
            raise RuntimeError("a key that was set isn't there")

    def set_all(self, keys: list[str]) -> Callable[[], None]:
        """Return a run that sets every key."""
        put = self.set

        def run() -> None:
            for key in keys:
                put(key, VALUE)

        return run

    @contextmanager
    def hitting(self, tier: str) -> Iterator[None]:
        """Fail unless every read within is a hit of `tier`, "local" or "remote", by the cache's own counters."""
        if self.cache is None:
            yield
            return
        before = self.cache.stats()
        yield
        after = self.cache.stats()
        hits = {"local": after.local_hits - before.local_hits, "remote": after.remote_hits - before.remote_hits}
        if after.misses != before.misses or not hits.pop(tier) or any(hits.values()):
            raise RuntimeError(f"not every read was a {tier} hit: before {before}, after {after}")


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Poll `condition` until it holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {PATIENCE} s: {what}")
        time.sleep(0.005)


def _quiet(cache: Cache) -> bool:
    stats = cache.stats()
    return stats.invalidations_received >= stats.invalidations_sent


Maker = Callable[[str], Contender]
"""Makes an empty contender, given the server's URL."""
Make = Callable[[Maker, str, list[str]], Contender]
"""Makes a contender that holds the given keys, and closes it after the test."""


def _dict(_: str) -> Contender:
    entries: dict[str, Any] = {}
    return Contender(entries.get, entries.__setitem__)


def _cachetools(kind: Callable[..., Any], *more: Any) -> Maker:
    def make(_: str) -> Contender:
        cache = kind(100_000, *more)
        return Contender(cache.get, cache.__setitem__)

    return make


def _local(policy: Any) -> Maker:
    def make(_: str) -> Contender:
        cache = LocalCache(100_000, policy=policy)
        return Contender(cache.get, cache.set)

    return make


def _two_tier(**options: Any) -> Maker:
    def make(url: str) -> Contender:
        given: OptionsDict = {"namespace": f"bench{random.getrandbits(32):08x}", **options}  # type: ignore[typeddict-item]
        cache = Cache(url, **given)
        return Contender(cache.get, cache.set, _live(cache))

    return make


def _django_two_tier(**options: Any) -> Maker:
    def make(url: str) -> Contender:
        named = {"namespace": f"bench{random.getrandbits(32):08x}", **options}
        backend = TwoTierCache(url, {"OPTIONS": named})
        return Contender(backend.get, backend.set, _live(backend.cache))

    return make


def _live(cache: Cache) -> Cache:
    """Start the link, and return the cache once it is live."""
    cache.get("is the link up?")
    wait_until(lambda: cache.health().link == "live", "a live link")
    return cache


def _redis_py(url: str) -> Contender:
    client = redis.Redis.from_url(url)
    return Contender(client.get, functools.partial(client.set, px=TTL * 1000))


def _django_redis(url: str) -> Contender:
    backend = RedisCache(url, {})
    return Contender(backend.get, backend.set)


def _django_locmem(_: str) -> Contender:
    backend = LocMemCache(f"bench{random.getrandbits(32):08x}", {"OPTIONS": {"MAX_ENTRIES": 100_000}})
    return Contender(backend.get, backend.set)


IN_PROCESS: Final[dict[str, Maker]] = {
    "dict": _dict,
    "cachetools LRUCache": _cachetools(cachetools.LRUCache),
    "cachetools TTLCache": _cachetools(cachetools.TTLCache, TTL),
    "Django LocMemCache": _django_locmem,
    'LocalCache(policy="lru")': _local("lru"),
    "LocalCache": _local("adaptive"),
}
"""What asks no server."""

TWO_TIERS: Final[dict[str, Maker]] = {"Cache": _two_tier(), "Django TwoTierCache": _django_two_tier()}
"""twotier with both tiers, its link live."""

MISSING_LOCALLY: Final[dict[str, Maker]] = {
    "Cache": _two_tier(maxsize=FEW, policy="lru"),
    "Django TwoTierCache": _django_two_tier(maxsize=FEW, policy="lru"),
}
"""The same, with a local tier that holds none of `REMOTE_KEYS` by the time each is asked for again."""

REMOTE: Final[dict[str, Maker]] = {"redis-py": _redis_py, "Django RedisCache": _django_redis}
"""Peers that ask the server every time."""
