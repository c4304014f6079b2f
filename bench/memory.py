"""Memory an entry beside key and value: resident bytes at a million entries, each cache in a process of its own.

    python bench/memory.py [--entries 1000000] [--only NAME ...]

All keys are made before the first reading, and the value is None, so that only what the cache adds is counted. `turned
over` is after as many other keys went in again: what eviction remembers (ghosts, say) is there then.
"""

import argparse
import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil

HOUR = 3600.0
MOST = 96
"""Bytes an entry that ours may take, everything on."""


def makers(size: int) -> dict[str, Callable[[], tuple[Any, Callable[[Any, Any], object]]]]:
    """Return by name what makes a cache and its call that stores an item."""

    def local(**options: Any) -> tuple[Any, Callable[[Any, Any], object]]:
        cache = import_module("twotier").LocalCache(size, **options)
        return cache, cache.set

    def plain(module: str, name: str) -> tuple[Any, Callable[[Any, Any], object]]:
        cache = getattr(import_module(module), name)(size)
        return cache, cache.__setitem__

    def vttl() -> tuple[Any, Callable[[Any, Any], object]]:
        cache = import_module("cachebox").VTTLCache(size)
        return cache, lambda key, value: cache.insert(key, value, HOUR)

    def moka() -> tuple[Any, Callable[[Any, Any], object]]:
        cache = import_module("moka_py").Moka(size)
        return cache, cache.set

    return {
        "lru": lambda: local(policy="lru"),
        "adaptive": local,
        "adaptive, ttl": lambda: local(ttl=HOUR),
        "lru-dict": lambda: plain("lru", "LRU"),
        "cachebox LRU": lambda: plain("cachebox", "LRUCache"),
        "cachebox VTTL": vttl,
        "cachetools LRU": lambda: plain("cachetools", "LRUCache"),
        "moka": moka,
    }


def grown(name: str, size: int) -> dict[str, float]:
    """Return the bytes an entry that a cache added to this process: when full, and after a turnover."""
    keys: list[str] = [f"user:{i}:profile" for i in range(2 * size)]
    process = psutil.Process()
    cache, put = makers(size)[name]()
    before = process.memory_info().rss
    for key in itertools.islice(keys, size):
        put(key, None)
    full = process.memory_info().rss - before
    for key in itertools.islice(keys, size, None):
        put(key, None)
    turned = process.memory_info().rss - before
    del cache
    return {"full": full / size, "turned over": turned / size}


def main() -> None:
    """Measure each in a child process, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--only", nargs="+", choices=makers(1))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(grown(asked.child, asked.entries)))
        return
    print(f"{'bytes an entry':20} {'full':>12} {'turned over':>12}   at {asked.entries:,} entries")
    for name in asked.only or makers(1):
        command = [sys.executable, str(Path(__file__)), "--entries", str(asked.entries), "--child", name]
        child = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - this file
        if child.returncode:
            print(f"{name:20} {child.stderr.strip().splitlines()[-1]}")
            continue
        told = json.loads(child.stdout)
        print(f"{name:20} {told['full']:12.1f} {told['turned over']:12.1f}", end="")
        print(
            f"   {'ok' if max(told.values()) <= MOST else 'MISSED'} (<= {MOST})" if name.startswith("adaptive") else ""
        )


if __name__ == "__main__":
    main()
