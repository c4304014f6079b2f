"""The threads on which a namespace runs flows in the background, for synchronous callers.

Daemon threads, started when they are needed, at most `limit` of them, and gone after `IDLE` seconds
without work. Work over the limit queues; only work that a background task or a loader itself starts
gets a thread beyond the limit, as its starter may wait for it while the tasks on the other threads
wait for the starter. A closed pool finishes the work that it has and takes no more. A forked child
has none of the threads, and creates a pool of its own. If no thread can be started, and none is
running, a caller itself does the work that it would wait for.
"""

import contextlib
import contextvars
import functools
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, Final, TypeVar

from twotier.core.loading.single_flight import inside_loader
from twotier.errors import TwoTierError
from twotier.worker import body

R = TypeVar("R")

Surroundings = Callable[[], AbstractContextManager[object]]

IDLE: Final = 10.0
"""Seconds that a thread without work stays."""

_ENDING: Final = 0.2
"""Seconds that `close` waits for an idle thread to end: a sub-interpreter can't end before its threads."""

_on_a_thread_of_ours: Final[contextvars.ContextVar[bool]] = contextvars.ContextVar("in the background", default=False)


class Background:
    """Runs callables on at most `limit` threads.

    >>> background = Background(2)
    >>> background.run(lambda: 6 * 7).result()
    42
    >>> background.close()
    """

    __slots__ = ("_closed", "_idle", "_limit", "_lock", "_queue", "_threads", "_work", "around")

    def __init__(self, limit: int, around: Surroundings = contextlib.nullcontext) -> None:
        self._limit = limit
        self.around = around
        """Returns the context manager that is entered around each task, on its thread and in its context."""
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._queue: deque[Callable[[], None]] = deque()
        self._threads: set[threading.Thread] = set()
        self._idle = 0
        self._closed = False

    def run(self, task: Callable[[], R], *, or_here: bool = False) -> Future[R]:
        """Run `task` in a copy of the caller's context; return the future of its result.

        If no thread can be started, run `task` before returning if `or_here`; else raise TwoTierError.
        """
        future: Future[R] = Future()
        context = contextvars.copy_context()
        beyond = context.get(_on_a_thread_of_ours, False) or inside_loader()
        here = False
        with self._lock:
            if self._closed:
                raise TwoTierError("the cache is closed; make a new one")
            work: Callable[[], None] = functools.partial(context.run, _settle, future, task, self.around)
            try:
                self._put(work, beyond=beyond)
            except RuntimeError:
                if not or_here:
                    raise TwoTierError("no thread can be started to work in the background") from None
                here = True
        if here:
            work()
        return future

    def close(self) -> None:
        """Take no more tasks; the threads end when the tasks in hand are done. Waits only for idle threads."""
        with self._lock:
            self._closed = True
            over = list(self._threads) if self._idle == len(self._threads) else []
            self._work.notify_all()
        for thread in over:
            thread.join(_ENDING)

    def _put(self, work: Callable[[], None], *, beyond: bool) -> None:
        """Put work into the queue, and find or start a thread for it; take the work back if interrupted."""
        try:
            (self._queue.appendleft if beyond else self._queue.append)(work)
            if self._idle >= len(self._queue):
                self._work.notify()
            elif len(self._threads) < self._limit or beyond:
                self._start()
        except RuntimeError:
            if not self._threads:  # else one of the other threads runs it
                self._take_back(work)
                raise
        except BaseException:
            self._take_back(work)
            raise

    def _take_back(self, work: Callable[[], None]) -> None:
        with contextlib.suppress(ValueError):  # it has begun
            self._queue.remove(work)

    def _start(self) -> None:
        served = (os.getpid(), self._serve)
        thread = threading.Thread(target=body, args=served, name="twotier-background", daemon=True)
        try:
            self._threads.add(thread)
            thread.start()
        except BaseException:
            if not thread.is_alive():
                self._threads.discard(thread)
            raise

    def _serve(self) -> None:
        while (task := self._next()) is not None:
            task()

    def _next(self) -> Callable[[], None] | None:
        with self._lock:
            while not self._queue:
                if self._closed or (not self._wait() and not self._queue):
                    self._threads.discard(threading.current_thread())
                    return None
            return self._queue.popleft()

    def _wait(self) -> bool:
        """Wait for work; return False after `IDLE`, though work may have come at that moment."""
        self._idle += 1
        try:
            return self._work.wait(IDLE)
        finally:
            self._idle -= 1


def _settle(future: Future[Any], task: Callable[[], Any], around: Surroundings) -> None:
    _on_a_thread_of_ours.set(True)
    try:
        with around():
            result = task()
    except BaseException as error:  # noqa: BLE001 - the future reports it, the thread goes on
        future.set_exception(error)
    else:
        future.set_result(result)
