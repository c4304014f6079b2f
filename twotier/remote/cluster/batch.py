"""Several commands for one node in one trip, each with a result of its own: one that fails leaves the others be.

Where all of them fail as if the node were away (it is loading, or has lost the cluster), so does the trip: the circuit
breaker hears of it then.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from twotier.errors import RemoteError, RemoteUnavailable
from twotier.remote.commands.base import Command
from twotier.remote.io.errors import OutOfStepError


@dataclass(frozen=True, slots=True)
class NodeBatch:
    """`commands`, one after the other; results in their order, each a value or the RemoteError that it came to."""

    commands: Sequence[Command[Any]]

    @property
    def wire(self) -> bytes:
        """All of them."""
        return b"".join([command.wire for command in self.commands])

    @property
    def replies(self) -> int:
        """All of theirs."""
        return sum(command.replies for command in self.commands)

    def parse(self, replies: list[Any]) -> list[Any]:
        """Return a result, or an error, for each."""
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
