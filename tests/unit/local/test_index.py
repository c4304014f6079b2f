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


def named(number):
    """Return the key of a number: a str, or what only Python code compares."""
    return f"key {number}" if number % 3 else (number, "tuple")


@pytest.mark.parametrize("maxsize", [23, 150, 3000, 100_000])
@pytest.mark.parametrize("policy", ["lru", "adaptive"])
def test_an_index_stays_whole_while_it_grows(make_store, maxsize, policy):
    """Entries that have moved to the larger index, and those that haven't, are found, replaced and removed."""
    source = random.Random(maxsize)
    store = make_store(maxsize, policy=policy, seed=SEED)
    held = {}
    for number in range(4000):
        store.put(named(number), number, expires=NEVER)
        held[number] = number
        other = source.randrange(number + 1)
        if source.random() < 0.2:
            assert store.discard(named(other)) in (other in held, False)
            held.pop(other, None)
        elif source.random() < 0.2 and store.get(named(other)) is not None:
            store.put(named(other), -other, expires=NEVER)
            held[other] = -other
        assert store.get(named(other)) in (held.get(other), None)
        if number % 97 == 0 or number < 200:
            store.validate()
    left = {number for number in held if store.get(named(number)) is not None}
    assert len(left) == len(store) == len(store.keys())
    if maxsize >= 4000:
        assert left == set(held)
    assert store.get_many([named(number) for number in range(4000)]) == {named(each): held[each] for each in left}


@pytest.mark.parametrize("end", ["clear", "expire", "discard", "epoch"])
@pytest.mark.parametrize("size", range(21, 190, 7))
def test_an_index_that_ends_while_it_grows(make_store, clock, end, size):
    """Emptied at any moment of its growth, and filled again."""
    store = make_store(100_000)
    for again in range(3):
        for number in range(size):
            store.put(f"{again}:{number}", number, expires=clock.now() + 10**9 if end == "expire" else NEVER)
        assert len(store) == size
        if end == "clear":
            store.clear()
        elif end == "discard":
            for number in range(size):
                assert store.discard(f"{again}:{number}")
                store.validate()
        elif end == "epoch":
            assert store.apply([f"{again}:{number}" for number in range(size)], 0) == size
        clock.advance(2)
        for _ in range(3):
            store.expire()
            store.validate()
        assert len(store) == 0


def test_an_index_grows_while_maxsize_does(make_store):
    """A bound that rises by one each time makes it begin anew each time: it holds no more than fits."""
    store = make_store(10)
    for number in range(700):
        store.resize(10 + number)
        for more in range(2):
            store.put((number, more), number, expires=NEVER)
        store.validate()
    assert len(store) == 709


def test_a_comparison_that_makes_the_index_grow(make_store):
    """A lookup goes on in what the index has become, also where its comparison moved what it looks for."""
    store = make_store(100_000)
    numbers = iter(range(1_000_000))

    class Growing:
        def __init__(self, name, puts):
            self.name, self.puts = name, puts

        def __hash__(self):
            return hash(self.name)

        def __eq__(self, other):
            for _ in range(self.puts):
                store.put(next(numbers), None, expires=NEVER)
            self.puts //= 2
            return self.name == other

    for number in range(150):
        store.put(f"key {number}", number, expires=NEVER)
        for known in (number, number // 2):
            assert store.get(Growing(f"key {known}", 40)) == known
        store.validate()
        store.expire()
        store.validate()
