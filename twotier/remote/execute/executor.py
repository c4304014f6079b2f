"""Interfaces of the executors, which run commands, for every kind of deployment."""

from typing import Protocol, TypeVar

from twotier.remote.commands.base import Command
from twotier.remote.commands.conditional import Conditional
from twotier.remote.commands.replicas import OnReplica

R = TypeVar("R")


class AnyExecutor(Protocol):
    """Runs commands on the calling thread; threads share it."""

    def run(self, command: Command[R] | Conditional[R] | OnReplica[R], *, probing: bool = False) -> R:
        """Run `command` and return its result; raises RemoteError. `probing`: ignore the breaker's state."""
        ...


class AnyAsyncExecutor(Protocol):
    """Runs commands on the running event loop; tasks of any loops share it."""

    async def run(self, command: Command[R] | Conditional[R] | OnReplica[R], *, probing: bool = False) -> R:
        """Run `command` as `AnyExecutor.run` does."""
        ...
