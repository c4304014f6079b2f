"""An event loop on a thread of its own, so that tests of both faces can be written once, without `await`."""

import asyncio
import functools
import inspect
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Self

from twotier import AsyncCache


class LoopThread:
    """Runs coroutines of any thread on one loop."""

    def __init__(self, new: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop):
        self.loop = new()
        self._thread = threading.Thread(target=self.loop.run_forever, name="loop", daemon=True)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run `coroutine` as a task of the loop, and wait for its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


LOADING = {"get_or_set", "get_or_set_many", "refresh"}
"""Calls whose second argument is a loader."""


def off_the_loop(loader: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Return a loader that runs `loader` on a thread, where it may block, and call what runs things on the loop."""

    @functools.wraps(loader)
    async def awaited(*args: Any) -> Any:
        return await asyncio.to_thread(loader, *args)

    return awaited


class Awaited:
    """An `AsyncCache` that is called like a `Cache`: what is to be awaited is, on a loop."""

    def __init__(self, cache: AsyncCache, loop: LoopThread):
        self._cache = cache
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._cache, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            if name in LOADING:
                args = (args[0], off_the_loop(args[1]), *args[2:])

            async def called() -> Any:
                result = found(*args, **kwargs)
                return await result if inspect.isawaitable(result) else result

            return self._loop.run(called())

        return call

    def __contains__(self, key: str) -> bool:
        return self.contains(key)
