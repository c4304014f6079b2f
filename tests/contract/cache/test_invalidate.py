"""`invalidate`: a key expires everywhere, and stale copies of it stay for outages; `delete` leaves none."""

import pytest
from waiting import PATIENT, live, wait_for

from twotier import Cache


@pytest.fixture
def pair(own_server, namespace):
    """Two live caches on a server of their own, both of which hold "key" and "other"."""
    with (
        Cache(own_server.url, namespace=namespace, **PATIENT) as one,
        Cache(own_server.url, namespace=namespace, **PATIENT) as two,
    ):
        wait_for(lambda: live(one) and live(two), "the links are live")
        one.set_many({"key": ["old"], "other": 1})
        wait_for(lambda: all(held(cache, "key") and held(cache, "other") for cache in (one, two)), "both hold them")
        wait_for(
            lambda: all(cache.stats().invalidations_received >= 2 for cache in (one, two)), "both have heard of it"
        )
        yield one, two


def held(cache, key):
    """Read `key`, and tell whether the local tier holds it as fresh."""
    cache.get(key)
    return key in cache._namespace.store


def copy(cache, key="key"):
    """Return the copy in the local tier, stale or fresh."""
    return cache._namespace.store.suspect(key, None)


def test_invalidated_keys_are_gone(cache):
    """An invalidated key is a miss like a deleted one, and the calls tell what was there."""
    cache.set_many({"a": 1, "b": [2], "c": None})
    assert cache.invalidate("a") is True
    assert cache.invalidate("a") is False
    assert cache.invalidate_many(["a", "b", "nothing", "b"]) == 1
    assert cache.invalidate_many([]) == 0
    assert cache.get_many(["a", "b", "c"]) == {"c": None}
    assert "b" not in cache
    assert cache.ttl("b") == 0.0
    assert cache.touch("b") is False
    assert cache.add("a", 3) is True
    assert cache.get_or_set("b", lambda: "loaded") == "loaded"
    assert cache.get_many(["a", "b"]) == {"a": 3, "b": "loaded"}


def test_keys_are_checked(cache):
    """What is no key is refused, by name."""
    with pytest.raises(TypeError, match="key must be a str"):
        cache.invalidate(7)
    with pytest.raises(TypeError, match="keys must be an iterable"):
        cache.invalidate_many("abc")


def test_copies_stay_for_outages_in_every_process(pair, own_server):
    """Everybody misses an invalidated key, whoever reads it in between, and an outage serves the copies again."""
    one, two = pair
    assert one.invalidate("key")
    assert one.get("key") is None
    wait_for(lambda: two.get("key") is None, "it is gone there as well")
    for cache in pair:
        assert cache.get("key") is None
        assert cache.get_many(["key", "other"]) == {"other": 1}
        assert "key" not in cache
        assert copy(cache) == ["old"]
    own_server.kill()
    for cache in pair:
        wait_for(lambda cache=cache: cache.health().breaker != "closed" or cache.get("?"), "the outage is noticed")
        assert cache.get("key") == ["old"]


def test_deleted_copies_do_not_come_back(pair, own_server):
    """A delete after an invalidation takes the copies as well."""
    one, two = pair
    one.invalidate("key")
    wait_for(lambda: two.get("key") is None, "it is gone there as well")
    two.delete("key")
    wait_for(lambda: copy(one) is None, "the copy has left")
    assert copy(two) is None
    own_server.kill()
    assert one.get("key") is None
    assert two.get("key") is None


def test_copies_leave_when_a_delete_may_have_been_missed(pair):
    """After a lost link nobody knows whether the key was deleted since: the next read that misses drops the copy."""
    one, _ = pair
    before = one.stats().invalidations_received
    one.invalidate("key")
    wait_for(lambda: one.stats().invalidations_received > before, "the echo has been heard")
    one._namespace.store.bump_epoch()
    assert copy(one) == ["old"]
    assert one.get("key") is None
    assert copy(one) is None


def test_writes_replace_copies(pair):
    """A value that is set after an invalidation is the one that is kept."""
    one, two = pair
    one.invalidate("key")
    wait_for(lambda: two.get("key") is None, "it is gone there as well")
    two.set("key", "new")
    for cache in pair:
        wait_for(lambda cache=cache: cache.get("key") == copy(cache) == "new", "the write is seen")


def recovered(cache):
    """Tell whether everything is as before the outage."""
    health = cache.health()
    return health.link == "live" and health.breaker == "closed" and health.journal == 0


def test_invalidations_in_an_outage_are_made_up_for(pair, own_server):
    """A journaled invalidation is published as one: others keep their copies too, until a read after recovery."""
    one, two = pair
    own_server.kill()
    assert one.invalidate("key") is True
    assert one.health().journal == 1
    assert one.get("key") == ["old"]  # the outage serves it
    own_server.start()
    with Cache(own_server.url, namespace=one.options.namespace) as third:
        wait_for(lambda: recovered(one) and recovered(two), "recovered")
        assert third.get("key") is None
    assert one.get("key") is None


@pytest.mark.parametrize("calls", [("invalidate", "delete"), ("delete", "invalidate")], ids=" then ".join)
def test_in_the_journal_a_delete_counts_for_more(pair, own_server, calls):
    """Of a delete and an invalidation of one key in an outage, others hear the delete."""
    one, _ = pair
    own_server.kill()
    for call in calls:
        getattr(one, call)("key")
    ((doubt,),) = [batch.values() for batch in one._namespace.journal.batches(9)]
    assert doubt.kept is False


def test_what_was_set_and_invalidated_in_an_outage_is_not_replayed(own_server, namespace):
    """With replay="set" an invalidation counts for more than the write before it."""
    with Cache(own_server.url, namespace=namespace, replay="set") as cache:
        wait_for(lambda: live(cache), "the link is live")
        cache.set("key", "old")
        own_server.kill()
        cache.set("key", "new")
        cache.invalidate("key")
        own_server.start()
        wait_for(lambda: recovered(cache), "recovered")
        assert cache.get("key") is None
