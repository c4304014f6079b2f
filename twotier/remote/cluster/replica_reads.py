"""Replica reads in a cluster: the choice of a replica in place of a slot's primary, and the commands to it.

A replica redirects every read to its primary unless the connection is in READONLY mode. Each round trip
sets the mode and ends it (READWRITE): a connection left in the mode could later serve a stale value as
fresh. Redirects aren't followed, as they lead to the primary, which is away.
"""

import random
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from twotier.errors import RemoteUnavailable
from twotier.remote.cluster.nodes import ClusterNodes
from twotier.remote.cluster.route import Round, Route, Trip, route
from twotier.remote.commands.base import Command
from twotier.remote.commands.replicas import OnReplica
from twotier.remote.commands.slot_map import Node
from twotier.remote.io.errors import RedirectionError, StaleConnectionError, check, code
from twotier.resp import ErrorReply, pack

R = TypeVar("R")

_READONLY: Final = pack(b"READONLY")
_READWRITE: Final = pack(b"READWRITE")


@dataclass(frozen=True, slots=True)
class ReadOnly(Generic[R]):
    """`command`, a read, in the form for a replica."""

    command: Command[R]

    @property
    def replies(self) -> int:
        """The replies to the command, and two more."""
        return self.command.replies + 2

    @property
    def wire(self) -> bytes:
        """READONLY, the command, and READWRITE."""
        return _READONLY + self.command.wire + _READWRITE

    def parse(self, replies: list[Any]) -> R:
        """Return the command's result. An error drops a connection that may still be in READONLY mode."""
        first, *own, last = replies
        check(first)
        if type(last) is ErrorReply:
            raise StaleConnectionError(f"a replica refuses READWRITE ({code(last)})")
        return self.command.parse(own)


def route_to_replicas(members: ClusterNodes, read: Any, deadline: float) -> Route:
    """Route `read` as `route` does, to a replica of each slot's primary."""
    rounds = route(_Replicas(members), read, deadline)
    answers: list[Any] | None = None
    while True:
        try:
            step = next(rounds) if answers is None else rounds.send(answers)
        except StopIteration as done:
            return done.value
        trips = [Trip(node, OnReplica(ReadOnly(command))) for node, command in step.trips]
        answers = [_stayed(answer) for answer in (yield Round(trips, step.pause))]


class _Replicas:
    """The owners of slots for replica reads: for each primary one replica, the same throughout one call."""

    def __init__(self, members: ClusterNodes) -> None:
        self._members = members
        self._chosen: dict[Node, Node | None] = {}

    def owner(self, slot: int) -> Node | None:
        """Return a replica of the primary of `slot`, preferably one without a recent failure; None if none is known."""
        primary = self._members.owner(slot)
        if primary is None:
            return None
        if primary not in self._chosen:
            known = self._members.replicas(primary)
            awake = [node for node in known if not self._members.member(node).rests]
            self._chosen[primary] = random.choice(awake or known) if known else None  # noqa: S311 - spreads load, guards nothing
        return self._chosen[primary]

    def primaries(self) -> list[Node]:
        """Return no node: commands for every primary don't go to replicas."""
        return []

    def moved(self, slot: int, node: Node) -> None:
        """Do nothing: redirects aren't followed."""


def _stayed(answer: Any) -> Any:
    """Return the outcome of a round trip, with an outage in place of each redirect."""
    if isinstance(answer, list):
        return [_stayed(each) for each in answer]
    if isinstance(answer, RedirectionError):
        return RemoteUnavailable("the replica doesn't have the slot any more")
    return answer
