"""The thin callers of the Python twin: a two-tier cache's base, and LocalCache's."""

from collections.abc import Coroutine, Hashable
from typing import TYPE_CHECKING, Any, Final

from twotier.options import DEFAULT_TTL, Ttl, ttl_ns

if TYPE_CHECKING:
    from twotier.local.twin.store import Store

_MISSING: Final = object()


class Front:
    """Base of a cache's face: a local hit is one call, and everything else goes to `_missed`."""

    __slots__ = ("__store",)

    def __init__(self, store: "Store") -> None:
        self.__store = store

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value under `key`, or `default` where there is none; a fresh local one at once."""
        if type(key) is str:
            value = self.__store.get(key, _MISSING)
            if value is not _MISSING:
                return value
        return self._missed(key, default)

    def _missed(self, key: str, default: Any) -> Any:  # noqa: ARG002 - subclasses use the key
        """Answer a local miss; subclasses override it."""
        return default


class AsyncFront:
    """Base of a cache's asynchronous face: a local hit awaits nothing, and everything else goes to `_missed`."""

    __slots__ = ("__store",)

    def __init__(self, store: "Store") -> None:
        self.__store = store

    def get(self, key: str, default: Any = None) -> Coroutine[Any, Any, Any]:
        """Return the value under `key`, or `default` where there is none, to be awaited."""
        if type(key) is str:
            value = self.__store.get(key, _MISSING)
            if value is not _MISSING:
                return ready(value)
        return self._missed(key, default)

    def _missed(self, key: str, default: Any) -> Coroutine[Any, Any, Any]:  # noqa: ARG002 - subclasses use the key
        """Answer a local miss, to be awaited; subclasses override it."""
        return ready(default)


async def ready(value: Any) -> Any:
    """Return `value`, to be awaited."""
    return value


class LocalFront:
    """Base of LocalCache: the calls that are made most. A ttl is in seconds."""

    __slots__ = ("_span", "_store")

    def __init__(self, store: "Store", ttl: float | None = None) -> None:
        self._span = ttl_ns(ttl)
        self._store = store

    @property
    def store(self) -> "Store":
        """The store behind it."""
        return self._store

    def expiry(self, ttl: Ttl = DEFAULT_TTL) -> int:
        """Return the instant at which a value set now for `ttl` seconds expires (ns; NEVER)."""
        return self._store.after(self._span if ttl is DEFAULT_TTL else ttl_ns(ttl))

    def get(self, key: Hashable, default: Any = None) -> Any:
        """Return the value under `key`, or `default`."""
        return self._store.get(key, default)

    def __getitem__(self, key: Hashable) -> Any:
        """Return the value under `key`; KeyError without one."""
        value = self._store.get(key, _MISSING)
        if value is _MISSING:
            raise KeyError(key)
        return value

    def __contains__(self, key: object) -> bool:
        """Return True if there is a value under `key`."""
        return key in self._store

    def __len__(self) -> int:
        """Return the number of entries held, those included that have just expired."""
        return len(self._store)

    def set(self, key: Hashable, value: Any, ttl: Ttl = DEFAULT_TTL) -> None:
        """Put `value` for `ttl` seconds: None for no expiry, 0 stores nothing and deletes."""
        self._store.put(key, value, expires=self.expiry(ttl))

    def __setitem__(self, key: Hashable, value: Any) -> None:
        """Put `value` for the cache's own ttl."""
        self._store.put(key, value, expires=self.expiry())

    def __delitem__(self, key: Hashable) -> None:
        """Remove the value under `key`; KeyError without one."""
        if not self._store.discard(key):
            raise KeyError(key)

    def pop(self, key: Hashable, default: Any = _MISSING) -> Any:
        """Remove `key` and return its value; without one, return `default`, or raise KeyError if none was given."""
        value = self._store._pop(key, _MISSING)  # noqa: SLF001 - one step of the store, which no one else needs
        if value is not _MISSING:
            return value
        if default is _MISSING:
            raise KeyError(key)
        return default

    def popitem(self) -> tuple[Any, Any]:
        """Remove and return some item; KeyError if there is none."""
        keys = self._store.keys()
        for key in keys:
            value = self._store._pop(key, _MISSING)  # noqa: SLF001 - as above
            if value is not _MISSING:
                return key, value
        raise KeyError(f"popitem from an empty {type(self).__name__}")

    def setdefault(self, key: Hashable, default: Any = None) -> Any:
        """Return the value under `key`; without one, put `default` and return it."""
        return self._store._setdefault(key, default, self.expiry())  # noqa: SLF001 - as above
