"""Surroundings of Django code that the cache runs outside the request: context and database connections.

A background thread runs in the caller's context, but asgiref (from 3.12 on) shows values in it, such as the language,
only to the thread that stored them. And a background thread, or a task that has outlived its request, gets no signal at
the end of requests, at which Django closes connections that are broken or too old.
"""

import asyncio
import contextlib
import contextvars
import functools
import inspect
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

from asgiref import sync
from asgiref.sync import SyncToAsync, sync_to_async
from django.db import Error, close_old_connections, connections

from twotier.load_policy import LoadPolicyDict

ON_THIS_THREAD: Final[LoadPolicyDict] = {
    "early_refresh": None,
    "stale_while_revalidate": None,
    "soft_timeout": None,
    "hard_timeout": None,
}
"""The policy of loads that mustn't run in the background."""

_adopt: Final[Callable[[contextvars.Context], None]] = getattr(sync, "_restore_context", lambda _: None)
"""Has asgiref take a context for the current thread's, as it does where it moves calls to another thread itself."""


@contextlib.contextmanager
def on_a_background_thread() -> Iterator[None]:
    """Surround code on one of the cache's own threads, in a copy of the caller's context."""
    _adopt(contextvars.copy_context())
    _close_old_connections()
    try:
        yield
    finally:
        _close_old_connections()


def in_a_transaction() -> bool:
    """Return True if the caller is inside of `atomic()`: another thread would see another state of the database."""
    return any(connection.in_atomic_block for connection in connections.all(initialized_only=True))


def outliving(loader: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """Return a loader for the current task, or for one in the background, where the request may be over."""
    task = asyncio.current_task()

    @functools.wraps(loader)
    async def load(*args: Any) -> Any:
        if asyncio.current_task() is task:
            return await _called(loader, *args)
        # The request's own thread for synchronous calls ends with the request; the shared one replaces it.
        before = SyncToAsync.thread_sensitive_context.set(None)  # type: ignore[arg-type]  # as without one
        try:
            await sync_to_async(_close_old_connections)()
            try:
                return await _called(loader, *args)
            finally:
                await sync_to_async(_close_old_connections)()
        finally:
            SyncToAsync.thread_sensitive_context.reset(before)

    return load


async def _called(loader: Callable[..., Any], *args: Any) -> Any:
    result = loader(*args)
    return await result if inspect.isawaitable(result) else result


def _close_old_connections() -> None:
    with contextlib.suppress(Error):  # of a connection that is broken, and dropped all the same
        close_old_connections()
