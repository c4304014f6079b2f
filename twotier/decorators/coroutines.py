"""Cached coroutine functions: a call returns an awaitable, which suspends nowhere on a local hit."""

import asyncio.coroutines
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar, overload

from twotier.decorators.cached import Bound, Cached, Keeping
from twotier.decorators.caches import AwaitedCache

if TYPE_CHECKING:
    from twotier.local import Store

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")


class CachedCoroutine(Cached[P, Coroutine[Any, Any, R]]):
    """A coroutine function whose results are cached."""

    __slots__ = ("_cache",)

    def __init__(
        self, function: Callable[P, Awaitable[R]], keeping: Keeping, cache: AwaitedCache, store: "Store"
    ) -> None:
        super().__init__(function, keeping, store, awaited=True)  # type: ignore[arg-type]  # its result is awaited
        self._cache = cache
        _mark_as_coroutine_function(self)

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Expire the result of a call in every process, keeping it for outages; return True if there was one."""
        return await self._cache.invalidate(self._write_key(args, kwargs))

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function now, whatever is cached, and return the result, which replaces the cached one."""
        load = self._loader(args, kwargs, [])
        return await self._cache.refresh(self._write_key(args, kwargs), load, **self._keeping.terms(args, kwargs))

    async def cache_clear(self) -> None:
        """Expire every result of this function, in every process, in one round trip; counters go on."""
        await self._cache.invalidate_tag(self._keeping.tag_to_clear())

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(
        self: "CachedCoroutine[Concatenate[Any, Q], R]", instance: object, owner: type[Any] | None = None
    ) -> "BoundCoroutine[Q, R]": ...
    def __get__(self: Any, instance: object, owner: type[Any] | None = None) -> Any:
        return self if instance is None else BoundCoroutine(self, instance)

    async def _load(self, key: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        runs: list[None] = []
        load = self._loader(args, kwargs, runs)
        value: R = await self._cache.get_or_set(key, load, **self._keeping.terms(args, kwargs))
        self._hits += not runs
        return value


class BoundCoroutine(Bound[P, Coroutine[Any, Any, R]]):
    """A cached method of one object (or class), to be awaited."""

    __slots__ = ()

    def __init__(self, cached: CachedCoroutine[Concatenate[Any, P], R], instance: object) -> None:
        super().__init__(cached, instance)

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Expire the result of a call in every process, keeping it for outages; return True if there was one."""
        return await self.__func__.invalidate(self.__self__, *args, **kwargs)  # type: ignore[no-any-return]

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the method now, whatever is cached, and return the result, which replaces the cached one."""
        return await self.__func__.refresh(self.__self__, *args, **kwargs)  # type: ignore[no-any-return]

    async def cache_clear(self) -> None:
        """Expire every result of this method, for all objects, in every process."""
        await self.__func__.cache_clear()


def _mark_as_coroutine_function(function: Any) -> None:
    """Mark `function` so that inspect and asyncio treat it as a coroutine function."""
    if hasattr(inspect, "markcoroutinefunction"):
        inspect.markcoroutinefunction(function)
    else:
        # Up to Python 3.11 inspect accepts any object with a function's attributes, and reads its code's flags.
        function.__code__ = _coroutine.__code__
        function.__defaults__ = function.__kwdefaults__ = None
        function._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]  # noqa: SLF001 - as asgiref does


async def _coroutine(*args: Any, **kwargs: Any) -> None:
    """Provide the code object of a coroutine function."""
