"""How long loads wait after stalls of the server, and with connections that are reset: the gate for orphaned leases.

    python bench/stalls.py [--loads 40] [--loader 0.01] [--limit 1.0] [--rounds 3]

Two processes' caches load keys, 40 a round, each by a loader of 10 ms, and a third writes 40 others through to a
source that takes 10 ms and refuses every other write, while the server is stopped (SIGSTOP) at a random moment for
0.3, 0.45, 0.6 or 2 s. Once it goes on, each cache asks for every key with `get_or_set`, without its local tier's
help: none may take longer than `--limit`. Then the same with data connections that are reset every 50 ms, while loads
go on. Exits with 1 where a call took longer.
"""

import argparse
import contextlib
import itertools
import os
import random
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from twotier import Cache
from twotier.testing import EmbeddedServer
from twotier.testing.proxy import FaultProxy

STALLS = (0.3, 0.45, 0.6, 2.0)
RESET_EVERY = 0.05
RESETTING = 3.0
NAMESPACE = "stalls"


def loads(caches: list[Cache], keys: list[str], loader: float) -> list[float]:
    """Load each key in every cache, on a thread a cache; return how long each call took."""
    took: list[float] = []

    def work(cache: Cache, order: list[str]) -> None:
        for key in order:
            began = time.monotonic()
            cache.get_or_set(key, lambda: time.sleep(loader) or "loaded")
            took.append(time.monotonic() - began)

    orders = [(cache, random.sample(keys, len(keys))) for cache in caches for _ in range(2)]
    threads = [threading.Thread(target=work, args=order) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took


class Moody:
    """A source that takes `seconds` for a write, and refuses every other one."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._calls = seconds, itertools.count()

    def write(self, _: Mapping[str, object]) -> None:
        """Take values, or refuse them."""
        time.sleep(self._seconds)
        if next(self._calls) % 2:
            raise OSError("not now")

    def delete(self, _: Sequence[str]) -> None:
        """Take nothing."""


def writes(through: Cache, keys: list[str]) -> None:
    """Write each key through, or fail."""
    for key in keys:
        with contextlib.suppress(OSError):
            through.set(key, "written")


def stalled(
    server: EmbeddedServer, caches: list[Cache], through: Cache, seconds: float, count: int, loader: float
) -> list[float]:
    """Stall the server amid loads and writes; return how long the loads after it took."""
    keys = [f"{seconds} {random.random()} {number}" for number in range(count)]
    written = [f"{key} written" for key in keys]
    threads = [
        threading.Thread(target=loads, args=(caches, keys, loader)),
        threading.Thread(target=writes, args=(through, written)),
    ]
    for thread in threads:
        thread.start()
    time.sleep(random.uniform(0, count * (loader + 0.002)))
    os.kill(server.pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(server.pid, signal.SIGCONT)
    later = after(caches, keys + written, loader)
    for thread in threads:
        thread.join()
    return later + after(caches, keys + written, loader)


def after(caches: list[Cache], keys: list[str], loader: float) -> list[float]:
    """Load again what is still to be loaded, with nothing held locally."""
    for cache in caches:
        cache._namespace.store.clear()  # noqa: SLF001 - what another process would find
    return loads(caches, keys, loader)


def reset(proxy: FaultProxy, caches: list[Cache], count: int, loader: float) -> list[float]:
    """Reset the data connections every 50 ms amid loads; return how long the calls took meanwhile and after."""
    over = threading.Event()

    def resets() -> None:
        while not over.wait(RESET_EVERY):
            proxy.data.reset_after = 0
            time.sleep(0.002)
            proxy.data.reset_after = None

    thread = threading.Thread(target=resets)
    thread.start()
    took: list[float] = []
    ends = time.monotonic() + RESETTING
    while time.monotonic() < ends:
        took += loads(caches, [f"reset {random.random()} {number}" for number in range(count)], loader)
    over.set()
    thread.join()
    return took


def main() -> None:
    """Stall, reset, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loads", type=int, default=40)
    parser.add_argument("--loader", type=float, default=0.01)
    parser.add_argument("--limit", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    worst = 0.0

    def tell(name: str, run: Callable[[], list[float]]) -> None:
        nonlocal worst
        took = [each for _ in range(asked.rounds) for each in run()]
        worst = max(worst, *took)
        print(f"{name:<22} {len(took):>6} calls  p50 {statistics.median(took):.3f} s  longest {max(took):.3f} s")

    with (
        EmbeddedServer(tcp=True) as server,
        FaultProxy(server.url) as proxy,
        Cache(proxy.url, namespace=NAMESPACE) as one,
        Cache(proxy.url, namespace=NAMESPACE) as other,
        Cache(proxy.url, namespace=NAMESPACE, writer=Moody(asked.loader)) as through,
    ):
        caches, count, loader = [one, other], asked.loads, asked.loader
        loads(caches, ["warm"], loader)
        for seconds in STALLS:
            tell(
                f"stalls of {seconds} s",
                lambda seconds=seconds: stalled(server, caches, through, seconds, count, loader),
            )
        tell("resets every 50 ms", lambda: reset(proxy, caches, count, loader))
    if worst > asked.limit:
        sys.exit(f"a call took {worst:.3f} s, more than {asked.limit} s")


if __name__ == "__main__":
    main()
