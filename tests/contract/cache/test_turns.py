"""Bulk calls of an event loop let its other tasks run between parts of their keys, wherever the keys are."""

import asyncio as aio

import pytest
from waiting import PATIENT

from twotier import AsyncCache
from twotier.core.flow import turns

ENTRIES = 1_500
VALUES = {f"k{number}": [number] for number in range(ENTRIES)}
PARTS = ENTRIES // turns.PART


@pytest.fixture(params=["two-tier", "local", "away"])
def make(request, namespace, monkeypatch):
    """Makes a cache that gives a turn after each part, however fast the machine is."""
    monkeypatch.setattr(turns, "LENGTH", 0.0)

    def make(**settings):
        if request.param == "local":
            return AsyncCache(namespace=namespace, **settings)
        url = "redis://127.0.0.1:1" if request.param == "away" else request.getfixturevalue("server").url
        return AsyncCache(url, namespace=namespace, coherence="none", **{**PATIENT, **settings})

    return make


async def turns_of_others(call):
    """Return what a call returns, and how often another task came to run meanwhile."""
    count = 0

    async def look():
        nonlocal count
        while True:
            await aio.sleep(0)
            count += 1

    other = aio.create_task(look())
    try:
        return await call, count
    finally:
        other.cancel()


@pytest.mark.parametrize("copies", [1, 0], ids=["held here", "not held here"])
def test_bulk_calls_give_turns(make, asyncio, copies):
    """Each call works through its keys part by part, and gives what it gave in one piece."""

    async def load(missing):
        return {key: VALUES[key] for key in missing}

    async def scene():
        async with make(maxsize=ENTRIES if copies else 1) as cache:
            found = []
            for call in (
                lambda: cache.set_many(VALUES),
                lambda: cache.get_many(VALUES),
                lambda: cache.invalidate_many(VALUES),
                lambda: cache.get_or_set_many(VALUES, load),
                lambda: cache.delete_many(VALUES),
            ):
                result, others = await turns_of_others(call())
                assert others >= PARTS
                found.append(result)
            assert list(found[3]) == list(VALUES)
            assert found[3] == VALUES
            return found

    asyncio.run(scene())


def test_a_mapping_may_change_while_it_is_stored(make, asyncio):
    """What was passed counts, as it was at the beginning of the call."""

    async def scene():
        async with make(maxsize=ENTRIES) as cache:
            given = dict(VALUES)
            storing = aio.create_task(cache.set_many(given))
            keys = list(given)
            await aio.sleep(0)
            reading = aio.create_task(cache.get_many(keys))
            await aio.sleep(0)
            given.clear()
            given["other"] = 1
            keys.clear()
            await storing
            assert len(await cache.get_many(VALUES)) == ENTRIES
            assert await cache.get("other") is None
            await reading

    asyncio.run(scene())


def test_a_call_that_is_stopped_in_a_turn_leaves_nothing_under_way(make, asyncio):
    """Whichever turn it is: those who wait for its keys load them."""

    async def load(missing):
        return {key: VALUES[key] for key in missing}

    async def scene():
        async with make(maxsize=ENTRIES) as cache:
            for steps in range(1, 3 * PARTS, 7):
                stopped = aio.create_task(cache.get_or_set_many(VALUES, load))
                for _ in range(steps):
                    await aio.sleep(0)
                stopped.cancel()
                await aio.wait([stopped])
                assert not cache._namespace.flights._flights
                if claims := getattr(cache._namespace, "claims", None):
                    assert not claims.under_way
            assert await aio.wait_for(cache.get_or_set_many(VALUES, load), 20) == VALUES

    asyncio.run(scene())


def test_bad_keys_are_refused_before_anything_is_stored(make, asyncio):
    """A key of the last part that can't be stored leaves those before it as they were."""

    async def scene():
        async with make(maxsize=ENTRIES) as cache:
            with pytest.raises(TypeError, match="key must be a str"):
                await cache.set_many({**VALUES, 7: 1})
            with pytest.raises(TypeError, match="keys must be an iterable"):
                await cache.get_many(7)
            with pytest.raises(TypeError, match="keys must be an iterable of str"):
                await cache.delete_many("letters")
            with pytest.raises(ValueError, match="must not be empty"):
                await cache.get_many([*VALUES, ""])
            assert not await cache.get_many(VALUES)

    asyncio.run(scene())
