"""What can be cached and what can't: functions, methods of every kind, callables; and what they look like then."""

import copy
import functools
import inspect
import pickle

import pytest
import shop


def test_methods(cache):
    """A method is called on its object; without a key, `self` must have a stable text or be ignored."""

    class User:
        def __init__(self, number):
            self.number = number

        @cache.cached(key="user:{self.number}:{part}")
        def part(self, part):
            """Give a part."""
            return [self.number, part]

        @cache.cached(ignore=("self",))
        def square(self, x):
            return x * x

        @cache.cached()
        def opaque(self):
            pass

    one, two = User(1), User(2)
    assert [one.part("a"), two.part("a"), one.part("a"), User.part(one, "a")] == [
        [1, "a"],
        [2, "a"],
        [1, "a"],
        [1, "a"],
    ]
    assert User.part.cache_info().misses == one.part.cache_info().misses == 2
    assert one.part.key_for("a") == User.part.key_for(one, "a") == "user:1:a"
    assert one.part == one.part != two.part
    assert {one.part: 1}[one.part] == 1
    assert one.part.__wrapped__("a") == [1, "a"]
    assert str(inspect.signature(one.part)) == "(part)"
    assert one.part.__self__ is one
    bound = one.part
    assert bound(part="b") == [1, "b"]
    assert one.square(3) == two.square(3) == 9
    assert User.square.cache_info().misses == 1
    with pytest.raises(
        TypeError, match=r"argument 'self' is or holds a value of type .*User, which has no stable text.*ignore="
    ):
        one.opaque()


def test_classmethods_and_staticmethods():
    """Both work above and below; a classmethod's class is part of the key, and subclasses are told apart."""

    class Corner(shop.Shop):
        pass

    assert shop.Shop.kind(1) == shop.Shop("x").kind(1) == "Shop1"
    assert shop.Shop.kind.key_for(1) == "shop.Shop.kind(cls=shop.Shop,number=1)"
    assert shop.Shop.kind.cache_info().misses == 1
    with pytest.raises(TypeError, match="made in a function"):
        Corner.kind(1)
    assert shop.Shop.vat(3) == shop.Shop("x").vat(3) == 6
    assert shop.Shop.vat.cache_info()[:2] == (1, 1)


@pytest.mark.parametrize("wrap", [classmethod, staticmethod])
def test_outside_of_the_decorator(local, wrap):
    """A classmethod or staticmethod may also stand above."""

    class Owner:
        @wrap
        @local.cached(key="k:{x}")
        def method(*args, x):
            return [len(args), x]

    first = 1 if wrap is classmethod else 0
    assert Owner.method(x=1) == Owner().method(x=1) == [first, 1]
    assert local.get("k:1") == [first, 1]


def test_what_is_refused(local):
    """Generators, properties, classes and what is no function are refused at decoration, with advice."""

    def generate():
        yield 1

    async def generate_async():
        yield 1

    @functools.wraps(generate)
    def wrapped():
        return list(generate())

    for given, message in (
        (generate, "is a generator function: what it returns can be used up once; return a list"),
        (generate_async, "is an async generator function"),
        (property(len), "got a property: write @property above"),
        (int, "cached takes a function, got <class 'int'>"),
        (7, "cached takes a function, got 7"),
        (functools.partial(print), "has no name to make keys of"),
        (classmethod(generate), "is a generator function"),
    ):
        with pytest.raises(TypeError, match=message):
            local.cached()(given)
    with pytest.raises(TypeError, match=r"write @cache.cached\(\)"):
        local.cached(generate)


def test_callables_with_a_template(local):
    """What has no name can be cached under a template."""
    double = local.cached(key="double:{x}")(functools.partial(lambda by, x: by * x, 2))
    assert double(x=4) == double(x=4) == local.get("double:4") == 8
    assert double.cache_info() == (1, 1, 1)


def test_it_looks_like_the_function():
    """Name, doc, signature and the function itself are there; it can be pickled and copied by name."""
    assert shop.load.__name__ == shop.load.__qualname__ == "load"
    assert shop.load.__doc__ == "Load a user."
    assert shop.load.__module__ == "shop"
    assert str(inspect.signature(shop.load)) == "(user_id, full=False, *extra, lang='en', **more)"
    assert shop.load.__wrapped__(1) == (1, False, (), "en", {})
    assert repr(shop.load) == "<cached shop.load>"
    for found in (shop.load, shop.Shop.price, shop.Shop.vat):
        assert pickle.loads(pickle.dumps(found)) is found
        assert copy.copy(found) is copy.deepcopy(found) is found
    bound = pickle.loads(pickle.dumps(shop.Shop("north").price))
    assert bound("tea") == "tea at north"


def test_a_wrapper_around_it_takes_over_what_is_the_functions(local):
    """functools.wraps of a cached function copies its user's attributes, and nothing of ours."""

    def load():
        pass

    load.tag = "mine"
    cached = local.cached()(load)

    @functools.wraps(cached)
    def outer():
        return cached()

    assert {name for name in vars(outer) if not name.startswith("__")} == {"tag"}
    assert outer.__wrapped__ is cached
    again = local.cached(key="again")(cached)
    assert again.tag == "mine"
    assert again() is None


def test_recursion(local):
    """A cached function may call itself."""

    @local.cached(key="fib:{n}")
    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    assert fib(40) == 102334155
    assert fib.cache_info().misses == 41
