"""Two nodes of a cluster, and processes on them: real flows and routes; a test carries trips and pushes by hand."""

import math
from collections import defaultdict
from typing import Any

from simulated_process import NoTopology, SimulatedNamespace
from simulated_server import SimulatedServer

from twotier.clock import NEVER, ManualClock
from twotier.coherence.subscriber import NOT_ASKED
from twotier.core.access.missing import MISSING
from twotier.core.flow.requests import Load, Pause, Wait
from twotier.core.loading.call_policy import CallPolicy
from twotier.core.loading.load_locks import TwoTier
from twotier.core.loading.load_many import Loads
from twotier.core.namespace.cluster_generations import GROUP_SLOTS
from twotier.errors import RemoteError, RemoteTimeout
from twotier.load_policy import LoadPolicy
from twotier.options import Options
from twotier.remote.cluster.route import Trip, route
from twotier.remote.commands.conditional import Conditional
from twotier.remote.commands.slot_map import Node
from twotier.remote.hash_slots import SLOTS, slot_of, tag_of

NODES = (Node("low", 1), Node("high", 2))
BORDER = SLOTS // 2 + GROUP_SLOTS // 2
"""The first slot of the second node: its group's generation is on the first."""
KEYS = tuple(tag_of(slot).decode() for slot in (0, 1, 6400, BORDER - 1, BORDER, SLOTS - 1))


class Topology(NoTopology):
    """Slots, and nothing to connect to."""

    slotted = True

    def owner(self, slot: int) -> Node:
        """Return the node that serves `slot`."""
        return NODES[slot >= BORDER]


class SimulatedNode(SimulatedServer):
    """A node: says what was changed to those that hear it."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock, ())
        self.lost = False
        self.ears: list[list[bytes]] = []

    def _changed(self, key: bytes) -> None:
        super()._changed(key)
        for ear in self.ears:
            ear.append(key)


class Way:
    """A trip under way to a node, in one step or two; `result` is what it has come to."""

    def __init__(self, trip: Trip, node: SimulatedNode) -> None:
        self._command, self._node = trip.command, node
        self._watched: dict[bytes, int] = {}
        self.result: Any = None
        self.over = False

    def go(self, *, unheard: bool = False) -> None:
        """Let one step take place; `unheard`: and its reply be lost."""
        if self._node.lost:
            return self._end(RemoteTimeout("lost"))
        replies = self._node.run(self._command.wire, self._watched)
        if unheard:
            return self._end(RemoteTimeout("no reply"))
        try:
            if not isinstance(self._command, Conditional):
                return self._end(self._command.parse(replies))
            self._watched = {key: self._node.changes[key] for key in getattr(self._command, "leases", ())}
            self._command = self._command.decide(replies)
        except RemoteError as error:
            self._end(error)
        return None

    def _end(self, result: Any) -> None:
        self.result, self.over = result, True


class ClusterCall:
    """A flow under way, and the trips of the round that it waits for."""

    def __init__(self, world: "ClusterWorld", flow: Any, load: Any = None) -> None:
        self._world, self._flow, self._load = world, flow, load
        self._route: Any = None
        self._paused = False
        self.ways: list[Way] = []
        self.done = False
        self.result: Any = None
        self._advance()

    def go(self, at: int = 0, *, unheard: bool = False) -> None:
        """Take a step: of one of the trips, or of what else is waited for."""
        if self._paused:
            self._paused = False
            self._advance()
            return
        ways = [way for way in self.ways if not way.over]
        ways[at % len(ways)].go(unheard=unheard)
        if all(way.over for way in self.ways):
            self._round(lambda: self._route.send([way.result for way in self.ways]))

    def _advance(self, result: Any = None, error: BaseException | None = None) -> None:
        try:
            command = self._flow.send(result) if error is None else self._flow.throw(error)
        except StopIteration as end:
            self.done, self.result, self.ways = True, end.value, []
            return
        if isinstance(command, Load):
            self._advance(self._load())
        elif isinstance(command, Pause | Wait):
            assert isinstance(command, Pause), "nobody else loads in this process"
            self._paused, self.ways = True, []
        else:
            self._route = route(self._world, command, math.inf)
            self._round(lambda: next(self._route))

    def _round(self, step: Any) -> None:
        try:
            self.ways = [Way(trip, self._world.nodes[trip.node]) for trip in step().trips]
        except StopIteration as end:
            self._advance(end.value)
        except RemoteError as error:
            self._advance(error=error)


class ClusterProcess:
    """A namespace, its flows, and what it hears of each node."""

    def __init__(self, world: "ClusterWorld") -> None:
        self._world = world
        options = Options(namespace="sim", ttl=None, clock=world.clock, coherence="tracking", load_lease=1.0)
        self.namespace = SimulatedNamespace(Topology(), options)
        self.namespace.executor = self
        self.namespace.recovery.wake = lambda: None
        self.namespace.sweep.wake = lambda **_: None
        self.tiers = TwoTier(self.namespace)
        self.loads = Loads(self.tiers, self.namespace)
        self.ears: dict[Node, list[bytes]] = {}
        for node in NODES:
            self.listen(node)

    def run(self, command: Any, *, probing: bool = False) -> Any:  # noqa: ARG002 - as an executor
        """Run a command of recovery at once."""
        way = route(self._world, command, math.inf)
        try:
            step = next(way)
            while True:
                trips = [Way(trip, self._world.nodes[trip.node]) for trip in step.trips]
                for trip in trips:
                    while not trip.over:
                        trip.go()
                step = way.send([trip.result for trip in trips])
        except StopIteration as end:
            return end.value

    def listen(self, node: Node) -> None:
        """Hear of a node from now on; live when all are heard."""
        self.ears[node] = []
        self._world.nodes[node].ears.append(self.ears[node])
        self.namespace.subscriber.confirmed()
        if len(self.ears) == len(NODES):
            self.namespace.subscriber.renewed(NEVER, NOT_ASKED)

    def deafen(self, node: Node) -> None:
        """Hear no more of a node, also of what was on its way."""
        self._world.nodes[node].ears.remove(self.ears.pop(node))
        self.namespace.subscriber.lost("simulated")

    def hear(self, node: Node, count: int) -> None:
        """Take some of what a node has said."""
        if ear := self.ears.get(node):
            heard = ear[:count]
            del ear[:count]
            self.namespace.subscriber.received(heard)

    def recover(self) -> bool:
        """Replay what can be; tell whether all was."""
        try:
            self.namespace.recovery._attempt()
        except RemoteError:
            return False
        return not self.namespace.journal

    def fresh(self) -> dict[str, Any]:
        """Return what a read would be answered with from here."""
        return {key: self.namespace.store.get(key) for key in KEYS if key in self.namespace.store}


class ClusterWorld:
    """Two nodes, two processes, and the calls under way."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.nodes = {node: SimulatedNode(self.clock) for node in NODES}
        self.processes = [ClusterProcess(self) for _ in range(2)]
        self.calls: list[ClusterCall] = []
        self.count = 0
        self.written: dict[str, list[ClusterCall]] = defaultdict(list)
        """Values, and the calls that write them."""
        self.dead: set[str] = set()
        """Values whose writes were over before a clear began."""
        self.standing: dict[str, Any] = {}
        """What must stand in the end, by key: written when nothing else was under way, and nothing after it."""

    # An atlas

    def owner(self, slot: int) -> Node:
        """Return the node of a slot."""
        return NODES[slot >= BORDER]

    def primaries(self) -> list[Node]:
        """Return the nodes."""
        return list(NODES)

    def moved(self, slot: int, node: Node) -> None:
        """Do nothing: no slot moves."""

    # What happens

    def start(self, number: int, kind: str, key: str) -> ClusterCall:
        """Begin a call of a process."""
        process = self.processes[number]
        value = self._value()
        alone = not self.calls
        if kind == "clear":
            self.dead |= {value for value, calls in self.written.items() if all(call.done for call in calls)}
            self.standing = {}
        else:
            for each in KEYS if kind == "set_many" else (key,):
                self.standing.pop(each, None)
        call = ClusterCall(self, self._flow(process, kind, key, value), load=lambda: value)
        if kind in {"set", "set_many", "load"}:
            self.written[value].append(call)
        if kind in {"set", "set_many"} and alone and not any(process.namespace.journal for process in self.processes):
            self.standing.update(dict.fromkeys(KEYS if kind == "set_many" else (key,), value))
        self._note(call)
        return call

    def _value(self) -> str:
        self.count += 1
        return f"value {self.count}"

    def _flow(self, process: ClusterProcess, kind: str, key: str, value: str) -> Any:
        tiers = process.tiers
        flows = {
            "set": lambda: tiers.set(key, value, NEVER),
            "set_many": lambda: tiers.set_many(dict.fromkeys(KEYS, value), NEVER),
            "get": lambda: tiers.get(key),
            "get_many": lambda: tiers.get_many(KEYS),
            "delete": lambda: tiers.delete_many([key]),
            "load": lambda: process.loads.get_or_set(key, lambda: None, CallPolicy(LoadPolicy(), NEVER)),
            "clear": tiers.clear,
        }
        return flows[kind]()

    def go(self, number: int, at: int, *, unheard: bool = False) -> None:
        """Take a step of one of the calls."""
        if self.calls:
            call = self.calls[number % len(self.calls)]
            if unheard:
                self.standing = {}
            call.go(at, unheard=unheard)
            self._note(call)

    def lose(self, node: Node) -> None:
        """Lose a node; its data is there when it is back."""
        if not self.nodes[node].lost:
            self.standing = {}
            self.nodes[node].lost = True
            for process in self.processes:
                process.deafen(node)

    def restore(self, node: Node) -> None:
        """Have a node back."""
        if self.nodes[node].lost:
            self.nodes[node].lost = False
            for process in self.processes:
                process.listen(node)

    def settle(self) -> None:
        """Let everything arrive and everybody recover; then check what must hold."""
        for node in NODES:
            self.restore(node)
        for _ in range(3000):
            if not self.calls:
                break
            self.go(0, 0)
            self.clock.advance(0.05)
        assert not self.calls, "a flow never ends"
        for process in self.processes:
            assert process.recover(), "what is in doubt is made good"
        for process in self.processes:
            for node in NODES:
                process.hear(node, 10**6)
        self._check()

    def current(self, key: str) -> Any:
        """Return what the cluster holds under a key; None for nothing."""
        namespace = self.processes[0].namespace
        generations = namespace.generations
        name_key = generations.keys[generations.group_of(key)]
        name = self.nodes[self.owner(slot_of(name_key))].data.get(name_key)
        if name is None:
            return None
        (place,) = generations.places_under(generations.prefix_of(name), [key])
        data = self.nodes[self.owner(slot_of(place))].data.get(place)
        return None if data is None else namespace.values.load(place, data).value

    def _check(self) -> None:
        for process in self.processes:
            process.namespace.store.validate()
            for key, value in process.fresh().items():
                assert value == self.current(key), f"{value!r} is fresh under {key!r}, not {self.current(key)!r}"
        for key in KEYS:
            assert self.current(key) not in self.dead, f"{self.current(key)!r} of before a clear stands under {key!r}"
        for key, value in self.standing.items():
            assert self.current(key) == value, f"{value!r} was written under {key!r} last, not {self.current(key)!r}"
        for process in self.processes:
            for key in KEYS:
                call = ClusterCall(self, process.tiers.get(key))
                while not call.done:
                    call.go()
                found = None if call.result is MISSING else call.result
                assert found == self.current(key), f"{found!r} is read under {key!r}, not {self.current(key)!r}"

    def _note(self, call: ClusterCall) -> None:
        if call.done and call in self.calls:
            self.calls.remove(call)
        elif not call.done and call not in self.calls:
            self.calls.append(call)
