"""Commands that fail each for itself: how flows ask for them, on one server and on a cluster."""

from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from twotier.core.drive import Flow
from twotier.errors import RemoteError
from twotier.remote.commands import Command
from twotier.remote.conditional import Conditional
from twotier.remote.severally import Severally

R = TypeVar("R")


class Part(NamedTuple, Generic[R]):
    """What has come of some of the keys of a call: a result, or what went wrong with these keys alone."""

    keys: list[str]
    outcome: R | RemoteError


def severally(commands: Sequence[Command[R] | Conditional[R]]) -> Flow[list[R | RemoteError]]:
    """Run commands in one go, and return what came of each, in their order."""
    if not commands:
        return []
    if len(commands) == 1:
        try:
            return [(yield commands[0])]
        except RemoteError as error:
            return [error]
    outcomes: list[R | RemoteError] = yield Severally(commands)
    return outcomes


def failed_keys(parts: Sequence[Part[Any]]) -> dict[str, RemoteError]:
    """Return the keys with which something went wrong, and what."""
    failed: dict[str, RemoteError] = {}
    for keys, outcome in parts:
        if isinstance(outcome, RemoteError):
            failed.update(dict.fromkeys(keys, outcome))
    return failed
