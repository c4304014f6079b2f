"""An event loop on a thread of its own, so that tests of both faces can be written once, without `await`."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Self


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
