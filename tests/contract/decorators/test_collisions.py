"""Functions whose templates can give one key are warned of when the second is declared."""

import warnings
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twotier import Cache
from twotier.decorators.collisions import meet, pattern_of
from twotier.decorators.templates import parse


@pytest.fixture
def cache():
    """A cache without a server."""
    with Cache() as cache:
        yield cache


def plain(name):
    """Is cached."""


def other(name):
    """Is cached as well."""


def two(name, part):
    """Is cached under two fields."""


COLLIDING = [
    (plain, "user:{name}", other, "user:{name}:is_admin"),
    (plain, "user:{name}:is_admin", other, "user:{name}"),
    (plain, "{name}", other, "{name}:rights"),
    (plain, "user:{name}", two, "user:{name}:{part}"),
    (plain, "user:{name}", other, "user:all"),
    (two, "{name}:{part}", other, "{name}"),
]
APART = [
    (plain, "user:{name}", other, "rights:{name}"),
    (plain, "user:{name}", other, "user-rights:{name}"),
    (two, "user:{name}:{part}:x", other, "users:{name}"),
    (plain, "user:{name}", other, "user:{name}"),
    (two, "{name}:{part}", plain, "user:{name}"),
]


@pytest.mark.parametrize(("first", "one", "second", "another"), COLLIDING)
def test_templates_that_collide_are_warned_of(cache, first, one, second, another):
    """The warning names both functions and both templates, and points at the declaration."""
    cache.cached(key=one)(first)
    with pytest.warns(UserWarning, match="may have one key") as caught:
        cache.cached(key=another, ignore=() if "{" in another else ("name",))(second)
    (warning,) = [each for each in caught if "may have one key" in str(each.message)]
    for named in (one, another, first.__name__, second.__name__):
        assert named in str(warning.message)
    assert warning.filename == __file__


@pytest.mark.parametrize(("first", "one", "second", "another"), APART)
def test_others_are_not(cache, first, one, second, another):
    """Templates with different beginnings or ends are no reason to warn, and one that two share is meant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cache.cached(key=one)(first)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cache.cached(key=another)(second)
    assert not [each for each in caught if "may have one key" in str(each.message)]


def test_annotated_numbers_hold_no_separator(cache):
    """A parameter that is an int or a UUID can't hold the rest of another template."""

    def by_number(user_id: int): ...

    def by_uuid(user_id: UUID): ...

    def quoted(user_id: "int"): ...

    def rights(user_id): ...

    for at, function in enumerate((by_number, by_uuid, quoted)):
        cache.cached(key=f"user{at}:{{user_id}}")(function)
        cache.cached(key=f"user{at}:{{user_id}}:rights")(rights)


def test_another_cache_has_keys_of_its_own(cache):
    """Functions of two caches never share a key."""
    cache.cached(key="user:{name}")(plain)
    with Cache() as second:
        second.cached(key="user:{name}:is_admin")(other)


TEXTS = st.text("ab:%", max_size=3)
LITERALS = st.text("ab:", max_size=3)


@given(st.lists(st.tuples(LITERALS, TEXTS), min_size=1, max_size=3), LITERALS, LITERALS)
def test_whatever_two_calls_share_was_found(parts, end, start):
    """If some texts fill two templates alike, their patterns meet."""

    def function(a=0, b=0, c=0): ...

    literals = [literal if at == 0 else ":" + literal for at, (literal, _) in enumerate(parts)]
    one = "".join(f"{literal}{{{name}}}" for literal, name in zip(literals, "abc", strict=False)) + end
    another = start + "{a}"
    first, second = (parse(each, "key", {"a", "b", "c"}) for each in (one, another))
    key = first.filler()([text for _, text in parts])
    if key.startswith(start):
        assert second.filler()([key[len(start) :]]) == key
        assert meet(pattern_of(first, function), pattern_of(second, function))
