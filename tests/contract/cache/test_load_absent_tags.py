"""Absences, and values that a loader keeps, carry tags as values do: what ends a tag ends them, everywhere."""

import pytest
from waiting import wait_for

from twotier import NOT_FOUND


@pytest.mark.parametrize("named", ["call", "context", "many", "refresh"])
def test_an_absence_ends_with_a_tag(cache, named):
    """A key that was absent is loaded again once a tag has ended that the call, or the loader, gave it."""
    calls = []

    def load(*args):
        calls.append(1)
        if named == "context":
            args[0].tags.add("u7")
        found = NOT_FOUND if len(calls) == 1 else "found"
        return {"key": found} if named == "many" else found

    def informed(context):
        return load(context)

    def ask():
        if named == "many":
            return cache.get_or_set_many(["key"], load, tags=["u7", "x"], negative_ttl=30).get("key", NOT_FOUND)
        loader, tags = (informed, ["x"]) if named == "context" else (load, ["u7", "x"])
        if named == "refresh" and not calls:
            return cache.refresh("key", loader, tags=tags, negative_ttl=30)
        return cache.get_or_set("key", loader, tags=tags, negative_ttl=30)

    assert [ask(), ask(), ask()] == [NOT_FOUND] * 3
    cache.invalidate_tag("other")
    assert ask() is NOT_FOUND
    assert len(calls) == 1
    cache.invalidate_tag("u7")
    assert [ask(), ask()] == ["found"] * 2
    assert cache.get("key") == "found"


def test_an_absence_ends_in_every_process(make):
    """Neither a process that remembers the absence, nor one that finds it on the server, goes on believing it."""
    first, second, third = make(), make(), make()
    found = NOT_FOUND

    def ask(cache):
        return cache.get_or_set("key", lambda: found, tags=["u7"], negative_ttl=30)

    assert [ask(first), ask(second)] == [NOT_FOUND] * 2
    found = "found"
    assert [ask(first), ask(second)] == [NOT_FOUND] * 2
    first.invalidate_tag("u7")
    assert ask(third) == "found"
    assert ask(first) == "found"
    wait_for(lambda: ask(second) == "found", "the second has heard of it")


def test_an_absence_that_ends_while_it_is_loaded(make):
    """The end of a tag during the load is as good as one after it."""
    first, second = make(), make()

    def load():
        second.invalidate_tag("u7")
        return NOT_FOUND

    assert first.get_or_set("key", load, tags=["u7"], negative_ttl=30) is NOT_FOUND
    assert second.get_or_set("key", lambda: "found", tags=["u7"], negative_ttl=30) == "found"
    wait_for(lambda: first.get_or_set("key", lambda: "found", negative_ttl=30) == "found", "the first has, too")


def test_cache_clear_ends_absences(plain):
    """A cached function that found nothing is run again after its cache_clear()."""
    calls = []

    @plain.cached(30, "user:{number}", negative_ttl=30)
    def cached(number):
        calls.append(number)
        return NOT_FOUND if len(calls) == 1 else "found"

    assert [cached(7), cached(7)] == [NOT_FOUND] * 2
    cached.cache_clear()
    assert cached(7) == "found"


@pytest.mark.parametrize("call", ["get_or_set", "refresh"])
def test_a_value_that_is_kept_keeps_its_tags(plain, call):
    """Tags that the loader named for a value stay its tags when it says that nothing was modified."""

    def first(context):
        context.tags |= {"u7", "page"}
        return "made"

    def again(context):
        context.ttl = 60
        return context.not_modified()

    assert plain.get_or_set("key", first, tags=["listed"], stale_while_revalidate=60, ttl=30) == "made"
    if call == "get_or_set":
        plain.invalidate("key")
        loaded = plain.get_or_set("key", again, soft_timeout=10)
    else:
        loaded = plain.refresh("key", again)
    assert loaded == "made"
    assert plain.get("key") == "made"
    plain.invalidate_tag("u7")
    assert plain.get("key") is None


def test_a_value_that_another_process_made_keeps_its_tags(make):
    """A process that refreshes what another has tagged keeps the tags that stand on the server."""
    first, second = make(), make()
    first.set("key", "made", tags=["u7"])
    assert second.refresh("key", lambda context: context.not_modified()) == "made"
    assert second.get("key") == "made"
    first.invalidate_tag("u7")
    assert first.get("key") is None
    wait_for(lambda: second.get("key") is None, "the second has heard of it")
