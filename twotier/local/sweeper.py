"""The sweeper frees the memory of expired entries in stores without writes.

Each write reclaims a few entries, so a busy store needs no sweeping; an idle store would keep its
expired entries. One worker per process calls `Store.expire` once a second; each call is short.
"""

from typing import Final

from twotier.local import Store
from twotier.periodic import Periodic

INTERVAL: Final = 1.0
"""Seconds between two rounds."""


class Sweeper(Periodic[Store]):
    """Sweeps each watched store for as long as the store lives."""

    def __init__(self, interval: float = INTERVAL) -> None:
        super().__init__(_sweep, interval, "twotier-sweeper")


def _sweep(store: Store) -> bool:
    while store.expire():
        pass
    return True


sweeper: Final = Sweeper()
"""This process's."""
