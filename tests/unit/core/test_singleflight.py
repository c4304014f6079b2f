"""Flights: who follows, who leads, and who must not wait."""

import asyncio
import contextvars

import pytest
from colliding_keys import colliding_keys

from twotier import Cache, TwoTierError
from twotier.core.flow.drive import drive
from twotier.core.flow.requests import Load, Wait
from twotier.core.loading.single_flight import ABANDONED, SingleFlight, inside_loader, leading, leave_flights, part_of
from twotier.local import Store


def test_callers_share_a_flight_until_the_key_is_written():
    """The first leads, the others follow; a write in between parts them, one of another key doesn't."""
    store = Store(100)
    flights = SingleFlight(store)
    first, leads = flights.join("key")
    assert leads
    assert flights.join("key") == (first, False)
    colliding_keys(store, "key", 1)  # which writes it
    assert flights.join("key") == (first, False)
    store.discard("key")
    later, leads_too = flights.join("key")
    assert leads_too
    assert later is not first
    flights.land(first, "old")
    assert flights.join("key") == (later, False)


def test_own_key_is_refused_wherever_the_loader_goes_on():
    """A loader that asks for its key is told so, also from a task or a thread that took its context along."""
    flights = SingleFlight(Store(100))
    flight, _ = flights.join("key")
    with leading((flight,)):
        for ask in (lambda: flights.join("key"), lambda: contextvars.copy_context().run(flights.join, "key")):
            with pytest.raises(TwoTierError, match="wait for itself"):
                ask()
        assert SingleFlight(Store(100)).join("key")[1], "another cache's key is another key"
    assert flights.join("key") == (flight, False)


def test_circle_of_flights_is_seen():
    """A caller whose wait would close a circle, however long, leads a flight of its own."""
    flights = SingleFlight(Store(100))
    a, b, c = (flights.join(key)[0] for key in "abc")
    with leading((a,)):
        assert flights.join("b") == (b, False)
    with leading((b,)):
        assert flights.join("c") == (c, False)
    with leading((c,)):
        own, leads = flights.join("a")
    assert leads
    assert own.circular
    assert flights.join("a") == (a, False), "others follow the one that isn't in a circle"


def test_circle_through_a_load_within_a_load_is_seen():
    """What an inner load waits for, the outer one waits for as well."""
    flights = SingleFlight(Store(100))
    a, b = (flights.join(key)[0] for key in "ab")
    with leading((a,)):
        inner, _ = flights.join("inner")
        with leading((inner,)):
            assert flights.join("b") == (b, False)
    with leading((b,)):
        assert flights.join("a")[1]


def test_flights_that_have_landed_close_no_circle():
    """A wait that has ended doesn't count."""
    flights = SingleFlight(Store(100))
    a, b = (flights.join(key)[0] for key in "ab")
    with leading((a,)):
        flights.join("b")
    flights.land(b)
    again, _ = flights.join("b")
    with leading((again,)):
        assert flights.join("a") == (a, False)


def test_what_stands_apart_is_part_of_no_load():
    """What a loader starts and doesn't wait for may ask for the loader's key."""
    flights = SingleFlight(Store(100))
    flight, _ = flights.join("key")

    def apart():
        leave_flights()
        return flights.join("key")

    with leading((flight,)):
        assert contextvars.copy_context().run(apart) == (flight, False)
        with pytest.raises(TwoTierError):
            flights.join("key")


def test_a_loader_and_what_it_awaits_are_part_of_its_load():
    """A loader finds itself in its load, and so does a coroutine that it gives; nobody else does."""
    flights = SingleFlight(Store(100))
    flight, _ = flights.join("key")

    async def within() -> bool:
        return inside_loader()

    async def awaited() -> bool:
        return await part_of((flight,), within)()

    assert part_of((flight,), inside_loader)()
    assert asyncio.run(awaited())
    assert not inside_loader()


def test_a_flow_that_is_thrown_away_abandons_its_flight():
    """A leader whose flow is closed, as when an event loop ends, leaves nobody hanging, and no place taken."""
    with Cache(max_concurrent_loads=1) as cache:
        flow = cache._calls.get_or_set("key", lambda: 1, 10, (), {})
        command = next(flow)
        assert isinstance(command, Load)
        follower = cache._calls.get_or_set("key", lambda: 2, 10, (), {})
        assert isinstance(next(follower), Wait)
        flow.close()
        command = follower.send(ABANDONED)
        assert isinstance(command, Load)
        with pytest.raises(StopIteration) as end:
            follower.send(2)
        assert end.value.value == 2
        assert drive(cache._calls.get_or_set("other", lambda: 3, 10, (), {}), None, cache._namespace.background) == 3
