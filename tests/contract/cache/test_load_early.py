"""Early refresh: hot keys are loaded again before they expire, in the background, by one."""

import random

import pytest
from sources import Source
from waiting import wait_for

from twotier import Cache
from twotier.clock import SECOND, ManualClock
from twotier.core.loading.early_refresh import LoadDurations
from twotier.local import Store


def slow(clock, source, seconds=1.0):
    """Return a loader that takes its time on the clock."""

    def loader():
        clock.advance(seconds)
        return source()

    return loader


def test_a_key_is_loaded_before_it_expires(monkeypatch):
    """Near its expiry a hit begins a load in the background; readers get what there is until it ends."""
    clock = ManualClock()
    monkeypatch.setattr(random, "random", lambda: 0.5)  # -ln(1 - 0.5) is 0.69: due 0.69 s ahead
    with Cache(clock=clock, ttl=100, early_refresh=1.0, jitter=0) as cache:
        source = Source()
        load = slow(clock, source)
        assert cache.get_or_set("key", load) == 1
        clock.advance(99.3)
        assert cache.get_or_set("key", load) == 1
        assert len(source.calls) == 1
        source.go.clear()
        clock.advance(0.02)
        assert cache.get_or_set("key", load) == 1
        source.go.set()
        wait_for(lambda: cache.get("key") == 2, "the refreshed value is there")
        assert len(source.calls) == 2
        assert cache.stats().early_refreshes == 1


def test_calls_may_ask_for_it_themselves(monkeypatch, make):
    """The setting of a call counts, whatever the cache's."""
    monkeypatch.setattr("twotier.core.loading.early_refresh.LoadDurations.is_due", lambda *_: True)
    for cache in (Cache(), make()):
        with cache:
            source = Source()
            cache.set("key", "there", 60)
            assert cache.get_or_set("key", source) == "there"
            assert not source.calls
            assert cache.get_or_set("key", source, early_refresh=1.0) == "there"
            wait_for(lambda cache=cache: cache.get("key") == 1, "it was refreshed")
            cache.set_many({"a": "old", "b": "old"})
            assert cache.get_or_set_many(["a", "b"], source.many, early_refresh=1.0) == {"a": "old", "b": "old"}
            wait_for(lambda cache=cache: cache.get_many(["b", "a"]) == {"a": "a 2", "b": "b 2"}, "both were refreshed")
            assert source.calls[-1] == ["a", "b"]


def test_other_processes_hear_of_the_refreshed_value(make, monkeypatch):
    """A refresh replaces the value in every process."""
    monkeypatch.setattr(LoadDurations, "is_due", lambda *_: True)
    one, other = make(early_refresh=1.0), make()
    one.set("key", "old")
    assert other.get("key") == "old"
    assert one.get_or_set("key", lambda: "new") == "old"
    wait_for(lambda: other.get("key") == one.get("key") == "new", "both have the new one")


def test_a_place_is_not_waited_for(monkeypatch):
    """Where as many loaders run as may, nothing is refreshed ahead."""
    monkeypatch.setattr(LoadDurations, "is_due", lambda *_: True)
    with Cache(max_concurrent_loads=1, early_refresh=1.0) as cache:
        cache.set("key", "there")
        place = cache._namespace.load_gate.enter()
        assert cache.get_or_set("key", lambda: pytest.fail("loaded")) == "there"
        place.leave()
        assert cache.stats().early_refreshes == 0
        assert cache.get_or_set("key", lambda: "new") == "there"
        wait_for(lambda: cache.get("key") == "new", "it was refreshed")


@pytest.mark.parametrize("beta", [0.5, 1.0, 3.0])
def test_moments_are_drawn_as_xfetch_says(beta):
    """The share of hits that are due with a given time left is exp(-left / (duration * beta))."""
    clock = ManualClock()
    store = Store(10, clock=clock)
    store.renew(clock.now() + 10**6 * SECOND)
    durations = LoadDurations(store, capped=False)
    store.put("key", 1, expires=clock.now() + 10 * SECOND)
    durations.note("key", 2 * SECOND, clock.now() + 10 * SECOND)
    for left, expected in ((10, 2.718281828 ** (-10 / 2 / beta)), (2, 2.718281828 ** (-1 / beta))):
        clock.advance(10 - left if left != 10 else 0)
        count = sum(durations.is_due("key", beta) for _ in range(20_000))
        assert count / 20_000 == pytest.approx(expected, abs=0.02)


def test_what_is_not_known_is_reckoned_by_the_mean():
    """Keys loaded elsewhere take the mean of the loads here; before any load nothing is due."""
    clock = ManualClock()
    store = Store(10, clock=clock)
    store.renew(clock.now() + 10**6 * SECOND)
    durations = LoadDurations(store, capped=False)
    store.put("key", 1, expires=clock.now() + SECOND)
    assert not any(durations.is_due("key", 1.0) for _ in range(1000))
    durations.note("other", SECOND, clock.now())
    assert any(durations.is_due("key", 1.0) for _ in range(1000))
    store.put("for good", 1, expires=(1 << 63) - 1)
    assert not any(durations.is_due("for good", 1e9) for _ in range(1000))
    assert not durations.is_due("missing", 1e9)


def test_capped_lives_are_no_reason_to_load():
    """With local_ttl an entry's own end says nothing about the value's: only what was loaded here is known."""
    clock = ManualClock()
    store = Store(10, clock=clock)
    store.renew(clock.now() + 10**6 * SECOND)
    durations = LoadDurations(store, capped=True)
    for key in ("mine", "other"):
        store.put(key, 1, expires=clock.now() + SECOND // 100)
    durations.note("mine", SECOND, clock.now() + 1000 * SECOND)
    assert not any(durations.is_due(key, 1.0) for key in ("mine", "other") for _ in range(1000))
    durations.note("mine", SECOND, clock.now() + SECOND)
    assert any(durations.is_due("mine", 1.0) for _ in range(1000))


def test_jitter_parts_what_was_loaded_together():
    """load_jitter takes off up to its share, at random; keys without expiry keep none."""
    with Cache(clock=ManualClock(), jitter=0, load_jitter=0.5) as cache:
        keys = [f"key {number}" for number in range(300)]
        cache.get_or_set_many(keys, lambda missing: dict.fromkeys(missing, 1), ttl=100)
        lives = sorted(cache.ttl(key) for key in keys)
        assert 50 <= lives[0] < 60
        assert 90 < lives[-1] <= 100
        cache.get_or_set("for good", lambda: 1, ttl=None)
        assert cache.ttl("for good") is None


def test_hits_cost_nothing_where_it_is_off(monkeypatch):
    """Without early refresh a hit asks nothing but the local tier."""
    with Cache() as cache:
        cache.set("key", 1)
        monkeypatch.setattr(cache._calls.__class__, "is_due", lambda *_: pytest.fail("asked"))
        assert cache.get_or_set("key", lambda: 2) == 1
