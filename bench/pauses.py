"""How long one call keeps others waiting: when a million entries expire together, and in bulk calls.

    python bench/pauses.py [--entries 1000000] [--bulk 50000]

The first part times single calls: sets that fill the cache, during which the index grows, then sets, gets and expire()
while the entries leave. The second part makes bulk calls of a cache with a server of its own, and clears, resizes and
lists large local caches, while another thread looks on: what counts is how long the first ran until the other could.

CPU time of the thread, so that what else runs on the machine doesn't count; the collector is off, for the same reason.
A full collection is as long as the process has objects: a program with very many calls `gc.freeze()` once it is up.
"""

import argparse
import gc
import itertools
import threading
import time
from collections.abc import Callable

from twotier import Cache, LocalCache
from twotier.clock import ManualClock

MOST_MS = 1.0
"""The longest that a call may take (ms)."""
MOST_GROWING_MS = 20.0
"""The longest that a set may take while the cache grows (ms): its arrays are copied where they can't stay."""
MOST_BULK_MS = 20.0
"""The longest that a bulk call may run without letting another thread in (ms)."""


def longest(call: Callable[[int], object], times: int) -> float:
    """Return the longest of many calls (ms)."""
    worst = 0
    for number in range(times):
        start = time.thread_time_ns()
        call(number)
        worst = max(worst, time.thread_time_ns() - start)
    return worst / 1e6


def longest_turn(call: Callable[[], object]) -> float:
    """Return the most that this thread runs, during the call, before another one gets its turn (ms)."""
    clock = time.pthread_getcpuclockid(threading.get_ident())
    turns, over = [time.clock_gettime_ns(clock)], threading.Event()

    def look() -> None:
        while not over.wait(0.0005):
            turns.append(time.clock_gettime_ns(clock))

    other = threading.Thread(target=look)
    other.start()
    call()
    over.set()
    other.join()
    return max((after - before for before, after in itertools.pairwise(turns)), default=0) / 1e6


def report(heading: str, call: str, worst: float, most: float) -> None:
    """Print one figure."""
    print(f"{heading:24} {call:24} {worst:8.3f} ms   {'ok' if worst <= most else 'MISSED'}")


def bulk(entries: int, large: int) -> None:
    """Make bulk calls while another thread looks on."""
    values = {f"user:{number}:profile": {"name": number} for number in range(entries)}
    few = list(values)[: entries // 5]
    with Cache("embedded://", namespace="pauses", maxsize=entries) as cache:
        report("two tiers", f"set_many of {entries:,}", longest_turn(lambda: cache.set_many(values)), MOST_BULK_MS)
        report("two tiers", f"get_many of {len(few):,}", longest_turn(lambda: cache.get_many(few)), MOST_BULK_MS)
        cache.resize(1)
        report(
            "two tiers, remote", f"get_many of {len(few):,}", longest_turn(lambda: cache.get_many(few)), MOST_BULK_MS
        )
    local = LocalCache(large)
    for number in range(large):
        local[f"user:{number}:profile"] = {"name": number}
    for name, call in {
        "keys()": local.store.keys,
        "resize to a half": lambda: local.store.resize(large // 2),
        "clear()": local.clear,
    }.items():
        report(f"local, {large:,}", name, longest_turn(call), MOST_BULK_MS)


def main() -> None:
    """Fill, let all expire at once, and time what follows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--bulk", type=int, default=50_000)
    arguments = parser.parse_args()
    entries = arguments.entries
    gc.disable()
    clock = ManualClock()
    cache = LocalCache(2 * entries, ttl=300, clock=clock)
    filled = longest(lambda number: cache.set(f"user:{number}:profile", str(number)), entries)
    report("filling", "set", filled, MOST_GROWING_MS)
    for heading, seconds in (("moving down the wheel", 299.0), ("expired", 2.0)):
        clock.advance(seconds)
        told = {
            "set": longest(lambda number: cache.set(f"new:{number}", number), 50_000),
            "get": longest(lambda number: cache.get(f"user:{number}:profile"), 50_000),
            "expire()": longest(lambda _: cache.expire(), 2 * entries // 1024),
        }
        for call, worst in told.items():
            report(heading, call, worst, MOST_MS)
    print(f"{len(cache):,} entries left")
    cache.clear()
    bulk(arguments.bulk, entries)


if __name__ == "__main__":
    main()
