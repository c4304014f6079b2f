"""Reclaiming what has expired: exact, bounded in each call, and without reads."""

import random
import time

import pytest

from twotier import _speedups
from twotier.clock import NEVER, SECOND, ManualClock

TICK = 1 << 20


def drain(store):
    """Reclaim until nothing more leaves; return how much did."""
    total = 0
    while left := store.expire():
        total += left
    return total


@pytest.mark.parametrize("spread", [10 * TICK, 5 * SECOND, 3600 * SECOND, 400 * 86400 * SECOND])
def test_everything_leaves_when_its_time_is_over(make_store, clock, spread):
    """Deadlines of any distance: at each moment exactly those are held whose stale window is open (to a tick)."""
    source = random.Random(1)
    store, deadlines = make_store(2000), {}
    for key in range(1000):
        life, stale = source.randrange(1, spread), source.choice([0, source.randrange(spread)])
        store.put(key, key, expires=clock.now() + life, stale=stale)
        deadlines[key] = clock.now() + life + stale
        if key % 3 == 0:  # made longer, shorter, or endless
            life = source.choice([1, spread // 2, 2 * spread])
            store.touch(key, expires=clock.now() + life)
            deadlines[key] = clock.now() + life
    for _ in range(40):
        clock.advance(spread / SECOND * source.random() / 6)
        drain(store)
        store.validate()
        open_ = {key for key, at in deadlines.items() if at > clock.now()}
        held = {key for key in deadlines if store.op(key) is not None}
        assert open_ <= held
        assert all(deadlines[key] >= clock.now() - 2 * TICK for key in held - open_)


def test_an_entry_without_expiry_stays(make_store, clock):
    """Touched to no expiry, it is out of the wheel; set again with one, it is back."""
    store = make_store()
    store.put("a", 1, expires=clock.now() + SECOND)
    assert store.touch("a", expires=NEVER)
    clock.advance(1e6)
    assert (store.expire(), store.get("a")) == (0, 1)
    assert store.touch("a", expires=clock.now() + SECOND)
    clock.advance(2)
    assert store.expire() == 1


def test_one_call_reclaims_a_bounded_number(make_store, clock):
    """However many expired together: 1,024 in a call of expire, 8 in a write."""
    store = make_store(10_000)
    for key in range(5000):
        store.put(key, key, expires=clock.now() + SECOND)
    clock.advance(2)
    store.put("new", 1, expires=NEVER)
    assert 5001 - 8 <= len(store) <= 5000
    assert store.expire() <= 1024
    assert drain(store) > 0
    assert len(store) == 1


def test_clock_steps_dont_matter(make_store, clock):
    """Not even of the steady clock, which has none: nothing is lost when it goes back, and all leaves in the end."""
    store = make_store()
    store.put("a", 1, expires=clock.now() + SECOND)
    clock._now -= 600 * SECOND
    assert store.get("a") == 1
    assert store.expire() == 0
    clock._now += 600 * SECOND
    clock.advance(2)
    assert store.get("a") is None
    assert store.expire() == 1


def test_the_machines_clock_expires_entries(twin):
    """Without a clock passed in."""
    store = twin.Store(10)
    store.renew(NEVER)
    store.put("a", 1, expires=twin.now() + SECOND // 50)
    assert store.get("a") == 1
    deadline = time.monotonic() + 10
    while store.get("a") is not None or (store.expire() == 0 and len(store)):
        assert time.monotonic() < deadline
    assert len(store) == 0


def test_many_that_expire_together_cost_no_long_pause():
    """50,000 deadlines in one tick: moving down the wheel and leaving, they take many calls of a bounded length each.

    (`bench/pauses.py` tells the time; here it is counted, so that a busy machine doesn't matter.)
    """
    clock = ManualClock()
    store = _speedups.Store(50_000, clock=clock, policy="lru")
    store.renew(NEVER)
    for key in range(50_000):
        store.put(key, None, expires=clock.now() + 300 * SECOND)
    for seconds in (200, 99):
        clock.advance(seconds)
        for _ in range(60):
            assert store.expire() == 0
        store.validate()
    clock.advance(2)
    left = [store.expire() for _ in range(50)]
    assert max(left) <= 1024
    assert (sum(left), len(store)) == (50_000, 0)
