"""A process whose flows may be interrupted anywhere, the calls that are, and what must hold afterwards.

The flows are the real ones, on a simulated server.
"""

import asyncio

from simulated_process import KEYS, Process
from simulated_server import SimulatedServer

from twotier.clock import NEVER, SECOND, ManualClock
from twotier.core.access.keys import as_bytes
from twotier.core.access.missing import MISSING
from twotier.core.access.write_through import TwoTierThrough
from twotier.core.flow import blocking
from twotier.core.flow.async_drive import async_drive
from twotier.core.flow.drive import drive
from twotier.core.loading import single_flight
from twotier.core.loading.call_policy import CallPolicy
from twotier.core.loading.load_many import Loads
from twotier.load_policy import LoadPolicy

TAG = "tag"


class Interruptible(Process):
    """A process that is live, whose flows run on this thread: an executor for threads, and one for tasks."""

    def __init__(self, server, clock):
        super().__init__(server, clock)
        self.listen()
        self.loads = Loads(self.tiers, self.namespace)
        self.source = {}
        self.through = TwoTierThrough(self.namespace, Source(self.source))

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
        return self.loads.get_or_set(key, loader, CallPolicy(LoadPolicy(**policy), ttl))

    def load_many(self, keys=("a", "b"), **policy):
        """Return the flow of a bulk load."""
        terms = CallPolicy(LoadPolicy(**policy), NEVER, (TAG,))
        return self.loads.get_or_set_many(keys, lambda missing: dict.fromkeys(missing, "loaded"), terms)

    def load_within(self):
        """Return the flow of a load whose loader loads another key."""
        return self.load("a", lambda: self.drive(self.load("b")))

    def refused(self):
        """Return the flow of a write that the source refuses."""
        try:
            yield from TwoTierThrough(self.namespace, Source(None)).put_through({"a": "new"}, NEVER)
        except RefusedError:
            return

    def refresh(self, **policy):
        """Return the flow of a refresh."""
        return self.loads.refresh("a", lambda: "loaded", CallPolicy(LoadPolicy(**policy), NEVER))


class RefusedError(Exception):
    """The source takes nothing."""


class Source:
    """Rows in a dict; without one, a source that refuses."""

    def __init__(self, rows):
        self._rows = rows

    def write(self, values):
        """Put rows."""
        if self._rows is None:
            raise RefusedError
        self._rows.update(values)

    def delete(self, keys):
        """Remove rows."""
        for key in keys:
            self._rows[key] = MISSING


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
    "set, written through": lambda one: one.through.put_through({"a": "new"}, NEVER),
    "set_many, written through": lambda one: one.through.put_through({"a": 1, "b": 1}, NEVER, tags=(TAG,)),
    "set, written through, without life": lambda one: one.through.put_through({"a": "new"}, 0),
    "set, refused by the source": lambda one: one.refused(),
    "delete, written through": lambda one: one.through.remove_through(["a", "b"]),
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


def assert_no_tag_is_held(index):
    """Assert that no key is held, and that no key is noted that nobody looks at again."""
    assert not index._pins
    assert set(index._turns) >= set(index._tags)
    assert len(index._turns) <= len(KEYS)
    assert {(tag, key) for tag, keys in index._keys.items() for key in keys} <= {
        (tag, key) for key, tags in index._tags.items() for tag in tags
    }


def assert_whole(one, other):
    """Assert that nothing is taken any more, and that nothing older than what the server has is fresh."""
    namespace = one.namespace
    assert not namespace.flights._flights
    assert not namespace.fetches._flights
    assert namespace.load_gate.free == namespace.options.max_concurrent_loads
    assert not namespace.attempts._under_way
    assert not namespace.claims.under_way
    assert not one.through._overlaps._keys
    assert_no_tag_is_held(namespace.tags)
    assert not single_flight.inside_loader()
    assert single_flight._within.get() == ()
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
        row = one.source.get(key, there)
        assert there is MISSING or there == row, f"the server has {there!r} under {key!r}, and the source {row!r}"
    for key in KEYS:
        assert one.drive(one.load(key)) is not None
