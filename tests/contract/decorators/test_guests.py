"""Cached functions in the hands of frameworks, which look at functions before they call them."""

import functools
import inspect
import types

import pytest

from twotier import Cache


def test_what_celery_looks_at(local):
    """A task is made of what is called, or of its `__call__`: both say where they are from, and what they take."""

    @local.cached(60, "total:{order}")
    def total(order, *, tax=19):
        """Add it up."""
        return [order, tax]

    @local.cached(60, "page:{number}")
    async def page(number):
        return number

    for cached in (total, page):
        assert cached.__call__.__module__ == cached.__module__ == __name__
        assert cached.__call__.__doc__ == cached.__doc__
        assert inspect.signature(cached.__call__) == inspect.signature(cached)
        assert inspect.getfullargspec(cached.__call__).varkw == "kwargs"
        assert cached.__annotations__ == {}
    # As Celery does, which makes a class of a task, and calls what it was made of.
    attributes = {"run": staticmethod(total), "__doc__": total.__doc__, "__module__": total.__module__}
    task = type(total.__name__, (), attributes)()
    assert task.run(7, tax=7) == [7, 7]
    assert total.__call__(7) == [7, 7]
    assert total.cache_info() == (1, 1, 1)


def test_what_flask_looks_at(local):
    """A cached coroutine function is one for inspect, on every Python; so is a method; a function isn't."""

    class Shop:
        """Views as methods."""

        @local.cached(60, "a:{number}")
        async def aview(self, number):
            """Answer, once awaited."""
            return number

        @local.cached(60, "b:{number}")
        def view(self, number):
            """Answer."""
            return number

    @local.cached(60, "c:{number}")
    async def aview(number: int, detail: bool = False) -> int:
        return number + detail

    @local.cached(60, "d:{number}")
    def view(number):
        return number

    for coroutine_function in (aview, Shop().aview, Shop.aview, functools.partial(aview, 7)):
        assert inspect.iscoroutinefunction(coroutine_function)
    for function in (view, Shop().view, Shop.view):
        assert not inspect.iscoroutinefunction(function)
    assert str(inspect.signature(aview)) == "(number: int, detail: bool = False) -> int"
    assert str(inspect.signature(Shop().aview)) == "(number)"
    wrapped = functools.wraps(aview)(lambda number: number)
    assert isinstance(wrapped, types.FunctionType)
    assert wrapped(1) == 1


@pytest.mark.parametrize("decorator", [Cache.cached, lambda cache, *args: cache.aio.cached(*args)])
def test_one_key_for_all_calls_draws_a_warning(local, decorator):
    """A template that names no parameter, where there are some, is most likely a mistake."""

    async def load(user_id, full):
        return [user_id, full]

    with pytest.warns(
        UserWarning, match=r"load is cached under the one key 'user'.*\{user_id\}.*ignore=.*full"
    ) as seen:
        decorator(local, 60, "user")(load)
    assert seen[0].filename == __file__


def test_what_says_that_nothing_counts_draws_none(local):
    """Parameters that are said not to count, and the object of a method, are no mistake. Warnings are errors here."""

    class Shop:
        """A method of one result."""

        @local.cached(60, "settings")
        def settings(self):
            """Return it."""
            return "settings"

    local.cached(60, "all", ignore=["request"])(lambda request: request)
    local.cached(60, "nothing to name")(lambda: 1)
    local.cached(60, "user:{user_id}")(lambda user_id, full: (user_id, full))
    assert Shop().settings() == "settings"
    with pytest.raises(ValueError, match="ignore names 'unknown'"):
        local.cached(60, "all", ignore=["unknown"])(lambda request: request)
