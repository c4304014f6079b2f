"""A process that reads hot keys through a cache, and checks every read against the ledger of what was written when.

Run as a script it is one reader: it reads without end, and answers the words on its standard input, one a line, with
one line of JSON each. `tally`: what it counted since the last tally. `health`: whether it has recovered. `settle`: wait
until it has, and check the cache's entries against the server. The end of the input ends it. Times are
`time.monotonic_ns()`, one clock for all processes.
"""

import json
import queue
import random
import sys
import threading
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from twotier import Cache
from twotier.cli.demo.judge import Tier, answered_by
from twotier.cli.demo.latency import Sample, percentile
from twotier.cli.demo.ledger import Ledger
from twotier.testing import assert_coherent

BURST = 50
"""Reads between two looks at the input, each followed by a pause, so that readers leave the machine to others."""
PAUSE = 0.002


@dataclass(slots=True)
class Tally:
    """What one reader saw. Ages and latencies in ms."""

    reads: int = 0
    failed: int = 0
    """Reads that raised."""
    wrong: int = 0
    """Reads that gave another key's value."""
    missed: int = 0
    """Reads that found nothing."""
    stale: int = 0
    """Reads that a suspect was served for, while the server couldn't be asked."""
    late: int = 0
    """Reads given out as fresh whose value had been superseded for longer than the bound."""
    oldest_fresh: float = 0.0
    oldest_stale: float = 0.0
    hit_p50: float = 0.0
    hit_p99: float = 0.0
    """Of local hits, whatever they were told."""
    slowest: float = 0.0
    first_complaint: str = ""

    def __add__(self, other: "Tally") -> "Tally":
        """Return the sums of the counts, the worst of ages and latencies, and the first complaint."""
        total = {}
        for each in fields(self):
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            if each.type is int:
                total[each.name] = mine + theirs
            else:
                total[each.name] = max(mine, theirs) if each.type is float else mine or theirs
        return Tally(**total)


class Witness:
    """Reads and judges, one read at a time."""

    def __init__(self, cache: Cache, ledger: Ledger, keys: int) -> None:
        self._cache = cache
        self._ledger = ledger
        self._keys = keys
        self._bound = round(cache.options.max_staleness * 1e9)
        self._begin()

    def _begin(self) -> None:
        self._tally = Tally()
        self._hits = Sample(0)

    def read(self) -> None:
        """Read one of the keys, the lower ones more often, and judge what came."""
        row = int(self._keys * random.random() ** 2)
        cache, tally = self._cache, self._tally
        tally.reads += 1
        before = cache.stats()
        began = time.monotonic_ns()
        try:
            answer = cache.get(f"key {row}")
        except Exception as error:  # noqa: BLE001 - that it raises at all is what is counted
            tally.failed += 1
            self._complain(f"reading key {row} raised {error!r}")
            return
        took = time.monotonic_ns() - began
        tier = answered_by(before, cache.stats())
        tally.slowest = max(tally.slowest, took / 1e6)
        if tier is Tier.LOCAL:
            self._hits.add(took)
        if answer is None:
            tally.missed += 1
        elif answer[0] != row:
            tally.wrong += 1
            self._complain(f"reading key {row} gave {answer!r}")
        elif tier is Tier.STALE:
            tally.stale += 1
            tally.oldest_stale = max(tally.oldest_stale, self._ledger.behind_source(answer[1], began) / 1e6)
        else:
            age = self._ledger.behind_cache(answer[1], began)
            tally.oldest_fresh = max(tally.oldest_fresh, age / 1e6)
            if age > self._bound:
                tally.late += 1
                self._complain(
                    f"a fresh read of key {row} gave write {answer[1]}, superseded {age / 1e6:.0f} ms before"
                )

    def tally(self) -> dict[str, Any]:
        """Return what was counted since the last call."""
        tally = self._tally
        tally.hit_p50 = (percentile(self._hits.kept, 0.5) or 0) / 1e6
        tally.hit_p99 = (percentile(self._hits.kept, 0.99) or 0) / 1e6
        self._begin()
        return asdict(tally)

    def health(self) -> dict[str, Any]:
        """Return True if the cache has recovered."""
        health = self._cache.health()
        return {"usable": health.link == "live" and health.breaker == "closed" and health.journal == 0}

    def settle(self) -> dict[str, Any]:
        """Wait until the cache has recovered, and check it against its server."""
        try:
            assert_coherent(self._cache)
        except AssertionError as error:
            return {"disagreement": str(error)}
        return {"disagreement": ""}

    def _complain(self, complaint: str) -> None:
        self._tally.first_complaint = self._tally.first_complaint or complaint


def main() -> None:
    """Read until the input ends."""
    url, namespace, path, keys, settings = sys.argv[1:]
    words: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            words.put(line.strip())
        words.put(None)

    threading.Thread(target=listen, daemon=True).start()
    with Cache(url, namespace=namespace, **json.loads(settings)) as cache:
        witness = Witness(cache, Ledger(Path(path)), int(keys))
        while True:
            for _ in range(BURST):
                witness.read()
            time.sleep(PAUSE)
            while not words.empty():
                word = words.get()
                if word is None:
                    return
                answer = {"tally": witness.tally, "health": witness.health, "settle": witness.settle}[word]()
                print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
