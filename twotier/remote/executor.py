"""Runs commands on the remote tier from threads, each on the caller's own; what a call is beside that is `edge`'s."""

from typing import TypeVar

from twotier.remote.commands import Command
from twotier.remote.conditional import Conditional
from twotier.remote.edge import Call, Edge

R = TypeVar("R")


class Executor:
    """The synchronous executor; threads share it."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    def run(self, command: Command[R] | Conditional[R], *, probing: bool = False) -> R:
        """Run `command` and return its result; see `Call` for `probing` and for what is raised."""
        with Call(self._edge, probing) as call:
            call.channel = channel = self._edge.pool.take(call.deadline)
            if isinstance(command, Conditional):
                call.watch()
                command = call.decide(command, channel.exchange(command.wire, command.replies, call.deadline))
            return command.parse(channel.exchange(command.wire, command.replies, call.deadline))
