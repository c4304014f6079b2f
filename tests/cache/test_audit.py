"""The audit: tells when a fresh local entry isn't what the server has, and only then."""

import redis
from waiting import wait_for


def test_agreement_is_counted_as_such(make):
    """While writers go through twotier, entries are audited and none differs."""
    cache, other = make(audit_interval=0.02), make()
    for number in range(200):
        other.set(f"key {number % 10}", number)
        cache.get(f"key {number % 10}")
    cache.set("object", {"a": (1, None)})
    cache.incr("count")
    cache.get("count")
    wait_for(lambda: cache.stats().audited > 50, "a few rounds")
    assert cache.stats().audit_mismatches == 0


def test_what_bypassed_twotier_is_found(make, server, namespace):
    """A value that somebody else changed on the server, or that is gone from it, is counted."""
    cache = make(audit_interval=0.02, max_staleness=1.0)
    with redis.Redis.from_url(server.url) as client:
        for tamper in (
            lambda place: client.set(place, 7),
            lambda place: client.set(place, b"foreign"),
            client.delete,
        ):
            cache.set("key", "ours")
            (place,) = client.keys(f"{namespace}:*:key")
            before = cache.stats().audit_mismatches
            tamper(place)
            wait_for(lambda before=before: cache.stats().audit_mismatches > before, "the audit has found it")


def test_it_stops_with_the_cache_and_rests_in_an_outage(own_server, make):
    """While the server is away nothing is asked, and closing ends the thread."""
    cache = make(own_server.url, audit_interval=0.02)
    cache.set("key", 1)
    wait_for(lambda: cache.stats().audited, "a round")
    own_server.kill()
    wait_for(lambda: cache.get("nothing") is None and cache.health().breaker != "closed", "away")
    thread = cache._namespace._audit._thread
    audited = cache.stats().audited
    own_server.start()
    wait_for(lambda: cache.get("key") is None and cache.health().link == "live", "back")
    cache.set("key", 1)
    wait_for(lambda: cache.stats().audited > audited, "audited again")
    assert cache.stats().audit_mismatches == 0
    cache.close()
    assert not thread.is_alive()
