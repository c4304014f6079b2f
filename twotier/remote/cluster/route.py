"""Routing of a command to its nodes: a flow that yields rounds of trips and receives their results.

The map holds the primary of each slot; if it is out of date, the nodes send redirects (MOVED: for good,
ASK: for this once), and the part is sent again. A redirected part has not taken place. Other failures
aren't retried, as a write may have taken place. The trips of a round are independent, so the executor may
make them concurrently.

A fenced write checks its generation once it has taken place (`routed_commands.py`).
"""

import time
from collections.abc import Generator, Sequence
from typing import Any, Final, NamedTuple

from twotier.errors import RemoteError
from twotier.remote.cluster.batch import NodeBatch
from twotier.remote.cluster.redirects import AskRedirect, AskRedirectConditional
from twotier.remote.cluster.routed_commands import RoutedCommand, Sent, SlotOwners
from twotier.remote.commands.base import Ping
from twotier.remote.commands.batch import Batch
from twotier.remote.commands.conditional import Conditional
from twotier.remote.commands.replicas import Acknowledged, Replicated
from twotier.remote.commands.slot_map import Node

MOST_ROUNDS: Final = 16
"""Most rounds of a command; a part that is redirected more often fails."""
MOVING_PAUSE: Final = 0.01
"""Pause before the next attempt for a part whose keys are on two nodes (s)."""


class Trip(NamedTuple):
    """One command for one node."""

    node: Node
    command: Any


class Round(NamedTuple):
    """Trips to make, after a pause (s). The answer is a list: for each trip its result, or the RemoteError raised."""

    trips: list[Trip]
    pause: float = 0.0


Route = Generator[Round, list[Any], Any]


def route(atlas: SlotOwners, command: Any, deadline: float) -> Route:
    """Run `command` on the nodes that its keys are on, until `deadline` (of `time.monotonic`); return its result."""
    if isinstance(command, Ping):
        for answer in (yield Round([Trip(node, command) for node in atlas.primaries()])):
            if isinstance(answer, RemoteError):
                raise answer
        return None
    several = _several(command)
    jobs = [RoutedCommand(each) for each in several or (command,)]
    yield from _run(atlas, jobs, deadline)
    outcomes = [job.outcome() for job in jobs]
    if several is None:
        if isinstance(outcomes[0], RemoteError):
            raise outcomes[0]
        return outcomes[0]
    return _acknowledged(outcomes, command.wanted) if isinstance(command, Replicated) else outcomes


def _several(command: Any) -> Sequence[Any] | None:
    """Return the commands in `command`, if each has an outcome of its own; else None."""
    if isinstance(command, Batch):
        return command.commands
    if isinstance(command, Replicated) and isinstance(command.write, Batch):
        writes: Sequence[Any] = command.write.commands
        return [Replicated(write, command.wanted, command.patience) for write in writes]
    return None


def _acknowledged(outcomes: list[Any], wanted: int) -> Acknowledged[list[Any]]:
    """Return the outcomes without their counts of replicas, and the smallest count of all writes."""
    fewest = min((each.replicas for each in outcomes if isinstance(each, Acknowledged)), default=wanted)
    return Acknowledged([each.result if isinstance(each, Acknowledged) else each for each in outcomes], fewest)


def _run(atlas: SlotOwners, jobs: list[RoutedCommand], deadline: float) -> Route:
    """Try every part of every job, so that the failure of one part leaves out no other."""
    pause, late, rounds = 0.0, False, 0
    while rounds < MOST_ROUNDS:
        by_node: dict[Node, list[Sent]] = {}
        for job in jobs:
            for node, sent in job.due(atlas, late=late):
                by_node.setdefault(node, []).append(sent)
        trips = [each for node, group in by_node.items() for each in _trips(node, group)]
        if not trips:
            break
        moving = False
        answers = yield Round([trip for trip, _ in trips], pause)
        for (trip, aboard), answer in zip(trips, answers, strict=True):
            for sent, result in zip(aboard, _each(answer, aboard), strict=True):
                moving |= sent.job.take(atlas, trip.node, sent, result)
        rounds += not moving  # waiting ends with the deadline
        pause = MOVING_PAUSE if moving else 0.0
        late = time.monotonic() + pause >= deadline
        pause = 0.0 if late else pause
    for job in jobs:
        job.give_up()


def _each(answer: Any, aboard: list[Sent]) -> list[Any]:
    """Return the result of each part; a trip of several parts returns a list, unless the trip failed."""
    if len(aboard) == 1 or isinstance(answer, RemoteError):
        return [answer] * len(aboard)
    if isinstance(answer, Acknowledged):
        return [
            Acknowledged(each, answer.replicas) if sent.waits and not isinstance(each, RemoteError) else each
            for sent, each in zip(aboard, answer.result, strict=True)
        ]
    return list(answer)


def _trips(node: Node, group: list[Sent]) -> list[tuple[Trip, list[Sent]]]:
    """Put the parts for one node into one trip; a conditional command has a trip of its own."""
    alone = [each for each in group if isinstance(each.part.command, Conditional)]
    together = [each for each in group if not isinstance(each.part.command, Conditional)]
    trips = [(Trip(node, _for_node(each, each.part.command)), [each]) for each in alone]
    if len(together) == 1:
        trips.append((Trip(node, _for_node(together[0], together[0].part.command)), together))
    elif together:
        trips.append((Trip(node, _for_one_trip(together)), together))
    return trips


def _for_one_trip(group: list[Sent]) -> Any:
    """Return one command for several parts. Parts that wait for replicas share one wait."""
    waiting = [each.part.command for each in group if each.waits]
    commands = [_for_node(each, each.part.command.write if each.waits else each.part.command) for each in group]
    whole = NodeBatch(commands)
    return Replicated(whole, waiting[0].wanted, waiting[0].patience) if waiting else whole


def _for_node(sent: Sent, command: Any) -> Any:
    if sent.asked is None:
        return command
    return AskRedirectConditional(command) if isinstance(command, Conditional) else AskRedirect(command)
