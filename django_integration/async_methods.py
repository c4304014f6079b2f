"""The asynchronous methods that Django's base class builds of several calls: each is one here, as atomic as its twin.

The others (`aset`, `aadd`, `atouch`, `adelete`, ...) are the base class's own, which already are.
"""

# ruff: noqa: ASYNC109 - Django's signatures: timeout is the entry's

from collections.abc import Iterable
from typing import Any

from asgiref.sync import sync_to_async
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache


class AsyncMethods(BaseCache):
    """`a...` methods that run the synchronous one in Django's thread for such calls."""

    async def aget_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        """As `get_many`."""
        return await sync_to_async(self.get_many)(keys, version)

    async def aset_many(
        self, data: dict[Any, Any], timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[Any]:
        """As `set_many`."""
        return await sync_to_async(self.set_many)(data, timeout, version)

    async def adelete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        """As `delete_many`."""
        await sync_to_async(self.delete_many)(keys, version)

    async def aget_or_set(
        self, key: Any, default: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None
    ) -> Any:
        """As `get_or_set`."""
        return await sync_to_async(self.get_or_set)(key, default, timeout, version)

    async def ahas_key(self, key: Any, version: int | None = None) -> bool:
        """As `has_key`."""
        return await sync_to_async(self.has_key)(key, version)

    async def aincr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """As `incr`."""
        return await sync_to_async(self.incr)(key, delta, version)

    async def adecr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """As `decr`."""
        return await sync_to_async(self.decr)(key, delta, version)
