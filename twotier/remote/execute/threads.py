"""Runs commands on the remote tier, each on its caller's thread; everything but the I/O is in `RoundTrip`."""

from typing import TypeVar

from twotier.remote.commands.base import Command
from twotier.remote.commands.conditional import Conditional
from twotier.remote.commands.replicas import OnReplica
from twotier.remote.execute.round_trip import Endpoint, RoundTrip

R = TypeVar("R")


class Executor:
    """The synchronous executor; threads share it."""

    def __init__(self, edge: Endpoint) -> None:
        self._edge = edge

    def run(self, command: Command[R] | Conditional[R] | OnReplica[R], *, probing: bool = False) -> R:
        """Run `command` and return its result; see `RoundTrip` for `probing` and for the exceptions."""
        edge = self._edge
        if isinstance(command, OnReplica):
            edge, command = edge.of_replicas(), command.read
        call = RoundTrip(edge, probing)
        try:
            with call:
                edge.pool.take(call.loan, call.deadline)
                channel = call.loan[0]
                if isinstance(command, Conditional):
                    call.watch()
                    command = call.decide(command, channel.exchange(command.wire, command.replies, call.deadline))
                return call.result(command, channel.exchange(command.wire, command.replies, call.deadline))
        finally:
            if call.loan:  # the exit of the context was interrupted
                edge.pool.drop(call.loan)
