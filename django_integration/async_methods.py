"""The asynchronous methods of the backend, each the native counterpart of a synchronous one, on the same cache.

Where the twin is overridden, so is the method: it calls the twin in Django's thread for such calls, as in Django's base
class. `aincr_version` and `adecr_version` are that class's, built of these.
"""

# ruff: noqa: ASYNC109 - Django's signatures: timeout is the entry's

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from asgiref.sync import sync_to_async
from django.core.cache.backends.base import DEFAULT_TIMEOUT

from twotier.errors import SerializationError

from .errors import UncacheableError
from .loaders import async_loader_of, own_errors
from .naming import MISSING, Naming, counting, storing
from .overriding import Overriding
from .surroundings import outliving


class AsyncMethods(Naming, Overriding):
    """`a...` methods that await the cache's asynchronous face; a local hit suspends nowhere."""

    # Reading

    async def aget(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """As `get`."""
        if self.overrides("get"):
            return await super().aget(key, default, version)
        made, value = self.local(key, version)
        return value if value is not MISSING else await self.cache.aio.get(made, default)

    async def aget_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        """As `get_many`."""
        if self.overrides("aget"):
            return await super().aget_many(keys, version)
        if self.overrides("get", "get_many"):
            return await sync_to_async(self.get_many)(keys, version)
        names, validate = self.names(keys, version)
        return self.by_key(names, await self.cache.aio.get_many(names), validate=validate)

    async def ahas_key(self, key: Any, version: int | None = None) -> bool:
        """As `has_key`."""
        if self.overrides("aget"):
            return await super().ahas_key(key, version)
        if self.overrides("get", "has_key"):
            return await sync_to_async(self.has_key)(key, version)
        return await self.cache.aio.contains(self.make_and_validate_key(key, version))

    # Writing

    async def aset(
        self, key: Any, value: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None
    ) -> None:
        """As `set`."""
        if self.overrides("set"):
            await super().aset(key, value, timeout, version)
            return
        made = self.make_and_validate_key(key, version)
        with storing():
            await self.cache.aio.set(made, value, self.get_backend_timeout(timeout))

    async def aadd(
        self, key: Any, value: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        """As `add`."""
        if self.overrides("add"):
            return await super().aadd(key, value, timeout, version)
        made = self.make_and_validate_key(key, version)
        with storing():
            return await self.cache.aio.add(made, value, self.get_backend_timeout(timeout))

    async def aset_many(
        self, data: dict[Any, Any], timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[Any]:
        """As `set_many`."""
        if self.overrides("aset"):
            return await self._aset_each(data, timeout, version)
        if self.overrides("set", "set_many"):
            return await sync_to_async(self.set_many)(data, timeout, version)
        made = {self.make_and_validate_key(key, version): value for key, value in data.items()}
        try:
            await self.cache.aio.set_many(made, self.get_backend_timeout(timeout))
        except SerializationError:
            return await self._aset_each(data, timeout, version)
        return []

    async def _aset_each(self, data: dict[Any, Any], timeout: float | None, version: int | None) -> list[Any]:
        refused = []
        for key, value in data.items():
            try:
                await self.aset(key, value, timeout, version)
            except UncacheableError:
                refused.append(key)
        return refused

    async def aget_or_set(
        self, key: Any, default: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None
    ) -> Any:
        """As `get_or_set`; a function that isn't a coroutine function runs in Django's thread for such calls."""
        loader = async_loader_of(default)
        if self.overrides("aget", "aadd", "get", "add"):
            return await self._got_or_added(key, loader, timeout, version)
        made = self.make_and_validate_key(key, version)
        with storing():
            return await self.cache.aio.get_or_set(
                made, outliving(own_errors(loader)), self.get_backend_timeout(timeout)
            )

    async def _got_or_added(
        self, key: Any, loader: Callable[[], Any], timeout: float | None, version: int | None
    ) -> Any:
        """Act like Django's own `aget_or_set` when methods are overridden; Django's method awaits no `default`."""
        found = await self.aget(key, MISSING, version)
        if found is not MISSING:
            return found
        value = loader()
        if inspect.isawaitable(value):
            value = await value
        await self.aadd(key, value, timeout, version)
        return await self.aget(key, value, version)

    async def atouch(self, key: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """As `touch`."""
        if self.overrides("touch"):
            return await super().atouch(key, timeout, version)
        made = self.make_and_validate_key(key, version)
        return await self.cache.aio.touch(made, self.get_backend_timeout(timeout))

    async def aincr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """As `incr`."""
        if self.overrides("incr"):
            return await sync_to_async(self.incr)(key, delta, version)
        made = self.make_and_validate_key(key, version)
        with counting(key):
            return await self.cache.aio.incr(made, delta, create=False)

    async def adecr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """As `decr`."""
        if self.overrides("decr") and not self.overrides("aincr"):
            return await sync_to_async(self.decr)(key, delta, version)
        return await self.aincr(key, -delta, version)

    # Removing

    async def adelete(self, key: Any, version: int | None = None) -> bool:
        """As `delete`."""
        if self.overrides("delete"):
            return await super().adelete(key, version)
        return await self.cache.aio.delete(self.make_and_validate_key(key, version))

    async def adelete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        """As `delete_many`."""
        if self.overrides("adelete"):
            await super().adelete_many(keys, version)
        elif self.overrides("delete", "delete_many"):
            await sync_to_async(self.delete_many)(keys, version)
        else:
            await self.cache.aio.delete_many([self.make_and_validate_key(key, version) for key in keys])

    async def aclear(self) -> None:
        """As `clear`."""
        if self.overrides("clear"):
            await super().aclear()
        else:
            await self.cache.aio.clear()
