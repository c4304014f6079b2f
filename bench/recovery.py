"""What the source has to bear once a server has come back empty: its loads a second, with and without protection.

    python bench/recovery.py [--processes 4] [--threads 50] [--keys 1000] [--loader 0.05] [--cap 4] [--seconds 6]

Processes of many threads read hot keys of one server, which is killed, stays away for `OUTAGE` seconds and comes back
without data. Each thread reads a key at random, pauses for some 10 ms, and goes on; a load takes `--loader` seconds.
The same happens to a plain cache-aside on redis-py, to twotier without a cap on loads, and to twotier with one. With
the cap no more than cap x processes loads run at once, so no more than that divided by a load's time begin in a second.
"""

import argparse
import contextlib
import itertools
import logging
import os
import random
import statistics
import threading
import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import TYPE_CHECKING

import redis

from twotier import Cache
from twotier.testing import EmbeddedServer

if TYPE_CHECKING:
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Barrier, Event

OUTAGE = 1.5
WARM_UP = 1.0
NAMESPACE = "recovery"
NO_CAP = 1_000_000
RUNS = {"plain cache-aside": None, "twotier, no cap": NO_CAP, "twotier, cap": 0}
"""The cap on loads of each; None is another cache, 0 stands for the cap that was asked for."""
COLUMNS = "{:<20} {:>9} {:>9} {:>9} {:>12} {:>9} {:>10} {:>9}"
Read = Callable[[str], object]


@dataclass(frozen=True)
class Load:
    """How the keys are read. Seconds."""

    processes: int
    threads: int
    keys: int
    loader: float
    seconds: float


@dataclass
class Seen:
    """What processes saw: loads, reads, and what was stale. Instants are `time.monotonic()`, one for all processes."""

    loads: list[tuple[float, float]] = field(default_factory=list)
    """When each began and ended."""
    reads: list[tuple[float, float]] = field(default_factory=list)
    """When each began, and the seconds it took."""
    stale: int = 0
    failed: int = 0

    def add(self, other: "Seen") -> None:
        """Add what another process saw."""
        self.loads += other.loads
        self.reads += other.reads
        self.stale += other.stale
        self.failed += other.failed

    def since(self, instant: float) -> "Seen":
        """Return what began from `instant` on."""
        return Seen(
            [load for load in self.loads if load[0] >= instant], [read for read in self.reads if read[0] >= instant]
        )

    def most_at_once(self) -> int:
        """Return the most loads that ran at one moment."""
        steps = sorted([(began, 1) for began, _ in self.loads] + [(ended, -1) for _, ended in self.loads])
        return max(itertools.accumulate(step for _, step in steps), default=0)

    def peak(self) -> int:
        """Return the most loads that began within any second."""
        begun = sorted(began for began, _ in self.loads)
        return max((bisect_right(begun, at + 1.0) - number for number, at in enumerate(begun)), default=0)

    def begun(self, low: float, high: float) -> int:
        """Return how many loads began from `low` up to `high`."""
        return sum(low <= began < high for began, _ in self.loads)


def cached(cache: Cache, load: Callable[[], int]) -> Read:
    """Return how a key is read through twotier."""
    return lambda key: cache.get_or_set(key, load, ttl=None)


def aside(url: str, load: Callable[[], int]) -> Read:
    """Return how a key is read through redis-py alone: asked for there, else loaded and put there."""
    client = redis.Redis.from_url(url, socket_timeout=0.25, socket_connect_timeout=0.25)

    def read(key: str) -> object:
        try:
            if (found := client.get(key)) is not None:
                return found
        except redis.RedisError:
            return load()
        value = load()
        with contextlib.suppress(redis.RedisError):
            client.set(key, value)
        return value

    return read


def work(url: str, cap: int | None, load: Load, gate: "Barrier", stop: "Event", results: "Queue[Seen]") -> None:
    """Be one of the processes: warm up, read until told to stop, and say what was seen."""
    logging.getLogger("twotier").setLevel(logging.CRITICAL)  # it says that the server is away: so it is
    seen = Seen()

    def source() -> int:
        began = time.monotonic()
        time.sleep(load.loader)
        seen.loads.append((began, time.monotonic()))
        return 1

    keys = [f"key {number}" for number in range(load.keys)]
    cache = None if cap is None else Cache(url, namespace=NAMESPACE, max_concurrent_loads=cap)
    read = aside(url, source) if cache is None else cached(cache, source)
    if cache is not None:
        while cache.health().link != "live":
            cache.get("is it live?")
            time.sleep(0.01)
    for key in keys:
        read(key)
    gate.wait()
    threads = [threading.Thread(target=reading, args=(read, keys, seen, stop)) for _ in range(load.threads)]
    stale = 0 if cache is None else cache.stats().stale_served
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if cache is not None:
        seen.stale = cache.stats().stale_served - stale
        cache.close()
    results.put(seen)


def reading(read: Read, keys: list[str], seen: Seen, stop: "Event") -> None:
    """Read keys at random until told to stop."""
    while not stop.is_set():
        began = time.monotonic()
        try:
            read(random.choice(keys))
        except Exception:  # noqa: BLE001 - that it raises at all is what is counted
            seen.failed += 1
        seen.reads.append((began, time.monotonic() - began))
        time.sleep(random.uniform(0.005, 0.015))


def run(cap: int | None, load: Load) -> tuple[Seen, float]:
    """Go through one outage; return what was seen, and when the server was back."""
    spawn = get_context("spawn")
    gate, stop, results = spawn.Barrier(load.processes + 1), spawn.Event(), spawn.Queue()
    with EmbeddedServer() as server:
        with redis.Redis.from_url(server.url) as client:  # plain keys are there from the start
            client.mset({f"key {number}": 1 for number in range(load.keys)})
        if cap is not None:
            with Cache(server.url, namespace=NAMESPACE) as cache:
                cache.set_many({f"key {number}": 1 for number in range(load.keys)}, ttl=None)
        arguments = (server.url, cap, load, gate, stop, results)
        processes = [spawn.Process(target=work, args=arguments) for _ in range(load.processes)]
        for process in processes:
            process.start()
        gate.wait(60)
        time.sleep(WARM_UP)
        server.kill()
        time.sleep(OUTAGE)
        server.start()
        back = time.monotonic()
        time.sleep(load.seconds)
        stop.set()
        seen = Seen()
        for _ in processes:
            seen.add(results.get(timeout=60))
        for process in processes:
            process.join()
    return seen, back


def line(name: str, seen: Seen, back: float) -> str:
    """Return one line of the table."""
    after = seen.since(back)
    took = statistics.quantiles([seconds for _, seconds in after.reads], n=100)[98]
    return COLUMNS.format(
        name, f"{seen.begun(back - OUTAGE, back) / OUTAGE:,.0f}", f"{after.peak():,}", f"{after.most_at_once():,}",
        f"{len(after.loads):,}", f"{seen.stale:,}", f"{took * 1e3:.1f} ms", seen.failed,
    )  # fmt: skip


def by_second(name: str, seen: Seen, back: float, load: Load) -> str:
    """Return the loads of each second after the server was back."""
    edges = [back + second for second in range(int(load.seconds) + 1)]
    counts = [seen.begun(low, high) for low, high in itertools.pairwise(edges)]
    return f"{name:<20} " + " ".join(f"{count:>6,}" for count in counts)


def main() -> int:
    """Print the tables; return 1 if the cap didn't hold or a read raised."""
    parser = argparse.ArgumentParser(description="Loads a second that the source sees after a restart empty.")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--threads", type=int, default=50, help="in each process (default 50)")
    parser.add_argument("--keys", type=int, default=1000)
    parser.add_argument("--loader", type=float, default=0.05, help="seconds that a load takes (default 0.05)")
    parser.add_argument("--cap", type=int, default=4, help="max_concurrent_loads of each process (default 4)")
    parser.add_argument("--seconds", type=float, default=6.0, help="watched after the restart (default 6)")
    given = parser.parse_args()
    load = Load(given.processes, given.threads, given.keys, given.loader, given.seconds)
    most = given.cap * load.processes
    print(
        f"{load.processes} processes x {load.threads} threads, {load.keys:,} keys, a load takes {load.loader:g} s, "
        f"{os.cpu_count()} CPUs; the server is away for {OUTAGE:g} s and comes back empty"
    )
    print(COLUMNS.format("", "loads/s", "peak", "most", "loads after", "stale", "read p99", "reads"))
    print(COLUMNS.format("", "away", "loads/s", "at once", "the restart", "served", "after", "failed"))
    seconds, broken = [], False
    for name, asked in RUNS.items():
        cap = given.cap if asked == 0 else asked
        seen, back = run(cap, load)
        title = f"{name} {given.cap}" if asked == 0 else name
        print(line(title, seen, back), flush=True)
        seconds.append(by_second(title, seen, back, load))
        if asked == 0:
            held = seen.most_at_once() <= most and seen.peak() <= most * (1 / load.loader + 1)
        broken = broken or bool(asked is not None and seen.failed)
    print("loads in each second after the restart:")
    print("\n".join(seconds))
    print(f"cap x processes: {most} at once, or {most / load.loader:,.0f} loads/s: {'held' if held else 'BROKEN'}")
    return 1 if broken or not held else 0


if __name__ == "__main__":
    raise SystemExit(main())
