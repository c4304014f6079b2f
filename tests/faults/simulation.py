"""The real core (flows, store, recovery, link) over a server, a network and a clock that a test moves by hand.

Nothing runs by itself: each request, each reply and each chunk on a link is under way until it is told to arrive, or to
be lost. Over one connection bytes stay in order; across connections anything goes, a request that its caller has given
up on included.
"""

import itertools
from collections.abc import Iterator
from typing import Any

from fake_server import FakeServer

from twotier.clock import SECOND, ManualClock
from twotier.coherence.link import Confirmed, Link, Lost, Received, Renewed
from twotier.core.commands import Wait
from twotier.core.keys import as_bytes
from twotier.core.leases import TwoTier
from twotier.core.namespace import TwoTierNamespace
from twotier.errors import RemoteTimeout, RemoteUnavailable
from twotier.options import Options
from twotier.remote.conditional import Conditional
from twotier.resp import Reader

NAMESPACE = "sim"
KEYS = ("a", "b")


class SimulatedServer:
    """Runs commands one request at a time, keeps the history of each key, and publishes to the links."""

    def __init__(self) -> None:
        self.data: dict[bytes, bytes] = {}
        self.links: list[FakeServer] = []

    def run(self, wire: bytes) -> list[Any]:
        """Run every command of a request, and return the replies."""
        replies: list[Any] = []
        queued: list[list[bytes]] | None = None
        for command in Reader().feed(wire):
            if command[0] == b"MULTI":
                queued = []
                replies.append(b"OK")
            elif command[0] == b"EXEC":
                replies.append([self._one(*each) for each in queued or []])
                queued = None
            elif queued is not None:
                queued.append(command)
                replies.append(b"QUEUED")
            else:
                replies.append(self._one(*command))
        return replies

    def _one(self, name: bytes, *rest: bytes) -> Any:  # noqa: C901, PLR0911 - one case a command
        match name:
            case b"GET":
                return self.data.get(rest[0])
            case b"MGET":
                return [self.data.get(key) for key in rest]
            case b"PTTL":
                return -1 if rest[0] in self.data else -2
            case b"SET":
                if b"NX" in rest[2:] and rest[0] in self.data:
                    return None
                self.data[rest[0]] = rest[1]
                return b"OK"
            case b"UNLINK" | b"DEL":
                return sum(self.data.pop(key, None) is not None for key in rest)
            case b"PUBLISH":
                for link in self.links:
                    link.publish(*rest)
                return len(self.links)
            case b"WATCH" | b"UNWATCH":
                return b"OK"
            case b"PING":
                return b"PONG"
        raise AssertionError(f"the simulation knows no {name!r}")


class NoTopology:
    """Stands where there is nothing to connect to."""

    label = "the simulation"
    identity = "simulation"

    def pool(self) -> None:
        """Return nothing: the simulation carries requests itself."""


class Call:
    """A flow under way: its request, and the reply once the server has run it."""

    def __init__(self, process: "Process", flow: Any, key: str, write: str | None) -> None:
        self.process, self.flow, self.key, self.write = process, flow, key, write
        self.command: Any = None
        self.result: Any = None
        self.ran = self.done = self.in_doubt = False

    def advance(self, result: Any = None, error: BaseException | None = None) -> None:
        """Give the flow what it waits for, up to its next request that leaves the process."""
        self.ran = False
        try:
            while True:
                self.command = self.flow.send(result) if error is None else self.flow.throw(error)
                result = error = None
                if isinstance(self.command, Wait):
                    return
                if self.process.namespace.breaker.state == "closed":
                    return
                error = RemoteUnavailable("open")
        except StopIteration as end:
            self.done, self.result = True, end.value


class Process:
    """One process: the real namespace and flows, and a link whose bytes are carried by hand."""

    def __init__(self, server: SimulatedServer, clock: ManualClock) -> None:
        self.server = server
        self.namespace = SimulatedNamespace(NoTopology(), Options(namespace=NAMESPACE, ttl=None, clock=clock))
        self.namespace.executor = self
        self.namespace.breaker.on_open = None
        self.namespace.recovery.wake = lambda: None
        self.tiers = TwoTier(self.namespace)
        self.link = Link(clock, max_staleness=2.5)
        self.link.attach(self.namespace.subscriber)
        self.connection = FakeServer()
        self.connection.keys = server.data
        server.links.append(self.connection)
        self.reachable = True

    def run(self, command: Any, *, probing: bool = False) -> Any:  # noqa: ARG002 - as an executor
        """Run a command of recovery at once."""
        if not self.reachable:
            raise RemoteTimeout("unreachable")
        return carry(self.server, command)

    def recover(self) -> None:
        """Let recovery try once."""
        try:
            self.namespace.recovery._attempt()
        except RemoteTimeout:
            self.namespace.breaker.probe_failed()

    def connect(self) -> None:
        """Begin a new link if there is none."""
        if not self.link.up:
            self.connection.reconnect()
            self.link.connected()

    def disconnect(self) -> None:
        """Lose the link, and what was under way on it."""
        self.connection.reconnect()
        self._dispatch(self.link.disconnect("simulated"))

    def send(self) -> None:
        """Carry what the link has to say to the server."""
        self._dispatch(self.link.tick())
        if self.link.up:
            self.connection.take(self.link.outgoing())

    def hear(self, share: float = 1.0) -> None:
        """Carry part of what the server has sent to the link, in order."""
        if self.link.up:
            size = max(1, round(len(self.connection.out) * share))
            chunk, self.connection.out = self.connection.out[:size], self.connection.out[size:]
            if chunk:
                self._dispatch(self.link.receive(chunk))

    def fresh(self) -> Iterator[tuple[str, Any]]:
        """Yield the keys that a read would be answered for from here, and the values."""
        for key in KEYS:
            if key in self.namespace.store:
                yield key, self.namespace.store.get(key)

    def _dispatch(self, events: list[Any]) -> None:
        for event in events:
            match event:
                case Received(subscriber, payloads):
                    subscriber.received(payloads)
                case Confirmed(subscriber):
                    subscriber.confirmed()
                case Renewed(subscriber, lease_until, generation):
                    subscriber.renewed(lease_until, generation)
                case Lost(subscriber, reason):
                    subscriber.lost(reason)


class SimulatedNamespace(TwoTierNamespace):
    """A namespace without threads and connections."""

    def ensure_listening(self) -> None:
        """Do nothing: the simulation carries the link."""


def carry(server: SimulatedServer, command: Any) -> Any:
    """Run a command on the server, both steps if it has two, and return its result."""
    replies = server.run(command.wire)
    if isinstance(command, Conditional):
        command = command.decide(replies)
        replies = server.run(command.wire)
    return command.parse(replies)


class World:
    """Processes, a server, the requests under way, and the history that invariants are checked against."""

    def __init__(self, processes: int) -> None:
        self.clock = ManualClock()
        self.server = SimulatedServer()
        self.processes = [Process(self.server, self.clock) for _ in range(processes)]
        self.calls: list[Call] = []
        self.abandoned: list[Any] = []
        """Requests that their callers gave up on, which may still arrive."""
        self.history: dict[str, list[tuple[int, Any]]] = {key: [(0, None)] for key in KEYS}
        """What the server held under each key, and from when on."""
        self.acknowledged: dict[tuple[int, str], int] = {}
        """Where in the history a process's last acknowledged write of a key is."""
        self.doubts: list[tuple[str, str | None, int]] = []
        """Writes in doubt: the key, the value, and how long the history was."""
        self.written = 0

    def start(self, number: int, kind: str, key: str) -> None:
        """Begin an operation in a process."""
        process = self.processes[number]
        write = None
        if kind == "get":
            found = process.namespace.store.get(key, self)
            if found is not self:
                self.check_own(number, key, found)
                return
            flow = process.tiers.get(key)
        elif kind == "set":
            self.written += 1
            write = f"value {self.written}"
            flow = process.tiers.set(key, write, 1 << 62)
        elif kind == "delete":
            flow = process.tiers.delete_many((key,))
        else:
            flow = process.tiers.clear()
        call = Call(process, flow, key, write)
        call.kind, call.number = kind, number
        call.floor = self.acknowledged.get((number, key), 0)
        call.stale = process.namespace.counters.stale_served
        call.advance()
        self._note(call)

    def request_arrives(self, call: Call) -> None:
        """Let the server run the request."""
        if isinstance(call.command, Wait):
            if call.command.future.done():
                call.advance(call.command.future.result())
                self._note(call, known=True)
        elif not call.ran:
            call.reply, call.ran = carry(self.server, call.command), True
            self.record()

    def reply_arrives(self, call: Call) -> None:
        """Let the caller have its reply."""
        if call.ran:
            call.process.namespace.breaker.succeeded()
            call.advance(call.reply)
            self._note(call, known=True)

    def give_up(self, call: Call) -> None:
        """Let the caller's deadline pass; a request that is still under way may arrive later."""
        if isinstance(call.command, Wait):
            return
        if not call.ran:
            self.abandoned.append(call.command)
        call.in_doubt = True
        call.process.namespace.breaker.failed()
        call.advance(error=RemoteTimeout("simulated"))
        self._note(call, known=True)

    def late_arrival(self, position: int) -> None:
        """Let a request arrive that nobody waits for."""
        carry(self.server, self.abandoned.pop(position % len(self.abandoned)))
        self.record()

    def record(self) -> None:
        """Note what the server holds now."""
        for key in KEYS:
            value = self.current(key)
            if self.history[key][-1][1] != value:
                self.history[key].append((self.clock.now(), value))

    def current(self, key: str) -> Any:
        """Return what the server holds under a key, None for nothing."""
        namespace = self.processes[0].namespace
        name = self.server.data.get(namespace.generations.key)
        if name is None:
            return None
        place = namespace.generations.prefix_of(name) + as_bytes(key)
        data = self.server.data.get(place)
        return None if data is None else namespace.values.load(place, data).value

    def check_fresh(self) -> None:
        """Check I3: whatever is fresh was on the server at some moment within the bound."""
        now = self.clock.now()
        for process in self.processes:
            for key, value in process.fresh():
                past = self.history[key]
                ends = [later[0] for (_, held), later in itertools.pairwise(past) if held == value]
                assert past[-1][1] == value or (ends and now - max(ends) <= 2.5 * SECOND), (
                    f"{value!r} is fresh under {key!r}, and the server's history is {past}"
                )

    def check_own(self, number: int, key: str, value: Any, floor: int | None = None) -> None:
        """Check I5: nothing older than the process's own last acknowledged write is read."""
        floor = self.acknowledged.get((number, key), 0) if floor is None else floor
        held = [value for _, value in self.history[key]]
        assert value in held[floor:], f"read {value!r} of {key!r} after its own write {held[floor]!r}: {held}"

    def settle(self) -> None:  # noqa: C901 - one step after the other
        """Let everything arrive and everyone recover; then check I2 and I6."""
        for _ in range(100):
            for call in list(self.calls):
                self.request_arrives(call)
                self.reply_arrives(call)
            if not self.calls:
                break
        assert not self.calls, "a flow never ends"
        while self.abandoned:
            self.late_arrival(0)
        for process in self.processes:
            process.reachable = True
            process.connect()
            while process.namespace.breaker.state != "closed" or process.namespace.journal:
                process.recover()
        self.record()
        for _ in range(4):
            for process in self.processes:
                process.connect()
                process.send()
                process.hear()
            self.clock.advance(0.5)
        for process in self.processes:
            process.namespace.store.validate()
            assert process.link.state(process.namespace.subscriber) == "live"
            for key, value in process.fresh():
                assert value == self.current(key), f"{value!r} is fresh under {key!r}, not {self.current(key)!r}"
        for key, value, length in self.doubts:
            held, now = [each for _, each in self.history[key]], self.current(key)
            assert now is None or now == value or now in held[length:], f"{now!r} of before the outage stands: {held}"

    def _note(self, call: Call, *, known: bool = False) -> None:
        """Keep the books of a call: which are under way, what is acknowledged, what is in doubt."""
        if not call.done:
            if call not in self.calls:
                self.calls.append(call)
            return
        if call in self.calls:
            self.calls.remove(call)
        namespace = call.process.namespace
        if call.kind == "get":
            missed = not isinstance(call.result, str)
            if known and not missed and not call.in_doubt and namespace.counters.stale_served == call.stale:
                self.check_own(call.number, call.key, call.result, call.floor)
        elif call.kind == "set":
            held = [value for _, value in self.history[call.key]]
            if call.key in namespace.journal:
                self.doubts.append((call.key, call.write, len(held)))
            elif call.write in held:
                self.acknowledged[call.number, call.key] = held.index(call.write)
