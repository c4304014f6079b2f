"""What the store promises its callers, apart from coherence: reading, putting, expiry, removal, counting."""

import pytest

from twotier.clock import NEVER, SECOND, SystemClock
from twotier.errors import ConfigurationError


def test_get_returns_what_was_put(make_store):
    """A value comes back as the same object, and None is a value."""
    store = make_store()
    value = object()
    store.put("a", value, expires=NEVER)
    store.put("b", None, expires=NEVER)
    assert store.get("a") is value
    assert store.get("b", "default") is None
    assert store.get("c") is None
    assert store.get("c", default="default") == "default"
    assert store.get_many(["a", "b", "c"]) == {"a": value, "b": None}


def test_any_hashable_is_a_key(make_store):
    """Keys compare as in a dict: equal keys are one."""
    store = make_store()
    for i, key in enumerate([1, "1", (1, "1"), frozenset({1}), None, 1.5, b"1"]):
        store.put(key, i, expires=NEVER)
    assert [store.get(k) for k in [1.0, "1", (1, "1"), frozenset({1}), None, 1.5, b"1"]] == list(range(7))
    assert True in store
    with pytest.raises(TypeError, match="unhashable"):
        store.get([])
    with pytest.raises(TypeError, match="unhashable"):
        store.put([], 1, expires=NEVER)


def test_put_replaces(make_store):
    """The newer value stands, under the key object that was there first."""
    store = make_store()
    store.put("a", 1, expires=NEVER, op=3)
    store.put("a", 2, expires=NEVER, op=4)
    assert (store.get("a"), store.op("a"), len(store)) == (2, 4, 1)


def test_an_entry_expires_at_its_instant(make_store, clock):
    """Fresh before `expires`, a suspect from then to the end of its stale window, gone after."""
    store = make_store()
    store.put("a", 1, expires=clock.now() + SECOND, stale=SECOND)
    assert store.expires("a") == clock.now() + SECOND
    clock.advance(0.999)
    assert (store.get("a"), store.suspect("a")) == (1, 1)
    clock.advance(0.001)
    assert (store.get("a"), store.suspect("a"), "a" in store, store.expires("a")) == (None, 1, False, None)
    assert store.expire() == 0
    clock.advance(1)
    assert store.suspect("a", "default") == "default"
    clock.advance(0.0011)  # memory comes back a tick later
    assert (store.expire(), len(store)) == (1, 0)
    assert store.counters()["expirations"] == 1


def test_lapsed_entries_are_those_that_only_time_has_ended(make_store, clock):
    """Lapsed from its expiry on, for the window asked for or the stale window, whichever is shorter."""
    store = make_store()
    store.put("a", [1], expires=clock.now() + SECOND, stale=3 * SECOND)
    assert store.lapsed("a", SECOND, "fresh") == "fresh"
    assert store.lapsed("b", SECOND) is None
    clock.advance(1)
    assert store.lapsed("a", SECOND) == [1]
    assert store.lapsed("a", 0, "no") == "no"
    clock.advance(1)
    assert (store.lapsed("a", SECOND, "no"), store.lapsed("a", NEVER, "no")) == ("no", [1])
    clock.advance(2)
    assert store.lapsed("a", NEVER, "no") == "no"
    assert (store.counters()["hits"], store.counters()["misses"]) == (0, 0)


@pytest.mark.parametrize("event", ["apply", "demote", "begin_write", "discard", "clear", "bump_epoch", "lose", "lease"])
def test_what_was_invalidated_or_is_in_doubt_has_not_lapsed(make_store, clock, event):
    """An expired entry that might also have been superseded isn't one that only time has ended."""
    store = make_store()
    store.put("a", 1, expires=clock.now() + SECOND, stale=9 * SECOND)
    clock.advance(1)
    assert store.lapsed("a", NEVER) == 1
    {
        "apply": lambda: store.apply(["a"], 9),
        "demote": lambda: store.demote(["a"], 9),
        "begin_write": lambda: store.begin_write("a"),
        "discard": lambda: store.discard("a"),
        "clear": store.clear,
        "bump_epoch": store.bump_epoch,
        "lose": store.lose,
        "lease": lambda: store.renew(clock.now()),
    }[event]()
    assert store.lapsed("a", NEVER, "no") == "no"


def test_put_past_its_time_removes(make_store, clock):
    """An entry without time left is not held, and what was there goes."""
    store = make_store()
    store.put("a", 1, expires=NEVER)
    store.put("a", 2, expires=clock.now())
    assert (len(store), store.suspect("a")) == (0, None)


def test_expired_entries_leave_by_writes_alone(make_store, clock):
    """Nobody need read or sweep: each write reclaims a few."""
    store = make_store(1000)
    for i in range(500):
        store.put(i, i, expires=clock.now() + SECOND)
    clock.advance(3)
    for i in range(100):
        store.put(("new", i), i, expires=NEVER)
    assert len(store) == 100


def test_touch_moves_the_expiry(make_store, clock):
    """Touch works on fresh entries alone, forwards and backwards; with no time left it removes."""
    store = make_store()
    store.put("a", 1, expires=clock.now() + SECOND)
    assert store.touch("a", expires=clock.now() + 10 * SECOND)
    clock.advance(5)
    assert store.get("a") == 1
    assert store.touch("a", expires=clock.now() + SECOND)
    clock.advance(1)
    assert not store.touch("a", expires=NEVER)
    store.put("a", 1, expires=NEVER)
    assert store.touch("a", expires=clock.now())
    assert len(store) == 0


def test_add_puts_only_where_nothing_fresh_is(make_store, clock):
    """Add refuses over a fresh entry and replaces a suspect."""
    store = make_store()
    assert store.add("a", 1, expires=clock.now() + SECOND, stale=100 * SECOND)
    assert not store.add("a", 2, expires=NEVER)
    clock.advance(1)
    assert store.add("a", 3, expires=NEVER)
    assert store.get("a") == 3


def test_discard_tells_whether_something_fresh_was_there(make_store, clock):
    """A suspect leaves as well, but doesn't count."""
    store = make_store()
    store.put("a", 1, expires=NEVER)
    store.put("b", 1, expires=clock.now() + SECOND, stale=SECOND)
    clock.advance(1)
    assert (store.discard("a"), store.discard("b"), store.discard("c")) == (True, False, False)
    assert len(store) == 0


def test_clear_removes_everything(make_store):
    """Clear empties the store and voids tokens."""
    store = make_store()
    for i in range(50):
        store.put(i, i, expires=NEVER)
    token = store.token(1)
    store.clear()
    assert (len(store), store.keys()) == (0, [])
    assert not store.install(1, 1, token, expires=NEVER)


def test_counters_count(make_store):
    """Hits, misses, evictions and entries."""
    store = make_store(2)
    for i in range(3):
        store.put(i, i, expires=NEVER)
    store.get(2)
    store.get(0)
    assert store.suspect(0) is None
    counters = store.counters()
    assert {name: counters[name] for name in ("hits", "misses", "evictions", "expirations", "entries")} == {
        "hits": 1, "misses": 1, "evictions": 1, "expirations": 0, "entries": 2,
    }  # fmt: skip


def test_lru_evicts_what_was_used_longest_ago(make_store):
    """A read, a put and a touch are uses."""
    store = make_store(4)
    for i in range(4):
        store.put(i, i, expires=NEVER)
    store.get(0)
    store.put(1, 1, expires=NEVER)
    store.touch(2, expires=NEVER)
    store.put(4, 4, expires=NEVER)
    assert sorted(store.keys()) == [0, 1, 2, 4]


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, "1", None, (1 << 27) + 1])
def test_a_bad_maxsize_is_named(twin, bad):
    """maxsize must be an int that the store can index."""
    with pytest.raises(ConfigurationError, match="maxsize must be an int"):
        twin.Store(bad)


def test_a_bad_policy_is_named(twin):
    """The message gives the choices."""
    with pytest.raises(ConfigurationError, match="policy must be 'lru', 'lfu' or 'adaptive', got 'fifo'"):
        twin.Store(1, policy="fifo")


def test_front_answers_hits_and_passes_on_the_rest(twin, make_store):
    """A hit never reaches `_missed`; a miss does, and so does a key that is no plain str."""

    class Face(twin.Front):
        __slots__ = ("asked",)

        def _missed(self, key, default):
            self.asked = (key, default)
            return "missed"

    store = make_store()
    store.put("a", 1, expires=NEVER)
    face = Face(store)
    assert face.get("a") == 1
    assert not hasattr(face, "asked")
    assert (face.get("b", 3), face.asked) == ("missed", ("b", 3))
    assert (face.get("b", default=4), face.asked) == ("missed", ("b", 4))
    assert (face.get(5), face.asked) == ("missed", (5, None))
    assert twin.Front(store).get("b", 7) == 7


def test_now_is_the_machines_clock(twin):
    """`now` never runs behind the clock that counts suspend."""

    before = SystemClock().now()
    assert 0 <= twin.now() - before < SECOND
