"""Stampedes: what the source has to bear when many want what nobody has.

    python bench/stampede.py [--processes 4] [--threads 50] [--keys 10000] [--loader 0.02] [--plot loads.png]

1. Many threads of several processes miss one cold key at once: how often it is loaded.
2. All keys were loaded together, and expire together under load: the most loads that begin within a second, with each
   protection, with all of them, and with none (single-flight, which always is, included in all).
3. The server fails, and comes back empty: the most loads at once, beside the cap (`recovery.py` has more of it).

Prints the figures and whether they hold; with matplotlib and `--plot`, draws the loads of part 2 over time.
"""

import argparse
import os
import random
import statistics
import threading
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import recovery

from twotier import Cache
from twotier.testing import EmbeddedServer

if TYPE_CHECKING:
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Barrier

ROUNDS = 5
TTL = 10.0
"""Life of the keys of part 2 (s)."""
WATCHED = 1.6
"""Lives for which it is watched."""
READERS = 50
"""Threads that read in each of its two processes."""
NO_CAP = 1_000_000
CAP = 4
NONE: dict[str, Any] = {"max_concurrent_loads": NO_CAP}
PROTECTIONS: dict[str, dict[str, Any]] = {
    "none": NONE,
    "load_jitter": {**NONE, "load_jitter": 0.5},
    "early_refresh": {**NONE, "early_refresh": 20.0},
    "stale_while_revalidate": {**NONE, "stale_while_revalidate": 60.0},
    "cap": {"max_concurrent_loads": CAP},
    "all": {
        "max_concurrent_loads": CAP,
        "load_jitter": 0.5,
        "early_refresh": 20.0,
        "stale_while_revalidate": 60.0,
    },
}
COLUMNS = "{:<24} {:>9} {:>9} {:>10} {:>10} {:>10}"
Instants = list[float]


def at_once(url: str, threads: int, loader: float, gate: "Barrier", results: "Queue[int]") -> None:
    """Be one process of part 1: have many threads ask for a cold key, round by round; say how often it was loaded."""
    loads = []

    def load() -> str:
        loads.append(1)
        time.sleep(loader)
        return "loaded"

    with Cache(url, namespace="cold") as cache:
        while cache.health().link != "live":
            cache.get("is it live?")
            time.sleep(0.01)
        for number in range(ROUNDS):
            start = threading.Barrier(threads + 1)

            def ask(key: str = f"key {number}", start: threading.Barrier = start) -> None:
                start.wait()
                assert cache.get_or_set(key, load) == "loaded"  # noqa: S101 - what is measured

            crew = [threading.Thread(target=ask) for _ in range(threads)]
            for thread in crew:
                thread.start()
            gate.wait(60)
            start.wait()
            for thread in crew:
                thread.join()
    results.put(len(loads))


def expiring(
    url: str, settings: dict[str, Any], keys: int, loader: float, gate: "Barrier", results: "Queue[Any]"
) -> None:
    """Be one process of part 2: read keys at random while they expire; say when loads began, and what reads took."""
    loads: Instants = []
    took: Instants = []
    names = [f"key {number}" for number in range(keys)]

    def load() -> int:
        loads.append(time.monotonic())
        time.sleep(loader)
        return 1

    def load_all(missing: list[str]) -> dict[str, int]:
        return dict.fromkeys(missing, 1)

    with Cache(url, namespace="expiring", ttl=TTL, jitter=0.0, timeout=1.0, max_staleness=5.0, **settings) as cache:
        while cache.health().link != "live":
            cache.get("is it live?")
            time.sleep(0.01)
        gate.wait(60)
        for start in range(0, keys, 1000):
            cache.get_or_set_many(names[start : start + 1000], load_all)
        gate.wait(60)
        end = time.monotonic() + WATCHED * TTL

        def read() -> None:
            while (began := time.monotonic()) < end:
                cache.get_or_set(random.choice(names), load)
                took.append(time.monotonic() - began)

        crew = [threading.Thread(target=read) for _ in range(READERS)]
        for thread in crew:
            thread.start()
        for thread in crew:
            thread.join()
        results.put((end - WATCHED * TTL, loads, took))


def crowd(target: Callable[..., None], count: int, *arguments: Any) -> list[Any]:
    """Run `target` in processes, on a server of their own; return what they found."""
    spawn = get_context("spawn")
    gate, results = spawn.Barrier(count), spawn.Queue()
    with EmbeddedServer() as server:
        processes = [spawn.Process(target=target, args=(server.url, *arguments, gate, results)) for _ in range(count)]
        for process in processes:
            process.start()
        found = [results.get(timeout=300) for _ in processes]
        for process in processes:
            process.join()
    return found


def peak(loads: Instants) -> int:
    """Return the most loads that began within any second."""
    return recovery.Seen(loads=[(began, began) for began in loads]).peak()


def plot(path: Path, runs: dict[str, Instants]) -> None:
    """Draw the loads of each run over time, if matplotlib is here."""
    try:
        import matplotlib as mpl  # noqa: PLC0415 - optional
    except ImportError:
        print("no plot: matplotlib isn't installed")
        return
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the choice of backend

    edges = [step / 10 for step in range(int(WATCHED * TTL * 10) + 1)]
    figure, axes = plt.subplots(figsize=(9, 5))
    for name, loads in runs.items():
        counts = [sum(low <= began < low + 0.1 for began in loads) * 10 for low in edges]
        axes.plot(edges, counts, label=name, linewidth=2 if name in ("none", "all") else 1)
    axes.set_xlabel(f"seconds since the keys were loaded (ttl {TTL:g} s)")
    axes.set_ylabel("loads a second")
    axes.legend()
    figure.savefig(path, dpi=120)
    print(f"drawn: {path}")


def cold_key(given: argparse.Namespace) -> bool:
    """Do part 1; return True if it holds."""
    loads = sum(crowd(at_once, given.processes, given.threads, given.loader))
    holds = loads == ROUNDS
    print(
        f"1. {given.processes} processes x {given.threads} threads on one cold key, {ROUNDS} times: {loads} loads "
        f"({'one each time' if holds else 'MORE THAN ONE'})"
    )
    return holds


def expiry(given: argparse.Namespace) -> bool:
    """Do part 2; return True if it holds."""
    print(
        f"2. {given.keys:,} keys of {TTL:g} s expire together, two processes x {READERS} threads read them, "
        f"a load takes {given.loader:g} s"
    )
    print(COLUMNS.format("protection", "peak", "loads", "reads", "read p50", "read p99"))
    print(COLUMNS.format("", "loads/s", "in all", "in all", "us", "ms"))
    runs: dict[str, Instants] = {}
    for name, settings in PROTECTIONS.items():
        found = crowd(expiring, 2, settings, given.keys, given.loader)
        begin = min(began for began, _, _ in found)
        runs[name] = [began - begin for _, loads, _ in found for began in loads]
        took = statistics.quantiles([seconds for _, _, each in found for seconds in each], n=100)
        count = sum(len(each) for _, _, each in found)
        print(
            COLUMNS.format(
                name, f"{peak(runs[name]):,}", f"{len(runs[name]):,}", f"{count:,}", f"{took[49] * 1e6:.1f}",
                f"{took[98] * 1e3:.1f}",
            ),
            flush=True,
        )  # fmt: skip
    if given.plot:
        plot(given.plot, runs)
    most = 2 * CAP / given.loader
    held = peak(runs["all"]) <= most * 1.1 and peak(runs["all"]) < peak(runs["none"])
    print(
        f"   with all of them the source sees {peak(runs['all']):,} loads a second at most, "
        f"without {peak(runs['none']):,}; the cap allows {most:,.0f}: {'held' if held else 'BROKEN'}"
    )
    return held


def failover(given: argparse.Namespace) -> bool:
    """Do part 3; return True if it holds."""
    load = recovery.Load(given.processes, given.threads // 2, 1000, given.loader, 3.0)
    seen, back = recovery.run(CAP, load)
    after = seen.since(back)
    most = CAP * given.processes
    held = after.most_at_once() <= most and not seen.failed
    print(
        f"3. a restart empty, under {load.processes} processes x {load.threads} threads: {after.most_at_once()} loads "
        f"at once at most (the cap allows {most}), {after.peak():,} in a second, {seen.failed} failed reads: "
        f"{'held' if held else 'BROKEN'}"
    )
    return held


def main() -> int:
    """Print the figures; return 1 if one doesn't hold."""
    parser = argparse.ArgumentParser(description="What the source has to bear when many want what nobody has.")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--threads", type=int, default=50, help="in each process (default 50)")
    parser.add_argument("--keys", type=int, default=10_000, help="that expire together (default 10,000)")
    parser.add_argument("--loader", type=float, default=0.02, help="seconds that a load takes (default 0.02)")
    parser.add_argument("--plot", type=Path, help="draw the loads of part 2 to this file")
    given = parser.parse_args()
    print(f"{os.cpu_count()} CPUs")
    return 0 if all([cold_key(given), expiry(given), failover(given)]) else 1


if __name__ == "__main__":
    raise SystemExit(main())
