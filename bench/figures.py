"""The figures that the project promises, measured in one run: what each operation costs beside the obvious peer.

Run it as `python bench/figures.py`, or `make bench`. Each figure is the median over rounds in which ours and the peer
take turns (see `interleaved`); "half of the rounds" says how far their ratios lie apart. The server is a private Valkey
on this machine, and the peer's client is redis-py with hiredis.
"""

import asyncio
import functools
import importlib.util
import platform
import threading
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

import cachetools
import redis
import redis.asyncio
from contenders import IN_PROCESS, LOCAL_KEYS, MISSING_LOCALLY, REMOTE, REMOTE_KEYS, TWO_TIERS, Contender, Maker
from interleaved import Candidate, Timings, each, interleave

from twotier.local import COMPILED
from twotier.remote.deploy.embedded import EmbeddedServer

LOCAL_ROUNDS: Final = 501
REMOTE_ROUNDS: Final = 301
LOCMEM_ROUNDS: Final = 31
CACHED_ROUNDS: Final = 101


@dataclass(frozen=True, slots=True)
class Figure:
    """One promise: `ours` takes at most `target` times what `peer` takes."""

    name: str
    ours: str
    peer: str
    target: float

    def row(self, timings: Timings) -> list[str]:
        """Return the figure as measured."""
        ratio = timings.ratio(self.ours, self.peer)
        low, high = timings.spread(self.ours, self.peer)
        return [
            self.name,
            _time(timings.median(self.ours)),
            f"{self.peer} {_time(timings.median(self.peer))}",
            f"{ratio:.2f}",
            f"{low:.2f} to {high:.2f}",
            f"<= {self.target:.2f}",
            "met" if ratio <= self.target else "MISSED",
        ]


HEAD: Final = ["figure", "ours", "peer", "ratio", "half of the rounds", "target", "verdict"]


def local_hits(stack: ExitStack, url: str) -> list[list[str]]:
    """Return the figures of a hit in this process; the two-tier cache hangs on the server at `url`, its link live."""
    lru, cache, peer = 'LocalCache(policy="lru")', "Cache", "dict.get"
    makers = {peer: IN_PROCESS["dict"], lru: IN_PROCESS[lru], cache: TWO_TIERS[cache]}
    timings = _timed_hits(stack, makers, url, LOCAL_ROUNDS)
    return [
        Figure(f"{lru}.get", lru, peer, 1.2).row(timings),
        Figure("Cache.get, local hit", cache, peer, 1.4).row(timings),
    ]


def awaited_hits(stack: ExitStack, url: str) -> list[list[str]]:
    """Return the figure of `await get` beside `get`, both hits of one local tier."""
    ours, peer = "await get", "Cache.get"
    contender = _filled(stack, {peer: TWO_TIERS["Cache"]}, url, LOCAL_KEYS)[peer]
    stack.enter_context(contender.hitting("local"))
    runs = {ours: _awaiting(_loop(stack), contender.cache.aio.get, LOCAL_KEYS), peer: each(contender.get, LOCAL_KEYS)}
    candidates = [Candidate(name, run, len(LOCAL_KEYS)) for name, run in runs.items()]
    return [Figure("AsyncCache.get, local hit", ours, peer, 5.0).row(interleave(candidates, LOCAL_ROUNDS, warm=True))]


def awaited_remote_hits(stack: ExitStack, url: str, way: str) -> list[list[str]]:
    """Return the figure of an awaited hit on the server at `url`."""
    ours, peer = "await get", "redis.asyncio GET"
    contender = _filled(stack, {ours: MISSING_LOCALLY["Cache"]}, url, REMOTE_KEYS)[ours]
    loop, client = _loop(stack), redis.asyncio.Redis.from_url(url)
    stack.callback(lambda: loop.run_until_complete(client.aclose()))
    stack.enter_context(contender.hitting("remote"))
    gets = {ours: contender.cache.aio.get, peer: client.get}
    candidates = [Candidate(name, _awaiting(loop, get, REMOTE_KEYS), len(REMOTE_KEYS)) for name, get in gets.items()]
    timings = interleave(candidates, REMOTE_ROUNDS)
    return [Figure(f"AsyncCache.get, remote hit, {way}", ours, peer, 1.3).row(timings)]


def _loop(stack: ExitStack) -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    stack.callback(loop.close)
    return loop


def _awaiting(
    loop: asyncio.AbstractEventLoop, call: Callable[[str], Awaitable[object]], keys: list[str]
) -> Callable[[], None]:
    """Return a run of `loop` that awaits one call a key, one after the other."""

    async def calls() -> None:
        for key in keys:
            await call(key)

    return lambda: loop.run_until_complete(calls())


def django_hits(stack: ExitStack, url: str) -> list[list[str]]:
    """Return the figure of a hit through Django's interface."""
    ours, peer = "Django TwoTierCache", "LocMemCache.get"
    makers = {ours: TWO_TIERS[ours], peer: IN_PROCESS["Django LocMemCache"]}
    return [
        Figure("TwoTierCache.get (Django), local hit", ours, peer, 0.15).row(
            _timed_hits(stack, makers, url, LOCMEM_ROUNDS)
        )
    ]


def cached_hits(stack: ExitStack, url: str) -> list[list[str]]:
    """Return the figures of a hit of a cached function; its cache hangs on the server at `url`, its link live."""
    ours, size = "cached", 2 * len(LOCAL_KEYS)
    peers = {"lru_cache": 2.0, "cachetools.cached, lock": 0.1}
    contender = _filled(stack, {ours: TWO_TIERS["Cache"]}, url, LOCAL_KEYS)[ours]
    stack.enter_context(contender.hitting("local"))
    functions: dict[str, Callable[[str], object]] = {
        ours: contender.cache.cached(key="{key}")(_never),
        "lru_cache": functools.lru_cache(maxsize=size)(_same),
        "cachetools.cached, lock": cachetools.cached(cachetools.LRUCache(size), lock=threading.Lock())(_same),
    }
    candidates = [Candidate(name, each(function, LOCAL_KEYS), len(LOCAL_KEYS)) for name, function in functions.items()]
    timings = interleave(candidates, CACHED_ROUNDS, warm=True)
    return [Figure("cached function, local hit", ours, peer, target).row(timings) for peer, target in peers.items()]


def _same(key: str) -> str:
    return key


def _never(key: str) -> str:
    raise AssertionError(f"the result for {key!r} isn't in the local tier")


def _timed_hits(stack: ExitStack, makers: dict[str, Maker], url: str, rounds: int) -> Timings:
    contenders = _filled(stack, makers, url, LOCAL_KEYS)
    for contender in contenders.values():
        stack.enter_context(contender.hitting("local"))
    return _in_turns(contenders, LOCAL_KEYS, lambda contender: each(contender.get, LOCAL_KEYS), rounds)


def remote_hits(stack: ExitStack, url: str, way: str) -> list[list[str]]:
    """Return the figure of a hit on the server at `url`."""
    makers = {"redis-py GET": REMOTE["redis-py"], "Cache": MISSING_LOCALLY["Cache"]}
    contenders = _filled(stack, makers, url, REMOTE_KEYS)
    stack.enter_context(contenders["Cache"].hitting("remote"))
    timings = _in_turns(contenders, REMOTE_KEYS, lambda contender: each(contender.get, REMOTE_KEYS), REMOTE_ROUNDS)
    return [Figure(f"Cache.get, remote hit, {way}", "Cache", "redis-py GET", 1.3).row(timings)]


def sets(stack: ExitStack, url: str, way: str) -> list[list[str]]:
    """Return the figure of a write to the server at `url`."""
    contenders = _filled(stack, {"redis-py SET PX": REMOTE["redis-py"], "Cache": TWO_TIERS["Cache"]}, url, REMOTE_KEYS)
    timings = _in_turns(contenders, REMOTE_KEYS, lambda contender: contender.set_all(REMOTE_KEYS), REMOTE_ROUNDS)
    return [Figure(f"Cache.set, {way}", "Cache", "redis-py SET PX", 1.6).row(timings)]


def _filled(stack: ExitStack, makers: dict[str, Maker], url: str, keys: list[str]) -> dict[str, Contender]:
    """Return contenders that hold `keys`; `stack` closes them."""
    contenders = {name: make(url) for name, make in makers.items()}
    for contender in contenders.values():
        if contender.cache is not None:
            stack.callback(contender.cache.close)
        contender.fill(keys)
    return contenders


def _in_turns(
    contenders: dict[str, Contender], keys: list[str], run: Callable[[Contender], Callable[[], None]], rounds: int
) -> Timings:
    candidates = [Candidate(name, run(each), len(keys)) for name, each in contenders.items()]
    return interleave(candidates, rounds, warm=keys is LOCAL_KEYS)


def _time(nanoseconds: float) -> str:
    return f"{nanoseconds:.1f} ns" if nanoseconds < 1000 else f"{nanoseconds / 1000:.1f} us"


def _table(rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def main() -> None:
    """Measure and print every figure."""
    hiredis = "with" if importlib.util.find_spec("hiredis") else "WITHOUT"
    local_tier = "compiled" if COMPILED else "the PYTHON TWIN"
    print(
        f"Python {platform.python_version()}, redis-py {redis.__version__} {hiredis} hiredis, local tier {local_tier}"
    )
    rows = [HEAD]
    with EmbeddedServer(tcp=True) as server:
        for measure_hits in (local_hits, awaited_hits, cached_hits, django_hits):
            with ExitStack() as stack:
                rows += measure_hits(stack, server.url)
        for measure in (remote_hits, awaited_remote_hits, sets):
            for way, url in (("unix socket", server.url), ("TCP", server.tcp_url)):
                with ExitStack() as stack:
                    rows += measure(stack, url, way)
    print(_table(rows))


if __name__ == "__main__":
    main()
