"""`cached` in every mode: functions and methods that answer from the cache."""

import copy
import functools
import inspect
import os
import pickle
import threading

import pytest
import shop
from waiting import live, wait_for

from twotier import Cache


def test_a_function_runs_once_for_equal_calls(cache):
    """The second call is answered by the cache, with a value of its own; None is a value."""
    ran = []

    @cache.cached(ttl=60)
    def load(user_id, *, full=False):
        ran.append((user_id, full))
        return {"id": [user_id]} if user_id else None

    for _ in range(3):
        load(7)["id"].append("mine")
        assert load(7) == {"id": [7]}
        assert load(7, full=True) == {"id": [7]}
        assert load(0) is None
    assert ran == [(7, False), (7, True), (0, False)]


def test_counters(cache):
    """`cache_info` tells what became of the calls."""
    cold = cache.options.local_ttl is not None

    @cache.cached()
    def double(x):
        return 2 * x

    assert double.cache_info() == (0, 0, 0)
    for number in (1, 2, 1, 1):
        double(number)
    if cold:
        assert double.cache_info()[:2] == (2, 2)
    else:
        assert double.cache_info() == (2, 2, 2)
    assert str(double.cache_info()).startswith("CacheInfo(hits=2, misses=2, local_hits=")


def test_errors_are_not_cached(cache):
    """What the function raises is raised, as it is, and the next call runs it again."""
    errors = [KeyError("first"), ZeroDivisionError("second")]

    @cache.cached()
    def fail(x):
        if errors:
            raise errors.pop(0)
        return x

    with pytest.raises(KeyError, match="first"):
        fail(1)
    with pytest.raises(ZeroDivisionError, match="second"):
        fail(1)
    assert fail(1) == fail(1) == 1
    assert fail.cache_info()[:2] == (1, 3)


def test_functions_share_the_cache_with_its_other_callers(cache):
    """A key of a template is the cache's own: reading, writing and deleting it count."""

    @cache.cached(key="user:{user_id}")
    def load(user_id):
        return f"loaded {user_id}"

    assert load(7) == cache.get("user:7") == "loaded 7"
    cache.set("user:7", "set")
    assert load(7) == "set"
    cache.delete("user:7")
    assert load(7) == "loaded 7"
    cache.clear()
    assert load.cache_info().misses == 2
    assert load(7) == "loaded 7"
    assert load.cache_info().misses == 3


def test_invalidate(cache):
    """A call's result expires, through the function or through an object's method; others stay."""

    class User:
        number = 7

        @cache.cached(key="user:{self.number}:{part}")
        def part(self, part):
            return part

    user = User()
    for invalidate in (user.part.invalidate, lambda part: User.part.invalidate(user, part)):
        user.part("a"), user.part("b")
        assert invalidate("a") is True
        assert invalidate("a") is False
        before = User.part.cache_info().misses
        assert (user.part("a"), user.part("b")) == ("a", "b")
        assert User.part.cache_info().misses == before + 1


def test_another_cache_of_the_namespace_shares_results(make):
    """What one process has loaded, another reads; what one writes, the other sees."""
    ran = []
    loads = []
    caches = [make(), make()]
    for number, cache in enumerate(caches):

        def load(x, number=number):
            ran.append(number)
            return x

        loads.append(cache.cached(key="shared:{x}")(load))
    assert [load(1) for load in loads] == [1, 1]
    assert ran == [0]
    caches[0].set("shared:1", "new")
    wait_for(lambda: loads[1](1) == "new", "the other cache has heard of it")
    assert ran == [0]


def test_ttl(local):
    """Each result lives for the ttl given, or the cache's own; 0 stores nothing."""
    for ttl, least, most in ((60, 59, 60), (None, None, None), (0.5, 0.4, 0.5)):
        local.cached(ttl=ttl, key="k{x}")(lambda x: x)(1)
        left = local.ttl("k1")
        assert left is None if least is None else least < left <= most
        local.delete("k1")
    local.cached(key="k{x}")(lambda x: x)(1)
    assert 299 < local.ttl("k1") <= 300
    ran = []
    never = local.cached(ttl=0, key="never")(lambda: ran.append(1))
    never(), never()
    assert len(ran) == 2


def test_threads_load_once(cache):
    """Of threads that call alike at once, one runs the function."""
    ran, gate = [], threading.Barrier(8)

    @cache.cached()
    def load(x):
        ran.append(x)
        return [x]

    def call():
        gate.wait()
        results.append(load(1))

    results = []
    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[1]] * 8
    assert ran == [1]
    info = load.cache_info()
    assert (info.hits, info.misses) == (7, 1)


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


def test_a_closed_cache_says_so():
    """Calls after close raise what the cache's own do."""
    cache = Cache()
    double = cache.cached(key="{x}")(lambda x: 2 * x)
    assert double(1) == 2
    cache.close()
    with pytest.raises(Exception, match="the cache is closed"):
        double(1)


def test_a_forked_child_calls_on(make):
    """In a child the function works, and what the child loads the parent sees."""
    cache = make()
    load = cache.cached(key="k:{x}")(lambda x: [x, "loaded"])
    assert load(1) == [1, "loaded"]
    child = os.fork()
    if child == 0:
        good = load(1) == [1, "loaded"] and load(2) == [2, "loaded"]
        os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0
    wait_for(lambda: cache.get("k:2") == [2, "loaded"], "the child's result is there")
    assert load(2) == [2, "loaded"]
    assert load.cache_info().misses == 1


def test_in_an_outage(own_server, namespace):
    """Without the server, calls are answered from the local tier, and run the function otherwise."""
    with Cache(own_server.url, namespace=namespace, timeout=0.25) as cache:
        wait_for(lambda: live(cache), "the link is live")
        load = cache.cached(key="k:{x}")(lambda x: [x])
        assert load(1) == [1]
        own_server.kill()
        assert load(1) == load(1) == [1]
        assert load(2) == load(2) == [2]
        assert load.cache_info().misses == 2
