"""Loaders that take an argument: what they are told, and what they may say."""

import functools

import pytest
from waiting import wait_for

from twotier import NOT_FOUND, Cache, LoadContext, TwoTierError
from twotier.clock import ManualClock
from twotier.core.loading.context import takes_context


class Loader:
    """Callables of every kind."""

    def method(self, context):
        """Take the context."""
        return context

    def plain(self):
        """Take nothing."""

    @classmethod
    def of_class(cls, context):
        """Take the context."""
        return context

    @staticmethod
    def static(context):
        """Take the context."""
        return context

    def __call__(self, context):
        """Take the context."""
        return context


def two(a, b):
    """Take too much."""
    return a, b


@pytest.mark.parametrize(
    ("loader", "expected"),
    [
        (lambda: 1, False),
        (lambda context: context, True),
        (lambda key="k": key, False),
        (lambda *args: args, False),
        (lambda **kwargs: kwargs, False),
        (lambda context, other=1: (context, other), True),
        (lambda *, keyword=1: keyword, False),
        (Loader().method, True),
        (Loader().plain, False),
        (Loader.of_class, True),
        (Loader.static, True),
        (Loader(), True),
        (functools.partial(two, 1), True),
        (functools.partial(two, 1, 2), False),
        (dict, False),
        (len, True),
    ],
)
def test_loaders_that_take_the_context_are_known_by_their_signature(loader, expected):
    """One argument without a default is the context."""
    assert takes_context(loader) is expected


def test_loaders_that_take_more_are_refused(cache):
    """Said before anything is called."""
    with pytest.raises(TypeError, match="loader must take no argument, or one \\(a LoadContext\\); <function two"):
        cache.get_or_set("key", two)
    assert cache.get_or_set("key", lambda: 1) == 1


def test_what_cannot_be_called_is_no_loader(plain):
    """The value itself in place of a loader is a mistake that is named."""
    for call in (plain.get_or_set, plain.refresh, plain.get_or_set_many):
        with pytest.raises(TypeError, match="loader must be callable, got int: 5"):
            call("key", 5)
    assert "key" not in plain


def test_the_context_tells_what_the_cache_had(cache):
    """Key, ttl, and the earlier value, if there still is one."""
    seen = []

    def loader(context):
        seen.append((context.key, context.ttl, context.has_stale, context.stale))
        return len(seen)

    cache.get_or_set("key", loader, ttl=60)
    cache.refresh("key", loader, ttl=None)
    assert seen == [("key", 60.0, False, None), ("key", None, True, 1)]


def test_the_loader_says_how_long(cache):
    """`ttl` may be set, to whatever `set` takes."""

    def loader(context):
        context.ttl = life
        return "loaded"

    for life in (1000, None):
        cache.refresh("key", loader, ttl=5)
        left = cache.ttl("key")
        assert (left is None) if life is None else (900 < left <= 1000)
    life = 0
    assert cache.refresh("key", loader, ttl=5) == "loaded"
    assert "key" not in cache
    life = -1
    with pytest.raises(ValueError, match="ttl must be >= 0 seconds, got -1"):
        cache.refresh("key", loader)
    life = "1"
    with pytest.raises(TypeError, match="ttl must be seconds"):
        cache.refresh("key", loader)


def test_what_was_not_modified_is_kept(cache):
    """The earlier value gets a new life, in both tiers."""
    cache.set("key", {"a": [1]}, 5)

    def loader(context):
        context.ttl = 1000
        return context.not_modified()

    assert cache.refresh("key", loader) == {"a": [1]}
    assert cache.get("key") == {"a": [1]}
    assert cache.ttl("key") > 900


def test_expired_values_can_be_kept_too():
    """A stale copy is what a conditional request to the source goes by."""
    clock = ManualClock()
    with Cache(clock=clock, ttl=10, stale_on_error=True) as cache:
        cache.get_or_set("key", lambda: "first")
        clock.advance(11)
        assert cache.get_or_set("key", lambda context: context.not_modified()) == "first"
        assert cache.get("key") == "first"


def test_without_an_earlier_value_nothing_is_unmodified(cache):
    """`not_modified` says so."""
    with pytest.raises(TwoTierError, match="not_modified\\(\\) of 'key', and there is no earlier value"):
        cache.get_or_set("key", lambda context: context.not_modified())


def test_contexts_in_the_background(make):
    """Loads in the background are told the same."""
    cache = make(jitter=0, stale_while_revalidate=30)
    seen = []

    def loader(context: LoadContext):
        seen.append(context.stale)
        return NOT_FOUND if context.has_stale else "first"

    cache.get_or_set("key", loader, 0.02)
    wait_for(lambda: cache.get("key") is None, "the key has expired")
    assert cache.get_or_set("key", loader, 0.02) == "first"
    wait_for(lambda: seen == [None, "first"], "it was revalidated")
