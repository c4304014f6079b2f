"""The link fails while the data path is well: nothing is served past the bound, and the link comes back by itself."""

import gc
import threading
import time
from pathlib import Path

import pytest
import redis
from scene import recovered
from waiting import wait_for

from twotier.testing import assert_coherent
from twotier.testing.faults import BOTH_WAYS

BOUND = 2.5
"""The default max_staleness (s)."""
SLACK = 2.0


def superseded(scene, value):
    """Write the hot key elsewhere; return how long (s) its old value goes on being read here as fresh."""
    scene.peer.set("hot", value)
    began = time.monotonic()
    while True:
        asked, stale = time.monotonic() - began, scene.cache.stats().stale_served
        found = scene.cache.get("hot")
        if found == value:
            return asked
        assert found == ["value"]
        assert scene.cache.stats().stale_served == stale, "the data path is well: nothing need be served stale"
        assert asked <= BOUND, "a fresh hit older than the bound"


@pytest.mark.parametrize("ways", [BOTH_WAYS, {"to_client"}, {"to_server"}], ids=["both", "to us", "to the server"])
def test_blackhole_of_the_link(scene, ways):
    """Invalidations that don't arrive keep an old value fresh for the lease at most; healed, the link is live again."""
    scene.proxy.link.silent = ways
    superseded(scene, ["new"])
    wait_for(lambda: scene.cache.health().link != "live", "the loss is noticed")
    assert scene.cache.health().breaker == "closed"
    scene.proxy.heal()
    healed = time.monotonic()
    wait_for(lambda: recovered(scene.cache), "recovered")
    assert time.monotonic() - healed < 2.0 + SLACK
    assert_coherent(scene.cache, scene.peer)


def test_half_open_link(scene):
    """A link that neither end knows to be dead is noticed, and replaced without help."""
    assert scene.proxy.sever(only="link") == 1
    severed = time.monotonic()
    superseded(scene, ["new"])
    wait_for(lambda: scene.proxy.accepted["link"] == 2 and recovered(scene.cache), "a new link")
    assert time.monotonic() - severed < BOUND + SLACK
    assert_coherent(scene.cache, scene.peer)


def test_half_open_data_path(scene):
    """Dead pooled connections cost their callers one deadline each, and the link goes on."""
    epoch = scene.cache.health().epoch
    assert scene.proxy.sever(only="data") >= 1
    assert scene.cache.get("nothing", "missing") == "missing"
    scene.peer.set("other", 1)
    wait_for(lambda: scene.cache.get("other") == 1, "the next connection works")
    assert scene.cache.get("hot") == ["value"]
    assert scene.cache.health().breaker == "closed"
    assert scene.cache.health().epoch == epoch


def open_files():
    """Return how many file descriptors this process has."""
    gc.collect()
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_a_hundred_client_kills(scene):
    """After each, writes elsewhere are seen within the bound, and at the end nothing has piled up."""
    with redis.Redis.from_url(scene.server.url) as admin:
        before = threading.active_count(), open_files()
        ages = []
        for number in range(100):
            for client in admin.client_list(_type="pubsub"):
                admin.client_kill_filter(_id=client["id"])
            scene.peer.set("hot", number)
            began = time.monotonic()
            while (found := scene.cache.get("hot")) != number:
                assert found in (number - 1, None, ["value"])
                assert time.monotonic() - began <= BOUND
            ages.append(time.monotonic() - began)
            wait_for(lambda: recovered(scene.cache) and recovered(scene.peer), "recovered")
        assert_coherent(scene.cache, scene.peer)
        most = (
            before[1] + 2 + 2 * 3
        )  # each cache may have opened a connection for its services, 3 files through the proxy
        wait_for(lambda: threading.active_count() <= before[0] + 1 and open_files() <= most, "nothing left behind")


def test_output_buffer_overflow(scene):
    """A subscriber that the server drops because it reads too slowly is a lost link, and misses nothing for good."""
    with redis.Redis.from_url(scene.server.url) as admin:
        admin.config_set("client-output-buffer-limit", "pubsub 65536 0 0")
        scene.proxy.link.silent = {"to_client"}
        wide = [f"{'x' * 20_000} {number}" for number in range(500)]
        for _ in range(3):
            scene.peer.delete_many(wide)
        wait_for(lambda: len(admin.client_list(_type="pubsub")) == 1, "the server drops the link; the peer's is left")
        superseded(scene, ["new"])
        scene.proxy.heal()
        wait_for(lambda: recovered(scene.cache), "recovered")
        assert_coherent(scene.cache, scene.peer)


@pytest.mark.parametrize("milliseconds", [50, 100, 200, 1000])  # the deadline of a call is 250
def test_latency(scene, milliseconds):
    """A slow network makes misses slow, at most up to their deadline; hits don't notice, and the bound holds."""
    for faults in (scene.proxy.link, scene.proxy.data):
        faults.latency = milliseconds / 2000
    scene.peer.set("hot", ["new"])
    began = time.monotonic()
    while True:
        asked, stale = time.monotonic() - began, scene.cache.stats().stale_served
        found = scene.cache.get("hot")
        if found == ["new"]:
            break
        if found is None:
            assert milliseconds >= 200, "invalidated, and what stands there now can't be had in time"
            break
        assert found == ["value"]
        if scene.cache.stats().stale_served > stale:
            assert milliseconds >= 200, "the data path answers in time"
            break
        assert asked <= BOUND, "a fresh hit older than the bound"
    slowest = 0.0
    for number in range(10):
        began = time.monotonic()
        assert scene.cache.get(f"nothing {number}", "missing") == "missing"
        slowest = max(slowest, time.monotonic() - began)
    assert slowest <= 0.25 + SLACK
    if milliseconds != 200:  # too near to the deadline to say, on a busy machine
        assert (scene.cache.health().breaker == "closed") == (milliseconds < 250)
    scene.proxy.heal()
    healed = time.monotonic()
    wait_for(lambda: recovered(scene.cache), "recovered")
    assert time.monotonic() - healed < 2.0 + SLACK
    wait_for(lambda: scene.cache.get("hot") == ["new"], "the new value")
    assert_coherent(scene.cache, scene.peer)
