"""The writer process changes rows, first in the source and then in the cache, and keeps the ledger."""

import time
from typing import Final

from twotier.cache import Cache
from twotier.cli.demo.board import Board, Counts, Order
from twotier.cli.demo.ledger import Ledger
from twotier.cli.demo.load import Zipf
from twotier.cli.demo.plan import WRITES, Place, Plan
from twotier.cli.demo.source import Source
from twotier.cli.demo.worker import Report, watch
from twotier.remote.io.errors import one_line

_POLL: Final = 0.005


class Writer:
    """Writes rows, each under the next version number."""

    def __init__(self, cache: Cache, source: Source, ledger: Ledger, counts: Counts) -> None:
        self.complaints: list[str] = []
        self._cache = cache
        self._source = source
        self._ledger = ledger
        self._counts = counts
        self._positions = {row["name"]: position for position, row in enumerate(source.rows())}
        self._version = len(self._positions)

    def write(self, name: str) -> None:
        """Give the row of `name` a new version: commit it, then set it in the cache."""
        self._version = version = self._version + 1
        position = self._positions[name]
        self._ledger.announce(version, position)
        self._source.update(name, version)
        self._ledger.committed(version, position, time.monotonic_ns())
        try:
            self._cache.set(name, self._source.read(name))
        except Exception as error:  # noqa: BLE001 - whatever it is, the promise is that there is none
            self._counts.failed += 1
            told = f"writing {name} raised {type(error).__name__}: {one_line(str(error))}"
            self.complaints = self.complaints or [told]
        self._ledger.cached(version, time.monotonic_ns())
        self._counts.writes += 1

    @property
    def full(self) -> bool:
        """Whether the ledger has no room for another version."""
        return self._version >= self._ledger.capacity


def write(place: Place, plan: Plan, line: int) -> Report:
    """Write until the board orders an end; the writer's counts go to its `line` of the board."""
    board, counts = Board(place.board), Counts()
    source = Source(place.source)
    names = [row["name"] for row in source.rows()]
    load = Zipf(names, seed=line)
    with Cache(place.url, plan.options(len(names))) as cache:
        writer = Writer(cache, source, Ledger(place.ledger), counts)
        cache.get(names[0])  # connects
        counts.ready = 1
        while (order := board.order) is Order.WAIT:
            watch(cache, counts)
            board.publish(line, counts)
            time.sleep(_POLL)
        while order is Order.RUN and not writer.full:
            (name,) = load.draw(1)
            writer.write(name)
            watch(cache, counts)
            board.publish(line, counts)
            time.sleep(1 / WRITES)
            order = board.order
        board.publish(line, counts)
    source.close()
    return Report(complaints=writer.complaints)
