"""Loads of entries with tags: given by the caller, or named by the loader."""

import pytest
from waiting import wait_for

from twotier import Cache


def by_name(context):
    """Name a tag."""
    context.tags.add("named")
    return "loaded"


@pytest.mark.parametrize("tag", ["given", "named"])
def test_what_is_loaded_with_a_tag_expires_with_it(cache, tag):
    """`get_or_set` and `refresh` tag what they load."""
    for load in (cache.get_or_set, cache.refresh):
        assert load("key", by_name, tags=["given"]) == "loaded"
        assert cache.get("key") == "loaded"
        cache.invalidate_tag("other")
        assert cache.get("key") == "loaded"
        cache.invalidate_tag(tag)
        assert cache.get("key") is None


def test_what_is_loaded_in_bulk_expires_with_its_tags(cache):
    """Every key of a bulk has the tags of the call."""
    cache.set("untagged", 1)
    cache.get_or_set_many(["a", "b", "untagged"], lambda keys: dict.fromkeys(keys, 1), tags=["tag"])
    cache.invalidate_tag("tag")
    assert cache.get_many(["a", "b", "untagged"]) == {"untagged": 1}


def test_tags_reach_other_processes(make):
    """What one process loads with a tag, another expires."""
    one, other = make(), make()
    for tag in ("given", "named"):
        assert one.get_or_set("key", by_name, tags=["given"]) == "loaded"
        assert other.get("key") == "loaded"
        other.invalidate_tag(tag)
        assert other.get("key") is None
        wait_for(lambda: one.get("key") is None, "the message has come")


@pytest.mark.parametrize("tag", ["given", "named"])
@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "elsewhere"])
def test_tag_that_ends_during_a_load_wins(make, tag, elsewhere):
    """Whether the caller or the loader names it, here or elsewhere: what was loaded before its end is nobody's."""
    loading, judge = make(), make(local_ttl=0.001)
    ending = make() if elsewhere else loading

    def overtaken(context):
        context.tags.add("named")
        ending.invalidate_tag(tag)
        return "old"

    for _ in range(10):
        assert loading.get_or_set("key", overtaken, tags=["given"]) == "old"
        assert judge.get("key") is None
        wait_for(lambda: loading.get("key") is None, "the message has come")
        assert loading.get_or_set_many(["a"], lambda keys: ending.invalidate_tag("t") or {keys[0]: 1}, tags=["t"])
        assert judge.get("a") is None


def test_tag_that_ends_during_a_load_wins_without_a_server():
    """The same in the local tier alone."""
    with Cache() as cache:
        for tag in ("given", "named"):

            def overtaken(context, tag=tag):
                context.tags.add("named")
                cache.invalidate_tag(tag)
                return "old"

            assert cache.get_or_set("key", overtaken, tags=["given"]) == "old"
            assert cache.get("key") is None


def test_tags_are_checked(cache):
    """Those of the caller before anything is loaded, those of the loader before anything is stored."""
    for call in (cache.get_or_set, cache.refresh, cache.get_or_set_many):
        with pytest.raises(TypeError, match="tags must be an iterable of str, got one str: 'tag'"):
            call("key", lambda: pytest.fail("loaded"), tags="tag")

    def bad(context):
        context.tags = ["", "ok"]
        return 1

    with pytest.raises(ValueError, match="a tag must not be empty"):
        cache.get_or_set("key", bad)
    assert "key" not in cache


def test_tags_of_the_caller_stay(cache):
    """A loader adds tags; it takes none away."""

    def other(context):
        context.tags = {"other"}
        return 1

    cache.get_or_set("key", other, tags=["tag"])
    cache.invalidate_tag("tag")
    assert cache.get("key") is None


def test_what_is_loaded_in_an_outage_has_its_tags(own_server, namespace):
    """A tag that ends while the server is away ends what was loaded meanwhile."""
    with Cache(own_server.url, namespace=namespace) as cache:
        own_server.kill()
        for loader, tags in ((lambda: 1, ["named"]), (by_name, [])):
            assert cache.get_or_set("key", loader, tags=tags) in {1, "loaded"}
            cache.invalidate_tag("named")
            cache.delete("key")
