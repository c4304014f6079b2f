"""The sweeper: gives back the memory of expired entries in stores that nobody writes to.

Writes reclaim a few entries each, so a busy store needs no sweeping; one that has gone quiet would keep what has
expired. One daemon thread a process calls `Store.expire`, whose every call is short, once a second. It holds stores
weakly, and ends when there are none.
"""

import threading
import time
import weakref
from typing import Final

from twotier.fork import reset_first_on_fork
from twotier.local import Store

INTERVAL: Final = 1.0
"""Seconds between two rounds."""


class Sweeper:
    """Sweeps the stores that it is told to watch, for as long as they live."""

    def __init__(self, interval: float = INTERVAL) -> None:
        self._interval = interval
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._stores: weakref.WeakSet[Store] = weakref.WeakSet()
        self._thread: threading.Thread | None = None

    def watch(self, store: Store) -> None:
        """Sweep `store` from now on. In a forked child nothing is watched until it is said again."""
        with self._lock:
            self._stores.add(store)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="twotier-sweeper", daemon=True)
                self._thread.start()

    def after_fork(self) -> None:
        """In a forked child: there is no thread here, and the parent's may have held the lock."""
        self._begin()

    def _run(self) -> None:
        while self._watched():
            for store in self._watched():
                while store.expire():
                    pass
                del store  # or it would live for another round
            time.sleep(self._interval)

    def _watched(self) -> list[Store]:
        """Return the stores there are; without any, let the thread go."""
        with self._lock:
            stores = list(self._stores)
            if not stores:
                self._thread = None
            return stores


sweeper: Final = Sweeper()
"""This process's."""
reset_first_on_fork(sweeper, Sweeper.after_fork)
