"""Runs commands on the remote tier from threads, each on the caller's own; what a call is beside that is `edge`'s."""

from typing import TypeVar

from twotier.remote.commands import Command
from twotier.remote.conditional import Conditional
from twotier.remote.edge import Call, Edge
from twotier.remote.replicas import OnReplica

R = TypeVar("R")


class Executor:
    """The synchronous executor; threads share it."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    def run(self, command: Command[R] | Conditional[R] | OnReplica[R], *, probing: bool = False) -> R:
        """Run `command` and return its result; see `Call` for `probing` and for what is raised."""
        edge = self._edge
        if isinstance(command, OnReplica):
            edge, command = edge.of_replicas(), command.read
        with Call(edge, probing) as call:
            call.channel = channel = edge.pool.take(call.deadline)
            if isinstance(command, Conditional):
                call.watch()
                command = call.decide(command, channel.exchange(command.wire, command.replies, call.deadline))
            return command.parse(channel.exchange(command.wire, command.replies, call.deadline))
