"""How a command finds its nodes: a generator that yields rounds of trips and is sent their results.

The map says who serves a slot; where it is out of date the nodes say so (MOVED: for good, ASK: for this once), and the
part goes again. Nothing that was redirected has taken place. What fails otherwise isn't tried again: a write may have
taken place. A round's trips go to different nodes, so the executor may make them at once.
"""

import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple, Protocol

from twotier.errors import RemoteError, RemoteUnavailable
from twotier.remote.cluster.asking import Asking, AskingConditional
from twotier.remote.cluster.plan import Part, Plan, plan
from twotier.remote.cluster.slotmap import Node
from twotier.remote.cluster.slots import slot_of
from twotier.remote.cluster.together import Together
from twotier.remote.commands import Ping
from twotier.remote.conditional import Conditional
from twotier.remote.fenced import Done, Fenced, generation_in
from twotier.remote.held import PutHeld
from twotier.remote.refusals import MovingError, RedirectionError
from twotier.remote.replicas import Acknowledged, Replicated
from twotier.resp import pack

MOST_ROUNDS: Final = 16
"""How often a part is sent on, or sent again since its slot is being moved, before that is an error."""
MOVING_PAUSE: Final = 0.01
"""Pause before a part whose keys are on two nodes is sent again (s)."""


class Trip(NamedTuple):
    """One command for one node."""

    node: Node
    command: Any


class Round(NamedTuple):
    """Trips to make, after a pause (s). The answer is a list: for each trip its result, or the RemoteError raised."""

    trips: list[Trip]
    pause: float = 0.0


Route = Generator[Round, list[Any], Any]


class Atlas(Protocol):
    """Who serves what, as far as is known."""

    def owner(self, slot: int) -> Node | None:
        """Return the primary of `slot`; None where there is none."""
        ...

    def primaries(self) -> list[Node]:
        """Return the primaries."""
        ...

    def moved(self, slot: int, node: Node) -> None:
        """Note that `node` serves `slot`, as another node has said."""
        ...


def route(atlas: Atlas, command: Any, deadline: float) -> Route:
    """Run `command` on the nodes that its keys are on, until `deadline` (of `time.monotonic`); return its result."""
    key = _fence(command)
    if key is not None:
        result = yield from _run(atlas, plan(command), deadline)
        look = Plan([Part(slot_of(key), _ReadGeneration(key))], lambda results: results[0])
        generation = yield from _run(atlas, look, deadline)
        if isinstance(result, Acknowledged):
            return Acknowledged(Done(result.result, generation), result.replicas)
        return Done(result, generation)
    if isinstance(command, Ping):
        for answer in (yield Round([Trip(node, command) for node in atlas.primaries()])):
            if isinstance(answer, RemoteError):
                raise answer
        return None
    return (yield from _run(atlas, plan(command), deadline))


def _fence(command: Any) -> bytes | None:
    """Return the key of the generation that is to be looked at after `command`, if one is."""
    write = command.write if isinstance(command, Replicated) else command
    return write.generation_key if isinstance(write, Fenced | PutHeld) else None


@dataclass(frozen=True, slots=True)
class _ReadGeneration:
    """Read the namespace's generation, which seldom shares a slot with what was written."""

    key: bytes
    replies: ClassVar[int] = 1

    @property
    def wire(self) -> bytes:
        """GET."""
        return pack(b"GET", self.key)

    def parse(self, replies: list[Any]) -> bytes | None:
        """Return the generation, None without one."""
        return generation_in(replies[0])


class _Sent(NamedTuple):
    """A part on its way: its place among the parts, and a node that its slot's owner has sent it on to."""

    number: int
    part: Part
    asked: Node | None = None


def _run(atlas: Atlas, whole: Plan, deadline: float) -> Route:
    """Run every part; raise the first error once all have been tried, so that no part is left out by another's."""
    under_way = _UnderWay(atlas, whole.parts)
    for _ in range(MOST_ROUNDS):
        trips = under_way.trips()
        if trips:
            under_way.take((yield Round([trip for trip, _ in trips], under_way.pause)), trips)
        if not under_way.left or time.monotonic() + under_way.pause >= deadline:
            break
    return whole.join(under_way.outcome())


class _UnderWay:
    """The parts of one command: what is left to be sent, and what has come back."""

    def __init__(self, atlas: Atlas, parts: list[Part]) -> None:
        self._atlas = atlas
        self._results: list[Any] = [None] * len(parts)
        self._failure: RemoteError | None = None
        self.left = [_Sent(number, part) for number, part in enumerate(parts)]
        self.pause = 0.0
        """Before what is left is sent (s)."""

    def trips(self) -> list[tuple[Trip, list[_Sent]]]:
        """Return the trips for what is left, and which parts go with each."""
        groups: dict[Node | None, list[_Sent]] = {}
        for sent in self.left:
            groups.setdefault(sent.asked or self._atlas.owner(sent.part.slot), []).append(sent)
        if groups.pop(None, None):
            self._failure = RemoteUnavailable("no node of the cluster serves the slot")
        self.left = []
        return [each for node, group in groups.items() if node is not None for each in _trips(node, group)]

    def take(self, answers: list[Any], trips: list[tuple[Trip, list[_Sent]]]) -> None:
        """Take what the trips have come to."""
        self.pause = 0.0
        for (trip, aboard), answer in zip(trips, answers, strict=True):
            for sent, result in zip(aboard, _each(answer, len(aboard)), strict=True):
                self._take_one(trip.node, sent, result)

    def outcome(self) -> list[Any]:
        """Return the results of all parts, or raise what went wrong."""
        if self._failure is None and self.left:
            self._failure = RemoteUnavailable("the cluster is moving the keys, and sent us from node to node")
        if self._failure is not None:
            raise self._failure
        return self._results

    def _take_one(self, node: Node, sent: _Sent, result: Any) -> None:
        match result:
            case RedirectionError():
                target = Node(result.host or node.host, result.port)  # without a host: the one that said so
                if not result.asking:
                    self._atlas.moved(result.slot, target)
                self.left.append(sent._replace(asked=target if result.asking else None))
            case MovingError():
                self.left.append(sent)
                self.pause = MOVING_PAUSE
            case RemoteError():
                self._failure = self._failure or result
            case _:
                self._results[sent.number] = result


def _each(answer: Any, count: int) -> list[Any]:
    """Return what each of `count` parts has come to; those of one trip come back as a list, unless the trip failed."""
    if count == 1 or isinstance(answer, RemoteError):
        return [answer] * count
    if isinstance(answer, Acknowledged):
        return [
            each if isinstance(each, RemoteError) else Acknowledged(each, answer.replicas) for each in answer.result
        ]
    return list(answer)


def _trips(node: Node, group: list[_Sent]) -> list[tuple[Trip, list[_Sent]]]:
    """Put what goes to one node into one trip; what takes two steps goes by itself."""
    alone = [each for each in group if isinstance(each.part.command, Conditional)]
    together = [each for each in group if not isinstance(each.part.command, Conditional)]
    trips = [(Trip(node, _for_node(each)), [each]) for each in alone]
    if len(together) == 1:
        trips.append((Trip(node, _for_node(together[0])), together))
    elif together:
        trips.append((Trip(node, _for_one_trip(together)), together))
    return trips


def _for_one_trip(sent: list[_Sent]) -> Any:
    """Return one command of several parts. Those that wait for replicas do so once, not one after the other."""
    first = sent[0].part.command
    if isinstance(first, Replicated):
        writes = [each._replace(part=each.part._replace(command=each.part.command.write)) for each in sent]
        return Replicated(Together([_for_node(each) for each in writes]), first.wanted, first.patience)
    return Together([_for_node(each) for each in sent])


def _for_node(sent: _Sent) -> Any:
    command = sent.part.command
    if sent.asked is None:
        return command
    return AskingConditional(command) if isinstance(command, Conditional) else Asking(command)
