"""`AsyncCache`: the asynchronous face of a two-tier cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

from twotier.core.access.calls import Calls
from twotier.core.access.missing import MISSING
from twotier.core.flow.async_drive import async_drive
from twotier.core.flow.own_thread import on_own_thread
from twotier.core.namespace.process_bound import ProcessBound
from twotier.decorators import Asked, AsyncDecorator
from twotier.errors import ConfigurationError
from twotier.local import AsyncFront
from twotier.options import DEFAULT_TTL, Options, OptionsDict, Ttl

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
    from types import TracebackType

    from twotier.core.flow.drive import Flow
    from twotier.core.loading.context import LoadContext
    from twotier.load_policy import LoadPolicyDict
    from twotier.remote.deploy.factory import Target
    from twotier.stats import Health, Stats

R = TypeVar("R")


class AsyncCache(ProcessBound, AsyncFront):
    """A `Cache` for event loops: the same calls and meanings, awaited. Tasks of any loops, and threads, may share it.

    Made as a `Cache` is, or taken from one: `cache.aio` has the same local tier, link and connections, and closing
    either closes both. Works on asyncio's and uvloop's loops, several at once, and belongs to none of them.

    Making one isn't awaited: `embedded://` starts its server then, which holds up the loop for 0.04 to 0.6 s, and
    `connect="eager"` asks a few questions, each for up to `timeout`. On a thread neither does: `await
    asyncio.to_thread(AsyncCache, url)`.

    `await cache.get(key)` suspends nowhere when the local tier has the value. Methods that use only the local tier
    aren't awaited: `peek`, `resize`, `stats`, `health`. After a task is cancelled in a call, only one thing is
    uncertain: whether its write took place. The key of that write is invalidated in the background.

    >>> import asyncio
    >>> async def main():
    ...     async with AsyncCache() as cache:
    ...         await cache.set("answer", 42)
    ...         return await cache.get("answer"), await cache.get("question", "?"), cache.peek("answer")
    >>> asyncio.run(main())
    (42, '?', 42)
    """

    def __init__(
        self,
        target: Target | None = None,
        options: Options | None = None,
        **settings: Unpack[OptionsDict],
    ) -> None:
        self._serve(Calls(target, options, settings))

    @classmethod
    def of(cls, calls: Calls) -> Self:
        """Return the asynchronous face of a cache that is there; `Cache.aio` is made so."""
        cache = cls.__new__(cls)
        cache._serve(calls)  # noqa: SLF001 - in place of __init__
        return cache

    def _serve(self, calls: Calls) -> None:
        self._calls = calls
        self.options = calls.options
        self._namespace = calls.namespace
        self._peek = calls.namespace.store.get
        self._early = calls.options.early_refresh is not None
        super().__init__(calls.namespace.store)

    @classmethod
    def from_url(cls, url: str, **settings: Unpack[OptionsDict]) -> Self:
        """Return a cache whose remote tier is at `url`, as `Cache.from_url` does."""
        if not isinstance(url, str):
            raise ConfigurationError(f"url must be a str, got {type(url).__name__}")
        return cls(url, **settings)

    # `get` is inherited: a local hit is one call of the compiled store; a local miss calls this method.
    async def _missed(self, key: str, default: Any) -> Any:
        found = await self._run(self._calls.get(key))
        return default if found is MISSING else found

    def peek(self, key: str, default: Any = None) -> Any:
        """Return the fresh value that the local tier has under `key`, or `default`; asks no server, and awaits nothing.

        >>> AsyncCache().peek("nothing", "?")
        '?'
        """
        return self._peek(key, default)

    async def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the values found, in the order of `keys`; one round trip reads all keys that the local tier misses."""
        return await self._run(self._calls.get_many(keys))

    async def set(self, key: str, value: Any, ttl: Ttl = DEFAULT_TTL, tags: Iterable[str] = ()) -> None:
        """Put `value` for `ttl` seconds, under `tags`; see `Cache.set`."""
        await self._run(self._calls.set(key, value, ttl, tags))

    async def set_many(self, values: Mapping[str, Any], ttl: Ttl = DEFAULT_TTL, tags: Iterable[str] = ()) -> None:
        """Put every value of a mapping; nothing is stored when one can't be. Not atomic across keys."""
        await self._run(self._calls.set_many(values, ttl, tags))

    async def add(self, key: str, value: Any, ttl: Ttl = DEFAULT_TTL, tags: Iterable[str] = ()) -> bool:
        """Put `value` unless `key` is there; return True if it was put. False while the remote tier is away."""
        return await self._run(self._calls.add(key, value, ttl, tags))

    async def delete(self, key: str) -> bool:
        """Remove `key`; return True if it was there."""
        return await self._run(self._calls.delete(key))

    async def delete_many(self, keys: Iterable[str]) -> int:
        """Remove `keys`; return how many were there."""
        return await self._run(self._calls.delete_many(keys))

    async def invalidate(self, key: str) -> bool:
        """Expire `key` in every process, its stale copies kept for outages; return True if it was there."""
        return await self._run(self._calls.invalidate(key))

    async def invalidate_many(self, keys: Iterable[str]) -> int:
        """Expire `keys` as `invalidate` does; return how many were there."""
        return await self._run(self._calls.invalidate_many(keys))

    async def invalidate_tag(self, *tags: str) -> None:
        """Expire every entry that carries any of `tags`, in every process; see `Cache.invalidate_tag`."""
        await self._run(self._calls.invalidate_tag(tags))

    async def touch(self, key: str, ttl: Ttl = DEFAULT_TTL) -> bool:
        """Give `key` a new ttl; False if it isn't there, or the remote tier is away."""
        return await self._run(self._calls.touch(key, ttl))

    async def ttl(self, key: str) -> float | None:
        """Return the seconds that `key` has left; None for no expiry, 0.0 if it isn't there."""
        return await self._run(self._calls.ttl(key))

    async def incr(self, key: str, delta: int = 1, ttl: Ttl = DEFAULT_TTL, *, create: bool = True) -> int:
        """Add `delta` to the integer under `key`, atomically across processes, and return the sum; see `Cache.incr`."""
        return await self._run(self._calls.incr(key, delta, ttl, create=create))

    async def decr(self, key: str, delta: int = 1, ttl: Ttl = DEFAULT_TTL, *, create: bool = True) -> int:
        """Subtract `delta` from the integer under `key`; as `incr`."""
        return await self._run(self._calls.decr(key, delta, ttl, create=create))

    async def contains(self, key: str) -> bool:
        """Return True if `key` is there: `key in cache`, awaited."""
        return await self._run(self._calls.contains(key))

    def __contains__(self, key: str) -> bool:
        raise TypeError("`key in cache` can't be awaited: use `await cache.contains(key)`, or `cache.peek(key)`")

    async def clear(self) -> None:
        """Remove every entry of this namespace, in every process; other namespaces and other users' keys stay."""
        await self._run(self._calls.clear())

    @overload
    async def get_or_set(
        self,
        key: str,
        loader: Callable[[], Awaitable[R]] | Callable[[LoadContext], Awaitable[R]],
        ttl: Ttl = DEFAULT_TTL,
        *,
        tags: Iterable[str] = (),
        **policy: Unpack[LoadPolicyDict],
    ) -> R: ...
    @overload
    async def get_or_set(
        self,
        key: str,
        loader: Callable[[], R] | Callable[[LoadContext], R],
        ttl: Ttl = DEFAULT_TTL,
        *,
        tags: Iterable[str] = (),
        **policy: Unpack[LoadPolicyDict],
    ) -> R: ...
    async def get_or_set(
        self,
        key: str,
        loader: Callable[..., Any],
        ttl: Ttl = DEFAULT_TTL,
        *,
        tags: Iterable[str] = (),
        **policy: Unpack[LoadPolicyDict],
    ) -> Any:
        """Return the value under `key`; without one, call `loader`, and store its result for `ttl` seconds.

        An awaitable result of `loader` is awaited; a loader that isn't a coroutine function runs on the loop's
        thread, and blocks the loop. Of the tasks and threads that miss one key at once, one calls its loader, and
        the others get a copy of the result; if the loading task is cancelled, the next one loads. See
        `Cache.get_or_set`.

        >>> import asyncio
        >>> async def main():
        ...     async with AsyncCache() as cache:
        ...         return await cache.get_or_set("page", lambda: asyncio.sleep(0, "made once"))
        >>> asyncio.run(main())
        'made once'
        """
        found = self._peek(key, MISSING)
        if found is MISSING:
            found = await self._run(self._calls.get_or_set(key, loader, ttl, tags, policy))
        elif (self._early or policy) and self._calls.is_due(key, policy):
            await self._run(self._calls.refresh_ahead(key, loader, ttl, tags, policy))
        return found

    def cached(
        self,
        ttl: Ttl = DEFAULT_TTL,
        key: str | None = None,
        *,
        tags: Iterable[str] = (),
        ignore: Iterable[str] = (),
        clearable: bool = True,
        **policy: Unpack[LoadPolicyDict],
    ) -> AsyncDecorator:
        """Make a decorator that keeps a coroutine function's results, each for `ttl` seconds; see `Cache.cached`.

        Calls of the decorated function are awaited, and so are `invalidate`, `refresh` and `cache_clear`; `key_for` and
        `cache_info` aren't.

        >>> import asyncio
        >>> async def main():
        ...     async with AsyncCache() as cache:
        ...         @cache.cached(ttl=60, key="user:{user_id}")
        ...         async def load(user_id):
        ...             return {"id": user_id}
        ...         return await load(7), await load(7), load.cache_info()
        >>> asyncio.run(main())
        ({'id': 7}, {'id': 7}, CacheInfo(hits=1, misses=1, local_hits=1))
        """
        direct = self._calls.policy(policy).early_refresh is None
        return AsyncDecorator(
            self, self._namespace.store, Asked(ttl, key, tags, ignore, clearable, policy), direct=direct
        )

    @overload
    async def get_or_set_many(
        self,
        keys: Iterable[str],
        loader: Callable[[list[str]], Awaitable[Mapping[str, R]]],
        ttl: Ttl = DEFAULT_TTL,
        *,
        tags: Iterable[str] = (),
        **policy: Unpack[LoadPolicyDict],
    ) -> dict[str, R]: ...
    @overload
    async def get_or_set_many(
        self,
        keys: Iterable[str],
        loader: Callable[[list[str]], Mapping[str, R]],
        ttl: Ttl = DEFAULT_TTL,
        *,
        tags: Iterable[str] = (),
        **policy: Unpack[LoadPolicyDict],
    ) -> dict[str, R]: ...
    async def get_or_set_many(
        self,
        keys: Iterable[str],
        loader: Callable[[list[str]], Any],
        ttl: Ttl = DEFAULT_TTL,
        *,
        tags: Iterable[str] = (),
        **policy: Unpack[LoadPolicyDict],
    ) -> dict[str, Any]:
        """Return the values under `keys`, those missing loaded in one call of `loader`. See `Cache.get_or_set_many`."""
        return await self._run(self._calls.get_or_set_many(keys, loader, ttl, tags, policy))

    @overload
    async def refresh(
        self,
        key: str,
        loader: Callable[[], Awaitable[R]] | Callable[[LoadContext], Awaitable[R]],
        ttl: Ttl = DEFAULT_TTL,
        *,
        tags: Iterable[str] = (),
        **policy: Unpack[LoadPolicyDict],
    ) -> R: ...
    @overload
    async def refresh(
        self,
        key: str,
        loader: Callable[[], R] | Callable[[LoadContext], R],
        ttl: Ttl = DEFAULT_TTL,
        *,
        tags: Iterable[str] = (),
        **policy: Unpack[LoadPolicyDict],
    ) -> R: ...
    async def refresh(
        self,
        key: str,
        loader: Callable[..., Any],
        ttl: Ttl = DEFAULT_TTL,
        *,
        tags: Iterable[str] = (),
        **policy: Unpack[LoadPolicyDict],
    ) -> Any:
        """Call `loader` now, whatever is there, and replace the value in both tiers. See `Cache.refresh`."""
        return await self._run(self._calls.refresh(key, loader, ttl, tags, policy))

    def resize(self, maxsize: int) -> None:
        """Hold at most `maxsize` entries in the local tier from now on; the policy evicts the surplus."""
        self._namespace.store.resize(maxsize)

    def stats(self) -> Stats:
        """Return the counters of this process since the cache was made."""
        return self._namespace.stats()

    def health(self) -> Health:
        """Return the state of the link, the circuit breaker and the journal now."""
        return self._namespace.health()

    async def close(self) -> None:
        """Give back connections and threads, and stop an embedded server; using the cache afterwards is an error.

        A `Cache` that this one was taken from is closed with it.
        """
        await on_own_thread(self._namespace.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<twotier.AsyncCache {self.options.namespace!r} on {self._namespace.label}>"

    def _run(self, flow: Flow[R]) -> Coroutine[Any, Any, R]:
        return async_drive(self._calls.acknowledged(flow), self._namespace.async_executor, self._namespace.tasks)
