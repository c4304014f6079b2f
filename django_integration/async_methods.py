"""The asynchronous methods of the backend: each as its synchronous twin, natively, on the same cache.

`aincr_version` and `adecr_version` are the base class's, built of these.
"""

# ruff: noqa: ASYNC109 - Django's signatures: timeout is the entry's

from collections.abc import Iterable
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.core.cache.backends.base import DEFAULT_TIMEOUT

from twotier.errors import SerializationError

from .errors import UncacheableError
from .naming import MISSING, Naming, counting, loader_of, storing


class AsyncMethods(Naming):
    """`a...` methods that await the cache's asynchronous face; a local hit awaits nothing."""

    # Reading

    async def aget(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """As `get`."""
        made, value = self.local(key, version)
        return value if value is not MISSING else await self.cache.aio.get(made, default)

    async def aget_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        """As `get_many`."""
        names = self.names(keys, version)
        return self.by_key(names, await self.cache.aio.get_many(names), version)

    async def ahas_key(self, key: Any, version: int | None = None) -> bool:
        """As `has_key`."""
        return await self.cache.aio.contains(self.make_and_validate_key(key, version))

    # Writing

    async def aset(
        self, key: Any, value: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None
    ) -> None:
        """As `set`."""
        made = self.make_and_validate_key(key, version)
        with storing():
            await self.cache.aio.set(made, value, self.get_backend_timeout(timeout))

    async def aadd(
        self, key: Any, value: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        """As `add`."""
        made = self.make_and_validate_key(key, version)
        with storing():
            return await self.cache.aio.add(made, value, self.get_backend_timeout(timeout))

    async def aset_many(
        self, data: dict[Any, Any], timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[Any]:
        """As `set_many`."""
        made = {self.make_and_validate_key(key, version): value for key, value in data.items()}
        try:
            await self.cache.aio.set_many(made, self.get_backend_timeout(timeout))
        except SerializationError:
            return [key for key, value in data.items() if not await self._is_set(key, value, timeout, version)]
        return []

    async def _is_set(self, key: Any, value: Any, timeout: float | None, version: int | None) -> bool:
        try:
            await self.aset(key, value, timeout, version)
        except UncacheableError:
            return False
        return True

    async def aget_or_set(
        self, key: Any, default: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None
    ) -> Any:
        """As `get_or_set`; a function that isn't a coroutine function runs in Django's thread for such calls."""
        made = self.make_and_validate_key(key, version)
        loader = loader_of(default)
        if loader is default and not iscoroutinefunction(loader):
            loader = sync_to_async(loader)
        with storing():
            return await self.cache.aio.get_or_set(made, loader, self.get_backend_timeout(timeout))

    async def atouch(self, key: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """As `touch`."""
        made = self.make_and_validate_key(key, version)
        return await self.cache.aio.touch(made, self.get_backend_timeout(timeout))

    async def aincr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """As `incr`."""
        made = self.make_and_validate_key(key, version)
        with counting(key):
            return await self.cache.aio.incr(made, delta, create=False)

    async def adecr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """As `decr`."""
        return await self.aincr(key, -delta, version)

    # Removing

    async def adelete(self, key: Any, version: int | None = None) -> bool:
        """As `delete`."""
        return await self.cache.aio.delete(self.make_and_validate_key(key, version))

    async def adelete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        """As `delete_many`."""
        await self.cache.aio.delete_many([self.make_and_validate_key(key, version) for key in keys])

    async def aclear(self) -> None:
        """As `clear`."""
        await self.cache.aio.clear()
