"""Several commands for one node in one round trip, each with a result of its own: a failure affects no other command.

If all commands fail as in an outage (the node is loading, or has lost the cluster), so does the round trip,
and the circuit breaker counts the failure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from twotier.errors import RemoteError, RemoteUnavailable
from twotier.remote.commands.base import Command
from twotier.remote.io.errors import OutOfStepError


@dataclass(frozen=True, slots=True)
class NodeBatch:
    """`commands`, one after the other; returns their results in order, each a value or a RemoteError."""

    commands: Sequence[Command[Any]]

    @property
    def wire(self) -> bytes:
        """The packed bytes of all commands."""
        return b"".join([command.wire for command in self.commands])

    @property
    def replies(self) -> int:
        """Number of replies to all commands."""
        return sum(command.replies for command in self.commands)

    def parse(self, replies: list[Any]) -> list[Any]:
        """Return the result or the error of each command."""
        results: list[Any] = []
        at = 0
        for command in self.commands:
            count = command.replies
            try:
                results.append(command.parse(replies[at : at + count]))
            except OutOfStepError:
                raise  # no reply on this connection can be trusted
            except RemoteError as error:
                results.append(error)
            at += count
        if all(isinstance(result, RemoteUnavailable) for result in results):
            raise results[0]
        return results
