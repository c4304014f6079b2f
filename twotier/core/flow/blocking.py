"""Threads that must not wait for other work of this process, as that work may need the very thread that waits.

A synchronous call on the thread of a running event loop blocks the loop: the work that it would wait
for (a load, a fetch, a place at the gate) may be in the hands of a task of that loop. A call on an
executor's thread (asgiref's one thread for Django's synchronous code, those of `asyncio.to_thread`)
may wait for a task whose loader is queued for that thread. The first call never waits, and the
second no longer than until the executor has work that no thread is left for: both then do the work
themselves.
"""

import asyncio
import sys
import threading
from collections.abc import Generator, Mapping
from concurrent.futures import thread as thread_pools
from types import GeneratorType
from typing import Any, Final


class _Thread(threading.local):
    flow: Generator[Any, Any, Any] | None = None


_thread: Final = _Thread()


def holds_up_a_loop() -> bool:
    """Return True if the caller is a flow that a synchronous call on an event loop's thread runs."""
    flow = _thread.flow
    return isinstance(flow, GeneratorType) and flow.gi_running  # a flow that an exception has left there doesn't count


def hold_up(flow: Generator[Any, Any, Any] | None) -> Generator[Any, Any, Any] | None:
    """Note that this thread, which has a running event loop, runs `flow` from now on; return the previous flow."""
    before, _thread.flow = _thread.flow, flow
    return before


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop of the caller's task; None outside of a task."""
    loop = asyncio._get_running_loop()  # noqa: SLF001 - public, and without an exception
    return None if loop is None or holds_up_a_loop() else loop


def is_gone(loop: asyncio.AbstractEventLoop | None) -> bool:
    """Return True if `loop` was closed or stopped, so that no task of it goes on."""
    return loop is not None and (loop.is_closed() or not loop.is_running())


def is_needed(*, for_loops: bool) -> bool:
    """Return True if an executor has work for this very thread, which waits meanwhile; never for a task.

    If other threads serve the executor as well, the thread is needed only if an event loop's tasks have
    the work that is waited for (`for_loops`): work of threads seldom needs another thread, and a backlog
    is no reason to load twice. The check reads private attributes of `concurrent.futures` and asgiref;
    if these have changed, it returns False.
    """
    if running_loop() is not None:
        return False
    queues = getattr(thread_pools, "_threads_queues", None)
    if queues is not None:
        queue = queues.get(threading.current_thread())
        if queue is not None and queue.qsize() and (for_loops or _serve(queues, queue) == 1):
            return True
    return _is_needed_by_asgiref()


def _serve(queues: Mapping[threading.Thread, Any], queue: Any) -> int:
    """Return the number of threads that serve an executor's queue."""
    return sum(each is queue for each in list(queues.values()))


def _is_needed_by_asgiref() -> bool:
    """Return True if `sync_to_async` has work for this thread, which waits in `async_to_sync` further up."""
    asgiref = sys.modules.get("asgiref.sync")
    if asgiref is None:
        return False
    executor = getattr(asgiref.AsyncToSync.executors, "current", None)
    while executor is not None:
        if getattr(executor, "_work_thread", None) is threading.current_thread():
            items = getattr(executor, "_work_items", None)
            if items is None:
                queue = getattr(executor, "_work_queue", None)
                items = () if queue is None else queue.queue
            if items:
                return True
        executor = getattr(executor, "_old_executor", None)
    return False
