"""A local hit of a cached function beside functools.lru_cache's and cachetools.cached's: ns a call, and ratios.

    python bench/decorator.py [--calls 5000] [--rounds 31]

Each function is called in turns with `--calls` different arguments, all of which it knows, in a shuffled order, by a
loop that is the same for all. `Cache` is the local tier alone; `Cache, two tiers` hangs on a private Valkey, its link
live. cachetools' is an LRUCache with a lock, as threads need it.
"""

import argparse
import functools
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import cachetools
from interleaved import Candidate, interleave

from twotier import Cache

GATES = {"lru_cache": 2.0, "cachetools": 0.1}
"""Peer -> the most that a hit may take of the peer's time."""


def one(user_id: object) -> object:
    """Take one argument."""
    return user_id


def two(user_id: int, page: int) -> int:
    """Take two."""
    return user_id + page


def method(self: object, user_id: int) -> int:  # noqa: ARG001 - is called with it
    """Be a method."""
    return user_id


def runs(decorate: Callable[[Callable[..., Any]], Any], numbers: list[int]) -> dict[str, Callable[[], object]]:
    """Return, for each way to call, a run of calls of functions that `decorate` has made."""
    owner = type("Owner", (), {"method": decorate(method)})()
    known = {"one": decorate(one), "two": decorate(two), "owner": owner}
    names = [f"user:{number}" for number in numbers]
    return {
        call: _loop(call, known, names if "name" in call else numbers)
        for call in ("one(n)", "one(name)", "two(n, 20)", "one(user_id=n)", "owner.method(n)")
    }


def _loop(call: str, known: dict[str, Any], values: list[Any]) -> Callable[[], object]:
    """Return a run that makes the call once for each of `values`."""
    made = {**known, "values": values}
    written = f"""
def make(values, one, two, owner):
    def run():
        for {"name" if "name" in call else "n"} in values:
            {call}
    return run
run = make(values, one, two, owner)
"""
    exec(written, made)  # noqa: S102 - one of the calls above
    return made["run"]  # type: ignore[no-any-return]


def measure(calls: int, rounds: int) -> bool:
    """Print a table a way to call; return True if the gates are met."""
    numbers = random.sample(range(1_000, 1_000 + 10 * calls), calls)
    size = 2 * calls
    met = True
    with Cache(maxsize=4 * size) as local, Cache("embedded://", maxsize=4 * size, ttl=3600) as two_tiers:
        while two_tiers.health().link != "live":
            two_tiers.get("is the link up?")
            time.sleep(0.01)
        contenders = {
            "lru_cache": runs(functools.lru_cache(maxsize=size), numbers),
            "cachetools": runs(lambda given: _locked(given, size), numbers),
            "Cache": runs(lambda given: _cached(local, given), numbers),
            "Cache, two tiers": runs(lambda given: _cached(two_tiers, given), numbers),
        }
        for way in contenders["lru_cache"]:
            candidates = [Candidate(name, ways[way], calls) for name, ways in contenders.items()]
            timed = interleave(candidates, rounds, warm=True)
            print(f"\n{way} (ns; ratio to lru_cache, to cachetools)")
            for name in contenders:
                ratios = {peer: timed.ratio(name, peer) for peer in GATES}
                passed = all(ratios[peer] <= most for peer, most in GATES.items())
                verdict = ("met" if passed else "MISSED") if name.startswith("Cache") else ""
                met &= verdict != "MISSED"
                print(f"  {name:18}{timed.median(name):8.1f}{''.join(f'{r:8.3f}' for r in ratios.values())}  {verdict}")
    print(f"\ngates: {', '.join(f'<= {most} x {peer}' for peer, most in GATES.items())}")
    return met


def _locked(function: Callable[..., Any], size: int) -> Any:
    return cachetools.cached(cachetools.LRUCache(size), lock=threading.Lock())(function)


def _cached(cache: Cache, function: Callable[..., Any]) -> Any:
    return cache.cached(ignore=("self",) if function is method else ())(function)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=31)
    asked = parser.parse_args()
    if not measure(asked.calls, asked.rounds):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
