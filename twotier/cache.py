"""`Cache`: the synchronous face of a two-tier cache."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from twotier.aio import AsyncCache
from twotier.core.access.calls import Calls
from twotier.core.access.missing import MISSING
from twotier.core.flow.drive import drive
from twotier.core.namespace.process_bound import ProcessBound
from twotier.decorators import Asked, Decorator
from twotier.errors import ConfigurationError
from twotier.local import Front
from twotier.options import DEFAULT_TTL, Options, OptionsDict, Ttl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from twotier.core.flow.drive import Flow
    from twotier.core.loading.context import LoadContext
    from twotier.load_policy import LoadPolicyDict
    from twotier.remote.deploy.factory import Target
    from twotier.stats import Health, Stats

R = TypeVar("R")


class Cache(ProcessBound, Front):
    """A cache of two tiers: a local one in this process, in front of Redis or Valkey. Threads may share it.

    `target`: a URL (`redis://`, `rediss://`, `unix://`, or `embedded://` for a private server), a `redis.Redis` client,
    or None for the local tier alone. `options`: an `Options`, or its fields as keyword arguments.

    Keys are non-empty str of at most 64 KiB in UTF-8 (else TypeError, ValueError). A ttl is in seconds; None means no
    expiry, 0 stores nothing and deletes, a negative one or NaN is a ValueError. Reads and writes go on while the remote
    tier is away; only `incr` and `decr` raise RemoteUnavailable then.

    >>> with Cache() as cache:
    ...     cache.set("answer", 42)
    ...     cache.get("answer"), cache.get("question", "?")
    (42, '?')
    """

    def __init__(
        self,
        target: Target | None = None,
        options: Options | None = None,
        **settings: Unpack[OptionsDict],
    ) -> None:
        self._calls = calls = Calls(target, options, settings)
        self.options = calls.options
        self._namespace, self._tiers = calls.namespace, calls.tiers
        self._peek = calls.namespace.store.get
        self._early = calls.options.early_refresh is not None
        super().__init__(calls.namespace.store)

    @classmethod
    def from_url(cls, url: str, **settings: Unpack[OptionsDict]) -> Self:
        """Return a cache whose remote tier is at `url`; settings are fields of `Options`.

        Raises ConfigurationError at once for a URL that can't work (unknown scheme, bad port, no service name), with
        its secrets masked; with `connect="eager"` RemoteUnavailable for one that leads nowhere.

        >>> with Cache.from_url("embedded://", ttl=60) as cache:
        ...     cache.set("answer", 42)
        ...     cache.get("answer")
        42
        """
        if not isinstance(url, str):
            raise ConfigurationError(f"url must be a str, got {type(url).__name__}")
        return cls(url, **settings)

    @cached_property
    def aio(self) -> AsyncCache:
        """The same cache for event loops: one local tier, link and set of connections; closing either closes both.

        >>> import asyncio
        >>> with Cache() as cache:
        ...     cache.set("answer", 42)
        ...     asyncio.run(cache.aio.get_many(["answer"]))
        {'answer': 42}
        """
        return AsyncCache.of(self._calls)

    # `get` is inherited: a local hit is one call of the compiled store; a local miss calls this method.
    def _missed(self, key: str, default: Any) -> Any:
        found = self._run(self._calls.get(key))
        return default if found is MISSING else found

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the values found, in the order of `keys`; one round trip reads all keys that the local tier misses.

        >>> with Cache() as cache:
        ...     cache.set_many({"a": 1, "b": 2})
        ...     cache.get_many(["b", "c", "a"])
        {'b': 2, 'a': 1}
        """
        return self._run(self._calls.get_many(keys))

    def set(self, key: str, value: Any, ttl: Ttl = DEFAULT_TTL, tags: Iterable[str] = ()) -> None:
        """Put `value` for `ttl` seconds. Raises SerializationError for a value that the codec can't encode.

        `tags`: up to 64 names, each a non-empty str of at most 255 bytes in UTF-8, by which the entry can be expired
        together with others (`invalidate_tag`). A tagged integer can't be counted up or down.
        """
        self._run(self._calls.set(key, value, ttl, tags))

    def set_many(self, values: Mapping[str, Any], ttl: Ttl = DEFAULT_TTL, tags: Iterable[str] = ()) -> None:
        """Put every value of a mapping; nothing is stored when one can't be. Not atomic across keys."""
        self._run(self._calls.set_many(values, ttl, tags))

    def add(self, key: str, value: Any, ttl: Ttl = DEFAULT_TTL, tags: Iterable[str] = ()) -> bool:
        """Put `value` unless `key` is there; return True if it was put. False while the remote tier is away."""
        return self._run(self._calls.add(key, value, ttl, tags))

    def delete(self, key: str) -> bool:
        """Remove `key`; return True if it was there."""
        return self._run(self._calls.delete(key))

    def delete_many(self, keys: Iterable[str]) -> int:
        """Remove `keys`; return how many were there."""
        return self._run(self._calls.delete_many(keys))

    def invalidate(self, key: str) -> bool:
        """Expire `key` in every process; return True if it was there.

        As `delete`, but stale copies stay in the local tiers, for outages and for loads that fail: use it for values
        that have changed, and `delete` for those that must not be seen again.

        >>> with Cache() as cache:
        ...     cache.set("page", "old")
        ...     cache.invalidate("page"), cache.get("page", "gone")
        (True, 'gone')
        """
        return self._run(self._calls.invalidate(key))

    def invalidate_many(self, keys: Iterable[str]) -> int:
        """Expire `keys` as `invalidate` does; return how many were there."""
        return self._run(self._calls.invalidate_many(keys))

    def invalidate_tag(self, *tags: str) -> None:
        """Expire every entry that carries any of `tags`, in every process, as `invalidate` does one key.

        It costs one round trip, however many entries carry the tags. Entries that are set or loaded with a tag
        meanwhile expire as well.

        >>> with Cache() as cache:
        ...     cache.set("user:7:page", "...", tags=["user:7", "pages"])
        ...     cache.invalidate_tag("user:7")
        ...     cache.get("user:7:page", "gone")
        'gone'
        """
        self._run(self._calls.invalidate_tag(tags))

    def touch(self, key: str, ttl: Ttl = DEFAULT_TTL) -> bool:
        """Give `key` a new ttl; False if it isn't there, or the remote tier is away."""
        return self._run(self._calls.touch(key, ttl))

    def ttl(self, key: str) -> float | None:
        """Return the remaining lifetime of `key` (s); None for no expiry, 0.0 if `key` doesn't exist.

        While the remote tier is away, the local tier answers.
        """
        return self._run(self._calls.ttl(key))

    def incr(self, key: str, delta: int = 1, ttl: Ttl = DEFAULT_TTL, *, create: bool = True) -> int:
        """Add `delta` to the integer under `key`, atomically across processes, and return the sum.

        A key that isn't there starts from 0, with `ttl`, or is a KeyError if `create` is false; one that is there keeps
        its expiry. Raises TypeError if the value is no integer of 64 bits, OverflowError if the sum isn't, and
        RemoteError while the remote tier doesn't answer.

        >>> with Cache() as cache:
        ...     cache.incr("visits"), cache.incr("visits", 10)
        (1, 11)
        """
        return self._run(self._calls.incr(key, delta, ttl, create=create))

    def decr(self, key: str, delta: int = 1, ttl: Ttl = DEFAULT_TTL, *, create: bool = True) -> int:
        """Subtract `delta` from the integer under `key`; as `incr`."""
        return self._run(self._calls.decr(key, delta, ttl, create=create))

    def __contains__(self, key: str) -> bool:
        return self._run(self._calls.contains(key))

    def clear(self) -> None:
        """Remove every entry of this namespace, in every process; other namespaces and other users' keys stay."""
        self._run(self._calls.clear())

    def get_or_set(
        self,
        key: str,
        loader: Callable[[], R] | Callable[[LoadContext], R],
        ttl: Ttl = DEFAULT_TTL,
        *,
        tags: Iterable[str] = (),
        **policy: Unpack[LoadPolicyDict],
    ) -> R:
        """Return the value under `key`; without one, call `loader`, and store its result for `ttl` seconds.

        Of the threads that miss one key at once, one calls its loader, and the others get a copy of the result. An
        error of the loader is raised in all of them, and nothing is stored. When `key` is written or invalidated while
        the loader runs, the result is returned but not stored.

        A loader that takes an argument gets a `LoadContext`. If a loader returns NOT_FOUND, so does this call; no
        value is stored, but the absence is remembered for `negative_ttl`. `policy`: settings of this load in place of
        the cache's (see `LoadPolicy`). Raises LoadTimeout past `hard_timeout`, LoadShed where `when_busy="shed"`
        refuses the call.

        >>> with Cache() as cache:
        ...     cache.get_or_set("page", lambda: "made once"), cache.get_or_set("page", lambda: "not made again")
        ('made once', 'made once')
        """
        found = self._peek(key, MISSING)
        if found is MISSING:
            found = self._run(self._calls.get_or_set(key, loader, ttl, tags, policy))
        elif (self._early or policy) and self._calls.is_due(key, policy):
            self._run(self._calls.refresh_ahead(key, loader, ttl, tags, policy))
        return found  # type: ignore[no-any-return]

    def cached(
        self,
        ttl: Ttl = DEFAULT_TTL,
        key: str | None = None,
        *,
        tags: Iterable[str] = (),
        ignore: Iterable[str] = (),
        clearable: bool = True,
        **policy: Unpack[LoadPolicyDict],
    ) -> Decorator:
        """Make a decorator that keeps a function's results, each for `ttl` seconds, as `get_or_set` does.

        `key`: a template such as "user:{user_id}", whose fields are parameters of the function or attributes of them
        ("{user.id}"); one without fields draws a UserWarning where parameters don't count, unless `ignore` names them.
        Without a template, keys are made of the function's module and name and of all its arguments, but those
        that `ignore` names. An argument that counts must have a stable text: None, bool, int, float, str, bytes,
        Decimal, UUID, dates and times, members of enums, classes, and tuples, lists, sets and dicts of these; for any
        other the call raises a TypeError that names it. A coroutine function goes through `aio`, and stays one.
        Generators are refused with a TypeError.

        `tags`: templates of tags, such as "user:{user_id}". All results of a function carry one more tag, for its
        `cache_clear()`; `clearable=False` saves the cost of that tag (see `set`). `policy`: as for `get_or_set`.

        >>> with Cache() as cache:
        ...     @cache.cached(ttl=60, key="user:{user_id}")
        ...     def load(user_id):
        ...         return {"id": user_id}
        ...     load(7), load(7), load.cache_info(), cache.get("user:7")
        ({'id': 7}, {'id': 7}, CacheInfo(hits=1, misses=1, local_hits=1), {'id': 7})
        """
        direct = self._calls.policy(policy).early_refresh is None
        return Decorator(self, self._namespace.store, Asked(ttl, key, tags, ignore, clearable, policy), direct=direct)

    def get_or_set_many(
        self,
        keys: Iterable[str],
        loader: Callable[[list[str]], Mapping[str, R]],
        ttl: Ttl = DEFAULT_TTL,
        *,
        tags: Iterable[str] = (),
        **policy: Unpack[LoadPolicyDict],
    ) -> dict[str, R]:
        """Return the values under `keys`, in their order; `loader` is called once, with a list of those missing.

        The loader returns a mapping. Keys that it leaves out (or maps to NOT_FOUND) are missing from the result, too,
        and their absence is remembered for `negative_ttl`. Keys that it returns without having been given them are
        ignored, as no load lock covers those. The call waits for keys that other callers are loading. It raises the
        loader's error, or a LoaderError if the loaders of several callers have failed. Otherwise as `get_or_set`.

        >>> with Cache() as cache:
        ...     cache.set("a", 1)
        ...     cache.get_or_set_many(["a", "b"], lambda missing: {key: key.upper() for key in missing})
        {'a': 1, 'b': 'B'}
        """
        return self._run(self._calls.get_or_set_many(keys, loader, ttl, tags, policy))

    def refresh(
        self,
        key: str,
        loader: Callable[[], R] | Callable[[LoadContext], R],
        ttl: Ttl = DEFAULT_TTL,
        *,
        tags: Iterable[str] = (),
        **policy: Unpack[LoadPolicyDict],
    ) -> R:
        """Call `loader` now, whatever is cached, and replace the value in both tiers; return the new value.

        The call joins a load of `key` that is already under way, here or in another process. A write or a delete of the
        key while the loader runs wins, as in `get_or_set`. When the loader returns NOT_FOUND, the value leaves. Stale
        copies are not served in place of the result: `soft_timeout` and `stale_on_error` don't apply.

        >>> with Cache() as cache:
        ...     cache.set("page", "old")
        ...     cache.refresh("page", lambda: "new"), cache.get("page")
        ('new', 'new')
        """
        return self._run(self._calls.refresh(key, loader, ttl, tags, policy))  # type: ignore[no-any-return]

    def resize(self, maxsize: int) -> None:
        """Hold at most `maxsize` entries in the local tier from now on; the policy evicts the surplus."""
        self._namespace.store.resize(maxsize)

    def stats(self) -> Stats:
        """Return the counters of this process since the cache was made."""
        return self._namespace.stats()

    def health(self) -> Health:
        """Return the state of the link, the circuit breaker and the journal now."""
        return self._namespace.health()

    def close(self) -> None:
        """Give back connections and threads, and stop an embedded server; using the cache afterwards is an error.

        A cache with a remote tier listens until it is closed or the process ends, even after its last reference is
        gone: make one cache and share it, or use it in a `with`.
        """
        self._namespace.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<twotier.Cache {self.options.namespace!r} on {self._namespace.label}>"

    def _run(self, flow: Flow[R]) -> R:
        return drive(self._calls.acknowledged(flow), self._namespace.executor, self._namespace.background)
