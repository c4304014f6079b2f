"""How long one call keeps others waiting: when a million entries expire together, and in bulk calls.

    python bench/pauses.py [--entries 1000000] [--bulk 50000] [--only bulk|tasks]

The first part times single calls: sets that fill the cache, during which the index grows, then sets, gets and expire()
while the entries leave. The second part makes bulk calls of a cache with a server of its own, and clears, resizes and
lists large local caches, while another thread looks on: what counts is how long the first ran until the other could.

The third part makes bulk calls of an `AsyncCache`, while another task of the loop looks on: what counts is how long
the loop ran without getting to it.

CPU time of the thread, so that what else runs on the machine doesn't count; the collector is off, for the same reason.
A full collection is as long as the process has objects: a program with very many calls `gc.freeze()` once it is up.
"""

import argparse
import asyncio
import gc
import itertools
import threading
import time
from collections.abc import Awaitable, Callable

from twotier import AsyncCache, Cache, LocalCache
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


async def longest_hold(call: Callable[[], Awaitable[object]]) -> float:
    """Return the most that the loop runs, during the call, before another task gets its turn (ms)."""
    turns = [time.thread_time_ns()]

    async def look() -> None:
        while True:
            await asyncio.sleep(0)
            turns.append(time.thread_time_ns())

    other = asyncio.create_task(look())
    await asyncio.sleep(0)
    await call()
    await asyncio.sleep(0)
    other.cancel()
    return max(after - before for before, after in itertools.pairwise(turns)) / 1e6


async def tasks(entries: int) -> None:
    """Make bulk calls while another task looks on."""
    values = {f"user:{number}:profile": {"name": number} for number in range(entries)}
    keys = list(values)

    async def load(missing: list[str]) -> dict[str, object]:
        return {key: values[key] for key in missing}

    for heading, cache in {
        "tasks, two tiers": AsyncCache("embedded://", namespace="pauses", maxsize=entries),
        "tasks, local": AsyncCache(maxsize=entries),
    }.items():
        async with cache:

            async def told(
                name: str,
                call: Callable[[], Awaitable[object]],
                where: str = "",
                heading: str = heading,
            ) -> None:
                name = f"{name} of {entries:,}"
                report(f"{heading}{where}", name, await longest_hold(call), MOST_BULK_MS)

            await told("set_many", lambda cache=cache: cache.set_many(values))
            await told("get_many", lambda cache=cache: cache.get_many(keys))
            if heading.endswith("two tiers"):
                cache.resize(1)
                cache.resize(entries)
                await told("get_many", lambda cache=cache: cache.get_many(keys), ", remote")
            await told("invalidate_many", lambda cache=cache: cache.invalidate_many(keys))
            await told("get_or_set_many", lambda cache=cache: cache.get_or_set_many(keys, load))
            await told("get_or_set_many", lambda cache=cache: cache.get_or_set_many(keys, load), ", hits")
            await told("delete_many", lambda cache=cache: cache.delete_many(keys))


def single(entries: int) -> None:
    """Time single calls while a cache fills, and while its entries leave."""
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


def main() -> None:
    """Fill, let all expire at once, and time what follows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--bulk", type=int, default=50_000)
    parser.add_argument("--only", choices=("bulk", "tasks"))
    arguments = parser.parse_args()
    entries = arguments.entries
    gc.disable()
    if arguments.only != "bulk":
        asyncio.run(tasks(arguments.bulk))
    if arguments.only != "tasks":
        if arguments.only is None:
            single(entries)
        bulk(arguments.bulk, entries)


if __name__ == "__main__":
    main()
