"""Exceptions that arrive between any two lines of a call's flow: nothing that it took is lost, and nobody waits for it.

The flows are the real ones, on a simulated server: connections have tests of their own (`tests/servers/remote`).
"""

import asyncio
import contextlib
import contextvars
import itertools
from concurrent.futures import Future

import pytest
from interruptible import CALLS, StoppedError, assert_whole, make
from interrupts import every_line
from waiting import wait_for

from twotier.clock import NEVER
from twotier.core.flow.drive import drive_spawned, end
from twotier.core.flow.requests import Load, Spawn, Wait
from twotier.core.loading.call_policy import CallPolicy
from twotier.load_policy import LoadPolicy

FOLDER = "core/"


@pytest.fixture
def no_waits(monkeypatch):
    """Fail where a flow waits: nobody else is there who could end the wait."""

    def wait(self):
        pytest.fail(f"waits for {self.future}")
        yield

    monkeypatch.setattr(Wait, "spells", wait)


@pytest.mark.usefixtures("no_waits")
@pytest.mark.parametrize("name", CALLS)
def test_a_thread_may_be_interrupted_at_every_line(name):
    """Whatever was taken is given back, or left to recovery, and the key can be loaded at once."""

    def scene(interruption):
        one, other = make(name)
        raised = interruption.run(lambda: one.drive(CALLS[name](one)))
        assert_whole(one, other)
        assert interruption.where or raised is None
        del raised

    assert every_line(scene, FOLDER) > 20


@pytest.mark.usefixtures("no_waits")
@pytest.mark.parametrize("name", CALLS)
def test_a_task_may_be_interrupted_at_every_line(name):
    """As a thread; what raises is no interrupt, which would end the loop as well."""

    def scene(interruption):
        one, other = make(name)
        flow = one.load("a", lambda: one.adrive(one.load("b"))) if "within" in name else CALLS[name](one)
        raised = interruption.run(lambda: asyncio.run(one.adrive(flow)))
        assert_whole(one, other)
        assert interruption.where or raised is None
        del raised

    assert every_line(scene, FOLDER, StoppedError) > 20


@pytest.mark.usefixtures("no_waits")
@pytest.mark.parametrize("name", CALLS)
def test_a_task_may_be_cancelled_at_every_await(name):
    """After any number of turns of the loop; and its coroutine may be thrown away there."""

    async def cancelled(one, turns):
        task = asyncio.create_task(one.adrive(CALLS[name](one)))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    def thrown_away(one, turns):
        coroutine = one.adrive(CALLS[name](one))
        try:
            for _ in range(turns):
                coroutine.send(None)
        except StopIteration:
            return False
        coroutine.close()
        return True

    for stop in (lambda one, turns: asyncio.run(cancelled(one, turns)), thrown_away):
        for turns in itertools.count():
            one, other = make(name)
            stopped = stop(one, turns)
            assert_whole(one, other)
            if not stopped:
                break
        assert turns > 1


def leader(one, **settings):
    """Return a load under way, whose loader has been called, and what ends it."""
    flow = one.load("c", **settings)
    command = next(flow)
    while not isinstance(command, Load):
        command = flow.send(one.run(command))

    def end():
        with contextlib.suppress(StopIteration):
            command = flow.send("by the leader")
            while True:
                command = flow.send(one.run(command))

    return end


@pytest.mark.parametrize("name", ["get_or_set", "get_or_set_many", "refresh"])
def test_a_follower_may_be_interrupted_at_every_line(name, monkeypatch):
    """It leaves the flight that it followed as it is."""
    calls = {
        "get_or_set": lambda one: one.load("c"),
        "get_or_set_many": lambda one: one.load_many(("a", "b", "c")),
        "refresh": lambda one: one.loads.refresh("c", lambda: "loaded", CallPolicy(LoadPolicy(), NEVER)),
    }

    def scene(interruption):
        one, other = make("get_or_set")
        end = leader(one)

        def spells(_wait):
            end()
            yield 0.0

        monkeypatch.setattr(Wait, "spells", spells)
        raised = interruption.run(lambda: one.drive(calls[name](one)))
        end()
        assert_whole(one, other)
        assert interruption.where or raised is None
        del raised

    assert every_line(scene, FOLDER) > 20


@pytest.mark.parametrize("when_busy", ["wait", "stale", "shed"])
@pytest.mark.parametrize("name", ["get_or_set", "get_or_set_many"])
def test_a_caller_over_the_cap_may_be_interrupted_at_every_line(name, when_busy, monkeypatch):
    """It leaves the queue, and takes no place along."""

    def scene(interruption):
        one, other = make("get_or_set")
        gate = one.namespace.load_gate
        places = [gate.enter() for _ in range(gate.free)]

        def spells(_wait):
            places[0].leave()
            yield 0.0

        monkeypatch.setattr(Wait, "spells", spells)
        call = one.load("c", when_busy=when_busy)
        if name == "get_or_set_many":
            call = one.load_many(("c", "b"), when_busy=when_busy)
        raised = interruption.run(lambda: one.drive(call))
        for place in places:
            place.leave()
        assert_whole(one, other)
        assert interruption.where or raised is None or when_busy == "shed"
        del raised

    assert every_line(scene, FOLDER) > 20


BEHIND = {
    "hard_timeout": lambda one: one.load("c", hard_timeout=30.0),
    "soft_timeout": lambda one: one.load("c", soft_timeout=30.0),
    "many, hard_timeout": lambda one: one.load_many(("b", "c"), hard_timeout=30.0),
    "early refresh": lambda one: one.loads.refresh_ahead("b", lambda: "loaded", CallPolicy(LoadPolicy(), NEVER)),
}


@pytest.mark.parametrize("name", BEHIND)
def test_a_caller_of_the_background_may_be_interrupted_at_every_line(name):
    """What has begun in the background ends, what hasn't is given back."""

    def scene(interruption):
        one, other = make("behind")
        raised = interruption.run(lambda: one.drive(BEHIND[name](one)))
        background = one.namespace.background
        wait_for(
            lambda: not background._queue and background._idle == len(background._threads), "the background is idle"
        )
        assert_whole(one, other)
        background.close()
        assert interruption.where or raised is None
        del raised

    assert every_line(scene, FOLDER) > 20


@pytest.mark.usefixtures("no_waits")
@pytest.mark.parametrize("name", BEHIND)
def test_a_flow_in_the_background_may_be_interrupted_at_every_line(name):
    """Its thread gives back what its caller took for it."""

    def scene(interruption):
        one, other = make("behind")
        spawned = []

        def step(flow):
            command = next(flow)
            while not isinstance(command, Spawn):
                command = flow.send(one.run(command))
            spawned.append(command)
            flow.send(Future())

        with contextlib.suppress(StopIteration):
            step(BEHIND[name](one))
        background = one.namespace.background
        raised = interruption.run(lambda: contextvars.copy_context().run(drive_spawned, *spawned, one, background))
        end(*spawned)  # where not even its thread has begun to run it; signals go to the main thread alone
        assert_whole(one, other)
        assert interruption.where or raised is None
        del raised

    assert every_line(scene, FOLDER) > 20
