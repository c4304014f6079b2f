"""The audit: tells when a fresh local entry isn't what the server has, and only then."""

import pytest
import redis
from waiting import PATIENT, live, wait_for

from twotier.core.namespace.audit import Audit


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


@pytest.fixture
def deaf(make):
    """Makes an audit, started by hand alone, of a cache that has `key`, changed by `other` since, and hasn't heard."""
    cache, other = make(**PATIENT), make(**PATIENT)
    wait_for(lambda: live(cache), "the link is live")
    namespace = cache._namespace
    namespace.subscriber.received = lambda _payloads: None
    cache.set("key", "old")
    assert cache.get("key") == "old"
    other.set("key", "new")
    audit = Audit(namespace, 1e6)
    yield audit, cache, other
    audit.close()


def test_what_is_heard_late_is_a_mismatch(deaf, monkeypatch):
    """What must have arrived when the answer to the look had, and hasn't, counts."""
    audit, cache, _ = deaf
    answered, heard = [], []
    run = cache._namespace.executor.run

    def noted(command, **settings):
        result = run(command, **settings)
        answered.append(cache._namespace.clock.now())
        return result

    monkeypatch.setattr(cache._namespace.executor, "run", noted, raising=False)
    monkeypatch.setattr(audit, "_all_heard", lambda since: heard.append((since, answered[-1])) or True)
    audit._round()
    assert cache.stats().audit_mismatches == 1
    assert [since >= answer for since, answer in heard] == [True]


def test_another_change_meanwhile_is_none(deaf, monkeypatch):
    """Where the server has yet another value at the second look, that one's message may be under way."""
    audit, cache, other = deaf
    monkeypatch.setattr(audit, "_all_heard", lambda _since: other.set("key", "newer") is None)
    audit._round()
    assert cache.stats().audit_mismatches == 0


def test_it_stops_with_the_cache_and_rests_in_an_outage(own_server, make):
    """While the server is away nothing is asked, and closing ends the thread."""
    cache = make(own_server.url, audit_interval=0.02)
    cache.set("key", 1)
    wait_for(lambda: cache.stats().audited, "a round")
    own_server.kill()
    wait_for(lambda: cache.get("nothing") is None and cache.health().breaker != "closed", "away")
    thread = cache._namespace._audit._worker.thread
    audited = cache.stats().audited
    own_server.start()
    wait_for(lambda: cache.get("key") is None and cache.health().link == "live", "back")
    cache.set("key", 1)
    wait_for(lambda: cache.stats().audited > audited, "audited again")
    assert cache.stats().audit_mismatches == 0
    cache.close()
    assert not thread.is_alive()
