"""The interface of a cache for its cached functions: that of a `Cache`, or, awaited, of an `AsyncCache`."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol, TypeVar, Unpack

from twotier.load_policy import LoadPolicyDict
from twotier.options import Ttl

R = TypeVar("R")


class SyncCache(Protocol):
    """The calls that a cached function makes; `Cache` has them."""

    @property
    def aio(self) -> "AwaitedCache":
        """The same cache, for coroutines."""

    def get_or_set(
        self,
        key: str,
        loader: Callable[[], R],
        ttl: Ttl = ...,
        *,
        tags: Iterable[str] = ...,
        **policy: Unpack[LoadPolicyDict],
    ) -> R:
        """Return the value under `key`, loaded if there is none."""

    def refresh(
        self,
        key: str,
        loader: Callable[[], R],
        ttl: Ttl = ...,
        *,
        tags: Iterable[str] = ...,
        **policy: Unpack[LoadPolicyDict],
    ) -> R:
        """Load the value of `key` now, and return it."""

    def invalidate(self, key: str) -> bool:
        """Expire `key`; return True if it was there."""

    def invalidate_tag(self, *tags: str) -> None:
        """Expire what carries any of `tags`."""


class AwaitedCache(Protocol):
    """The calls that a cached coroutine function awaits; `AsyncCache` has them."""

    async def get_or_set(
        self,
        key: str,
        loader: Callable[[], Awaitable[R]],
        ttl: Ttl = ...,
        *,
        tags: Iterable[str] = ...,
        **policy: Unpack[LoadPolicyDict],
    ) -> R:
        """Return the value under `key`, loaded if there is none."""

    async def refresh(
        self,
        key: str,
        loader: Callable[[], Awaitable[R]],
        ttl: Ttl = ...,
        *,
        tags: Iterable[str] = ...,
        **policy: Unpack[LoadPolicyDict],
    ) -> R:
        """Load the value of `key` now, and return it."""

    async def invalidate(self, key: str) -> bool:
        """Expire `key`; return True if it was there."""

    async def invalidate_tag(self, *tags: str) -> None:
        """Expire what carries any of `tags`."""


AnyCache = SyncCache | AwaitedCache
"""A cache of either kind."""
