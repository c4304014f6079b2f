"""Cached functions and methods that are called without `await`."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar, overload

from twotier.decorators.cached import Bound, Cached, Keeping
from twotier.decorators.caches import SyncCache

if TYPE_CHECKING:
    from twotier.local import Store

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")


class CachedFunction(Cached[P, R]):
    """A function whose results are cached."""

    __slots__ = ("_cache",)

    def __init__(self, function: Callable[P, R], keeping: Keeping, cache: SyncCache, store: "Store") -> None:
        super().__init__(function, keeping, store, awaited=False)
        self._cache = cache

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Expire the result of a call in every process, keeping it for outages; return True if there was one."""
        return self._cache.invalidate(self._write_key(args, kwargs))

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function now, whatever is cached, and return the result, which replaces the cached one."""
        load = self._loader(args, kwargs, [])
        return self._cache.refresh(self._write_key(args, kwargs), load, **self._keeping.terms(args, kwargs))

    def cache_clear(self) -> None:
        """Expire every result of this function, in every process, in one round trip; counters go on."""
        self._cache.invalidate_tag(self._keeping.tag_to_clear())

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(
        self: "CachedFunction[Concatenate[Any, Q], R]", instance: object, owner: type[Any] | None = None
    ) -> "BoundFunction[Q, R]": ...
    def __get__(self: Any, instance: object, owner: type[Any] | None = None) -> Any:
        return self if instance is None else BoundFunction(self, instance)

    def _load(self, key: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        runs: list[None] = []
        value = self._cache.get_or_set(key, self._loader(args, kwargs, runs), **self._keeping.terms(args, kwargs))
        self._hits += not runs
        return value


class BoundFunction(Bound[P, R]):
    """A cached method of one object (or class)."""

    __slots__ = ()

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Expire the result of a call in every process, keeping it for outages; return True if there was one."""
        return self.__func__.invalidate(self.__self__, *args, **kwargs)  # type: ignore[no-any-return]

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the method now, whatever is cached, and return the result, which replaces the cached one."""
        return self.__func__.refresh(self.__self__, *args, **kwargs)  # type: ignore[no-any-return]

    def cache_clear(self) -> None:
        """Expire every result of this method, for all objects, in every process."""
        self.__func__.cache_clear()
