"""Exceptions that arrive between any two lines of a call's flow: nothing that it took is lost, and nobody waits for it.

The flows are the real ones, on a simulated server: connections have tests of their own (`tests/remote`).
"""

import asyncio
import contextlib
import contextvars
import itertools
from concurrent.futures import Future

import pytest
from interrupts import every_line
from simulated_process import KEYS, Process
from simulated_server import SimulatedServer
from waiting import wait_for

from twotier.clock import NEVER, SECOND, ManualClock
from twotier.core import blocking, singleflight
from twotier.core.async_drive import async_drive
from twotier.core.commands import Load, Spawn, Wait
from twotier.core.drive import drive, drive_spawned, end
from twotier.core.keys import as_bytes
from twotier.core.loading.bulk import Loads
from twotier.core.loading.terms import Terms
from twotier.core.missing import MISSING
from twotier.load_policy import LoadPolicy

FOLDER = "core/"
TAG = "tag"


class Interruptible(Process):
    """A process that is live, whose flows run on this thread: an executor for threads, and one for tasks."""

    def __init__(self, server, clock):
        super().__init__(server, clock)
        self.listen()
        self.loads = Loads(self.tiers, self.namespace)

    def listen(self):
        """Be live, and hear of everything."""
        for _ in range(4):
            self.connect()
            self.send()
            self.hear()
        assert self.live

    def drive(self, flow):
        """Run a flow to its end, as a thread does."""
        return drive(flow, self, self.namespace.background)

    async def adrive(self, flow):
        """Run a flow to its end, as a task does; each command lets other tasks run twice."""
        return await async_drive(flow, Awaited(self), self.namespace.tasks)

    def load(self, key="a", loader=lambda: "loaded", ttl=NEVER, **policy):
        """Return the flow of a load."""
        return self.loads.get_or_set(key, loader, Terms(LoadPolicy(**policy), ttl))

    def load_many(self, keys=("a", "b"), **policy):
        """Return the flow of a bulk load."""
        terms = Terms(LoadPolicy(**policy), NEVER, (TAG,))
        return self.loads.get_or_set_many(keys, lambda missing: dict.fromkeys(missing, "loaded"), terms)

    def load_within(self):
        """Return the flow of a load whose loader loads another key."""
        return self.load("a", lambda: self.drive(self.load("b")))

    def refresh(self, **policy):
        """Return the flow of a refresh."""
        return self.loads.refresh("a", lambda: "loaded", Terms(LoadPolicy(**policy), NEVER))


class Awaited:
    """The executor of tasks."""

    def __init__(self, process):
        self._process = process

    async def run(self, command):
        """Run a command between two turns of the loop."""
        await asyncio.sleep(0)
        result = self._process.run(command)
        await asyncio.sleep(0)
        return result


class StoppedError(Exception):
    """What arrives on a loop's thread: a loop ends with anything that is no Exception."""


CALLS = {
    "get": lambda one: one.tiers.get("a"),
    "get_many": lambda one: one.tiers.get_many(["a", "b", "c"]),
    "set": lambda one: one.tiers.set("a", "new", NEVER),
    "set, tagged": lambda one: one.tiers.set("a", "new", NEVER, tags=(TAG,)),
    "set_many": lambda one: one.tiers.set_many({"a": "new", "b": "new"}, NEVER, tags=(TAG,)),
    "add": lambda one: one.tiers.set("c", "new", NEVER, absent=True),
    "incr": lambda one: one.tiers.incr("c", 1, NEVER, create=True),
    "delete": lambda one: one.tiers.delete_many(["a"]),
    "invalidate": lambda one: one.tiers.delete_many(["a"], kept=True),
    "touch": lambda one: one.tiers.touch("a", 60 * SECOND),
    "invalidate_tag": lambda one: one.tiers.invalidate_tags([TAG]),
    "clear": lambda one: one.tiers.clear(),
    "get_or_set, there": lambda one: one.load("a"),
    "get_or_set": lambda one: one.load("c"),
    "get_or_set, stored nowhere": lambda one: one.load("c", ttl=0),
    "get_or_set, negative": lambda one: one.load("c", negative_ttl=60.0),
    "get_or_set, within another": lambda one: one.load_within(),
    "get_or_set_many": lambda one: one.load_many(("a", "b", "c")),
    "refresh": lambda one: one.refresh(),
}
SUSPECT = {"get", "get_or_set, there", "get_or_set, within another"}
"""Calls of keys of which a suspect is held."""

LOADS = ["get", "set, tagged", *(name for name in CALLS if name.startswith("get_or_set") or name == "refresh")]


def make(name):
    """Return a process that knows the generation and holds two keys, and one that holds nothing."""
    clock = ManualClock()
    server = SimulatedServer(clock, [as_bytes(key) for key in KEYS])
    one, other = Interruptible(server, clock), Interruptible(server, clock)
    one.drive(one.tiers.set("a", "old", NEVER, tags=(TAG,)))
    one.drive(one.tiers.set("b", "old", NEVER))
    if name == "behind":
        one.drive(one.tiers.set("c", "gone there", NEVER))
        server.data = {key: data for key, data in server.data.items() if not key.endswith(b":c")}
        one.namespace.bump_epoch()
    elif name in SUSPECT:
        one.namespace.bump_epoch()
    elif "get" in name:
        one.namespace.store.clear()
    return one, other


def assert_whole(one, other):
    """Assert that nothing is taken any more, and that nothing older than what the server has is fresh."""
    namespace = one.namespace
    assert not namespace.flights._flights
    assert not namespace.fetches._flights
    assert namespace.load_gate.free == namespace.options.max_concurrent_loads
    assert not namespace.attempts._under_way
    assert not singleflight.inside_loader()
    assert singleflight._within.get() == ()
    assert not blocking.holds_up_a_loop()
    for _ in range(100):
        if not namespace.journal and not namespace.claims and namespace.breaker.state == "closed":
            break
        one.recover()
        one.clock.advance(0.1)
    assert not namespace.journal
    assert not [key for key in one.server.data if b"!" in key], "a lease was left"
    one.listen()
    other.listen()
    for key in KEYS:
        there = other.drive(other.tiers.get(key))
        held = namespace.store.get(key, MISSING)
        assert held is MISSING or held == there, f"{held!r} is fresh under {key!r}, and the server has {there!r}"
    for key in KEYS:
        assert one.drive(one.load(key)) is not None


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
@pytest.mark.parametrize("name", LOADS)
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
        "refresh": lambda one: one.loads.refresh("c", lambda: "loaded", Terms(LoadPolicy(), NEVER)),
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
    "early refresh": lambda one: one.loads.refresh_ahead("b", lambda: "loaded", Terms(LoadPolicy(), NEVER)),
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
