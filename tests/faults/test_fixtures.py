"""The fixtures that users get with twotier, and the proxy's faults as a socket sees them."""

import pytest
import redis
from waiting import live, wait_for

from twotier import Cache
from twotier.testing import FaultProxy


def test_fixtures_work_together(twotier_server, fault_link, assert_coherent, namespace):
    """A cache behind the fault link loses its link alone, recovers, and is coherent with one beside it."""
    with Cache(fault_link.url, namespace=namespace) as one, Cache(twotier_server.url, namespace=namespace) as two:
        wait_for(lambda: live(one) and live(two), "the links are live")
        one.set("key", 1)
        assert two.get("key") == 1
        assert fault_link.reset(only="link") == 1
        wait_for(lambda: fault_link.accepted["link"] == 2, "the link reconnects")
        two.set("key", 2)
        assert_coherent(one, two)
        assert one.get("key") == 2


def test_manual_clock_expires_entries(manual_clock):
    """Time moves when it is told to."""
    with Cache(clock=manual_clock) as cache:
        cache.set("key", 1, ttl=10)
        manual_clock.advance(9.9)
        assert cache.get("key") == 1
        manual_clock.advance(0.2)
        assert cache.get("key") is None


def test_assert_coherent_finds_what_bypassed_the_cache(twotier_server, assert_coherent, namespace):
    """An entry that was changed behind twotier's back is named."""
    with Cache(twotier_server.url, namespace=namespace) as cache, redis.Redis.from_url(twotier_server.url) as client:
        wait_for(lambda: live(cache), "the link is live")
        cache.set("good", 1)
        cache.set("bad", [1])
        assert_coherent(cache)
        client.delete(next(key for key in client.keys(f"{namespace}:*") if key.endswith(b":bad")))
        with pytest.raises(AssertionError, match=r"disagrees with its server: \{'bad': '\[1\] here, nothing there'\}"):
            assert_coherent(cache)


@pytest.mark.parametrize("fault", ["none", "latency", "slices", "bandwidth"])
def test_slow_ways_carry_everything(server, fault):
    """Whatever is slow, bytes arrive whole and in order."""
    with FaultProxy(server.url) as proxy, redis.Redis.from_url(proxy.url) as client:
        client.ping()
        match fault:
            case "latency":
                proxy.data.latency = 0.02
            case "slices":
                proxy.data.slice_bytes = 7
            case "bandwidth":
                proxy.data.bandwidth = 1_000_000
        value = bytes(range(256)) * 40
        client.set("through the proxy", value)
        assert client.get("through the proxy") == value
        assert proxy.accepted == {"link": 0, "data": 1}


def test_unknown_targets_are_refused():
    """A proxy says which URLs it takes."""
    with pytest.raises(ValueError, match="redis:// or unix://"):
        FaultProxy("rediss://example.org")
