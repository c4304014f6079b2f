"""LocalCache: a mapping with expiry, in seconds; handed to cachetools; under threads; without leaks."""

import gc
import importlib
import random
import sys
import threading
from collections.abc import MutableMapping

import cachetools
import psutil
import pytest

import twotier.local
from twotier import LocalCache
from twotier.clock import NEVER, ManualClock
from twotier.local import localcache


@pytest.fixture
def make(twin, monkeypatch, clock):
    """Make LocalCaches of one twin, on the test's clock; validate them at the end."""
    monkeypatch.setattr(twotier.local, "Store", twin.Store)
    monkeypatch.setattr(twotier.local, "LocalFront", twin.LocalFront)
    module = importlib.reload(localcache)
    made = []

    def build(*args, **options):
        made.append(module.LocalCache(*args, **{"clock": clock} | options))
        return made[-1]

    yield build
    for cache in made:
        cache.store.validate()
    monkeypatch.undo()
    importlib.reload(localcache)


def test_it_is_a_mutable_mapping(make):
    """Every method of the protocol."""
    cache = make()
    assert isinstance(cache, MutableMapping)
    cache["a"] = 1
    cache.update(b=2, c=3)
    assert dict(cache) == {"a": 1, "b": 2, "c": 3}
    assert cache == {"a": 1, "b": 2, "c": 3}
    assert (cache.pop("a"), cache.pop("a", None), cache.setdefault("b", 9), cache.setdefault("d", 4)) == (1, None, 2, 4)
    assert sorted(cache.items()) == [("b", 2), ("c", 3), ("d", 4)]
    assert sorted(cache.values()) == [2, 3, 4]
    assert ("b", 2) in cache.items()
    del cache["d"]
    key, value = cache.popitem()
    assert (key, value) in {("b", 2), ("c", 3)}
    assert len(cache) == 1
    cache.clear()
    for call in (lambda: cache["x"], lambda: cache.pop("x"), cache.popitem, lambda: cache.__delitem__("x")):
        with pytest.raises(KeyError):
            call()


def test_ttls_are_seconds(make, clock):
    """Given, the cache's own, none, and zero."""
    cache = make(ttl=10)
    cache["own"] = 1
    cache.set("given", 1, ttl=2.5)
    cache.set("none", 1, ttl=None)
    cache.set("zero", 1)
    cache.set("zero", 1, ttl=0)
    assert ("zero" in cache, cache.ttl("given"), cache.ttl("none"), cache.ttl("zero")) == (False, 2.5, None, 0.0)
    clock.advance(2.5)
    assert sorted(cache) == ["none", "own"]
    assert cache.touch("own", ttl=100)
    clock.advance(50)
    assert cache["own"] == 1
    assert cache.touch("own")
    clock.advance(10)
    assert sorted(cache) == ["none"]
    assert not cache.touch("own")
    assert cache.add("own", 2, ttl=1)
    assert not cache.add("own", 3)


@pytest.mark.parametrize(
    ("bad", "error"), [(-1, ValueError), (float("nan"), ValueError), ("1", TypeError), (True, TypeError)]
)
def test_bad_ttls_are_named(make, bad, error):
    """In every place that takes one; nothing was stored."""
    cache = make()
    for call in (cache.set, cache.add):
        with pytest.raises(error, match="ttl must be"):
            call("a", 1, ttl=bad)
    with pytest.raises(error, match="ttl must be"):
        make(ttl=bad)
    assert len(cache) == 0


def test_many_at_once(make):
    """get_many leaves out what isn't there; set_many takes a mapping."""
    cache = make()
    cache.set_many({"a": 1, "b": [2]})
    assert cache.get_many(iter(["a", "b", "c"])) == {"a": 1, "b": [2]}
    assert cache.stats().hits == 2
    assert cache.stats().misses == 1


def test_it_can_be_handed_to_cachetools(make):
    """`cachetools.cached` works with any mapping."""
    calls = []

    @cachetools.cached(cache=make(maxsize=2, policy="lru"))
    def double(x):
        calls.append(x)
        return 2 * x

    assert [double(x) for x in (1, 2, 1, 3, 1, 2)] == [2, 4, 2, 6, 2, 4]
    assert calls == [1, 2, 3, 2]


def test_it_tells_about_itself(make):
    """repr, maxsize, resize, stats."""
    cache = make(maxsize=3, policy="lru")
    cache.update(a=1, b=2, c=3)
    cache.resize(2)
    assert (cache.maxsize, len(cache), cache.stats().evictions) == (2, 2, 1)
    assert repr(cache) == "LocalCache(2 of 2 entries)"


def test_subclasses_and_keywords(make):
    """A keyword default, and a value that is None."""
    cache = make()
    cache["a"] = None
    assert cache.get("a", default=5) is None
    assert cache.get("b", default=5) == 5
    assert "a" in cache


def test_threads_hammer_one_cache(make, clock):  # noqa: C901 - one branch an operation
    """Eight threads, all operations: no error, no torn value, and a sound structure."""
    cache = make(maxsize=200, ttl=5, max_bytes=3000, weigher=lambda *_: 20)
    failed = []

    def hammer(seed):
        source = random.Random(seed)
        try:
            for _ in range(3000):
                key = source.randrange(300)
                what = source.random()
                if what < 0.5:
                    found = cache.get(key)
                    assert found is None or found == ("value", key)
                elif what < 0.8:
                    cache.set(key, ("value", key), ttl=source.choice([None, 0.1, 3]))
                elif what < 0.9:
                    cache.pop(key, None)
                elif what < 0.97:
                    assert all(value == ("value", k) for k, value in cache.get_many(range(key, key + 10)).items())
                elif what < 0.99:
                    cache.expire()
                else:
                    clock.advance(0.01)
                    list(cache.items())
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=hammer, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def churn(cache, clock, rounds, source):
    """Use a cache in every way; return how many operations that took."""
    operations = 0
    for step in range(rounds):
        key = f"key {source.randrange(500)}"
        cache.set(key, [step, {"x": (step,)}], ttl=source.choice([None, 1, 60]))
        cache.get(f"key {source.randrange(700)}")
        operations += 2
        if step % 7 == 0:
            cache.pop(key, None)
            operations += 1
        if step % 100 == 99:
            cache.get_many([key, f"key {step % 700}"])
            cache.touch(key, ttl=5)
            operations += 2
        if step % 1000 == 999:
            clock.advance(2)
            cache.expire()
            cache.resize(source.choice([100, 300]))
        if step % 5000 == 4999:
            cache.clear()
    return operations


def test_nothing_leaks():
    """A million operations later (of the twin: a hundred thousand) there are no more objects and no more memory."""
    clock, source = ManualClock(), random.Random(1)
    made = [
        LocalCache(300, clock=clock, copy="auto", policy=policy, on_removal=lambda *_: None)
        for policy in ("lru", "lfu", "adaptive")
    ]
    process = psutil.Process()

    def work(rounds):
        operations = 0
        for cache in made:
            operations += churn(cache, clock, rounds, source)
            cache.clear()
        gc.collect()
        return operations, len(gc.get_objects()), process.memory_info().rss

    work(20_000)
    _, objects, resident = work(20_000)
    operations, grown_objects, grown_resident = work(160_000 if twotier.local.COMPILED else 20_000)
    assert operations > (1_000_000 if twotier.local.COMPILED else 100_000)
    assert grown_objects - objects < 100
    assert grown_resident - resident < 4 << 20


class Trap:
    """A value that runs something when it goes."""

    def __init__(self, spring):
        self.spring = spring

    def __del__(self):
        self.spring()


@pytest.mark.parametrize("spring", ["clear", "delete", "replace", "shrink", "read"])
def test_a_replaced_value_may_change_the_cache_as_it_goes(make, spring):
    """Whatever it does, the structure is whole, and what was done last is what counts."""
    cache = make(3, policy="lru")
    does = {
        "clear": cache.clear,
        "delete": lambda: cache.pop("a key", None),
        "replace": lambda: cache.set("a key", "by the trap"),
        "shrink": lambda: cache.resize(1),
        "read": lambda: seen.append(cache.get("a key")),
    }
    seen = []
    cache["other"] = 1
    cache["a key"] = Trap(does[spring])
    cache["a key"] = 2
    cache.store.validate()
    expected = {"clear": None, "delete": None, "replace": "by the trap", "shrink": 2, "read": 2}
    assert cache.get("a key") == expected[spring]
    assert seen == ([2] if spring == "read" else [])


def test_a_replaced_value_counts_as_a_use(make):
    """Of two entries the one that was overwritten stays."""
    cache = make(2, policy="lru")
    first, second = "first key", "second key"
    cache[first], cache[second] = 1, 2
    cache[first] = 3
    cache["third"] = 4
    assert dict(cache) == {first: 3, "third": 4}


def test_a_replacement_that_can_be_part_of_a_cycle_is_collected(make):
    """A number that a list takes the place of, in a cache that the list holds."""
    cache = make(2)
    gone = []
    key = "a key"
    cache[key] = 1
    cache[key] = [cache, Trap(lambda: gone.append(True))]
    cache.store.validate()
    del cache[key]
    gc.collect()
    assert gone == [True]


def test_a_replacement_voids_fills_on_their_way(make):
    """What was read before it is not installed after it."""
    cache = make(2)
    key = "a key"
    cache[key] = 1
    token = cache.store.token(key)
    cache[key] = 2
    assert not cache.store.install(key, 3, token, expires=NEVER)
    assert cache[key] == 2


def test_what_is_put_for_good_stays_although_comparing_gave_it_a_time(make, clock):
    """A key whose comparison puts a value with a ttl under it, while another is put without."""
    cache = make(5)

    class Key:
        def __hash__(self):
            return 7

        def __eq__(self, other):
            if cache.get("calm") is None:
                cache["calm"] = True
                cache.set(first, "for a second", ttl=1)
            return True

    first = Key()
    cache[first] = 1
    cache[Key()] = "for good"
    clock.advance(5)
    cache.store.validate()
    assert cache[Key()] == "for good"


def race(calls):
    """Make each call on a thread of its own, all at once; return what they returned."""
    gate, results = threading.Barrier(len(calls)), []

    def run(call):
        gate.wait()
        results.append(call())

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


class Interrupted:
    """A key that lets a competitor run once, when it is hashed or compared for the `at`th time."""

    def __init__(self, at, competitor):
        self.left, self.competitor = at, competitor

    def __hash__(self):
        self.count()
        return 1

    def __eq__(self, other):
        self.count()
        return isinstance(other, Interrupted)

    def count(self):
        """Let the competitor run, if it is time."""
        self.left -= 1
        if self.left == 0:
            self.competitor()


@pytest.mark.parametrize("at", range(1, 12))
@pytest.mark.parametrize("copy", ["never", "auto"])
def test_one_of_two_wins(make, at, copy):
    """Wherever another call comes in between: one value is put, and one caller gets what is removed."""
    cache = make(copy=copy)
    plain, won = Interrupted(0, None), []
    won.append(cache.setdefault(Interrupted(at, lambda: won.append(cache.setdefault(plain, [1]))), [2]))
    assert won == [won[0]] * len(won)
    assert cache[plain] == won[0]
    for take in (lambda key: cache.pop(key, None), lambda _: (some(cache) or (None, None))[1]):
        cache.clear()
        won.clear()
        key = Interrupted(at, lambda take=take: won.append(take(plain)))
        cache[plain] = "value"
        won.append(take(key))
        assert won.count("value") == 1


@pytest.mark.parametrize("copy", ["never", "auto"])
def test_one_of_four_threads_wins(make, copy):
    """Of four threads one puts its default, and one gets the value that is removed."""
    cache, interval = make(copy=copy), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(50):
            made = race([lambda n=n: cache.setdefault("key", (n, [])) for n in range(4)])
            assert len({number for number, _ in made}) == 1
            assert race([lambda: cache.pop("key", None)] * 4).count(None) == 3
            cache["key"] = 1
            assert race([lambda: some(cache)] * 4).count(None) == 3
    finally:
        sys.setswitchinterval(interval)


def some(cache):
    """Return an item that is taken out, None without one."""
    try:
        return cache.popitem()
    except KeyError:
        return None


def test_steps_tell_what_left_and_count(make):
    """`pop` is a removal like any other, and a read; a default that is too heavy is returned and not held."""
    told = []
    cache = make(on_removal=lambda *left: told.append(left), max_bytes=10, weigher=lambda _, value: value)
    cache["a"] = 5
    assert (cache.pop("a"), cache.pop("a", 7), cache.setdefault("b", 4), cache.setdefault("b", 5)) == (5, 7, 4, 4)
    assert (cache.setdefault("heavy", 11), "heavy" in cache) == (11, False)
    assert (cache.popitem(), told) == (("b", 4), [("a", 5, "explicit"), ("b", 4, "explicit")])
    assert (cache.stats().hits, cache.stats().misses) == (3, 3)
