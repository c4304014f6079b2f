"""Flows on event loops: in the background as tasks, waiting for futures of others, cancelled at any point."""

import asyncio
import concurrent.futures
import contextvars
import gc
import threading
from concurrent.futures import Future

import pytest
from waiting import PATIENCE

from twotier import TwoTierError
from twotier.core.flow.async_drive import Tasks, async_drive
from twotier.core.flow.requests import Load, Pause, Spawn, Wait

colour: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")


@pytest.fixture
def tasks():
    """Flows in the background."""
    return Tasks()


def run(flow, tasks):
    """Run a flow on a loop of its own."""
    return asyncio.run(asyncio.wait_for(async_drive(flow, None, tasks), PATIENCE))


def test_flow_is_run_in_the_background_in_its_callers_context(tasks):
    """`Spawn` gives a future at once; the flow is a task of the same loop, in a copy of the context."""

    def inner():
        yield Pause(0)
        seen = yield Load(lambda: (threading.current_thread(), colour.get()))
        colour.set("changed")
        return seen

    def outer():
        colour.set("red")
        future = yield Spawn(inner())
        assert not future.done()
        gc.collect()
        return (yield Wait(future)), colour.get()

    assert run(outer(), tasks) == ((threading.current_thread(), "red"), "red")
    assert not tasks._tasks


def test_wait_ends_past_its_seconds_and_what_is_waited_for_goes_on(tasks):
    """TimeoutError comes out of `Wait` alone; the future is none the worse."""

    def inner():
        yield Pause(0.05)
        return "done"

    def outer():
        future = yield Spawn(inner())
        with pytest.raises(TimeoutError):
            yield Wait(future, 0.001)
        return (yield Wait(future))

    assert run(outer(), tasks) == "done"


def test_what_a_flow_raises_is_its_futures(tasks):
    """The caller hears of it where it waits."""

    def failing():
        yield Load(lambda: 1 / 0)

    def outer():
        return (yield Wait((yield Spawn(failing()))))

    with pytest.raises(ZeroDivisionError):
        run(outer(), tasks)


def test_one_who_stops_waiting_leaves_the_future_alone(tasks):
    """A cancelled waiter cancels nobody's load, whether its leader is a thread or a task."""
    future: Future[str] = Future()

    def waiting():
        return (yield Wait(future))

    async def scene():
        first, second = (asyncio.create_task(async_drive(waiting(), None, tasks)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        threading.Timer(0.01, future.set_result, ("result",)).start()
        assert await second == "result"

    asyncio.run(asyncio.wait_for(scene(), PATIENCE))


def test_awaitables_of_any_kind_are_awaited(tasks):
    """A loader may give a coroutine, a future, a task, or a plain value."""

    async def value():
        return 1

    async def scene():
        ready = asyncio.get_running_loop().create_future()
        ready.set_result(1)
        for loader in (value, lambda: ready, lambda: asyncio.create_task(value()), lambda: 1):

            def flow(loader=loader):
                return (yield Load(loader))

            assert await async_drive(flow(), None, tasks) == 1

    asyncio.run(scene())


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_flow_whose_task_is_cancelled_hears_of_it(tasks, steps):
    """Also where its task has not begun: what the flow was given it can put in order."""
    heard = []

    def inner():
        try:
            yield Pause(60)
        except BaseException as error:
            heard.append(type(error))
            yield Pause(0)
            raise

    def outer():
        return (yield Spawn(inner()))

    async def scene():
        future = await async_drive(outer(), None, tasks)
        task = next(iter(tasks._tasks))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0)
        return future

    future = asyncio.run(asyncio.wait_for(scene(), PATIENCE))
    assert heard == [asyncio.CancelledError]
    with pytest.raises(concurrent.futures.CancelledError):
        future.result(0)


def test_a_closed_set_of_tasks_takes_no_more(tasks):
    """The caller is told, and the flow has not begun."""
    begun = []

    def inner():
        begun.append(1)
        yield Pause(0)

    def outer():
        yield Spawn(inner())

    tasks.close()
    with pytest.raises(TwoTierError, match="closed"):
        run(outer(), tasks)
    assert not begun


def test_what_a_closed_loop_left_is_let_go_of(tasks):
    """Tasks of a loop that was closed under them are stopped when the next flow is run, and hear of it."""
    heard = []

    def forever():
        try:
            yield Pause(3600)
        finally:
            heard.append(1)

    def outer():
        yield Spawn(forever())
        yield Pause(0)

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # "Task was destroyed but it is pending": it is
    loop.run_until_complete(async_drive(outer(), None, tasks))
    loop.close()
    assert not heard

    def another():
        yield Spawn(nothing())

    def nothing():
        yield Pause(0)

    run(another(), tasks)
    gc.collect()
    assert heard == [1]
