"""Await a blocking call on a thread of its own.

`asyncio.to_thread` is unsuitable for closing: its threads are gone as soon as the main thread has
ended, and loops of other threads may go on after that.
"""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Future

from twotier.worker import start_thread


async def on_own_thread(function: Callable[[], None]) -> None:
    """Call `function` on a thread of its own and await it; if none can be started, block the loop's thread.

    `function` runs to its end even if the caller is cancelled.
    """
    loop, ended, outcome = asyncio.get_running_loop(), asyncio.Event(), Future[None]()

    def call() -> None:
        try:
            function()
            outcome.set_result(None)
        except BaseException as error:  # noqa: BLE001 - the awaiting caller receives it
            outcome.set_exception(error)
        with contextlib.suppress(RuntimeError):  # the loop is closed, and no caller waits
            loop.call_soon_threadsafe(ended.set)

    if start_thread(call, "twotier-close") is None:
        call()
    await ended.wait()
    outcome.result()
