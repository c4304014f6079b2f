"""One process of the simulation: the real namespace and flows, and a link whose bytes are carried by hand."""

from collections.abc import Iterator
from typing import Any

from fake_server import FakeServer
from simulated_server import Request, SimulatedServer

from twotier.clock import ManualClock
from twotier.coherence.link import Confirmed, Link, Lost, Received, Renewed
from twotier.core.flow.requests import Load, Pause, Wait
from twotier.core.loading.load_locks import TwoTier
from twotier.core.namespace.namespace import TwoTierNamespace
from twotier.errors import RemoteError, RemoteTimeout, RemoteUnavailable
from twotier.options import Options

NAMESPACE = "sim"
KEYS = ("a", "b", "c")
OURS = KEYS[:2]
"""Keys that are written to the cache; the last one's truth is in a source, and its cached value is deleted with it."""


class NoTopology:
    """Stands where there is nothing to connect to."""

    label = "the simulation"
    identity = "simulation"
    slotted = False

    def suited(self, options: Options) -> Options:
        """Return `options` as they are."""
        return options

    def pool(self) -> None:
        """Return nothing: the simulation carries requests itself."""

    def owner(self, _slot: int) -> None:
        """Return what stands for the one server."""

    def replica_pool(self) -> None:
        """Return nothing, as above."""

    def on_change(self, _concerned: object) -> None:
        """Do nothing: it stays the one server."""

    def after_fork(self) -> None:
        """Do nothing: no connection is inherited."""


class SimulatedNamespace(TwoTierNamespace):
    """A namespace without threads and connections."""

    def ensure_listening(self) -> None:
        """Do nothing: the simulation carries the link."""


class SourceError(Exception):
    """The source can't be read."""


class Call:
    """A flow under way: what it waits for, and the answer once there is one."""

    def __init__(self, process: "Process", flow: Any) -> None:
        self.process, self.flow = process, flow
        self.command: Any = None
        self.request: Request | None = None
        """What is on its way to the server, or answered there."""
        self.loaded: Any = None
        """What a loader has read and not returned yet."""
        self.result: Any = None
        self.done = self.in_doubt = False

    def advance(self, result: Any = None, error: BaseException | None = None) -> None:
        """Give the flow what it waits for, up to the next thing that takes time."""
        self.request = self.loaded = None
        try:
            while True:
                self.command = self.flow.send(result) if error is None else self.flow.throw(error)
                result = error = None
                if isinstance(self.command, Wait | Load | Pause):
                    return
                if self.process.namespace.breaker.state == "closed":
                    self.request = Request(self.command)
                    return
                error = RemoteUnavailable("open")
        except StopIteration as end:
            self.done, self.result = True, end.value
        except SourceError:
            self.done = True


class Process:
    """A namespace, its flows, and its link."""

    def __init__(self, server: SimulatedServer, clock: ManualClock) -> None:
        self.server, self.clock = server, clock
        self.reachable = True
        options = Options(namespace=NAMESPACE, ttl=None, clock=clock, load_lease=1.0)
        self.namespace = SimulatedNamespace(NoTopology(), options)
        self.tiers = TwoTier(self.namespace)
        self._wire()

    def fork(self) -> "Process":
        """Go on as the forked child; return the parent, with its identity and journal, all else lost in the moment.

        The child inherits the local tier itself: it is its epoch and lease that this is about.
        """
        parent = Process(self.server, self.clock)
        parent.namespace.op_ids = self.namespace.op_ids
        parent.namespace.journal = self.namespace.journal
        parent.namespace.late = self.namespace.late
        self.server.links.remove(self.connection)
        self.namespace.after_fork()
        self._wire()
        return parent

    def _wire(self) -> None:
        """Put the simulation in the place of executor, threads and link."""
        namespace = self.namespace
        namespace.executor = self
        namespace.breaker.on_open = None
        namespace.recovery.wake = lambda: None
        namespace.sweep.wake = lambda **_: None
        self.link = Link(self.clock, max_staleness=2.5)
        self.link.attach(namespace.subscriber)
        self.connection = FakeServer()
        self.connection.keys = self.server.data
        self.server.links.append(self.connection)

    def run(self, command: Any, *, probing: bool = False) -> Any:  # noqa: ARG002 - as an executor
        """Run a command of recovery at once."""
        if not self.reachable:
            raise RemoteTimeout("unreachable")
        request = Request(command)
        while request.replies is None:
            request.run(self.server)
        return request.result()

    def recover(self) -> None:
        """Let recovery try once."""
        try:
            self.namespace.recovery._attempt()
        except RemoteError:
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

    @property
    def live(self) -> bool:
        """Tell whether the link is live."""
        return self.link.state(self.namespace.subscriber) == "live"

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
