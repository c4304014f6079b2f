"""Loads in the background of event loops that don't last: one a request, as `asyncio.run` and `async_to_sync` make."""

import asyncio
import time

import pytest

from twotier import NOT_FOUND, Cache, LoadTimeout
from twotier.clock import ManualClock


@pytest.fixture
def clock():
    """A clock that stands."""
    return ManualClock()


@pytest.fixture
def requests(clock):
    """Make calls of a cache in loops of their own; their loader takes longer than they do, unless it is waited for."""

    class Requests:
        """Calls of one cache."""

        loads = 0
        result = "loaded"

        def __init__(self, **options):
            self.cache = Cache(clock=clock, stale_ttl=1000, **options)

        async def load(self, keys=None):
            """Take a moment, and return a value."""
            await asyncio.sleep(0.01)
            clock.advance(0.01)
            self.loads += 1
            if isinstance(self.result, Exception):
                raise self.result
            return self.result if keys is None else dict.fromkeys(keys, self.result)

        def ask(self, *, many=False, **policy):
            """Ask in a loop that ends with the answer."""
            if not many:
                return asyncio.run(self.cache.aio.get_or_set("key", self.load, 10, **policy))
            ask = self.cache.aio.get_or_set_many(["key"], self.load, 10, **policy)
            return asyncio.run(ask).get("key")

    made = []

    def make(**options):
        made.append(Requests(**options))
        return made[-1]

    yield make
    for each in made:
        each.cache.close()


@pytest.mark.parametrize("many", [False, True], ids=["one", "many"])
def test_stale_while_revalidate(requests, clock, many):
    """After an attempt that its loop has cut short, the next caller loads, and the others have what it loaded."""
    calls = requests(stale_while_revalidate=60)
    calls.cache.set("key", "old", 10)
    clock.advance(11)
    assert [calls.ask(many=many) for _ in range(4)] == ["old", "loaded", "loaded", "loaded"]
    assert calls.loads == 1
    clock.advance(11)
    calls.result = "loaded again"
    assert [calls.ask(many=many) for _ in range(3)] == ["loaded", "loaded again", "loaded again"]


@pytest.mark.parametrize("many", [False, True], ids=["one", "many"])
def test_early_refresh(requests, clock, many):
    """A value that is due is loaded again before it expires, by the caller after the one whose loop has ended."""
    calls = requests(early_refresh=1e9)
    calls.ask(many=many)
    calls.result = "again"
    clock.advance(5)
    answers = [calls.ask(many=many) for _ in range(3)]
    assert calls.loads >= 2
    assert answers[0] == "loaded"
    assert calls.cache.get("key") == "again"


@pytest.mark.parametrize("many", [False, True], ids=["one", "many"])
def test_soft_timeout(requests, clock, many):
    """A loader slower than soft_timeout comes to its end in the second request, which waits for it."""
    calls = requests()
    calls.cache.get_or_set("key", lambda: "old", 10, soft_timeout=1)
    clock.advance(11)
    assert [calls.ask(many=many, soft_timeout=0.001) for _ in range(3)] == ["old", "loaded", "loaded"]


@pytest.mark.parametrize("many", [False, True], ids=["one", "many"])
def test_hard_timeout(requests, many):
    """A loader slower than hard_timeout comes to its end in the second request, which waits for it up to load_lease."""
    calls = requests()
    with pytest.raises(LoadTimeout):
        calls.ask(many=many, hard_timeout=0.001)
    assert [calls.ask(many=many, hard_timeout=0.001) for _ in range(2)] == ["loaded", "loaded"]
    assert calls.loads == 1


def test_hard_timeout_under_async_to_sync(requests):
    """As Django calls asynchronous code from a synchronous worker."""
    asgiref = pytest.importorskip("asgiref.sync")
    calls = requests()
    get = asgiref.async_to_sync(calls.cache.aio.get_or_set)
    with pytest.raises(LoadTimeout):
        get("key", calls.load, hard_timeout=0.001)
    assert get("key", calls.load, hard_timeout=0.001) == "loaded"


@pytest.mark.parametrize("many", [False, True], ids=["one", "many"])
def test_a_loader_that_hangs_is_waited_for_once(requests, clock, many):
    """After a wait of load_lease in vain, callers get their LoadTimeout at hard_timeout again, for as long."""
    calls = requests(load_lease=0.2)

    async def hang(_=None):
        await asyncio.sleep(60)

    calls.load, load = hang, calls.load
    took = []
    for _ in range(4):
        began = time.monotonic()
        with pytest.raises(LoadTimeout):
            calls.ask(many=many, hard_timeout=0.001)
        took.append(time.monotonic() - began >= 0.2)
    assert took[1]
    assert not calls.cache._namespace.attempts.take_overtime("key")
    clock.advance(0.3)
    calls.load = load
    assert calls.ask(many=many, hard_timeout=0.001) == "loaded"


@pytest.mark.parametrize("many", [False, True], ids=["one", "many"])
def test_a_loader_that_fails_is_covered(requests, clock, many):
    """Who makes the attempt for others gets what they get, if it fails, and it isn't made again for a moment."""
    calls = requests(stale_while_revalidate=60)
    calls.cache.set("key", "old", 10)
    clock.advance(11)
    calls.result = ValueError("its own")
    assert [calls.ask(many=many) for _ in range(4)] == ["old"] * 4
    assert calls.loads == 1
    clock.advance(2)
    calls.result = NOT_FOUND
    assert [calls.ask(many=many) for _ in range(2)] == ["old", None if many else NOT_FOUND]


def test_a_loop_that_is_thrown_away(requests, clock):
    """So it is where the loop is closed without a word to its tasks."""
    calls = requests(stale_while_revalidate=60)
    calls.cache.set("key", "old", 10)
    clock.advance(11)
    answers = []
    for _ in range(4):
        loop = asyncio.new_event_loop()
        answers.append(loop.run_until_complete(calls.cache.aio.get_or_set("key", calls.load, 10)))
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task._log_destroy_pending = False
        loop.close()
    assert answers[0] == "old"
    assert answers[-1] == "loaded"


def test_a_long_lived_loop_serves_stale_as_ever(requests, clock):
    """Where loops last, nobody waits."""
    calls = requests(stale_while_revalidate=60)
    calls.cache.set("key", "old", 10)
    clock.advance(11)

    async def use():
        first = await calls.cache.aio.get_or_set("key", calls.load, 10)
        second = await calls.cache.aio.get_or_set("key", calls.load, 10)
        await asyncio.wait_for(asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}), 20)
        return first, second, await calls.cache.aio.get_or_set("key", calls.load, 10)

    assert asyncio.run(use()) == ("old", "old", "loaded")
    assert calls.loads == 1
