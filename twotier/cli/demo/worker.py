"""A worker: one of the processes that read through their own cache and check every answer."""

import random
import time
from dataclasses import dataclass, field
from typing import Final

from twotier.cache import Cache
from twotier.cli.demo.board import Board, Counts, Order
from twotier.cli.demo.judge import Judge, Tier, answered_by
from twotier.cli.demo.latency import Sample
from twotier.cli.demo.ledger import Ledger
from twotier.cli.demo.load import Zipf
from twotier.cli.demo.plan import READS, Place, Plan
from twotier.cli.demo.source import Source
from twotier.clock import SECOND

_BATCH: Final = 64
"""Reads between two checks of the board."""
_POLL: Final = 0.005


@dataclass(slots=True)
class Report:
    """A process's final report, beside its counts on the board."""

    local: list[int] = field(default_factory=list)
    """Latencies of local hits (ns), a sample."""
    remote: list[int] = field(default_factory=list)
    """Latencies of remote hits (ns), a sample."""
    complaints: list[str] = field(default_factory=list)
    crash: str = ""
    """Reason why the rest of the report is missing; empty without a crash."""


class Reader:
    """Reads through `cache`, and passes every read to the judge."""

    def __init__(self, cache: Cache, source: Source, judge: Judge, seed: int) -> None:
        self._cache = cache
        self._source = source
        self._judge = judge
        self._stats = cache.stats()
        self._latencies = {Tier.LOCAL: Sample(seed), Tier.REMOTE: Sample(seed)}

    def read(self, name: str) -> None:
        """Read one row."""
        began = time.monotonic_ns()
        try:
            row = self._cache.get_or_set(name, lambda: self._source.read(name))
        except Exception as error:  # noqa: BLE001 - whatever it is, the promise is that there is none
            self._judge.failed(name, error)
            self._stats = self._cache.stats()
            return
        took = time.monotonic_ns() - began
        before, self._stats = self._stats, self._cache.stats()
        tier = answered_by(before, self._stats)
        if tier in self._latencies and self._stats.misses == before.misses:  # else it waited for another's load
            self._latencies[tier].add(took)
        self._judge.judge(name, row, tier, began)

    def report(self) -> Report:
        """Return the latencies and complaints, which the counts lack."""
        local, remote = (sample.kept.tolist() for sample in self._latencies.values())
        return Report(local, remote, self._judge.complaints)


def work(place: Place, plan: Plan, line: int) -> Report:
    """Read until the board orders an end; the worker's counts go to its `line` of the board."""
    board, counts = Board(place.board), Counts()
    source = Source(place.source)
    rows = source.rows()
    options = plan.options(len(rows))
    judge = Judge(rows, Ledger(place.ledger), round(options.max_staleness * SECOND), counts)
    names = [row["name"] for row in rows]
    load = Zipf(names, seed=line)
    with Cache(place.url, options) as cache:
        reader = Reader(cache, source, judge, seed=line)
        cache.get(names[0])  # connects
        counts.ready = 1
        while (order := board.order) is Order.WAIT:
            watch(cache, counts)
            board.publish(line, counts)
            time.sleep(_POLL)
        next_batch = time.monotonic()
        while order is Order.RUN:
            for name in load.draw(_BATCH):
                reader.read(name)
            watch(cache, counts)
            board.publish(line, counts)
            # The random pace keeps the workers out of step; a worker that falls behind doesn't catch up.
            next_batch = max(next_batch + _BATCH / READS * random.uniform(0.5, 1.5), time.monotonic() - 1.0)  # noqa: S311
            time.sleep(max(0.0, next_batch - time.monotonic()))
            order = board.order
        if order is Order.FINISH:
            for name in names:
                reader.read(name)
        board.publish(line, counts)
    source.close()
    return reader.report()


def watch(cache: Cache, counts: Counts) -> None:
    """Record since when the cache's link has been live and its breaker closed."""
    health = cache.health()
    if health.link != "live" or health.breaker != "closed":
        counts.live_since = 0
    elif not counts.live_since:
        counts.live_since = time.monotonic_ns()
        counts.arrivals += 1
