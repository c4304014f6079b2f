"""Tags across processes, modes of coherence, outages and losses: what has ended is taken nowhere."""

import os
import threading

import pytest
import redis
from forking import in_child
from waiting import live, wait_for

from twotier import Cache
from twotier.codec.tag_stamps import unpack_stamps
from twotier.core.tags.tag_versions import SPARE_LIFE

IN_BACKGROUND = ("Generation", "ReadName")
"""Commands that a process sends of itself."""


@pytest.fixture
def client(server):
    """A foreign client of the shared server."""
    with redis.Redis.from_url(server.url) as client:
        yield client


def held(cache, key="key"):
    """Read `key`, and tell whether the local tier holds it as fresh."""
    cache.get(key)
    return key in cache._namespace.store


def copy(cache, key="key"):
    """Return the copy in the local tier, stale or fresh."""
    return cache._namespace.store.suspect(key, None)


def recovered(cache):
    """Tell whether everything is as before the outage."""
    health = cache.health()
    return health.link == "live" and health.breaker == "closed" and health.journal == 0


@pytest.fixture(params=["pubsub", "tracking"])
def pair(request, make):
    """Two caches that both hold "key" under the tag "x", and "other" without tags."""
    one, two = make(coherence=request.param), make(coherence=request.param)
    one.set("key", ["old"], tags=["x"])
    one.set("other", "one")
    wait_for(lambda: all(cache.stats().invalidations_received >= 2 for cache in (one, two)), "both have heard of them")
    wait_for(lambda: all(held(cache, key) for cache in (one, two) for key in ("key", "other")), "both hold them")
    return one, two


def test_the_end_of_a_tag_reaches_every_local_tier(pair):
    """Entries that carry it are expired there, others stay, and copies of them are kept."""
    one, two = pair
    one.invalidate_tag("x")
    assert one.get("key") is None
    wait_for(lambda: two.get("key") is None, "it is gone there as well")
    assert (copy(one), copy(two)) == (["old"], ["old"])
    assert "other" in two._namespace.store
    two.set("key", "new", tags=["x"])
    wait_for(lambda: one.get("key") == "new", "what was set since is seen")
    wait_for(lambda: held(one) and held(two), "and held")


def test_processes_agree_under_load(make):
    """Threads of two caches that set, read and end tags agree with each other when all is quiet."""
    caches = [make(), make()]
    failures = []

    def work(number):
        cache = caches[number % 2]
        try:
            for step in range(150):
                key = f"key {step % 7}"
                if step % 5 == number % 5:
                    cache.invalidate_tag(f"tag {step % 3}")
                    assert cache.get(f"mine {number}") is None
                    cache.set(f"mine {number}", step, tags=["tag 0", "tag 1", "tag 2"])
                elif step % 2:
                    cache.set(key, (number, step), tags=[f"tag {step % 3}"])
                else:
                    cache.get_many([key, "key 1"])
        except BaseException as error:  # noqa: BLE001 - reported below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    keys = [f"key {number}" for number in range(7)]
    wait_for(lambda: caches[0].get_many(keys) == caches[1].get_many(keys), "they agree")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
def test_a_child_and_its_parent_hear_of_each_others_tags(make):
    """Tags of entries that a child inherited end there too, and the other way round."""
    cache = make()
    cache.set_many({"a": 1, "b": 2}, tags=["x"])
    cache.set("c", 3, tags=["y"])
    assert all(held(cache, key) for key in "abc")

    def child():
        wait_for(lambda: live(cache), "the child's link is live")
        assert cache.get_many(["a", "b", "c"]) == {"a": 1, "b": 2, "c": 3}
        cache.invalidate_tag("x")
        assert cache.get_many(["a", "b", "c"]) == {"c": 3}
        cache.set("d", 4, tags=["z"])
        wait_for(lambda: cache.get("c") is None, "the child hears of its parent")

    ender = threading.Thread(target=lambda: (wait_for(lambda: cache.get("d") == 4, "d"), cache.invalidate_tag("y")))
    ender.start()
    in_child(child)
    ender.join()
    wait_for(lambda: cache.get_many(["a", "b", "c"]) == {}, "the parent hears of its child")
    cache.invalidate_tag("z")
    assert "d" not in cache


def test_a_lost_link_is_no_loss_of_tags(make, client, namespace):
    """What ended while nothing was heard is found out when it is read again."""
    one, two = make(), make()
    one.set("key", 1, tags=["x"])
    wait_for(lambda: held(two), "it is held")
    assert client.delete(f"{namespace}:#x") == 1  # as the end of the tag would, whose message is lost with the link
    two._namespace.subscriber.lost("as if")
    two._namespace.subscriber.confirmed()
    wait_for(lambda: live(two), "the link is live")
    assert two.get("key") is None


@pytest.mark.parametrize("loss", ["the tag", "everything"])
def test_what_the_server_lost_is_a_miss(make, client, namespace, loss):
    """Where a tag's key is gone, nobody takes what is stamped with it, and what is set next counts again."""
    one, two = make(), make(local_ttl=0.001)
    one.set("key", 1, tags=["x"])
    assert two.get("key") == 1
    if loss == "the tag":
        client.delete(f"{namespace}:#x")
    else:
        client.flushall()
    wait_for(lambda: make(local_ttl=0.001).get("key") is None, "it is a miss")
    two._namespace.versions.store.clear()
    two.set("key", 2, tags=["x"])
    wait_for(lambda: one.get("key") == 2, "what was set since is seen")


def test_tags_keys_outlive_their_entries_and_leave(make, client, namespace):
    """A tag's key lives an hour longer than the longest entry, is not shortened, and leaves when it has ended."""
    cache, place = make(), f"{namespace}:#x"
    spare = SPARE_LIFE // 10**9
    cache.set("a", 1, ttl=100, tags=["x"])
    assert 100 + spare - 30 < client.ttl(place) <= 100 + spare
    cache.set("b", 1, ttl=50, tags=["x"])
    assert 100 + spare - 30 < client.ttl(place) <= 100 + spare
    cache.set("b", 1, ttl=3 * spare, tags=["x"])
    assert 6 * spare - 30 < client.ttl(place) <= 6 * spare
    assert cache.touch("a", 9 * spare)
    assert 18 * spare - 30 < client.ttl(place) <= 18 * spare
    cache.set("c", 1, ttl=None, tags=["x"])
    assert client.ttl(place) == -1
    cache.set("d", 1, ttl=10, tags=["x"])
    assert client.ttl(place) == -1
    assert cache.get_many(["a", "b", "c", "d"]) == dict.fromkeys("abcd", 1)
    cache.invalidate_tag("x")
    assert client.get(place) is None
    assert cache.get_many(["a", "b", "c", "d"]) == {}
    cache.clear()
    assert not client.exists(place)


def test_untagged_entries_are_what_they_were(make, client, namespace):
    """Without tags no bytes, keys or trips are added."""
    cache = make()
    cache.set("key", "value")
    cache.set("number", 5)
    cache.get_many(["key", "number", "nothing"])
    places = client.keys(f"{namespace}:*")
    assert not [place for place in places if b"#" in place]
    (place,) = [place for place in places if place.endswith(b":key")]
    assert client.get(place)[4] == 3  # the flag of the plain codec alone
    assert (len(cache._namespace.tags), len(cache._namespace.versions.store)) == (0, 0)


def test_mixed_entries_are_read_in_two_trips(make):
    """Entries with and without tags come in one trip, and all their versions in another."""
    one, two = make(), make(local_ttl=0.001)
    one.set_many({"a": 1, "b": 2}, tags=["x", "y"])
    one.set("c", 3, tags=["z"])
    one.set("d", 4)
    one.set("e", 5, tags=["ended"])
    one.invalidate_tag("ended")
    ran = []
    run = two._namespace.executor.run
    two._namespace.executor.run = lambda command, **options: (ran.append(command), run(command, **options))[1]
    assert two.get_many(["a", "b", "c", "d", "e", "f"]) == {"a": 1, "b": 2, "c": 3, "d": 4}
    assert [type(command).__name__ for command in ran if type(command).__name__ not in IN_BACKGROUND] == [
        "FetchMany",
        "ReadVersions",
    ]
    del ran[:]
    wait_for(lambda: "a" not in two._namespace.store, "it has left")
    assert two.get("a") == 1
    assert [type(command).__name__ for command in ran if type(command).__name__ not in IN_BACKGROUND] == ["Fetch"]


def test_without_a_link_tags_end_in_time(server, namespace):
    """With coherence="none" the end of a tag is felt elsewhere when local entries have left, and versions with them."""
    settings = {"namespace": namespace, "coherence": "none", "local_ttl": 0.01, "max_staleness": 1.0}
    with Cache(server.url, **settings) as one, Cache(server.url, **settings) as two:
        one.set("key", 1, tags=["x"])
        assert two.get("key") == 1
        one.invalidate_tag("x")
        assert one.get("key") is None
        wait_for(lambda: two.get("key") is None, "it has ended there")


@pytest.fixture
def outage(own_server, namespace):
    """A live cache on a server of its own, that holds "key" under "x"."""
    with Cache(own_server.url, namespace=namespace, replay="set") as cache:
        wait_for(lambda: live(cache), "the link is live")
        cache.set("key", "old", tags=["x"])
        assert held(cache)
        yield cache


def test_tags_that_end_in_an_outage_are_made_up_for(outage, own_server):
    """The end of a tag is journaled, the copy serves meanwhile, and the entry is gone when the server is back."""
    with Cache(own_server.url, namespace=outage.options.namespace) as other:
        wait_for(lambda: live(other) and held(other), "it is held there as well")
        os.kill(own_server.pid, 19)
        try:
            wait_for(lambda: outage.health().breaker == "open" or outage.get("?"), "the outage is noticed")
            outage.invalidate_tag("x", "y")
            assert outage.health().journal == 2
            assert outage.get("key") == "old"
        finally:
            os.kill(own_server.pid, 18)
        wait_for(lambda: recovered(outage) and recovered(other), "recovered")
        wait_for(lambda: outage.get("key") is None and other.get("key") is None, "it has ended")


def test_tagged_values_of_an_outage_are_not_put_again(outage, own_server):
    """What was set with tags in an outage is removed afterwards: its tags may have ended elsewhere meanwhile."""
    own_server.kill()
    outage.set("key", "new", tags=["x"])
    outage.set_many({"a": 1}, tags=["x"])
    assert outage.add("b", 1, tags=["x"]) is False
    assert outage.get_many(["key", "a"]) == {"key": "new", "a": 1}
    assert outage.touch("key") is False
    own_server.start()
    wait_for(lambda: recovered(outage), "recovered")
    assert outage.get_many(["key", "a"]) == {}


def test_a_clear_ends_tagged_entries_too(pair):
    """Entries of the old generation are gone, and their tags serve the new ones."""
    one, two = pair
    one.clear()
    wait_for(lambda: two.get("key") is None, "it is gone there as well")
    one.set("key", "new", tags=["x"])
    wait_for(lambda: two.get("key") == "new", "the write is seen")
    two.invalidate_tag("x")
    wait_for(lambda: one.get("key") is None, "it has ended")


def test_the_audit_knows_ended_entries(server, namespace):
    """A fresh local entry whose tag was ended by hand is one that disagrees; one whose tag stands isn't."""
    with (
        redis.Redis.from_url(server.url) as client,
        Cache(server.url, namespace=namespace, audit_interval=0.01) as cache,
    ):
        wait_for(lambda: live(cache), "the link is live")
        cache.set("key", 1, tags=["x"])
        assert held(cache)
        seen = cache.stats().audited
        wait_for(lambda: cache.stats().audited > seen + 3, "it was looked at")
        assert cache.stats().audit_mismatches == 0
        client.delete(f"{namespace}:#x")
        wait_for(lambda: cache.stats().audit_mismatches, "it was found")


def test_values_carry_the_versions_of_their_tags(make, client, namespace):
    """What stands on the server names each tag, with what stands under the tag's key."""
    cache = make()
    cache.set("key", 5, tags=["x", "y"])
    (place,) = [key for key in client.keys(f"{namespace}:*") if key.endswith(b":key")]
    stamps, payload = unpack_stamps(client.get(place)[29:])
    assert payload == b"5"
    assert stamps == {tag: client.get(f"{namespace}:#{tag}") for tag in ("x", "y")}
