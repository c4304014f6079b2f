"""What fails part by part: for a cluster, where one node may be lost. One server's executors know nothing of it.

What goes to one node goes in one trip, and the nodes' trips are made side by side. Neither is split by slot itself
(`remote/cluster/split.py`): the commands in it are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from twotier.errors import RemoteError
from twotier.remote.commands.base import Command
from twotier.remote.commands.conditional import Conditional

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class PerKey(Generic[R]):
    """`command`, whose parts (one a key) fail each for itself; gives `PartialResult`."""

    command: Command[R] | Conditional[R]


class PartialResult(NamedTuple, Generic[R]):
    """What those parts of a command have come to that didn't fail (None: all did), and the errors of the others."""

    result: R
    failed: Mapping[int, RemoteError]
    """By their place among the parts."""


@dataclass(frozen=True, slots=True)
class Batch:
    """`commands`; gives a list in their order, of results, and where a command failed of its RemoteError."""

    commands: Sequence[Command[Any] | Conditional[Any]]
