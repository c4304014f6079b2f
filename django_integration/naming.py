"""Translate between Django's calls and the cache's: keys and ttls on the way in, errors on the way back.

`make_and_validate_key` makes the keys. A local hit takes a shortcut if the result is the same: Django's own functions
make the key, on class and backend alike, from a plain str as prefix and a plain int as version. In all other cases (a
subclass, a property, a prefix whose text changes) each call runs the whole function.

A key that memcached would refuse draws a CacheKeyWarning when it is written and when it is missed. A local hit doesn't
check the key again, unless keys are made in another way than Django's own.
"""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

from django.core.cache.backends import base
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache, default_key_func

from twotier.errors import SerializationError

from .errors import UncacheableError
from .loaders import is_loaders
from .overriding import is_replaced
from .shared import SharedCache

MISSING: Final = object()

MAKE_KEY: Final = BaseCache.make_key
VALIDATE_KEY: Final = BaseCache.validate_key
MAKE_AND_VALIDATE_KEY: Final = BaseCache.make_and_validate_key
_PARTS: Final = ("key_prefix", "version", "key_func")
_METHODS: Final = {
    "make_key": MAKE_KEY,
    "validate_key": VALIDATE_KEY,
    "make_and_validate_key": MAKE_AND_VALIDATE_KEY,
}
_ARE_DJANGOS: Final = all(
    getattr(function, "__globals__", None) is vars(base) for function in (*_METHODS.values(), default_key_func)
)
"""Whether the functions above are Django's own, and were not replaced before this module was imported."""


class Naming(BaseCache):
    """Base of the backend."""

    cache: SharedCache
    """The `twotier.Cache` behind this backend, for its stats and health; its keys are what `make_key` returns."""
    _stem: str | None
    """Constant prefix that Django's own functions put before a key; None if it may vary, or other functions are used.

    Callers must check that the class still has Django's methods, which may have been replaced since.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in _PARTS or name in _METHODS:  # all of them may change at any time
            self._stem = self._stem_now()

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        if name in _PARTS or name in _METHODS:
            self._stem = self._stem_now()

    def _stem_now(self) -> str | None:
        cls = type(self)
        if (
            _ARE_DJANGOS
            and cls.__getattribute__ is object.__getattribute__
            and not any(hasattr(cls, part) for part in _PARTS)  # a property, say
            and not any(is_replaced(self, name, method) for name, method in _METHODS.items())
            and getattr(self, "key_func", None) is default_key_func  # which BaseCache.__init__ sets last
            and type(self.key_prefix) is str
            and type(self.version) is int
        ):
            return f"{self.key_prefix}:{self.version}:"
        return None

    def stem(self) -> str | None:
        """Return the current prefix of keys if only Django's own functions make keys; else None."""
        cls = type(self)
        if (
            cls.make_key is MAKE_KEY
            and cls.validate_key is VALIDATE_KEY
            and cls.make_and_validate_key is MAKE_AND_VALIDATE_KEY
        ):
            return self._stem
        return None

    def local(self, key: Any, version: int | None) -> tuple[str, Any]:
        """Return the cache's name for `key`, and the local tier's fresh value, or MISSING."""
        stem = self.stem() if version is None else None
        if stem is None:
            return self.make_and_validate_key(key, version), MISSING
        made = f"{stem}{key!s}"
        value = self.cache.peek(made, MISSING)
        if value is MISSING:
            self.validate_key(made)
        return made, value

    def names(self, keys: Iterable[Any], version: int | None) -> tuple[dict[str, Any], bool]:
        """Return `keys` by the cache's names for them, and whether the names must still be validated."""
        stem = self.stem() if version is None else None
        if stem is None:
            return {self.make_and_validate_key(key, version): key for key in keys}, False
        return {f"{stem}{key!s}": key for key in keys}, True

    def by_key(self, names: dict[str, Any], found: dict[str, Any], *, validate: bool) -> dict[Any, Any]:
        """Return the `found` values under the caller's keys; with `validate`, validate the names not found."""
        if validate:
            for missed in names.keys() - found.keys():
                self.validate_key(missed)
        return {names[name]: value for name, value in found.items()}

    def get_backend_timeout(self, timeout: float | None = DEFAULT_TIMEOUT) -> float | None:
        """Return a timeout as a ttl: seconds, 0 for a timeout in the past, None for no expiry."""
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        return None if timeout is None else max(0, timeout)


@contextlib.contextmanager
def storing() -> Iterator[None]:
    """Raise UncacheableError for a value that can't be pickled or is too large; a loader's errors stay unchanged."""
    try:
        yield
    except SerializationError as error:
        if is_loaders(error):
            raise
        raise UncacheableError(str(error)) from error


@contextlib.contextmanager
def counting(key: Any) -> Iterator[None]:
    """Raise ValueError for a counter that doesn't exist."""
    try:
        yield
    except KeyError:
        raise ValueError(f"Key '{key}' not found") from None
