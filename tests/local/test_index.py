"""The index under keys crafted to collide, as only who knows its seed can: every chunk overflows into the next."""

import random

import pytest

from twotier.clock import NEVER

SEED = 1
MASK = (1 << 64) - 1


def multiplier(seed):
    """Return what the compiled index multiplies hashes with (splitmix64's finalizer, made odd)."""
    x = (seed + 0x9E3779B97F4A7C15) & MASK
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
    return (x ^ (x >> 31)) | 1


class Key:
    """A key whose product with the multiplier is given: its top bits are the home, as a fraction of the index."""

    inverse = pow(multiplier(SEED), -1, 1 << 64)

    def __init__(self, product):
        unsigned = product * self.inverse & MASK
        self.hash = unsigned - (1 << 64) if unsigned >> 63 else unsigned

    def __hash__(self):
        return self.hash

    def __eq__(self, other):
        return self is other


def crafted(home, number):
    """Return the `number`th key whose home is that share of the index."""
    return Key(min(int(home * 2.0**64), MASK - (1 << 20)) + number)


@pytest.mark.parametrize("homes", [(0,), (1,), (0, 0.1, 0.11), (0.9, 0.95, 1)], ids=str)
def test_an_index_whose_keys_collide_stays_whole(make_store, homes):
    """Keys of a few homes are found, replaced, removed and evicted, however far from home they had to go."""
    source = random.Random(2)
    store = make_store(200, seed=SEED)
    keys = [crafted(source.choice(homes), number) for number in range(500)]
    held = {}
    for step in range(4000):
        key = source.choice(keys)
        if source.random() < 0.6:
            store.put(key, step, expires=NEVER)
            held[key] = step
        else:
            store.discard(key)
            held.pop(key, None)
        assert store.get(key) == held.get(key)
        if step % 50 == 0:
            store.validate()
            found = store.get_many(keys)
            assert len(found) == len(store) <= 200
            assert all(held[key] == value for key, value in found.items())
            held = dict(found)
    for key in keys:
        store.discard(key)
    assert len(store) == 0


def test_the_index_grows_and_shrinks_under_collisions(make_store):
    """Growing spreads the keys anew; an emptied table shrinks step by step, and takes keys again at any size."""
    store = make_store(3000, seed=SEED)
    keys = [crafted(number % 3 / 3, number) for number in range(3000)]
    for round_ in range(2):
        for number, key in enumerate(keys):
            store.put(key, number, expires=NEVER)
            if number % 500 == 0:
                store.validate()
        assert store.get_many(keys) == {key: number for number, key in enumerate(keys)}
        for key in keys:
            assert store.discard(key)
        for _ in range(round_ * 20 + 3):
            store.expire()
            store.validate()
