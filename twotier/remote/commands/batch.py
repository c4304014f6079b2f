"""Batches and commands whose parts fail one by one: for a cluster, where one node may be lost.

The parts for one node share a round trip, and the nodes' round trips run concurrently. `PerKey` and
`Batch` aren't split by slot themselves (`remote/cluster/split.py`): the commands in them are. The
executors of a single server don't use this module.
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
    """`command`, each of whose parts (one for each key) may fail alone; returns `PartialResult`."""

    command: Command[R] | Conditional[R]


class PartialResult(NamedTuple, Generic[R]):
    """Combined result of the parts that succeeded (None: all failed), and the errors of the others."""

    result: R
    failed: Mapping[int, RemoteError]
    """Errors by the index of their part."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Several commands; returns a list, in their order, of results, or of RemoteErrors for those that failed."""

    commands: Sequence[Command[Any] | Conditional[Any]]
