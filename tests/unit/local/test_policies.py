"""Which entry leaves: the adaptive policy step by step against its model, lfu's counts and aging, resizing."""

import random
from collections import OrderedDict

import pytest
from model import Model

from twotier.clock import NEVER

SEED = 0


def zipf(source, keys, length):
    """A stream with a few hot keys."""
    weights = [1 / (rank + 1) for rank in range(keys)]
    return source.choices(range(keys), weights, k=length)


def streams():
    """Streams of the kinds that the policy tells apart, by name."""
    source = random.Random(7)
    hot = zipf(source, 400, 3000)
    return {
        "zipf": hot,
        "loop": [i % 130 for i in range(2500)],
        "scan in zipf": [key for i, key in enumerate(hot) for key in ([key] if i % 3 else [key, 10_000 + i])],
        "shift": hot[:1500] + [key + 500 for key in hot[1500:]],
        "pairs": [i // 2 % 900 for i in range(2500)],
        "recent": [max(0, i - int(source.expovariate(1 / 60))) for i in range(2500)],
    }


STREAMS = streams()


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("capacity", [1, 2, 3, 10, 100, 333])
def test_adaptive_is_its_model(make_store, capacity, stream):
    """Every read of every stream hits and misses as in the model, and the same keys are held in the end."""
    store, model = make_store(capacity, policy="adaptive", seed=SEED), Model(capacity, SEED)
    for step, key in enumerate(STREAMS[stream]):
        hit = store.get(key) is not None
        if not hit:
            store.put(key, step, expires=NEVER)
        assert hit == model.access(key), f"step {step}, key {key}"
    assert sorted(store.keys()) == sorted(model.freq)


def test_adaptive_is_its_model_where_stamps_are_rounded(make_store):
    """A cache of more entries than the steps of its ghosts' stamps."""
    capacity, source = 9000, random.Random(5)
    store, model = make_store(capacity, policy="adaptive", seed=SEED), Model(capacity, SEED)
    back = 0
    for step in range(60_000):
        key = step if source.random() < 0.5 else max(0, step - int(source.expovariate(1 / 15_000)))
        hit = store.get(key) is not None
        if not hit:
            back += key < step
            store.put(key, step, expires=NEVER)
        assert hit == model.access(key), f"step {step}, key {key}"
    assert sorted(store.keys()) == sorted(model.freq)
    assert back > 5000


@pytest.mark.parametrize("capacity", [1, 5, 64])
def test_adaptive_is_its_model_under_deletes(make_store, clock, capacity):
    """Deleting and expiring leave no ghost and no trace; overwriting is a hit."""
    source = random.Random(3)
    store, model = make_store(capacity, policy="adaptive", seed=SEED), Model(capacity, SEED)
    for step in range(4000):
        key, what = source.randrange(3 * capacity + 4), source.random()
        if what < 0.1:
            store.discard(key)
            model.delete(key)
        elif what < 0.15 and key in store:
            store.touch(key, expires=clock.now() + 1)
            model.access(key)
            clock.advance(1)
            assert store.expire() == 1
            model.delete(key)
        elif what < 0.4:
            store.put(key, step, expires=NEVER)
            model.access(key)
        else:
            hit = store.get(key) is not None
            if not hit:
                store.put(key, step, expires=NEVER)
            assert hit == model.access(key), f"step {step}, key {key}"
        assert len(store) == len(model)
    assert sorted(store.keys()) == sorted(model.freq)


def test_adaptive_survives_a_scan(make_store):
    """A pass over many keys that are never read again doesn't flush the hot ones."""
    store = make_store(100, policy="adaptive")
    for _ in range(3):
        for key in range(80):
            if store.get(key) is None:
                store.put(key, 0, expires=NEVER)
    for key in range(1000, 3000):
        store.put(key, 0, expires=NEVER)
    assert sum(key in store for key in range(80)) > 60


def test_adaptive_lets_go_of_what_went_cold(make_store):
    """After the work has moved on, the new hot keys are held, not the old."""
    store = make_store(100, policy="adaptive")
    for base in (0, 1000):
        for _ in range(60):
            for key in range(base, base + 90):
                if store.get(key) is None:
                    store.put(key, 0, expires=NEVER)
    assert sum(key in store for key in range(1000, 1090)) > 80


def test_lfu_evicts_the_least_used(make_store):
    """Of the least used the oldest leaves."""
    store = make_store(4, policy="lfu")
    for key, uses in (("a", 3), ("b", 1), ("c", 1), ("d", 2)):
        store.put(key, key, expires=NEVER)
        for _ in range(uses):
            store.get(key)
    store.put("e", 1, expires=NEVER)
    assert sorted(store.keys()) == ["a", "c", "d", "e"]


def test_lfu_forgets(make_store):
    """Keys that were hot yesterday and aren't read today leave; without aging they would stay for good."""
    store = make_store(10, policy="lfu")
    for _ in range(500):
        for key in range(10):
            if store.get(key) is None:
                store.put(key, 0, expires=NEVER)
    for _ in range(200):
        for key in range(100, 108):
            if store.get(key) is None:
                store.put(key, 0, expires=NEVER)
    assert sum(key in store for key in range(100, 108)) == 8


@pytest.mark.parametrize("policy", ["lru", "lfu", "adaptive"])
def test_resize_at_any_moment(make_store, policy):
    """Shrinking evicts by the policy, growing makes room; the structure holds throughout."""
    source = random.Random(5)
    store = make_store(64, policy=policy)
    for step in range(3000):
        if step % 100 == 50:
            size = source.choice([1, 2, 7, 30, 64, 200])
            store.resize(size)
            assert store.maxsize == size
            assert len(store) <= size
            store.validate()
        key = source.randrange(150)
        if store.get(key) is None:
            store.put(key, step, expires=NEVER)
        assert key in store


@pytest.mark.parametrize("capacity", [1, 2, 5, 40])
def test_lru_is_the_order_of_use(make_store, capacity):
    """Whatever is read, put, removed or made room for in between, what leaves is what was used longest ago."""
    store, order, source = make_store(capacity, policy="lru"), OrderedDict(), random.Random(capacity)
    for step in range(20_000):
        key = source.randrange(capacity + 1 + capacity // 2)
        call = source.choices(["get", "put", "discard", "resize", "clear"], [60, 20, 5, 0.2, 0.2])[0]
        if call == "get":
            assert (store.get(key) is not None) == (key in order)
        elif call == "put":
            store.put(key, key, expires=NEVER)
            order[key] = key
        elif call == "discard":
            store.discard(key)
            order.pop(key, None)
        elif call == "clear":
            store.clear()
            order.clear()
        else:
            size = source.randint(1, capacity)
            store.resize(size)
            while len(order) > size:
                order.popitem(last=False)
            store.resize(capacity)
        if key in order and call in {"get", "put"}:
            order.move_to_end(key)
        if len(order) > capacity:
            order.popitem(last=False)
        if step % 7 == 0:
            store.validate()
            assert sorted(store.keys()) == sorted(order)


def test_lru_keeps_the_newest_when_it_shrinks(make_store):
    """Resizing evicts what was used longest ago."""
    store = make_store(10, policy="lru")
    for key in range(10):
        store.put(key, 0, expires=NEVER)
    store.resize(3)
    assert sorted(store.keys()) == [7, 8, 9]


@pytest.mark.parametrize("policy", ["lru", "lfu", "adaptive"])
def test_a_seed_repeats_everything(make_store, policy):
    """Two stores with one seed hold the same keys after the same work."""
    kept = []
    for _ in range(2):
        store = make_store(50, policy=policy, seed=11)
        for key in STREAMS["zipf"]:
            if store.get(key) is None:
                store.put(key, 0, expires=NEVER)
        kept.append(sorted(store.keys()))
    assert kept[0] == kept[1]


def hit_ratio(store, keys):
    """Read each key, and put it where the read missed."""
    hits = 0
    for key in keys:
        if store.get(key) is None:
            store.put(key, True, expires=NEVER)
        else:
            hits += 1
    return hits / len(keys)


@pytest.mark.parametrize("policy", ["lru", "lfu", "adaptive"])
@pytest.mark.parametrize("stream", ["scan in zipf", "loop", "shift"])
def test_a_byte_bound_is_as_good_as_a_count(make_store, policy, stream):
    """Where bytes are what is short, the policy reckons with what they allow, not with a maxsize out of reach."""
    keys = STREAMS[stream] * 2
    by_count = hit_ratio(make_store(100, policy=policy), keys)
    by_bytes = hit_ratio(make_store(50_000, policy=policy, max_bytes=1000, weigher=lambda *_: 10), keys)
    assert by_bytes >= by_count - 0.05  # it has to find out first


@pytest.mark.parametrize("policy", ["lru", "lfu", "adaptive"])
def test_a_policy_reckons_anew_when_weights_change(make_store, policy):
    """Light, heavy and light again: the bound holds, and in the end as many are held as fit."""
    store = make_store(5000, policy=policy, max_bytes=2000, weigher=lambda _, weight: weight)
    for base, weight in ((0, 2), (10_000, 100), (20_000, 1)):
        for key in range(base, base + 6000):
            store.put(key, weight, expires=NEVER)
        assert store.counters()["bytes"] > 1800
    assert len(store) == 2000
