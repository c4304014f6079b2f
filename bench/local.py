"""The local tier against dict, cachetools, cachebox, lru-dict and moka: ns an operation, in turns, and ratios.

    python bench/local.py [--keys 10000 ...] [--builds 3] [--rounds 9] [--only get,miss,...]

Keys are shuffled strs ("user:123:profile"), read in another shuffled order, by the same objects that were stored, as a
program that builds its keys once does; "get by equal keys" reads by equal strs that are other objects, and "get in new
order" in an order that is new each time, in which nothing tells what comes next. The loop's own cost is in all figures
alike. Peers that aren't installed are left out. "get_many" is timed beside what its caller would write instead: a
comprehension that makes the same dict of what is there, by one `get` a key.

Where in memory a cache comes to lie changes what it takes, by a tenth and more. So all are built several times, in
another order each time and with some memory kept in between, and timed for some rounds each.
"""

import argparse
import itertools
import random
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from interleaved import Candidate, Timings, interleave

from twotier import Cache, LocalCache

CALLED = {"Cache", "cachebox VTTL", "moka"}
"""Candidates that are written by a call; the others are mappings."""

MISSING = object()

READS = 20_000
"""Fewest operations of a timed run."""
HOUR = 3600.0

GATES = {
    ("get", "lru", "dict"): 1.15,
    ("get", "adaptive", "dict"): 1.25,
    ("get", "adaptive, ttl", "dict"): 1.3,
    ("get", "Cache", "dict"): 1.4,
    ("get", "lru", "cachebox LRU"): 1.0,
    ("get", "adaptive, ttl", "cachebox VTTL"): 1.0,
    ("miss", "lru", "dict"): 1.2,
    ("miss", "adaptive", "dict"): 1.2,
    ("replace", "lru", "cachebox LRU"): 1.0,
    ("replace", "adaptive", "cachebox LRU"): 1.0,
    ("evict", "lru", "cachebox LRU"): 1.0,
    ("evict", "adaptive", "cachebox LRU"): 1.0,
    ("get_many", "lru", "lru, one by one"): 0.6,
    ("get_many", "adaptive", "adaptive, one by one"): 0.6,
}
"""(operation, candidate, peer) -> the most that the candidate may take of the peer's time, at 10,000 keys."""


def peer(module: str, name: str, *arguments: Any) -> Any:
    """Make a peer's cache; None if it isn't installed."""
    try:
        return getattr(import_module(module), name)(*arguments)
    except ImportError:
        return None


def filled(size: int, items: dict[str, object]) -> dict[str, Any]:
    """Return every candidate, holding `items`, by name; made in a random order."""
    makers: dict[str, Callable[[], Any]] = {
        "dict": dict,
        "lru": lambda: LocalCache(size, policy="lru"),
        "lfu": lambda: LocalCache(size, policy="lfu"),
        "adaptive": lambda: LocalCache(size),
        "lru, ttl": lambda: LocalCache(size, policy="lru", ttl=HOUR),
        "adaptive, ttl": lambda: LocalCache(size, ttl=HOUR),
        "Cache": lambda: Cache(maxsize=size),
        "cachebox LRU": lambda: peer("cachebox", "LRUCache", size),
        "cachebox VTTL": lambda: peer("cachebox", "VTTLCache", size),
        "lru-dict": lambda: peer("lru", "LRU", size),
        "cachetools LRU": lambda: peer("cachetools", "LRUCache", size),
        "moka": lambda: peer("moka_py", "Moka", size),
    }
    caches: dict[str, Any] = {}
    for name in random.sample(list(makers), len(makers)):
        cache = makers[name]()
        if cache is not None:
            caches[name] = cache
            put = setter(name, cache)
            for key, value in items.items():
                put(key, value)
    return {name: caches[name] for name in makers if name in caches}


def setter(name: str, cache: Any) -> Callable[[str, object], object]:
    """Return the call that stores one item."""
    if name == "cachebox VTTL":
        return lambda key, value: cache.insert(key, value, HOUR)
    return cache.set if name in {"Cache", "moka"} else cache.__setitem__


def reads(get: Callable[[str], object], keys: list[str]) -> None:
    """Read each key."""
    for key in keys:
        get(key)


def reading_anew(get: Callable[[str], object], keys: list[str]) -> Callable[[], None]:
    """Return a run that reads every key, in one of several orders in turn."""
    orders = itertools.cycle([random.sample(keys, len(keys)) for _ in range(4)])
    return lambda: reads(get, next(orders))


def writes(put: Callable[[str, object], object], items: list[tuple[str, object]]) -> None:
    """Write each item by a call."""
    for key, value in items:
        put(key, value)


def assigns(cache: Any, items: list[tuple[str, object]]) -> None:
    """Write each item as a mapping's."""
    for key, value in items:
        cache[key] = value


def writing(name: str, cache: Any, items: list[tuple[str, object]]) -> Callable[[], None]:
    """Return a run that writes each item, in the way that the cache is made for."""
    if name in CALLED:
        return partial(writes, setter(name, cache), items)
    return partial(assigns, cache, items)


def batches(get_many: Callable[[list[str]], object], lots: list[list[str]]) -> None:
    """Read lot by lot."""
    for lot in lots:
        get_many(lot)


def one_by_one(get: Callable[[str, object], object], lots: list[list[str]]) -> None:
    """Read lot by lot, a call a key, into the dict that `get_many` returns."""
    for lot in lots:
        _ = {key: value for key in lot if (value := get(key, MISSING)) is not MISSING}


def fresh(runs: int) -> list[list[tuple[str, object]]]:
    """Return the items of so many runs, under keys that nobody has seen; their hashes are known, as a program's are."""
    lots = [[(f"fresh:{run}:{number}", number) for number in range(READS)] for run in range(runs)]
    for lot in lots:
        for key, _ in lot:
            hash(key)
    return lots


def evicting(name: str, cache: Any, lots: list[list[tuple[str, object]]]) -> Callable[[], None]:
    """Return a run that inserts the next lot into a full cache."""
    turns = itertools.cycle(lots)

    def run() -> None:
        writing(name, cache, next(turns))()

    return run


def candidates(operation: str, size: int, rounds: int) -> list[Candidate]:
    """Return what is timed for one operation at one size, in so many rounds."""
    source = random.Random(1)
    keys = [f"user:{i}:profile" for i in range(size)]
    source.shuffle(keys)
    items: dict[str, object] = {key: 1_000_000 + i for i, key in enumerate(keys)}
    caches = filled(size, items)
    order = keys * max(1, READS // size)
    source.shuffle(order)
    others = [f"other:{i}:profile" for i in range(len(order))]
    pairs = [(key, 2_000_000 + i) for i, key in enumerate(order)]
    lots = [order[i : i + 100] for i in range(0, len(order), 100)]
    if operation == "get in new order":
        return [Candidate(name, reading_anew(cache.get, order), len(order)) for name, cache in caches.items()]
    if operation in {"get", "miss", "get by equal keys"}:
        asked = {"get": order, "miss": others, "get by equal keys": ["".join(list(key)) for key in order]}[operation]
        if operation == "miss":
            caches.pop("Cache", None)
        return [Candidate(name, partial(reads, cache.get, asked), len(asked)) for name, cache in caches.items()]
    if operation == "replace":
        return [Candidate(name, writing(name, cache, pairs), len(pairs)) for name, cache in caches.items()]
    if operation == "evict":
        bounded = {name: cache for name, cache in caches.items() if name != "dict"}
        lots = fresh(2 * (rounds + 1))  # a warming and a timed one a round: what came before, some policies still hold
        return [Candidate(name, evicting(name, cache, lots), READS) for name, cache in bounded.items()]
    ours = {name: cache for name, cache in caches.items() if name in {"lru", "adaptive"}}
    many = [Candidate(name, partial(batches, cache.get_many, lots), len(order)) for name, cache in ours.items()]
    return many + [
        Candidate(f"{name}, one by one", partial(one_by_one, cache.get, lots), len(order))
        for name, cache in ours.items()
    ]


def report(operation: str, size: int, builds: int, rounds: int) -> list[str]:
    """Time one operation, print its table, and return the gates it missed."""
    parts, kept = [], []
    for _ in range(builds):
        kept.append(bytearray(random.randrange(100_000)))
        parts.append(interleave(candidates(operation, size, rounds), rounds, warm=True))
    timed = Timings.joined(parts)
    base = "dict" if "dict" in timed.rounds else next(iter(timed.rounds))
    print(f"\n{operation}, {size:,} keys (ns; ratio to {base})")
    for name in sorted(timed.rounds, key=timed.median):
        print(f"  {name:24} {timed.median(name):8.1f} {timed.ratio(name, base):7.2f}")
    missed = []
    for (gated, name, other), most in GATES.items():
        if gated == operation and name in timed.rounds and other in timed.rounds:
            ratio = timed.ratio(name, other)
            verdict = "ok" if ratio <= most else "MISSED"
            print(f"  {name} <= {most} x {other}: {ratio:.3f} {verdict}")
            if ratio > most:
                missed.append(f"{operation}, {size:,}: {name} / {other} = {ratio:.3f} > {most}")
    return missed


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, nargs="+", default=[1_000, 10_000, 200_000])
    parser.add_argument("--builds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=9, help="of each build")
    parser.add_argument("--only", type=lambda text: text.split(","), help="operations")
    asked = parser.parse_args()
    begun, missed = time.perf_counter(), []
    for size in asked.keys:
        for operation in ("get", "get in new order", "get by equal keys", "miss", "replace", "evict", "get_many"):
            if not asked.only or operation in asked.only:
                missed += report(operation, size, asked.builds, asked.rounds)
    print(f"\n{time.perf_counter() - begun:.0f} s; gates missed: {len(missed)}", *missed, sep="\n  ")


if __name__ == "__main__":
    main()
