"""Every way to call `get` is one: the compiled tier enters the most common of them by a shorter way."""

import inspect
import sys
import threading
import time
import weakref

import pytest

from twotier import _speedups
from twotier.clock import NEVER


@pytest.fixture(params=["store", "front", "local front"])
def reader(request, twin, make_store):
    """A store, and something that has a `get` over it."""
    store = make_store(2, clock=None)
    if request.param == "store":
        return store, store
    return store, {"front": twin.Front, "local front": twin.LocalFront}[request.param](store)


CALLS = {
    "by position": lambda get, key: get(key),
    "with a default": lambda get, key: get(key, None),
    "by keyword": lambda get, key: get(key=key),
    "with a default by keyword": lambda get, key: get(key, default=None),
    "by an equal key": lambda get, key: get("".join([*key])),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_every_call_answers_counts_and_uses_alike(reader, call):
    """The value, the counters, and that what was read stays when the next one comes."""
    store, front = reader
    first, second, third = "first one", "second one", "third one"
    value = object()
    store.put(first, value, expires=NEVER)
    store.put(second, 2, expires=NEVER)
    assert call(front.get, first) is value
    assert call(front.get, third) is None
    assert (store.counters()["hits"], store.counters()["misses"]) == (1, 1)
    store.put(third, 3, expires=NEVER)
    assert call(front.get, first) is value
    assert call(front.get, second) is None
    assert call(type(front).get.__get__(front), first) is value


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_no_call_gives_what_is_not_fresh(reader, call):
    """Past its time, in doubt, or without a lease."""
    store, front = reader
    key = "some key"
    store.put(key, 1, expires=store.after(-1), stale=10**12)
    assert call(front.get, key) is None
    store.put(key, 1, expires=NEVER)
    assert call(front.get, key) == 1
    store.bump_epoch()
    assert call(front.get, key) is None
    store.put(key, 2, expires=NEVER)
    assert call(front.get, key) == 2
    store.lose()
    assert call(front.get, key) is None


def test_values_are_copied_whichever_way(twin, make_store):
    """What is handed out by copy is one."""
    store = make_store(copy="auto")
    key, value = "some key", [1]
    store.put(key, value, expires=NEVER)
    for call in CALLS.values():
        found = call(twin.Front(store).get, key)
        assert found == value
        assert found is not value
        found.append(2)


def test_what_is_no_call_is_refused(reader):
    """Too few, too many and unknown arguments are a TypeError."""
    _, front = reader
    for arguments, named in (((), {}), (("a", 1, 2), {}), (("a",), {"other": 1}), (("a",), {"key": "a"})):
        with pytest.raises(TypeError):
            front.get(*arguments, **named)


def test_the_signature_is_told(reader):
    """Tools see the parameters and the default."""
    _, front = reader
    parameters = inspect.signature(type(front).get).parameters
    assert list(parameters) == ["self", "key", "default"]
    assert parameters["default"].default is None


def test_a_front_that_was_not_made_answers_no_hit(twin):
    """Without its store, a front reads nothing that isn't there."""
    front = twin.LocalFront.__new__(twin.LocalFront)
    with pytest.raises((RuntimeError, AttributeError)):
        front.get("key")


def looks_from_aside(look, call):
    """Return what `look` returned to another thread, over and over, while `call` ran here."""
    seen, over, interval = [], threading.Event(), sys.getswitchinterval()

    def watch():
        while not over.is_set():
            seen.append(look())

    other = threading.Thread(target=watch)
    sys.setswitchinterval(1e-5)
    try:
        other.start()
        call()
    finally:
        over.set()
        other.join()
        sys.setswitchinterval(interval)
    return set(seen)


def test_other_threads_run_while_many_values_are_freed():
    """A clear of very many entries lets others in between: the first value is gone while the last is still there."""
    store = _speedups.Store(100_000, policy="lru")
    store.renew(NEVER)
    for number in range(100_000):
        store.put(number, set(), expires=NEVER)  # no Python code runs when one is freed
    first, last = (weakref.ref(store.get(number)) for number in (0, 99_999))
    seen = looks_from_aside(lambda: (first() is None, last() is None), store.clear)
    assert (True, False) in seen, "nobody saw the call half-way"
    assert len(store) == 0
    store.validate()


def test_other_threads_run_while_many_entries_are_evicted():
    """A resize far below the count lets others in between, to which the store is whole."""
    store = _speedups.Store(100_000, policy="lru")
    store.renew(NEVER)
    for number in range(100_000):
        store.put(number, str(number), expires=NEVER)

    def look():
        store.put("new", 1, expires=NEVER)
        return len(store)

    seen = looks_from_aside(look, lambda: store.resize(10))
    assert seen - {10, 100_000, 100_001}, "nobody saw the call half-way"
    assert len(store) == 10
    store.validate()


def test_other_threads_run_during_a_long_get_many(make_store):
    """A call that reads very many keys lets others in between, and finds what it finds without them."""
    store, interval = make_store(60_000, clock=None), sys.getswitchinterval()
    keys = [f"key {number}" for number in range(50_000)]
    for number, key in enumerate(keys):
        store.put(key, number, expires=NEVER)
    seen, over = set(), threading.Event()

    def look():
        while not over.is_set():
            seen.add(store.counters()["hits"])

    other = threading.Thread(target=look)
    sys.setswitchinterval(1e-5)
    try:
        other.start()
        deadline = time.monotonic() + 20
        while not any(hits % len(keys) for hits in list(seen)):
            assert time.monotonic() < deadline, "nobody saw a call half-way"
            found = store.get_many(keys)
    finally:
        over.set()
        other.join()
        sys.setswitchinterval(interval)
    assert found == {key: number for number, key in enumerate(keys)}
