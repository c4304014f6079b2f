"""Background services: daemon threads that live only while there is something to do, and start again when needed.

A thread can't always be started: the process or the system is at its limit, or the interpreter is ending (from Python
3.12 on it refuses then). This fails no call: the caller that wanted the service goes on, and the service starts with
the next call of any cache, or the next round of any other service, at which a thread is available.

Invariants: a worker has at most one thread. A change made before `start` or `wake` is visible to a step that begins
after that call. While it holds the lock, a worker waits only for the start of its thread. Any method may be called
from a signal handler, or by the garbage collector in the middle of another: the lock and `SimpleQueue` are re-entrant.
"""

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Final, Protocol

from twotier.clock import SystemClock
from twotier.fork import reset_first_on_fork
from twotier.rate_limited_log import RateLimitedLog

AFTER_A_FAULT: Final = 1.0
"""Seconds until a step that raised is made again."""
RETRY: Final = 0.05
"""Least seconds between two attempts to start a thread that couldn't be started."""


class Startable(Protocol):
    """A service that may find no thread to run on."""

    def start(self) -> None:
        """Start it unless it runs; if no thread can be started, call `start_later` with it. Raises nothing."""


class Worker:
    """Calls `step` on a thread named `name`, again and again, while there is something to do.

    `step(woken)` returns the seconds until the next one, or None: nothing is left to do, and the thread ends. `woken`
    is True if `wake` has ended the pause, or begun the work. An exception is logged (once a minute), and the step made
    again.
    """

    def __init__(self, step: Callable[[bool], float | None], name: str) -> None:
        self._step = step
        self._name = name
        self._closing = False
        self._faults = RateLimitedLog(SystemClock())
        self._begin()
        reset_first_on_fork(self, Worker.after_fork)

    def _begin(self) -> None:
        """Create the state that belongs to one process."""
        self._lock = threading.RLock()
        self._wakes: SimpleQueue[None] = SimpleQueue()
        self._wanted = False
        """Whether a step has been requested since the last one began."""
        self._retry_at = 0.0
        self._thread: threading.Thread | None = None
        self._latest: threading.Thread | None = None
        """The thread, or the one before, which may still be ending."""

    @property
    def thread(self) -> threading.Thread | None:
        """The thread, while there is one."""
        return self._thread

    def start(self) -> None:
        """Request a step, at the end of the current pause if there is one. Raises nothing."""
        if self._wanted and self._runs():
            return
        with self._lock:
            self._wanted = True
            if self._closing or self._runs():
                return
            if time.monotonic() < self._retry_at:
                start_later(self)
                return
            thread = start_thread(self._run, self._name)
            if thread is None:
                self._retry_at = time.monotonic() + RETRY
                start_later(self)
            else:
                self._thread = self._latest = thread
                _unstarted.discard(weakref.ref(self))

    def wake(self) -> None:
        """Request a step now. Raises nothing."""
        if self._wakes.empty():
            self._wakes.put(None)
        self.start()

    def close(self, timeout: float) -> None:
        """End for good, and wait for the thread for up to `timeout` seconds, unless it is the caller."""
        with self._lock:
            self._closing = True
        _unstarted.discard(weakref.ref(self))
        self._wakes.put(None)
        self.join(timeout)

    def join(self, timeout: float) -> None:
        """Wait until the thread has ended, for up to `timeout` seconds."""
        thread = self._latest
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def after_fork(self) -> None:
        """In a forked child: there is no thread here, and the parent's may have held the lock."""
        self._begin()

    def _runs(self) -> bool:
        thread = self._thread
        return thread is not None and thread.is_alive()

    def _run(self) -> None:
        me = threading.current_thread()
        with self._lock:
            if self._thread is not me and self._runs():
                return  # there is another: a `start` was interrupted, or called in the middle of another
            self._thread = self._latest = me
        try:
            self._work(me)
        finally:
            if self._thread is me:
                self._thread = None

    def _work(self, me: threading.Thread) -> None:
        woken = self._take_wake(0.0)
        while not self._closing and self._thread is me:
            self._wanted = False  # before the step: a later request may come too late for this step
            try:
                pause = self._step(woken)
            except BaseException:  # noqa: BLE001 - logged whole, on a thread that must go on
                self._faults.log(logging.ERROR, "failed", "%s failed; it will be tried again", self._name, trace=True)
                pause = AFTER_A_FAULT
            start_pending()
            if pause is None:
                with self._lock:
                    if not self._wanted:
                        self._thread = None
                        return
                pause = 0.0
            woken = self._take_wake(pause)

    def _take_wake(self, pause: float) -> bool:
        """Wait for a wake-up for up to `pause` seconds; return True if there was one."""
        woken = False
        try:
            self._wakes.get(timeout=max(0.0, pause))
            woken = True
            while True:
                self._wakes.get_nowait()
        except Empty:
            return woken


def start_thread(run: Callable[..., Any], name: str, *arguments: Any) -> threading.Thread | None:
    """Start a daemon thread that calls `run(*arguments)`; return None where no thread can be started."""
    try:
        thread = threading.Thread(target=body, name=name, args=(os.getpid(), run, *arguments), daemon=True)
        thread.start()
    except (RuntimeError, MemoryError) as error:
        _log_failure(name, error)
        return None
    return thread


def body(born: int, run: Callable[..., Any], *arguments: Any) -> None:
    """Run a thread that was started in process `born`. Greenlets in a thread's place go on in a forked child."""
    try:
        run(*arguments)
    finally:
        if os.getpid() != born:
            threading.current_thread()  # makes it known to `threading` again, which else fails to forget it


def start_pending() -> None:
    """Start the services whose threads couldn't be started when they were wanted; cheap where there are none."""
    global _retry_at  # noqa: PLW0603 - one a process
    if _unstarted and time.monotonic() >= _retry_at:
        _retry_at = time.monotonic() + RETRY
        for each in list(_unstarted):
            service = each()
            _unstarted.discard(each)
            if service is not None:
                service.start()  # which puts it down again if need be


def start_later(service: Startable) -> None:
    """Call `service.start()` as soon as a thread can be had, for as long as it lives."""
    _unstarted.add(weakref.ref(service, _unstarted.discard))


_unstarted: Final[set[weakref.ref[Startable]]] = set()
_retry_at = 0.0
_occasional = RateLimitedLog(SystemClock())


def _log_failure(name: str, error: BaseException) -> None:
    """Log once a minute that a thread can't be started, unless the interpreter is ending."""
    if threading.main_thread().is_alive():
        message = "no thread can be started for %s (%s); it will be tried again (logged once a minute)"
        _occasional.log(logging.WARNING, name, message, name, error)
