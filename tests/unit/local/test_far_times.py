"""Instants and spans at the edges of 64 bits, and clocks that begin below 0: nothing overflows, all leaves in time."""

import math
import random

import pytest

from twotier import Cache, ConfigurationError, LocalCache, WriteBehindOptions
from twotier.checking import MOST_SECONDS
from twotier.clock import NEVER, SECOND, ManualClock
from twotier.load_policy import LoadPolicy
from twotier.options import Options, ttl_ns

EDGES = [
    -NEVER - 1, -NEVER, -SECOND, -1, 0, 1, SECOND, NEVER // 2, NEVER - 1001 * SECOND, NEVER - SECOND, NEVER - 1, NEVER,
]  # fmt: skip
SPANS = ["max_staleness", "timeout", "connect_timeout", "load_lease", "ttl", "local_ttl", "audit_interval", "stale_ttl"]
POLICY_SPANS = ["stale_while_revalidate", "soft_timeout", "hard_timeout", "negative_ttl"]


@pytest.mark.parametrize("policy", ["lru", "lfu", "adaptive"])
@pytest.mark.parametrize("start", [-NEVER // 2, -1, 0, NEVER // 2, NEVER - 10_000 * SECOND])
def test_every_pair_of_edges_keeps_the_structure(twin, policy, start):
    """Whatever expiry meets whatever stale window, in a store that fills up, on a clock that stands anywhere."""
    source, clock = random.Random(1), ManualClock(start)
    store = twin.Store(8, policy=policy, clock=clock, seed=1)
    store.renew(NEVER)
    for step in range(600):
        key, expires = source.randrange(16), source.choice(EDGES)
        stale = max(0, source.choice(EDGES))
        source.choice(
            [
                lambda k=key, at=expires, stale=stale: store.put(k, k, expires=at, stale=stale),
                lambda k=key, at=expires, stale=stale: store.add(k, k, expires=at, stale=stale),
                lambda k=key, at=expires, stale=stale: store.touch(k, expires=at, stale=stale),
                lambda k=key, at=expires, stale=stale: store.install(k, k, store.token(k), expires=at, stale=stale),
                lambda k=key: store.demote([k], 0),
                lambda k=key: store.discard(k),
                lambda k=key, span=expires: store.lapsed(k, span),
                lambda span=expires: store.after(span),
                store.expire,
            ]
        )()
        if step % 20 == 0:
            clock.advance(1)
        store.validate()


def test_a_window_beyond_reach_in_a_full_store(make_store, clock):
    """The first stale window comes when the store is full, and ends after the last instant that there is."""
    store = make_store(2)
    store.put("a", 1, expires=NEVER)
    store.put("b", 2, expires=NEVER)
    store.put("c", 3, expires=clock.now() + SECOND, stale=NEVER - SECOND)
    store.validate()
    clock.advance(2)
    assert (store.get("c"), store.suspect("c")) == (None, 3)
    store.put("d", 4, expires=NEVER)
    assert len(store) == 2


def test_demoting_an_entry_without_expiry_in_a_full_store(make_store):
    """Its stale window is remembered, whenever it was put."""
    store = make_store(1)
    store.put("a", 1, expires=NEVER)
    store.put("b", 2, expires=NEVER, stale=SECOND)
    store.demote(["b"], 1)
    assert (store.get("b"), store.suspect("b")) == (None, 2)


def test_a_clock_below_0(twin):
    """Leases, expiry, stale windows and reclaiming are as on any other clock."""
    clock = ManualClock(-100 * SECOND)
    store = twin.Store(10, clock=clock)
    assert not store.live
    store.renew(clock.now() + 50 * SECOND)
    store.put("a", 1, expires=clock.now() + SECOND, stale=SECOND)
    store.put("past", 1, expires=clock.now() - 1)
    assert (store.get("a"), store.op("past")) == (1, None)
    clock.advance(1.5)
    assert (store.get("a"), store.suspect("a"), store.lapsed("a", SECOND)) == (None, 1, 1)
    clock.advance(1)
    assert (store.expire(), len(store)) == (1, 0)
    store.lose()
    assert not store.live
    store.validate()


@pytest.mark.parametrize("name", SPANS)
@pytest.mark.parametrize("given", [1e10, 9223372036, MOST_SECONDS + 1, math.inf, math.nan, 10**400])
def test_options_bound_their_spans(name, given):
    """A span of centuries is an error that names the field."""
    others = {"max_staleness": MOST_SECONDS} if name == "timeout" else {}
    with pytest.raises(ConfigurationError, match=f"{name} must be .* up to 100 years"):
        Options(**others, **{name: given})


@pytest.mark.parametrize("name", POLICY_SPANS)
def test_load_policies_bound_their_spans(name):
    """So do those of one call."""
    with pytest.raises(ConfigurationError, match=f"{name} must be .* up to 100 years"):
        LoadPolicy(**{name: 1e10})
    with Cache() as cache, pytest.raises(ConfigurationError, match=f"{name} must be .* up to 100 years"):
        cache.get_or_set("key", lambda: 1, **{name: 1e10})


@pytest.mark.parametrize("name", ["first_backoff", "max_backoff", "max_wait", "drain_lease"])
def test_a_write_behind_bounds_its_spans(name):
    """As options do."""
    with pytest.raises(ConfigurationError, match=f"{name} must be .* up to 100 years"):
        WriteBehindOptions(**{name: 1e10})


def test_the_longest_spans_work():
    """A full cache with a stale window of a hundred years keeps stale copies, and its structure."""
    clock = ManualClock()
    options = {"maxsize": 4, "ttl": None, "stale_ttl": MOST_SECONDS, "local_ttl": MOST_SECONDS, "clock": clock}
    with Cache(stale_on_error=True, **options) as cache:
        for number in range(8):
            cache.set(f"key {number}", number)
        for number in range(8):
            cache.get_or_set(f"key {number}", lambda number=number: number, ttl=1)
        clock.advance(2)
        cache.get_or_set("another", lambda: 1)
        cache._namespace.store.validate()


@pytest.mark.parametrize("ttl", [MOST_SECONDS + 1, float(2 * MOST_SECONDS), 9e9, 1e300, math.inf, 10**30])
def test_a_ttl_of_centuries_is_no_expiry(ttl):
    """Of a call, in every place that takes one."""
    assert ttl_ns(ttl) == NEVER
    cache = LocalCache(ttl=ttl)
    cache["own"] = 1
    cache.set("given", 1, ttl=ttl)
    assert (cache.ttl("own"), cache.ttl("given")) == (None, None)


def test_bytes_are_bounded(twin):
    """So that sums of weights stay within 64 bits."""
    for given in (0, (1 << 62) + 1, 1 << 80):
        with pytest.raises(ConfigurationError, match="max_bytes must be None or an int from 1 to"):
            twin.Store(1, max_bytes=given)
        with pytest.raises(ConfigurationError, match="max_bytes must be None or an int from 1 to"):
            Options(max_bytes=given)
    store = twin.Store(10, max_bytes=1 << 62, weigher=lambda *_: (1 << 62) - 1)
    for key in range(5):
        store.put(key, key, expires=NEVER)
    store.validate()
    assert len(store) == 1


def test_instants_of_more_than_64_bits_are_refused(make_store):
    """By both twins alike, and nothing is put."""
    store = make_store()
    for call in (store.put, store.add):
        for times in ({"expires": NEVER + 1}, {"expires": -NEVER - 2}, {"expires": 1, "stale": NEVER + 1}):
            with pytest.raises(OverflowError):
                call("key", 1, **times)
        with pytest.raises(ValueError, match="stale must be >= 0"):
            call("key", 1, expires=1, stale=-1)
    assert len(store) == 0
