"""The longest single call when a million entries expire together: sets, gets and expire() while they leave.

    python bench/pauses.py [--entries 1000000]

CPU time of the thread, so that what else runs on the machine doesn't count; the collector is off, for the same reason.
"""

import argparse
import gc
import time
from collections.abc import Callable

from twotier import LocalCache
from twotier.clock import ManualClock

MOST_MS = 1.0
"""The longest that a call may take (ms)."""


def longest(call: Callable[[int], object], times: int) -> float:
    """Return the longest of many calls (ms)."""
    worst = 0
    for number in range(times):
        start = time.thread_time_ns()
        call(number)
        worst = max(worst, time.thread_time_ns() - start)
    return worst / 1e6


def main() -> None:
    """Fill, let all expire at once, and time what follows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    entries = parser.parse_args().entries
    gc.disable()
    clock = ManualClock()
    cache = LocalCache(2 * entries, ttl=300, clock=clock)
    for number in range(entries):
        cache[f"user:{number}:profile"] = str(number)
    for heading, seconds in (("moving down the wheel", 299.0), ("expired", 2.0)):
        clock.advance(seconds)
        told = {
            "set": longest(lambda number: cache.set(f"new:{number}", number), 50_000),
            "get": longest(lambda number: cache.get(f"user:{number}:profile"), 50_000),
            "expire()": longest(lambda _: cache.expire(), 2 * entries // 1024),
        }
        for call, worst in told.items():
            print(f"{heading:24} {call:10} {worst:8.3f} ms   {'ok' if worst <= MOST_MS else 'MISSED'}")
    print(f"{len(cache):,} entries left")


if __name__ == "__main__":
    main()
