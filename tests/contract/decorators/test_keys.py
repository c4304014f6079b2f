"""The keys of calls: the same in every process and way to write the call, another for other arguments."""

# ruff: noqa: ARG001, ARG005 - what is cached has the parameters that a test is about

import os
import subprocess
import sys
from pathlib import Path

import pytest
import shop


class Opaque:
    """No stable text."""


def test_keys_of_all_arguments():
    """A key is the function's module and name, and every argument by name, defaults included."""
    assert shop.load.key_for(7) == "shop.load(user_id=7,full=False,extra=(),lang='en',more={})"


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((7, True), {}), ((7,), {"full": True}), ((), {"full": True, "user_id": 7}), ((7, True), {"lang": "en"})],
)
def test_ways_to_write_a_call_are_one(args, kwargs):
    """Position or keyword, in whatever order, given or by default: one key."""
    assert shop.load.key_for(*args, **kwargs) == "shop.load(user_id=7,full=True,extra=(),lang='en',more={})"


def test_other_arguments_are_other_calls():
    """Types count, and so does which parameter a value is for."""
    calls = [
        ((1,), {}),
        ((True,), {}),
        ((1.0,), {}),
        (("1",), {}),
        ((1, False, 1), {}),
        ((1, False, (1,)), {}),
        ((1,), {"x": 1}),
        ((1,), {"y": 1}),
        ((1,), {"lang": None}),
        ((None,), {}),
    ]
    assert len({shop.load.key_for(*args, **kwargs) for args, kwargs in calls}) == len(calls)


def test_keyword_order_does_not_count():
    """Neither for parameters nor for what `**more` takes."""
    assert shop.load.key_for(1, x=1, y=2) == shop.load.key_for(y=2, user_id=1, x=1)


def test_long_keys_are_hashed():
    """A long key is the function and a digest; what differs anywhere has another."""
    keys = {shop.load.key_for("x" * 1000 + end) for end in "abc"}
    assert len(keys) == 3
    assert all(key.startswith("shop.load(") and len(key) == len("shop.load()") + 40 for key in keys)


def test_keys_are_the_same_in_every_process():
    """Neither the hash seed nor the process counts."""
    outputs = set()
    here = shop.load.key_for(7, more={"x", "y", "z"}, when=frozenset({1, 2, "3"}))
    for seed in ("0", "1", "77"):
        done = subprocess.run(
            [sys.executable, str(Path(shop.__file__))],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        outputs.add(done.stdout)
    assert outputs == {f"{here}\n{shop.load.key_for('x' * 1000)}\n"}


def test_attributes_in_templates():
    """A field may be an attribute of an argument."""
    assert shop.Shop("north").price.key_for("tea") == "north:price:tea"
    assert shop.Shop.price.key_for(shop.Shop("a:b"), "tea") == "a%3Ab:price:tea"


@pytest.mark.parametrize("key", [None, "load:{opts}"])
def test_arguments_without_a_text_are_named(local, key):
    """The call raises a TypeError that names the function, the argument and its type, and the function isn't run."""
    ran = []

    def load(user_id, opts=None):
        ran.append(user_id)

    cached = local.cached(key=key)(load)
    for call in (cached, cached.key_for):
        with pytest.raises(
            TypeError, match=r"load: argument 'opts' is or holds a value of type test_keys.Opaque, which has no"
        ):
            call(7, opts=[Opaque()])
    assert ran == []


def test_arguments_that_hold_themselves_are_named(local):
    """A list in itself has no text."""
    loop = []
    loop.append(loop)
    with pytest.raises(TypeError, match="argument 'items' is or holds what nests too deeply"):
        local.cached()(lambda items: 0)(loop)


def test_ignored_arguments_do_not_count(local):
    """What `ignore` names bears on no key, and may be anything."""

    @local.cached(ignore=("session", "log"))
    def load(session, user_id, *, log=None):
        return user_id, log

    assert load(Opaque(), 7) == load(Opaque(), 7, log=Opaque()) == (7, None)
    assert load.key_for(None, 7).endswith("load(user_id=7)")


def test_template_and_other_arguments(local):
    """Only the arguments that a template names count; the others may be anything."""

    @local.cached(key="user:{user_id}")
    def load(session, user_id):
        return [user_id]

    assert load(Opaque(), 7) == load(Opaque(), user_id=7) == [7]
    assert local.get("user:7") == [7]
    assert load.cache_info() == (1, 1, 1)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"key": "user:{id}"}, ValueError, "key 'user:{id}' names 'id', which is no parameter"),
        ({"key": 7}, TypeError, "key must be a str"),
        ({"ignore": "user_id"}, TypeError, "ignore must be several str, as ('user_id',), got one"),
        ({"ignore": ["id"]}, ValueError, "ignore names 'id', which is no parameter of"),
        ({"ignore": ["user_id"], "key": "a:{user_id}"}, ValueError, "ignore names 'user_id', which is a field of key"),
        ({"tags": "users"}, TypeError, "tags must be several str, as ('users',), got one"),
        ({"tags": 5}, TypeError, "tags must be an iterable of str, got int: 5"),
        ({"ignore": None}, TypeError, "ignore must be an iterable of str, got NoneType: None"),
        ({"tags": ["user:{id}"]}, ValueError, "tag 'user:{id}' names 'id', which is no parameter"),
        ({"tags": ["x" * 256]}, ValueError, "a tag must be at most 255 bytes"),
        ({"soft_timeout": 0}, ValueError, "soft_timeout must be None or seconds >= 0.001"),
        ({"soft_timeuot": 1}, TypeError, "a load takes no setting 'soft_timeuot'"),
        ({"ttl": -1}, ValueError, "ttl must be >= 0 seconds"),
        ({"ttl": "60"}, TypeError, "ttl must be seconds"),
    ],
)
def test_mistakes_show_at_decoration(local, options, error, message):
    """What can be known before the first call is told then."""
    with pytest.raises(error) as raised:

        @local.cached(**options)
        def load(user_id):
            pass

    assert message in str(raised.value)


def test_calls_that_do_not_fit_raise_what_the_function_would():
    """A wrong call is Python's own TypeError, with the function's name."""
    with pytest.raises(TypeError, match=r"load\(\) missing 1 required positional argument: 'user_id'"):
        shop.load()
    with pytest.raises(TypeError, match=r"by_template\(\) got an unexpected keyword argument 'x'"):
        shop.by_template(1, x=2)


def test_every_kind_of_parameter_binds(local):
    """Positional-only, keyword-only, defaults of any type and both kinds of stars are bound as Python binds them."""
    default = ["no", "copy"]

    @local.cached()
    def call(a, b=2, /, c=3, *rest, d, e=default, **more):
        return a, b, c, rest, d, e, more

    assert call(1, d=4) == (1, 2, 3, (), 4, ["no", "copy"], {})
    assert call(1, 5, 6, 7, 8, d=9, a=10) == (1, 5, 6, (7, 8), 9, default, {"a": 10})
    assert ".call(a=1,b=5,c=6,rest=(7,8),d=9,e=['no','copy'],more={'a':10})" in call.key_for(1, 5, 6, 7, 8, d=9, a=10)

    @local.cached()
    def named(*, a, b=1):
        return a, b

    assert (named(a=1), named(b=1, a=1), named.cache_info().misses) == ((1, 1), (1, 1), 1)


def test_names_that_several_functions_share(local):
    """A second lambda, or another closure of one function, would get the first one's results: it needs a key."""

    def make(number):
        def add(to):
            return to + number

        return add

    one = make(1)
    assert local.cached()(one)(1) == 2
    assert local.cached(ttl=9)(one)(1) == 2
    for decorate in (local.cached(), local.cached(ignore=["to"])):
        with pytest.raises(TypeError, match=r"another function named .*add is cached already"):
            decorate(make(2))
    assert local.cached(key="two:{to}")(make(2))(1) == 3
    local.cached()(lambda x: x)
    with pytest.raises(TypeError, match=r"another function named .*<lambda> is cached already"):
        local.cached()(lambda y: y)


def test_a_function_made_again_is_the_same(local):
    """One that closes over nothing may be made and cached as often as one likes."""
    for _ in range(3):

        @local.cached()
        def double(x):
            return 2 * x

        assert double(2) == 4
    assert double.cache_info() == (1, 0, 1)
