"""Batches: commands that fail separately, run by flows on one server and on a cluster."""

from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from twotier.core.flow.drive import Flow
from twotier.errors import RemoteError
from twotier.remote.commands.base import Command
from twotier.remote.commands.batch import Batch
from twotier.remote.commands.conditional import Conditional
from twotier.remote.commands.replicas import OnReplica

R = TypeVar("R")


class Part(NamedTuple, Generic[R]):
    """The outcome of some of the keys of a call: a result, or the error of these keys alone."""

    keys: list[str]
    outcome: R | RemoteError


def run_batch(
    commands: Sequence[Command[R] | Conditional[R]], *, replicas: bool = False
) -> Flow[list[R | RemoteError]]:
    """Run commands in one batch, on replicas if `replicas`; return the outcome of each, in their order."""
    if not commands:
        return []
    request: Any = commands[0] if len(commands) == 1 else Batch(commands)
    try:
        outcome = yield OnReplica(request) if replicas else request
    except RemoteError as error:
        return [error] * len(commands)
    return [outcome] if len(commands) == 1 else outcome


def failed_keys(parts: Sequence[Part[Any]]) -> dict[str, RemoteError]:
    """Return the keys that failed, with their errors."""
    failed: dict[str, RemoteError] = {}
    for keys, outcome in parts:
        if isinstance(outcome, RemoteError):
            failed.update(dict.fromkeys(keys, outcome))
    return failed
