"""Python code of others inside the store: `__eq__`, `__hash__`, `__del__`, codecs, weighers and listeners that raise,
call back, delete, clear or resize. Whatever they do, the structure holds and nothing is lost or seen twice.
"""

import contextlib
import gc
import random
import weakref

import pytest

from twotier.clock import NEVER, SECOND

POLICIES = ["lru", "lfu", "adaptive"]


class Mischief:
    """What a hostile object does when it is given the chance: something at random to the store, or raise."""

    def __init__(self, store, seed):
        self.store = store
        self.source = random.Random(seed)
        self.depth = 0
        self.raised = 0

    def __call__(self):
        if self.depth > 2 or self.source.random() < 0.5:
            return
        self.depth += 1
        try:
            key, store = self.source.randrange(40), self.store
            self.source.choice(
                [
                    lambda: store.get(key),
                    lambda: store.put(key, key, expires=NEVER),
                    lambda: store.discard(key),
                    lambda: store.apply([key, key + 1], 3),
                    lambda: store.demote([key, key + 1], 3),
                    lambda: store.begin_write(key),
                    lambda: store.resize(self.source.randrange(1, 30)),
                    store.clear,
                    store.expire,
                    gc.collect if self.source.random() < 0.02 else store.keys,
                    store.bump_epoch,
                ]
            )()
            if self.source.random() < 0.1:
                self.raised += 1
                raise RuntimeError("mischief")
        finally:
            self.depth -= 1


class Key:
    """A key whose hash collides with many, and that makes mischief when compared, hashed or deleted."""

    mischief = staticmethod(lambda: None)

    def __init__(self, number):
        self.number = number

    def __hash__(self):
        if self.number % 7 == 0:
            Key.mischief()
        return self.number % 5

    def __eq__(self, other):
        Key.mischief()
        return isinstance(other, Key) and self.number == other.number

    def __del__(self):
        with contextlib.suppress(RuntimeError):
            Key.mischief()


class Value:
    """A value that makes mischief when it is let go of."""

    def __del__(self):
        with contextlib.suppress(RuntimeError):
            Key.mischief()


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("seed", range(4))
def test_mischief_everywhere(make_store, clock, policy, seed):
    """Thousands of operations, each interrupted by others from inside, on every policy."""

    def listener(*_):
        mischief()

    def weigher(*_):
        mischief()
        return 1

    store = make_store(20, policy=policy, max_bytes=25, weigher=weigher, on_removal=listener)
    mischief = Key.mischief = Mischief(store, seed)
    source = random.Random(seed)
    try:
        for step in range(1200):
            key = Key(source.randrange(30)) if source.random() < 0.7 else source.randrange(40)
            expires = NEVER if source.random() < 0.5 else clock.now() + source.randrange(1, 5) * SECOND
            try:
                source.choice(
                    [
                        lambda key=key: store.get(key),
                        lambda key=key, at=expires: store.put(key, Value(), expires=at, stale=SECOND),
                        lambda key=key, at=expires: store.put(key, Value(), expires=at),
                        lambda key=key, at=expires: store.add(key, Value(), expires=at),
                        lambda key=key, at=expires: store.touch(key, expires=at),
                        lambda key=key, at=expires: store.install(key, Value(), store.token(key), expires=at),
                        lambda key=key: store.discard(key),
                        lambda key=key: store.suspect(key),
                        lambda key=key: store.lapsed(key, NEVER),
                        lambda key=key: store.get_many([key, 1, key]),
                        lambda key=key: store.apply([key], 1),
                        lambda key=key: store.demote([key], 1),
                    ]
                )()
            except RuntimeError as error:
                assert str(error) == "mischief"  # noqa: PT017 - most calls don't raise
            if step % 50 == 0:
                clock.advance(0.7)
                store.validate()
    finally:
        Key.mischief = staticmethod(lambda: None)
    assert mischief.raised


@pytest.mark.parametrize("policy", POLICIES)
def test_a_comparison_that_clears_the_store(make_store, policy):
    """The lookup starts over on what there is then: nothing."""
    store = make_store(10, policy=policy)

    class Clearing:
        def __hash__(self):
            return 1

        def __eq__(self, other):
            store.clear()
            return True

    store.put(Clearing(), "value", expires=NEVER)
    assert store.get(Clearing()) is None
    assert len(store) == 0


def test_a_comparison_that_raises(make_store):
    """Its error comes out, and nothing has changed."""
    store = make_store(10)

    class Broken:
        def __hash__(self):
            return 1

        def __eq__(self, other):
            raise ZeroDivisionError

    store.put(Broken(), "value", expires=NEVER)
    for call in (store.get, store.discard, store.op, store.begin_write, store.expires, lambda key: key in store):
        with pytest.raises(ZeroDivisionError):
            call(Broken())
    with pytest.raises(ZeroDivisionError):
        store.put(Broken(), 1, expires=NEVER)
    assert len(store) == 1


def test_an_encoder_that_takes_the_token_away(make_store):
    """What was overtaken while it was being encoded isn't installed."""
    store = make_store(copy="auto", encode=lambda _: store.discard("a") or b"x", decode=lambda data: data)
    assert not store.install("a", object(), store.token("a"), expires=NEVER)
    assert store.get("a") is None


def test_a_decoder_that_raises_is_a_miss(make_store):
    """The entry is of no use, and leaves."""
    told = []

    def decode(data):
        raise ValueError(data)

    store = make_store(copy="auto", encode=lambda _: b"x", decode=decode)
    store.put("a", object(), expires=NEVER)
    assert store.get("a", told) is told
    assert len(store) == 0
    store.put("a", object(), expires=NEVER)
    assert store.suspect("a", told) is told
    assert store.counters()["misses"] == 1


def test_cycles_through_values_are_collected(twin):
    """A store that only its own values hold on to is garbage, and so is one that its listener holds on to."""

    class Node:
        pass

    def make():
        node = Node()
        node.store = twin.Store(10, on_removal=lambda *_: node, policy="lru")
        node.store.put("a", node, expires=NEVER)
        node.store.put(node, 1, expires=NEVER)
        return weakref.ref(node)

    made = make()
    gc.collect()
    assert made() is None


def test_cycles_through_faces_are_collected(twin):
    """A cache whose values know the cache."""

    class Face(twin.LocalFront):
        pass

    class Other(twin.Front):
        pass

    def make():
        store = twin.Store(10)
        face, other = Face(store), Other(store)
        face["self"], face["other"] = face, other
        return weakref.ref(face), weakref.ref(other)

    face, other = make()
    gc.collect()
    assert (face(), other()) == (None, None)


def test_the_collector_may_run_at_any_moment(make_store):
    """With a collection every few allocations nothing that is held goes."""
    threshold = gc.get_threshold()
    gc.set_threshold(3, 2, 2)
    try:
        store = make_store(50, copy="auto")
        for step in range(3000):
            store.put(step % 80, {"list": [step, [step]], "set": {step}}, expires=NEVER)
            found = store.get((step * 7) % 80)
            assert found is None or found["list"][1] == [found["list"][0]]
    finally:
        gc.set_threshold(*threshold)


def test_a_face_without_its_store(twin):
    """A subclass that forgets `super().__init__()` gets an error or a miss, never a crash."""

    class Forgetful(twin.LocalFront):
        def __init__(self):
            pass

    for call in (lambda c: c.get("a"), lambda c: c["a"], len, lambda c: "a" in c, lambda c: c.set("a", 1)):
        with pytest.raises((RuntimeError, AttributeError)):
            call(Forgetful())
