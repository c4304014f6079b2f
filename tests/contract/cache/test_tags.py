"""Tags: entries that carry one expire together, in every mode, whatever call looks at them."""

import pytest
from waiting import wait_for


def test_entries_with_a_tag_expire_together(cache):
    """What carries any of the tags is gone; what carries others, or none, stays."""
    cache.set("a", 1, tags=["x"])
    cache.set_many({"b": [2], "c": {"n": 3}}, tags=["y", "x", "y"])
    cache.set("d", 4, tags=("z",))
    cache.set("e", 5)
    assert cache.add("f", 6, tags={"y"}) is True
    cache.invalidate_tag("nothing")
    assert cache.get_many(["a", "b", "c", "d", "e", "f"]) == {
        "a": 1, "b": [2], "c": {"n": 3}, "d": 4, "e": 5, "f": 6
    }  # fmt: skip
    cache.invalidate_tag("x")
    assert cache.get_many(["a", "b", "c", "d", "e", "f"]) == {"d": 4, "e": 5, "f": 6}
    cache.invalidate_tag("y", "z")
    assert cache.get_many(["a", "b", "c", "d", "e", "f"]) == {"e": 5}
    cache.invalidate_tag()
    assert cache.get("e") == 5


def test_every_call_sees_that_an_entry_has_ended(cache):
    """A key whose tag has ended isn't there for any call, and can be written anew by each."""

    def end(value="old"):
        cache.set("key", value, tags=["x"])
        assert cache.get("key") == value
        cache.invalidate_tag("x")

    end()
    assert cache.get("key", "gone") == "gone"
    assert "key" not in cache
    assert cache.ttl("key") == 0.0
    assert cache.touch("key", 5) is False
    assert cache.get_many(["key"]) == {}
    assert cache.add("key", "added") is True
    assert cache.get("key") == "added"
    end()
    assert cache.add("key", "added", tags=["x"]) is True
    assert cache.add("key", "again") is False
    cache.invalidate_tag("x")
    assert "key" not in cache
    assert cache.get_or_set("key", lambda: "loaded") == "loaded"
    end(5)
    with pytest.raises(KeyError):
        cache.incr("key", create=False)
    assert cache.incr("key") == 1
    assert cache.incr("key") == 2
    end()
    cache.set("key", "anew", tags=["x"])
    assert cache.get("key") == "anew"
    assert cache.touch("key", None) is True
    assert cache.ttl("key") is None
    assert cache.delete("key") is True


def test_the_last_write_says_which_tags_an_entry_carries(cache):
    """Tags of values that were replaced mean nothing any more."""
    cache.set("key", 1, tags=["x"])
    cache.set("key", 2, tags=["y"])
    cache.invalidate_tag("x")
    assert cache.get("key") == 2
    cache.set("key", 3)
    cache.invalidate_tag("y")
    assert cache.get("key") == 3
    cache.set("key", 4, tags=["x"])
    cache.set_many({"key": 5})
    cache.invalidate_tag("x")
    assert cache.get("key") == 5
    cache.set("key", 6, tags=["x"])
    cache.invalidate_tag("x")
    assert "key" not in cache


def test_tagged_values_round_trip(cache):
    """Whatever is tagged comes back as what it was, integers too, however many tags it carries."""
    tags = [f"tag {number}: \ud800é" for number in range(64)]
    for value in (0, -(2**63), 2**70, None, True, "text", b"\x00", [1, {"two": (3,)}], 1.5):
        cache.set("key", value, ttl=None, tags=tags)
        for _ in range(2):
            found = cache.get("key", "missing")
            assert (type(found), found) == (type(value), value)
    assert cache.ttl("key") is None
    cache.invalidate_tag(tags[-1])
    assert "key" not in cache


def test_tagged_integers_are_not_counted(cache):
    """Only what the server can count is counted."""
    cache.set("key", 1, tags=["x"])
    with pytest.raises(TypeError, match="has tags"):
        cache.incr("key")
    with pytest.raises(TypeError, match="has tags"):
        cache.decr("key", create=False)
    assert cache.get("key") == 1


@pytest.mark.parametrize(
    ("tags", "error", "text"),
    [
        ("tag", TypeError, "tags must be an iterable of str, got one str: 'tag'"),
        (7, TypeError, "tags must be an iterable of str, got int: 7"),
        ([7], TypeError, "a tag must be a str, got int: 7"),
        ([""], ValueError, "a tag must not be empty"),
        (["x" * 256], ValueError, "a tag must be at most 255 bytes in UTF-8, got 256: 'xxx"),
        (["é" * 128], ValueError, "a tag must be at most 255 bytes in UTF-8, got 256: 'é"),
        ([str(number) for number in range(65)], ValueError, "an entry takes at most 64 tags, got 65"),
    ],
    ids=["a str", "an int", "of an int", "empty", "long", "long in bytes", "many"],
)
def test_tags_are_checked(cache, tags, error, text):
    """What can't be a tag is refused by every call, with what was given and what is expected, and nothing is stored."""
    for call in (
        lambda: cache.set("key", 1, tags=tags),
        lambda: cache.set_many({"key": 1}, tags=tags),
        lambda: cache.add("key", 1, tags=tags),
    ):
        with pytest.raises(error) as raised:
            call()
        assert text in str(raised.value)
    assert "key" not in cache


@pytest.mark.parametrize(("tag", "error"), [(7, TypeError), ("", ValueError), ("x" * 256, ValueError)], ids=str)
def test_ended_tags_are_checked(cache, tag, error):
    """`invalidate_tag` refuses what can't be a tag, and takes as many as there are."""
    with pytest.raises(error, match="a tag must"):
        cache.invalidate_tag("good", tag)
    cache.set("key", 1, tags=["3"])
    cache.invalidate_tag(*map(str, range(1200)))
    assert "key" not in cache


def test_local_hits_look_at_no_tags(make):
    """A hit on a tagged entry is a hit of the local tier, and a write whose tags are known is one trip."""
    cache = make()
    cache.set("key", 1, tags=["x"])
    wait_for(lambda: cache.get("key") == 1 and "key" in cache._namespace.store, "it is held")
    before = cache.stats().local_hits
    for _ in range(9):
        assert cache.get("key") == 1
    assert cache.stats().local_hits == before + 9
