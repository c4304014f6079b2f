"""`Memo`: from a call's arguments to its key and its value, alike in both twins."""

# ruff: noqa: ARG002 - what is cached has the parameters that a test is about

import asyncio
import gc
import threading
import weakref
from datetime import date
from decimal import Decimal
from functools import partial
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twotier.clock import NEVER

NAN = float("nan")


@pytest.fixture
def make_memo(twin, make_store):
    """Make memos whose keys are the calls' repr, and whose values are the keys; they note what they are asked."""

    def make(store=None, **options):
        class Noting(twin.Memo):
            def __init__(self, store, **options):
                super().__init__(store, **options)
                self.keyed, self.loaded = [], []

            def _key(self, args, kwargs):
                self.keyed.append((args, kwargs))
                return repr((args, sorted(kwargs.items())))

            def _load(self, key, args, kwargs):
                self.loaded.append(key)
                held.put(key, key, expires=NEVER)
                return key

        held = make_store() if store is None else store
        return Noting(held, **options)

    return make


CALLS = [
    ((), {}),
    ((1,), {}),
    ((2,), {}),
    ((-1,), {}),
    ((-2,), {}),
    ((1 << 64,), {}),
    (((1 << 64) + (1 << 61) - 1,), {}),  # of the same hash
    ((2, 1), {}),
    ((1, 1, 1), {}),
    (("", ""), {}),
    (("\ud800", 1), {}),
    ((True,), {}),
    ((1.0,), {}),
    (("1",), {}),
    ((b"1",), {}),
    ((None,), {}),
    ((1, 2), {}),
    ((1, True), {}),
    ((True, 1), {}),
    ((1,), {"a": 2}),
    ((), {"a": 1}),
    ((), {"a": True}),
    ((), {"b": 1}),
    ((), {"a": 1, "b": 2}),
    ((1, bool), {}),
    ((True, bool), {}),
    ((1, bool, int, type), {}),
    ((1, ("a",), 2), {}),
    ((0.0,), {}),
    ((-0.0,), {}),
    ((NAN,), {}),
    ((Decimal("1.0"),), {}),
    ((Decimal("1.00"),), {}),
    ((UUID(int=1),), {}),
    ((date(2026, 1, 1),), {}),
    (((1,),), {}),
    (((True,),), {}),
    (([1],), {}),
    (("x" * 5000,), {}),
    (tuple(range(100)), {}),
]


def test_calls_are_told_apart(make_memo):
    """No two of these calls are taken for each other, though many compare equal; each finds its own value again."""
    memo = make_memo()
    keys = [memo(*args, **kwargs) for args, kwargs in CALLS]
    assert keys == [repr((args, sorted(kwargs.items()))) for args, kwargs in CALLS]
    memo.loaded.clear()
    assert [memo(*args, **kwargs) for args, kwargs in reversed(CALLS)] == keys[::-1]
    assert memo.loaded == []
    assert memo.local_hits == len(CALLS)


ARGUMENTS = st.sampled_from(
    [0, 1, 2, 1 << 64, "a", True, False, 1.0, -1.0, 0.0, -0.0, "", "1", b"", None, bool, int, (1,), (True,)]
)


@given(st.lists(st.tuples(st.lists(ARGUMENTS, max_size=3), st.dictionaries(st.sampled_from("ab"), ARGUMENTS))))
@pytest.mark.parametrize("name", ["twotier._speedups", "twotier.local.twin"])
def test_any_calls_are_told_apart(name, calls):
    """Whatever the calls, each gets the value of its own key."""
    twin = pytest.importorskip(name)
    store = twin.Store(100)
    store.renew(NEVER)

    class Echo(twin.Memo):
        def _key(self, args, kwargs):
            return repr((args, sorted(kwargs.items())))

        def _load(self, key, args, kwargs):
            store.put(key, key, expires=NEVER)
            return key

    memo = Echo(store)
    for _ in range(2):
        for args, kwargs in calls:
            assert memo(*args, **kwargs) == repr((tuple(args), sorted(kwargs.items())))


def test_keys_are_made_once(make_memo):
    """A call's key is made once, however its value comes and goes; not so for arguments that take code to compare."""
    memo = make_memo()
    for _ in range(3):
        memo(1, "a", x=2.5)
        memo((1,))
    assert memo.keyed.count(((1, "a"), {"x": 2.5})) == 1
    assert memo.keyed.count((((1,),), {})) == 3


def test_skipped_arguments_do_not_count(make_memo):
    """Arguments at skipped positions tell no calls apart, whatever they are."""
    memo = make_memo(skipped=(0, 2))
    first = memo(object(), 1, [])
    assert memo(object(), 1, {}) is first
    assert memo(object(), 2, []) != first
    assert len(memo.keyed) == 2
    lone = make_memo(skipped=(0,))
    assert lone(object(), 1) is lone(object(), 1)
    assert len(lone.keyed) == 1


def test_the_memo_is_bounded(make_memo):
    """At most twice `limit` calls are remembered; those that go on being called stay."""
    memo = make_memo(limit=10)
    for number in range(1000):
        memo("hot")
        memo(number)
    assert memo.keyed.count((("hot",), {})) == 1
    memo.keyed.clear()
    for number in range(1000):
        memo(number)
    assert len(memo.keyed) >= 980


def test_what_cannot_be_remembered_is_still_answered(make_memo):
    """Unhashable arguments, and those whose hash or equality raise, go to `_key`, and none of their code runs."""

    class Hostile:
        def __hash__(self):
            raise AssertionError("hashed")

        def __eq__(self, other):
            raise AssertionError("compared")

        def __repr__(self):
            return "hostile"

    memo = make_memo()
    memo(1)
    hostile = Hostile()
    assert memo(hostile) == memo(hostile) == "((hostile,), [])"
    assert memo([1]) == "(([1],), [])"


def test_misses_carry_the_whole_call(make_memo):
    """`_key` and `_load` get the arguments as they were given."""
    memo = make_memo()
    memo(1, [2], a=3, b=[4])
    assert memo.keyed == [((1, [2]), {"a": 3, "b": [4]})]
    assert memo.loaded == ["((1, [2]), [('a', 3), ('b', [4])])"]


def test_errors_of_keys_are_raised_and_not_remembered(twin, make_store):
    """A key that can't be made is an error each time."""
    store = make_store()

    class Failing(twin.Memo):
        def _key(self, args, kwargs):
            raise ValueError(args)

    memo = Failing(store)
    for _ in range(2):
        with pytest.raises(ValueError, match="7"):
            memo(7)


def test_an_expired_or_removed_value_is_loaded_again(make_memo, make_store, clock):
    """A remembered key is no more than a key: what the store doesn't hold fresh is loaded."""
    store = make_store()
    memo = make_memo(store)
    key = memo(1)
    store.discard(key)
    memo(1)
    store.put(key, "new", expires=clock.now() + 10)
    assert memo(1) == "new"
    clock.advance(1)
    assert memo(1) == key
    store.bump_epoch()
    assert memo(1) == key
    assert memo.loaded == [key] * 4
    assert len(memo.keyed) == 1


def test_mutable_values_are_copied(make_memo, make_store):
    """What is handed out is the store's copy."""
    store = make_store(copy="auto")
    memo = make_memo(store)
    store.put(memo.__class__._key(memo, (1,), {}), [1, [2]], expires=NEVER)
    memo(1)[1].append(3)
    assert memo(1) == [1, [2]]


def test_methods_bind(twin, make_store):
    """In a class, a call through an object passes the object first, bound or not."""
    store = make_store()

    class Method(twin.Memo):
        def __get__(self, instance, owner=None):
            return self if instance is None else (lambda *args: self(instance, *args))

        def _key(self, args, kwargs):
            return f"{type(args[0]).__name__}{args[1:]}"

        def _load(self, key, args, kwargs):
            return key

    class Owner:
        method = Method(store, skipped=(0,))

    owner, bound = Owner(), Owner().method
    assert owner.method(1) == bound(1) == Owner.method(owner, 1) == "Owner(1,)"


def test_the_ways_to_call_are_one(make_memo):
    """A call by syntax, by `__call__`, by unpacking and by map are the same."""
    memo = make_memo()
    assert memo(1) is memo.__call__(1) is memo(*(1,)) is next(map(memo, [1])) is type(memo).__call__(memo, 1)
    assert memo(a=1) is memo.__call__(a=1) is partial(memo, a=1)()
    assert len(memo.keyed) == 2


def test_subclasses_may_call_otherwise(twin, make_store):
    """A subclass with a `__call__` of its own is called by that."""

    class Own(twin.Memo):
        def __call__(self, *args):
            return args

    assert Own(make_store())(1) == (1,)
    assert [*map(Own(make_store()), [1])] == [(1,)]


def test_what_it_is_made_with_is_checked(twin, make_store):
    """A store, and a limit of at least one."""
    with pytest.raises(ValueError, match="limit must be an int >= 1, got 0"):
        twin.Memo(make_store(), limit=0)
    memo = twin.Memo(make_store())
    for step in (lambda: memo(1), lambda: memo._key((), {}), lambda: memo._load("", (), {})):
        with pytest.raises(NotImplementedError):
            step()


def test_cycles_through_it_are_collected(make_memo):
    """A memo that refers to itself leaves, and with it what it held."""
    memo = make_memo()
    memo.itself = memo
    left = weakref.ref(memo)
    memo(1)
    del memo
    gc.collect()
    assert left() is None


def test_threads_share_it(make_memo):
    """Threads that call it while it forgets and remembers get their own values."""
    memo = make_memo(limit=8)
    wrong = []

    def call(offset):
        for number in range(3000):
            value = (number * 7 + offset) % 50
            if memo(value) != f"(({value},), [])":
                wrong.append(value)

    threads = [threading.Thread(target=call, args=(offset,)) for offset in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_hits_can_be_awaited(twin, make_store):
    """With `awaited`, what a hit gives is awaited, as what `_load` gives."""
    store = make_store()

    class Awaited(twin.Memo):
        def _key(self, args, kwargs):
            return f"{args}"

        async def _load(self, key, args, kwargs):
            store.put(key, args, expires=NEVER)
            return "loaded"

    memo = Awaited(store, awaited=True)

    async def scene():
        return [await memo(1), await memo(1), await memo(1)]

    assert asyncio.run(scene()) == ["loaded", (1,), (1,)]
    assert memo.local_hits == 2


def test_not_direct(make_memo):
    """Without `direct` the store isn't looked into: every call goes to `_load`, its key remembered."""
    memo = make_memo(direct=False)
    assert [memo(1), memo(1)] == ["((1,), [])"] * 2
    assert (len(memo.keyed), len(memo.loaded), memo.local_hits) == (1, 2, 0)
