"""Templates of keys: checked at decoration, filled with plain text, never two calls under one key by accident."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twotier.decorators.templates import parse

NAMES = {"a", "b", "user", "user_id"}


@pytest.mark.parametrize(
    ("text", "fields", "filled"),
    [
        ("report", (), "report"),
        ("user:{user_id}", ("user_id",), "user:0"),
        ("{a}:{b}!", ("a", "b"), "0:1!"),
        ("{user.id}/{user.org.name}", ("user.id", "user.org.name"), "0/1"),
        ("{{{a}}}", ("a",), "{0}"),
        ("{a}:{a}", ("a", "a"), "0:1"),
        ("100%:{a}%", ("a",), "100%:0%"),
    ],
)
def test_fields(text, fields, filled):
    """Fields are parameters or attributes of them; doubled braces are braces."""
    template = parse(text, "key", NAMES)
    assert template.fields == fields
    assert template.filler()([str(number) for number in range(len(fields))]) == filled


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (7, TypeError, "key must be a str such as 'user:{user_id}', got 7"),
        ("", ValueError, "key must not be empty"),
        ("{id}", ValueError, "key '{id}' names 'id', which is no parameter of the function"),
        ("{}", ValueError, "has the field ''"),
        ("{0}", ValueError, "has the field '0'"),
        ("{a:>3}", ValueError, "without a format"),
        ("{a!r}", ValueError, "without a format"),
        ("{a[0]}", ValueError, "has the field"),
        ("{a.}", ValueError, "has the field 'a.'"),
        ("{a.class}", ValueError, "has the field 'a.class'"),
        ("{a()}", ValueError, "has the field"),
        ("{a", ValueError, "can't be read"),
        ("{a}{b}", ValueError, "needs a separator, such as ':', after {a}"),
        ("{a}x{b}", ValueError, "needs a separator"),
        ("{a}%{b}", ValueError, "needs a separator"),
    ],
)
def test_what_is_refused(text, error, message):
    """What can't be a template is refused, and the error says what is wrong where."""
    with pytest.raises(error) as raised:
        parse(text, "key", NAMES)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("values", "filled"),
    [
        (["1", "2"], "user:1:2"),
        (["1:2", "3"], "user:1%3A2:3"),
        (["1", "2:3"], "user:1:2:3"),
        (["%3A", ""], "user:%253A:"),
    ],
)
def test_fields_do_not_run_into_each_other(values, filled):
    """The separator is written as in URLs inside a field that it ends."""
    assert parse("user:{a}:{b}", "key", NAMES).filler()(values) == filled


def test_a_lone_field_stays_as_it_is():
    """Nothing is rewritten where nothing could be taken for another."""
    assert parse("user:{a}", "key", NAMES).filler()(["1:2%"]) == "user:1:2%"


HOSTILE = st.text(alphabet=":%3A€25x", max_size=6)


@given(st.sampled_from(["{a}:{b}", "{a}::{b}:", ":{a}€{b}", "{a} {b}"]), HOSTILE, HOSTILE, HOSTILE, HOSTILE)
def test_filling_is_one_to_one(text, a, b, c, d):
    """Two calls have one key only if their texts are equal, field by field."""
    fill = parse(text, "key", NAMES).filler()
    assert (fill([a, b]) == fill([c, d])) == ((a, b) == (c, d))
