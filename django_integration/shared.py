"""The caches behind the backends: one per configuration and process.

Django makes a backend for every thread and asynchronous context, and closes it at the end of each request. Behind all
backends of one configuration is one cache, with one local tier and one link, which stays open until the process ends.
"""

from __future__ import annotations

import atexit
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from twotier.cache import Cache
from twotier.fork import reset_on_fork
from twotier.options import DEFAULT_TTL, Options, Ttl

from .surroundings import ON_THIS_THREAD, in_a_transaction, on_a_background_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

R = TypeVar("R")


class SharedCache(Cache):
    """A `Cache` whose loads run in Django's surroundings, on any thread, with a method that reads only the local tier.

    Inside of `atomic()` all of a call's loads run on the caller's thread, in its transaction, and wait for no timeouts.
    """

    def __init__(self, target: str | None, options: Options) -> None:
        super().__init__(target, options)
        self.peek: Callable[[str, Any], Any] = self._peek
        """Return the fresh local value under a key, or the default; asks no server, and checks no key."""
        self._namespace.surround_background(on_a_background_thread)
        self._loads_apart = any(getattr(options, name) is not None for name in ON_THIS_THREAD)

    def get_or_set(self, key: str, loader: Callable[..., R], ttl: Ttl = DEFAULT_TTL, **terms: Any) -> R:
        """As `Cache.get_or_set`."""
        return super().get_or_set(key, loader, ttl, **self._within_transaction(terms))

    def get_or_set_many(
        self, keys: Iterable[str], loader: Callable[[list[str]], Mapping[str, R]], ttl: Ttl = DEFAULT_TTL, **terms: Any
    ) -> dict[str, R]:
        """As `Cache.get_or_set_many`."""
        return super().get_or_set_many(keys, loader, ttl, **self._within_transaction(terms))

    def refresh(self, key: str, loader: Callable[..., R], ttl: Ttl = DEFAULT_TTL, **terms: Any) -> R:
        """As `Cache.refresh`."""
        return super().refresh(key, loader, ttl, **self._within_transaction(terms))

    def _within_transaction(self, terms: dict[str, Any]) -> dict[str, Any]:
        if (self._loads_apart or terms) and in_a_transaction():
            return terms | ON_THIS_THREAD
        return terms


class SharedCaches:
    """The caches of this process, by target and options."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._caches: dict[tuple[str | None, Options], SharedCache] = {}

    def of(self, target: str | None, options: Options) -> SharedCache:
        """Return the cache of a configuration, made at the first call; ConfigurationError if it can't be."""
        configuration = target, options
        found = self._caches.get(configuration)
        if found is not None:
            return found
        with self._lock:
            found = self._caches.get(configuration)
            if found is None:
                found = self._caches[configuration] = SharedCache(target, options)
            return found

    def close(self) -> None:
        """Close all caches; existing backends can't be used afterwards."""
        with self._lock:
            closing = list(self._caches.values())
            self._caches.clear()
        for cache in closing:
            cache.close()

    def after_fork(self) -> None:
        """In a forked child: replace the lock, which a thread of the parent may hold; the core resets the caches."""
        self._lock = threading.Lock()


shared_caches = SharedCaches()
reset_on_fork(shared_caches)
atexit.register(shared_caches.close)
