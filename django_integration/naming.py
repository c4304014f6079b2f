"""Between Django's calls, synchronous and asynchronous, and the cache's: keys, loaders and ttls there, errors back.

A key that memcached would refuse draws a CacheKeyWarning when it is written and when it is missed. On a local hit it
isn't looked at again, unless a key function of the user's own made it.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache, default_key_func

from twotier.errors import SerializationError

from .errors import UncacheableError
from .shared import SharedCache

MISSING: Final = object()


class Naming(BaseCache):
    """Base of the backend."""

    cache: SharedCache
    """The `twotier.Cache` behind this backend, for its stats and health; its keys are what `make_key` returns."""
    _stem: str | None
    """What Django's own key function puts before a key; None where another function makes the keys."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in ("key_func", "key_prefix", "version"):  # Django allows to change them at any time
            self._stem = self._stem_now()

    def _stem_now(self) -> str | None:
        # BaseCache.__init__ sets key_func last: until then there is no telling.
        if type(self).make_key is BaseCache.make_key and getattr(self, "key_func", None) is default_key_func:
            return f"{self.key_prefix}:{self.version}:"
        return None

    def local(self, key: Any, version: int | None) -> tuple[str, Any]:
        """Return the cache's name for a key that is read, and the fresh value that the local tier has, or MISSING."""
        stem = self._stem
        if stem is None or version is not None:
            return self.make_and_validate_key(key, version), MISSING
        made = f"{stem}{key!s}"
        value = self.cache.peek(made, MISSING)
        if value is MISSING:
            self.validate_key(made)
        return made, value

    def names(self, keys: Iterable[Any], version: int | None) -> dict[str, Any]:
        """Return keys that are read together by the cache's names for them."""
        stem = self._stem
        if stem is None or version is not None:
            return {self.make_and_validate_key(key, version): key for key in keys}
        return {f"{stem}{key!s}": key for key in keys}

    def by_key(self, names: dict[str, Any], found: dict[str, Any], version: int | None) -> dict[Any, Any]:
        """Return what was `found` by the keys that were asked for, having looked at the names that were missed."""
        if self._stem is not None and version is None:
            for missed in names.keys() - found.keys():
                self.validate_key(missed)
        return {names[name]: value for name, value in found.items()}

    def get_backend_timeout(self, timeout: float | None = DEFAULT_TIMEOUT) -> float | None:
        """Return a timeout as a ttl: seconds, 0 for one that is past, None for no expiry."""
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        return None if timeout is None else max(0, timeout)


def loader_of(default: Any) -> Callable[[], Any]:
    """Return what makes the value that `get_or_set` stores: `default` if it can be called, else what returns it."""
    return default if callable(default) else lambda: default


@contextlib.contextmanager
def storing() -> Iterator[None]:
    """Raise UncacheableError for a value that can't be pickled or is too large."""
    try:
        yield
    except SerializationError as error:
        raise UncacheableError(str(error)) from error


@contextlib.contextmanager
def counting(key: Any) -> Iterator[None]:
    """Raise ValueError for a counter that isn't there."""
    try:
        yield
    except KeyError:
        raise ValueError(f"Key '{key}' not found") from None
