"""What the default of `get_or_set` and `aget_or_set` may be, and what it raises, which reaches the caller as it is."""

import asyncio
import functools

import pytest
from twotier.django import UncacheableError

import twotier


def raising(error):
    """Return a default that raises `error`."""

    def load():
        raise error

    return load


async def within(call):
    """Await a call, for no longer than a while."""
    return await asyncio.wait_for(call, 20)


class Made:
    """Objects that are called, and awaited or not."""

    def plainly(self):
        """Return a value."""
        return "made"

    async def awaited(self):
        """Return a value, once awaited."""
        return "made"

    async def __call__(self):
        """Return a value, once awaited."""
        return "made"


@pytest.mark.parametrize(
    "default",
    ["made", Made().plainly, Made().awaited, Made(), functools.partial(Made.awaited, None), lambda: "made"],
    ids=["value", "function", "coroutine function", "callable", "partial", "lambda"],
)
def test_defaults_of_aget_or_set(cache, default):
    """A default is a value, a function, or anything that gives something to await when it is called."""
    assert asyncio.run(within(cache.aget_or_set("key", default))) == "made"
    assert cache.get("key") == "made"


@pytest.mark.parametrize("kind", [StopIteration, StopAsyncIteration, KeyError, ValueError])
def test_what_a_default_raises_is_raised(cache, kind):
    """Exceptions that mean something to generators are no others to callers."""
    error = kind("its own")
    with pytest.raises(kind) as raised:
        cache.get_or_set("key", raising(error))
    assert raised.value is error


def test_a_function_that_stops_an_iteration_does_not_hold_up_a_task(cache):
    """In a coroutine a StopIteration is a RuntimeError, as Python has it, and nobody waits for ever."""
    with pytest.raises(RuntimeError, match="StopIteration") as raised:
        asyncio.run(within(cache.aget_or_set("key", raising(StopIteration("its own")))))
    assert isinstance(raised.value.__cause__, StopIteration)


def test_a_serialization_error_of_a_default_is_its_own(cache):
    """A default may use other caches, and fail at that; what can't be stored here is an UncacheableError."""
    error = twotier.SerializationError("of another cache")

    async def aload():
        raise error

    for use in (
        lambda: cache.get_or_set("key", raising(error)),
        lambda: asyncio.run(within(cache.aget_or_set("key", raising(error)))),
        lambda: asyncio.run(within(cache.aget_or_set("key", aload))),
    ):
        with pytest.raises(twotier.SerializationError) as raised:
            use()
        assert raised.value is error
    with pytest.raises(UncacheableError):
        cache.get_or_set("key", lambda: lambda: None)
