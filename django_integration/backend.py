"""`TwoTierCache`: Django's cache API on a two-tier cache."""

from collections.abc import Iterable
from typing import Any, Final

from django.core.cache import InvalidCacheBackendError
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache, default_key_func

from twotier.errors import ConfigurationError, SerializationError

from .async_methods import AsyncMethods
from .configuration import options_of, target_of
from .errors import UncacheableError
from .shared import SharedCache, shared_caches

_MISSING: Final = object()


class TwoTierCache(AsyncMethods, BaseCache):
    """A Django cache backend with two tiers: this process's memory, in front of Redis or Valkey.

    `LOCATION` is a URL, or "" for the local tier alone; `OPTIONS` are the fields of `twotier.Options` except `ttl`,
    which `TIMEOUT` stands for. Values are signed with a key derived from SECRET_KEY, so that anything that pickles can
    be cached.

    All backends of one configuration in a process share one cache: `close`, which Django calls at the end of each
    request, leaves it open. While the remote tier is away, reads and writes go on; only `incr` and `decr` raise
    RemoteUnavailable.
    """

    _stem: str | None
    """What Django's own key function puts before a key; None where another function makes the keys."""

    def __init__(self, location: object, params: dict[str, Any]) -> None:
        super().__init__(params)
        try:
            self.cache: Final[SharedCache] = shared_caches.of(target_of(location), options_of(params))
        except ConfigurationError as error:
            raise InvalidCacheBackendError(f"LOCATION: {error}") from error
        """The `twotier.Cache` behind this backend, for its stats and health; its keys are what `make_key` returns."""
        self._peek = self.cache.peek

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in ("key_func", "key_prefix", "version"):  # Django allows to change them at any time
            self._stem = self._stem_now()

    def _stem_now(self) -> str | None:
        # BaseCache.__init__ sets key_func last: until then there is no telling.
        if type(self).make_key is BaseCache.make_key and getattr(self, "key_func", None) is default_key_func:
            return f"{self.key_prefix}:{self.version}:"
        return None

    # Reading. A key that memcached would refuse draws a CacheKeyWarning when it is written and when it is missed. On a
    # local hit it isn't looked at again, unless a key function of the user's own made it.

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """Return the value under `key`, or `default`."""
        stem = self._stem
        if stem is None or version is not None:
            return self.cache.get(self.make_and_validate_key(key, version), default)
        made = f"{stem}{key!s}"
        value = self._peek(made, _MISSING)
        if value is not _MISSING:
            return value
        self.validate_key(made)
        return self.cache.get(made, default)

    async def aget(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """As `get`; a local hit awaits nothing."""
        stem = self._stem
        if stem is not None and version is None:
            value = self._peek(f"{stem}{key!s}", _MISSING)
            if value is not _MISSING:
                return value
        return await super().aget(key, default, version)

    def get_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        """Return the values there are, by the keys asked for, in one trip."""
        stem = self._stem
        if stem is None or version is not None:
            made = {self.make_and_validate_key(key, version): key for key in keys}
            found = self.cache.get_many(made)
        else:
            made = {f"{stem}{key!s}": key for key in keys}
            found = self.cache.get_many(made)
            for missed in made.keys() - found.keys():
                self.validate_key(missed)
        return {made[key]: value for key, value in found.items()}

    def has_key(self, key: Any, version: int | None = None) -> bool:
        """Tell whether `key` is there."""
        return self.make_and_validate_key(key, version) in self.cache

    # Writing

    def set(self, key: Any, value: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        """Put `value`; UncacheableError if it can't be pickled or is too large."""
        made = self.make_and_validate_key(key, version)
        try:
            self.cache.set(made, value, self.get_backend_timeout(timeout))
        except SerializationError as error:
            raise UncacheableError(str(error)) from error

    def add(self, key: Any, value: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Put `value` unless `key` is there; tell whether it was put. False while the remote tier is away."""
        made = self.make_and_validate_key(key, version)
        try:
            return self.cache.add(made, value, self.get_backend_timeout(timeout))
        except SerializationError as error:
            raise UncacheableError(str(error)) from error

    def set_many(
        self, data: dict[Any, Any], timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[Any]:
        """Put every value that can be, in one trip; return the keys of those that can't."""
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
        """Return the value under `key`; without one, `default`, or what it returns when called, which is stored.

        Of the threads of a process that miss one key at once, one calls `default`.
        """
        made = self.make_and_validate_key(key, version)
        loader = default if callable(default) else lambda: default
        try:
            return self.cache.get_or_set(made, loader, self.get_backend_timeout(timeout))
        except SerializationError as error:
            raise UncacheableError(str(error)) from error

    def touch(self, key: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Give `key` a new timeout; False if it isn't there, or the remote tier is away."""
        return self.cache.touch(self.make_and_validate_key(key, version), self.get_backend_timeout(timeout))

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Add `delta` to the integer under `key`, atomically across processes; it keeps its expiry.

        Raises ValueError if the key isn't there, TypeError if its value is no integer of 64 bits, OverflowError if the
        sum isn't, RemoteError while the remote tier doesn't answer.
        """
        made = self.make_and_validate_key(key, version)
        try:
            return self.cache.incr(made, delta, create=False)
        except KeyError:
            raise ValueError(f"Key '{key}' not found") from None

    # Removing

    def delete(self, key: Any, version: int | None = None) -> bool:
        """Remove `key`; tell whether it was there."""
        return self.cache.delete(self.make_and_validate_key(key, version))

    def delete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        """Remove `keys`, in one trip."""
        self.cache.delete_many([self.make_and_validate_key(key, version) for key in keys])

    def clear(self) -> None:
        """Remove every entry of the namespace, in every process: those of all prefixes and versions, nothing else."""
        self.cache.clear()

    def get_backend_timeout(self, timeout: float | None = DEFAULT_TIMEOUT) -> float | None:
        """Return a timeout as a ttl: seconds, 0 for one that is past, None for no expiry."""
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        return None if timeout is None else max(0, timeout)
