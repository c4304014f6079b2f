"""The index of tags: which keys carry which, how long that is remembered, and who holds what meanwhile."""

import random
import threading

import pytest

from twotier.clock import NEVER
from twotier.core.tags.tag_index import ANY_TAG, UNHELD, TagIndex, checked_tags
from twotier.local import Store


@pytest.fixture
def store():
    """A live store of a hundred entries."""
    store = Store(100)
    store.renew(NEVER)
    return store


@pytest.fixture
def index(store):
    """Its index."""
    return TagIndex(store)


def write(index, store, key, *tags):
    """Put an entry with tags."""
    with index.holding((key,), tags) as hold:
        store.put(key, tags, expires=NEVER)
        hold.written()


def validate(index):
    """Check that all parts of the index say the same."""
    assert sorted(index._turns) == sorted(index._tags)
    assert {tag: set(keys) for tag, keys in index._keys.items()} == {
        tag: {key for key, tags in index._tags.items() if tag in tags}
        for tag in {tag for tags in index._tags.values() for tag in tags}
    }


def test_keys_are_found_by_tag(index, store):
    """A key is noted under the tags of its last entry, and under no others."""
    write(index, store, "a", "x", "y")
    write(index, store, "b", "y")
    assert sorted(index.keys_of(["x", "y"])) == ["a", "b"]
    assert index.keys_of(["x"]) == ["a"]
    assert index.keys_of(["nothing"]) == []
    write(index, store, "a", "z")
    assert (index.keys_of(["x"]), index.keys_of(["z"]), index.tags_of("a")) == ([], ["a"], ("z",))
    write(index, store, "a")
    assert (index.keys_of(["z"]), index.tags_of("a")) == ([], ())
    validate(index)


def test_untagged_entries_cost_nothing(index, store):
    """Where nothing is tagged nothing is held; and a key that isn't noted isn't either."""
    assert index.holding(("a",), ()) is UNHELD
    write(index, store, "a", "x")
    assert index.holding(("b", "c"), ()) is UNHELD
    assert index.holding(("b", "a"), ()) is not UNHELD
    assert len(index) == 1


def test_what_left_the_local_tier_is_forgotten(index, store):
    """The index stays in proportion to the tagged entries there are, whatever came and went."""
    for number in range(5000):
        write(index, store, f"key {number}", f"tag {number}", "all")
        assert len(index) <= 2 * 100 + 4
    assert len(index._keys) <= 2 * 100 + 5
    held = set(store.keys()).difference(index.keys_of(["all"]))
    assert not held
    store.clear()
    for number in range(150):
        write(index, store, f"new {number}", "new")
    assert not index.keys_of(["all"])
    validate(index)


def test_what_is_on_its_way_is_not_forgotten(index, store):
    """A key that is held is noted, though there is no entry yet, and so is one whose entry is in doubt."""
    with index.holding(("coming",), ("x",)):
        for number in range(500):
            write(index, store, f"key {number}", "y")
        assert index.keys_of(["x"]) == ["coming"]
    for number in range(500):
        write(index, store, f"key {number}", "y")
    assert index.keys_of(["x"]) == []
    write(index, store, "doubted", "x")
    store.bump_epoch()
    for number in range(50):
        write(index, store, f"key {number}", "y")
    assert index.keys_of(["x"]) == ["doubted"]


def test_two_who_hold_a_key_leave_it_under_both_tags(index, store):
    """Nobody knows whose entry came last: it is expired with any of the tags."""
    with index.holding(("a",), ("x",)) as one:
        with index.holding(("a",), ("y",)) as two:
            two.written()
        one.written()
    assert (index.keys_of(["x"]), index.keys_of(["y"])) == (["a"], ["a"])
    with index.holding(("a",), ("x",)) as one:
        with index.holding(("a",), ()) as two:
            two.written()
        one.written()
    assert index.keys_of(["x"]) == ["a"]
    store.put("a", 1, expires=NEVER)
    write(index, store, "a", "z")
    assert (index.keys_of(["x", "y"]), index.keys_of(["z"])) == ([], ["a"])


def test_what_was_not_written_changes_no_tags(index, store):
    """A fill that may not have gone in leaves the tags of what is there, beside its own."""
    write(index, store, "a", "x")
    with index.holding_each([("a", ("y",)), ("b", ("y",))]):
        pass
    assert (index.keys_of(["x"]), sorted(index.keys_of(["y"]))) == (["a"], ["a", "b"])
    validate(index)


def test_tags_that_come_later(index, store):
    """While its tags aren't known, a key is held under the tag that ends with every tag; afterwards under its own."""
    with index.holding(("a",), (ANY_TAG, "x")) as hold:
        assert index.keys_of([ANY_TAG]) == ["a"]
        hold.add(("y",))
        assert index.keys_of(["y"]) == ["a"]
        store.put("a", 1, expires=NEVER)
        hold.written()
    assert (index.tags_of("a"), index.keys_of([ANY_TAG])) == (("x", "y"), [])
    with index.holding(("b",), (ANY_TAG,)):
        pass
    assert index.keys_of([ANY_TAG]) == []
    validate(index)


def test_holds_from_before_a_fork_mean_nothing(index, store):
    """In a child, what the parent's threads held is held no more, and its end does no harm."""
    hold = index.holding(("a",), ("x",))
    with hold:
        index.after_fork()
        write(index, store, "a", "y")
    with hold:
        pass
    assert index.keys_of(["y"]) == ["a"]


def test_threads_share_an_index(index, store):
    """Under threads that write, replace and look, every entry that is there is found by its tag in the end."""
    failures = []

    def work(seed):
        source = random.Random(seed)
        try:
            for _ in range(3000):
                key = f"key {source.randrange(150)}"
                if source.random() < 0.2:
                    index.keys_of(["x", "y"])
                else:
                    write(index, store, key, *source.sample(["x", "y", "z"], source.randrange(4)))
        except Exception as error:  # noqa: BLE001 - reported below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    validate(index)
    for key in list(store.keys()):
        for tag in store.get(key):
            assert key in index.keys_of([tag])


def test_tags_are_names():
    """Any iterable of str will do; subclasses of str become plain ones, as keys do."""

    class Name(str):
        __slots__ = ()

        def __hash__(self):
            return 1

        def __eq__(self, other):
            return True

    (tag,) = checked_tags(iter([Name("x")]))
    assert type(tag) is str
    assert checked_tags({"a": 1}) == ("a",)
