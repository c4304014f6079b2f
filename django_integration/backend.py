"""`TwoTierCache`: Django's cache API on a two-tier cache."""

from collections.abc import Iterable
from typing import Any

from django.core.cache import InvalidCacheBackendError
from django.core.cache.backends.base import DEFAULT_TIMEOUT

from twotier.errors import ConfigurationError, SerializationError

from .async_methods import AsyncMethods
from .configuration import options_of, target_of
from .errors import UncacheableError
from .loaders import loader_of, own_errors
from .naming import MAKE_AND_VALIDATE_KEY, MAKE_KEY, MISSING, VALIDATE_KEY, counting, storing
from .overriding import own_methods
from .shared import shared_caches


@own_methods
class TwoTierCache(AsyncMethods):
    """A Django cache backend with two tiers: this process's memory, in front of Redis or Valkey.

    `LOCATION` is a URL, or "" for the local tier alone; `OPTIONS` are the fields of `twotier.Options` except `ttl`,
    which `TIMEOUT` replaces. Values are signed with a key derived from SECRET_KEY, so any picklable value can be
    cached.

    All backends of one configuration in a process share one cache: `close`, which Django calls at the end of each
    request, leaves it open. While the remote tier is away, reads and writes go on; only `incr` and `decr` raise
    RemoteUnavailable.
    """

    def __init__(self, location: object, params: dict[str, Any]) -> None:
        super().__init__(params)
        try:
            self.cache = shared_caches.of(target_of(location), options_of(params))
        except ConfigurationError as error:
            raise InvalidCacheBackendError(f"LOCATION: {error}") from error
        self._peek = self.cache.peek

    # Reading

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """Return the value under `key`, or `default`."""
        # `local` is inlined here, since two calls would take a third of the time of a local hit.
        stem = self._stem
        if (
            version is None
            and stem is not None
            and (cls := type(self)).make_key is MAKE_KEY
            and cls.validate_key is VALIDATE_KEY
            and cls.make_and_validate_key is MAKE_AND_VALIDATE_KEY
        ):
            made = f"{stem}{key!s}"
            value = self._peek(made, MISSING)
            if value is not MISSING:
                return value
            self.validate_key(made)
        else:
            made = self.make_and_validate_key(key, version)
        return self.cache.get(made, default)

    def get_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        """Return the values found, by the given keys, in one round trip; one by one with `get` if it is overridden."""
        if self.overrides("get") and not self.overrides("get_many"):
            return super().get_many(keys, version)
        names, validate = self.names(keys, version)
        return self.by_key(names, self.cache.get_many(names), validate=validate)

    def has_key(self, key: Any, version: int | None = None) -> bool:
        """Return True if `key` exists; if `get` is overridden, whether `get` finds a value."""
        if self.overrides("get") and not self.overrides("has_key"):
            return super().has_key(key, version)
        return self.make_and_validate_key(key, version) in self.cache

    # Writing

    def set(self, key: Any, value: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        """Put `value`; UncacheableError if it can't be pickled or is too large."""
        made = self.make_and_validate_key(key, version)
        with storing():
            self.cache.set(made, value, self.get_backend_timeout(timeout))

    def add(self, key: Any, value: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Put `value` unless `key` is there; return True if it was put. False while the remote tier is away."""
        made = self.make_and_validate_key(key, version)
        with storing():
            return self.cache.add(made, value, self.get_backend_timeout(timeout))

    def set_many(
        self, data: dict[Any, Any], timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[Any]:
        """Put values in one round trip, or by an overridden `set`; return the keys whose values can't be stored."""
        if self.overrides("set") and not self.overrides("set_many"):
            return self._set_each(data, timeout, version)
        made = {self.make_and_validate_key(key, version): value for key, value in data.items()}
        try:
            self.cache.set_many(made, self.get_backend_timeout(timeout))
        except SerializationError:
            return self._set_each(data, timeout, version)
        return []

    def _set_each(self, data: dict[Any, Any], timeout: float | None, version: int | None) -> list[Any]:
        refused = []
        for key, value in data.items():
            try:
                self.set(key, value, timeout, version)
            except UncacheableError:
                refused.append(key)
        return refused

    def get_or_set(
        self, key: Any, default: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None
    ) -> Any:
        """Return the value under `key`; without one, store and return `default`, or its result if it is callable.

        Of the threads and tasks of a process that miss one key at once, one calls `default`. Where `get` or `add` is
        overridden, this is Django's own `get_or_set`, made of these: each calls it.
        """
        if self.overrides("get", "add"):
            return super().get_or_set(key, default, timeout, version)
        made = self.make_and_validate_key(key, version)
        with storing():
            return self.cache.get_or_set(made, own_errors(loader_of(default)), self.get_backend_timeout(timeout))

    def touch(self, key: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Give `key` a new timeout; False if it isn't there, or the remote tier is away."""
        return self.cache.touch(self.make_and_validate_key(key, version), self.get_backend_timeout(timeout))

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Add `delta` to the integer under `key`, atomically across processes; it keeps its expiry.

        Raises ValueError if the key isn't there, TypeError if its value is no integer of 64 bits, OverflowError if the
        sum isn't, RemoteError while the remote tier doesn't answer.
        """
        made = self.make_and_validate_key(key, version)
        with counting(key):
            return self.cache.incr(made, delta, create=False)

    # Removing

    def delete(self, key: Any, version: int | None = None) -> bool:
        """Remove `key`; return True if it was there."""
        return self.cache.delete(self.make_and_validate_key(key, version))

    def delete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        """Remove `keys` in one round trip; one by one with `delete` if it is overridden."""
        if self.overrides("delete") and not self.overrides("delete_many"):
            super().delete_many(keys, version)
        else:
            self.cache.delete_many([self.make_and_validate_key(key, version) for key in keys])

    def clear(self) -> None:
        """Remove every entry of the namespace, in every process: those of all prefixes and versions, nothing else."""
        self.cache.clear()
