"""The sweeper: gives back the memory of expired entries in stores that nobody writes to.

Writes reclaim a few entries each, so a busy store needs no sweeping; one that has gone quiet would keep what has
expired. One worker a process calls `Store.expire`, whose every call is short, once a second.
"""

from typing import Final

from twotier.local import Store
from twotier.periodic import Periodic

INTERVAL: Final = 1.0
"""Seconds between two rounds."""


class Sweeper(Periodic[Store]):
    """Sweeps the stores that it is told to watch, for as long as they live."""

    def __init__(self, interval: float = INTERVAL) -> None:
        super().__init__(_sweep, interval, "twotier-sweeper")


def _sweep(store: Store) -> bool:
    while store.expire():
        pass
    return True


sweeper: Final = Sweeper()
"""This process's."""
