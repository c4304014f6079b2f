"""A signed clear counts once, and late ones cost hits but neither staleness nor the copies for outages."""

import pytest
import redis
from waiting import live, wait_for

from twotier import Cache
from twotier.clock import wall_clock
from twotier.coherence.message import Message, MessageCodec
from twotier.core.namespace.signed_clears import MOST, OLDEST, HeardClears, Verdict

SECRET = "a key of 16 bytes"
NOW = 1_700_000_000_000_000


@pytest.fixture
def cache(server, namespace):
    """A live signed cache."""
    with Cache(server.url, namespace=namespace, secret=SECRET) as cache:
        wait_for(lambda: live(cache), "the link is live")
        yield cache


@pytest.fixture
def publish(server, namespace):
    """Sends a signed message."""
    codec = MessageCodec((SECRET.encode(),), namespace)
    with redis.Redis.from_url(server.url) as client:
        yield lambda message: client.publish(f"{namespace}:inv:v1", codec.encode(message))


def marked(cache, publish, key):
    """Wait until the cache has heard all that was published before."""
    heard = cache.stats().invalidations_received
    publish(Message("delete", bytes(8) + key.encode().rjust(8, b"-"), (key,), wall_clock()))
    wait_for(lambda: cache.stats().invalidations_received > heard, "it has heard")


def test_a_replayed_clear_empties_nothing(cache, publish):
    """The first one does; the second is known, and a hit stays a hit."""
    clear = Message("clear", b"o" * 16, (), wall_clock())
    cache.set("key", 1)
    publish(clear)
    marked(cache, publish, "a")
    assert cache._namespace.store.suspect("key", None) is None
    assert cache.get("key") == 1
    epoch = cache.health().epoch
    for at in range(5):
        publish(clear)
        marked(cache, publish, f"b{at}")
    assert "key" in cache._namespace.store
    assert cache.health().epoch == epoch


@pytest.mark.parametrize("age", [None, OLDEST + 1_000_000], ids=["of version 1", "old"])
def test_a_late_clear_puts_all_in_doubt_and_keeps_the_copies(cache, publish, age):
    """Nothing is fresh after it, so what was cleared in truth isn't served; what wasn't is there for an outage."""
    sent_at = 0 if age is None else wall_clock() - age
    cache.set("key", 1)
    marked(cache, publish, "a")
    assert "key" in cache._namespace.store
    epoch = cache.health().epoch
    publish(Message("clear", b"l" * 16, (), sent_at))
    marked(cache, publish, "b")
    assert "key" not in cache._namespace.store
    assert cache._namespace.store.suspect("key", None) == 1
    assert cache.health().epoch == epoch + 1
    publish(Message("clear", b"l" * 16, (), sent_at))
    marked(cache, publish, "c")
    assert cache.health().epoch == epoch + 1


def test_clocks_may_differ(cache, publish):
    """A clear of a sender whose clock is ahead is obeyed."""
    cache.set("key", 1)
    marked(cache, publish, "a")
    publish(Message("clear", b"f" * 16, (), wall_clock() + 10 * OLDEST))
    marked(cache, publish, "b")
    assert cache._namespace.store.suspect("key", None) is None


def test_what_was_forgotten_is_late():
    """However many were heard of, none that was forgotten empties a local tier again, and memory is bounded."""
    heard = HeardClears(now=lambda: NOW)
    ops = [number.to_bytes(16, "big") for number in range(3 * MOST)]
    assert {heard.judge(op, NOW - 1000 + at % 7) for at, op in enumerate(ops[:MOST])} == {Verdict.NEW}
    for at, op in enumerate(ops[MOST:]):
        assert heard.judge(op, NOW + at) is Verdict.NEW
    assert len(heard._heard) == MOST
    assert {heard.judge(op, NOW - 1000 + at % 7) for at, op in enumerate(ops[:MOST])} == {Verdict.LATE}


def test_a_clock_that_is_ahead_makes_nobody_late():
    """Forgetting a clear from the future leaves those of senders with a right clock on time."""
    heard = HeardClears(now=lambda: NOW)
    for number in range(2 * MOST):
        heard.judge(number.to_bytes(16, "big"), NOW + 10**12)
    assert heard.judge(b"x" * 16, NOW + 1) is Verdict.NEW
