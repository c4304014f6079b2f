"""Processes of two versions on one channel stay coherent, whichever is upgraded first."""

import pytest
import redis
from waiting import live, wait_for

from twotier import Cache

OP_ID = bytes(range(16))


@pytest.fixture
def cache(server, namespace):
    """A live cache of this version that holds "one" and "two"."""
    with Cache(server.url, namespace=namespace) as cache:
        wait_for(lambda: live(cache), "the link is live")
        cache.set_many({"one": 1, "two": 2})
        wait_for(lambda: cache.stats().invalidations_received == 2, "the echo has been heard")
        yield cache


@pytest.fixture
def overwrite(server, namespace):
    """Writes a key as another process does, and publishes a message about it."""

    def overwrite(key, value, message):
        with redis.Redis.from_url(server.url) as client:
            (place,) = client.keys(f"{namespace}:*:{key}")
            client.set(place, value)
            assert client.publish(f"{namespace}:inv:v1", message) == 1

    return overwrite


def test_the_version_before_is_obeyed(cache, overwrite):
    """The keys that a sender of version 1 names leave the local tier, and others stay; version 2 goes on beside it."""
    overwrite("one", 10, bytes.fromhex(f"0101{OP_ID.hex()}0000000100000003") + b"one")
    wait_for(lambda: cache.get("one") == 10, "the write of version 1 is seen")
    cache.set("two", 20)
    before = cache.stats().local_hits
    assert cache.get("two") == 20
    assert cache.stats().local_hits == before + 1
    overwrite("two", 30, bytes.fromhex(f"0201{OP_ID.hex()}00000001{bytes(8).hex()}00000003") + b"two")
    wait_for(lambda: cache.get("two") == 30, "the write of version 2 is seen")
    assert cache.stats().corrupt == 0


def test_a_later_version_puts_everything_in_doubt(cache, overwrite):
    """A message that can't be read, as its sender is ahead, costs every entry its freshness, and no coherence."""
    overwrite("one", 10, b"\x03\x01" + OP_ID + b"whatever this version says")
    wait_for(lambda: cache.get("one") == 10, "the write of version 3 is seen")
    assert cache.get("two") == 2
    assert cache.stats().corrupt == 0
