"""Random damage to what a good server says: nothing but RemoteErrors comes out, and all is well when it is over."""

import asyncio
import contextlib
import logging
import os
import random
import threading
import time

import pytest
from waiting import PATIENCE, wait_for
from wires import garbled

from twotier import AsyncCache, Cache
from twotier.errors import LoadTimeout, RemoteError

SECONDS = float(os.environ.get("TWOTIER_FUZZ_SECONDS", "3"))
"""How long each of these goes on."""
SHARE = 0.3
"""Share of what the server says that is damaged."""
SHORT = {"timeout": 0.1, "connect_timeout": 0.1, "max_staleness": 0.5, "load_lease": 0.5}


def calls(cache, draw):
    """Make every kind of call; return how many raised a RemoteError, which reads don't."""
    key, raised = f"k{draw.randrange(20)}", 0
    cache.get(key)
    cache.get_many([key, "k1", "k2"])
    _ = key in cache
    cache.ttl(key)
    assert cache.get_or_set(key, lambda: 7, ttl=1) is not None
    cache.get_or_set_many([key, "k3"], lambda keys: dict.fromkeys(keys, 7))
    for write in (
        lambda: cache.set(key, 7, tags=["t"]),
        lambda: cache.set_many({key: 7, "k4": [1, 2]}),
        lambda: cache.add(key, 7),
        lambda: cache.touch(key, 5),
        lambda: cache.incr("count"),
        lambda: cache.invalidate(key),
        lambda: cache.invalidate_tag("t"),
        lambda: cache.delete(key),
        cache.clear,
    ):
        try:
            write()
        except (RemoteError, LoadTimeout):
            raised += 1
        except TypeError as error:  # a garbled value may be one to which nothing can be added
            if "integer" not in str(error):
                raise
    cache.health()
    return raised


MODES = {"pubsub": {}, "tracking": {"coherence": "tracking"}, "resp2": {"protocol": 2}}


@pytest.mark.parametrize("mode", MODES)
def test_damage_on_the_way(garbler, namespace, mode, caplog):
    """Replies, messages and handshakes are garbled: calls raise RemoteErrors alone, in time, and all recovers."""
    draw = random.Random(7)
    garbler.garble = lambda data: garbled(data, draw) if draw.random() < SHARE else data
    settings = {"namespace": namespace, **SHORT, **MODES[mode]}
    with caplog.at_level(logging.ERROR, "twotier"), Cache(garbler.url, **settings) as cache:
        deadline, rounds, slowest = time.monotonic() + SECONDS, 0, 0.0
        while time.monotonic() < deadline:
            begun = time.monotonic()
            calls(cache, draw)
            slowest = max(slowest, time.monotonic() - begun)
            rounds += 1
        assert rounds
        assert slowest < 20  # 15 calls, each with a deadline or the wait for a lease
        garbler.garble = None
        recovered(cache)
    assert not [record for record in caplog.records if record.exc_info]


def recovered(cache):
    """Wait until data path and link work as if nothing had been."""

    def well():
        with contextlib.suppress(RemoteError):
            cache.set("well", "yes")
            return cache.get("well") == "yes" and cache.health().link == "live" and cache.health().breaker == "closed"
        return False

    wait_for(well, "data path and link recover")


def test_damage_on_the_way_to_tasks(garbler, namespace):
    """The same for tasks."""
    draw = random.Random(11)
    garbler.garble = lambda data: garbled(data, draw) if draw.random() < SHARE else data

    async def go_on():
        async with AsyncCache(garbler.url, namespace=namespace, **SHORT) as cache:
            deadline = time.monotonic() + SECONDS
            while time.monotonic() < deadline:
                key = f"k{draw.randrange(20)}"
                await asyncio.gather(cache.get(key), cache.get_many([key, "k1"]), cache.get_or_set(key, lambda: 7))
                with contextlib.suppress(RemoteError, TypeError):
                    await cache.set(key, 7)
                    await cache.incr("count")
            garbler.garble = None
            deadline = time.monotonic() + PATIENCE
            while await cache.get("well") != "yes" or cache.health().link != "live":
                assert time.monotonic() < deadline, "not in time: data path and link recover"
                with contextlib.suppress(RemoteError):
                    await cache.set("well", "yes")
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(go_on(), SECONDS + 60))


def test_threads_under_damage(garbler, namespace):
    """Several threads at once lose no connection for good."""
    draw = random.Random(13)
    garbler.garble = lambda data: garbled(data, draw) if draw.random() < SHARE else data
    failures = []
    with Cache(garbler.url, namespace=namespace, max_connections=3, **SHORT) as cache:
        deadline = time.monotonic() + SECONDS

        def work(seed):
            own = random.Random(seed)
            try:
                while time.monotonic() < deadline:
                    calls(cache, own)
            except BaseException as error:
                failures.append(error)
                raise

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        garbler.garble = None
        recovered(cache)
