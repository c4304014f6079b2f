"""Split of a command by slot: parts of one slot each, and the combination of their results.

A cluster runs a transaction, and a command of several keys, in one slot only. So a command across slots
isn't atomic: each key is read or written by a part of its own, together with the load lock that the write
ends, which is in the same slot.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import singledispatch
from typing import Any, NamedTuple

from twotier.remote.commands.base import (
    Expire,
    Fetch,
    FetchMany,
    Generation,
    Put,
    PutMany,
    Remove,
    SetGeneration,
    TimeLeft,
)
from twotier.remote.commands.cluster_write_markers import EndMarkedLoad, RemoveStale
from twotier.remote.commands.conditional import OnOneKey
from twotier.remote.commands.conditional_writes import Add, ExpireIfLive
from twotier.remote.commands.counters import Increment, IncrementFrom, WarrantedIncrement
from twotier.remote.commands.direct_removal import RemoveDirectly
from twotier.remote.commands.generations import WithGeneration
from twotier.remote.commands.load_locks import PutAbsence, SettleLoadLocks, TakeLoadLocks
from twotier.remote.commands.replicas import Acknowledged, ReadGeneration, Replicated
from twotier.remote.commands.streams import (
    Append,
    BeginDrain,
    Deliveries,
    Discard,
    DrainReply,
    Extend,
    Length,
    MakeGroup,
    Range,
    ReadBacklog,
    ReadGroup,
    Settle,
    TakeDrainLock,
)
from twotier.remote.commands.sweep import AddNames, KeepNames, ReadRecord
from twotier.remote.commands.tags import ExtendVersions, MakeVersions, ReadVersions
from twotier.remote.commands.write_markers import EndLoads
from twotier.remote.commands.write_through_locks import PutLocked, TakeWriteLocks
from twotier.remote.hash_slots import slot_of


class Part(NamedTuple):
    """A command that one node can run: all its keys are in `slot`."""

    slot: int
    command: Any


class Plan(NamedTuple):
    """The parts of a command, and the function that combines their results."""

    parts: list[Part]
    join: Callable[[list[Any]], Any]


@singledispatch
def plan(command: object) -> Plan:
    """Return the parts of `command`."""
    raise NotImplementedError(f"{type(command).__name__} can't be split by slot")


@plan.register
def _fetch_many(command: FetchMany) -> Plan:
    return Plan([Part(slot_of(key), Fetch(key)) for key in command.keys], list)


@plan.register
def _put_many(command: PutMany) -> Plan:
    parts = [
        Part(slot_of(key), Put(key, data, life, absent=False, publication=None, voids=lease))
        for (key, data, life), lease in zip(command.items, _one_each(command.voids, len(command.items)), strict=True)
    ]
    return Plan(parts, _nothing)


@plan.register
def _remove(command: Remove) -> Plan:
    parts = [
        Part(slot_of(key), Remove((key,), publication=None, voids=lease))
        for key, lease in zip(command.keys, _one_each(command.voids, len(command.keys)), strict=True)
    ]
    return Plan(parts, sum)


@plan.register(Fetch)
@plan.register(Put)
@plan.register(Expire)
@plan.register(Increment)
@plan.register(WarrantedIncrement)
@plan.register(TimeLeft)
@plan.register(Generation)
@plan.register(ReadGeneration)
@plan.register(SetGeneration)
@plan.register(AddNames)
@plan.register(ReadRecord)
@plan.register(Add)
@plan.register(ExpireIfLive)
def _single(command: Any) -> Plan:
    return Plan([Part(slot_of(command.key), command)], _first)


@plan.register(OnOneKey)
@plan.register(KeepNames)
def _on_one_key(command: OnOneKey[Any] | KeepNames) -> Plan:
    return Plan([Part(slot_of(command.watched), command)], _first)


@plan.register(WithGeneration)
def _with_generation(command: WithGeneration[Any]) -> Plan:
    """Split the write alone: the generation is in another slot, and is read afterwards."""
    return plan(command.write)


@plan.register(Replicated)
def _replicated(command: Replicated[Any]) -> Plan:
    """Let each part wait for its node's replicas; the whole counts as many replicas as the part with the fewest."""
    parts, join = plan(command.write)
    waiting = [Part(slot, Replicated(part, command.wanted, command.patience)) for slot, part in parts]

    def joined(results: list[Acknowledged[Any]]) -> Acknowledged[Any]:
        return Acknowledged(join([each.result for each in results]), min(each.replicas for each in results))

    return Plan(waiting, joined)


@plan.register
def _increment_from(command: IncrementFrom) -> Plan:
    """Split as `_with_generation` does."""
    part = Part(slot_of(command.watched), replace(command, generation_key=None))
    return Plan([part], lambda results: results[0].result)


@plan.register
def _put_locked(command: PutLocked) -> Plan:
    """Split as `_with_generation` does."""
    parts = [
        Part(slot_of(lease), PutLocked((lease,), command.token, (item,), None, None))
        for lease, item in zip(command.leases, command.items, strict=True)
    ]
    return Plan(parts, lambda results: [written for done in results for written in done.result])


@plan.register
def _take_load_locks(command: TakeLoadLocks) -> Plan:
    token, life = command.token, command.ttl_ms
    return Plan([Part(slot_of(place[0]), TakeLoadLocks((place,), token, life)) for place in command.places], _all)


@plan.register
def _settle_load_locks(command: SettleLoadLocks) -> Plan:
    """Split by lease: one that ended in between is known to have, and leaves the others be."""
    parts = [
        Part(slot_of(lease), SettleLoadLocks((lease,), command.token, (put,), None))
        for lease, put in zip(command.leases, command.puts, strict=True)
    ]
    return Plan(parts, lambda results: [held == [True] for held in results])


@plan.register
def _put_absence(command: PutAbsence) -> Plan:
    return Plan([Part(slot_of(command.lease), command)], _first)


@plan.register
def _take_write_locks(command: TakeWriteLocks) -> Plan:
    token, life = command.token, command.ttl_ms
    return Plan([Part(slot_of(lease), TakeWriteLocks((lease,), token, life)) for lease in command.leases], _nothing)


@plan.register
def _read_versions(command: ReadVersions) -> Plan:
    return Plan([Part(slot_of(key), ReadVersions((key,))) for key in command.keys], _all)


@plan.register
def _make_versions(command: MakeVersions) -> Plan:
    parts = [
        Part(slot_of(key), MakeVersions((key,), (candidate,), command.ttl_ms))
        for key, candidate in zip(command.keys, command.candidates, strict=True)
    ]
    return Plan(parts, _all)


@plan.register
def _extend_versions(command: ExtendVersions) -> Plan:
    return Plan([Part(slot_of(key), ExtendVersions((key,), command.ttl_ms)) for key in command.keys], _nothing)


@plan.register
def _remove_directly(command: RemoveDirectly) -> Plan:
    return Plan([Part(slot_of(key), RemoveDirectly((key,), None)) for key in command.keys], _nothing)


@plan.register(Extend)
@plan.register(TakeDrainLock)
@plan.register(MakeGroup)
@plan.register(Append)
@plan.register(Settle)
@plan.register(Discard)
@plan.register(ReadGroup)
@plan.register(Deliveries)
@plan.register(Range)
@plan.register(Length)
@plan.register(EndMarkedLoad)
@plan.register(RemoveStale)
def _of_one_slot(command: Any) -> Plan:
    name = next(getattr(command, each) for each in ("stream", "key", "mark", "lease") if hasattr(command, each))
    return Plan([Part(slot_of(name), command)], _first)


@plan.register
def _begin_drain(command: BeginDrain) -> Plan:
    """Split by key: while a slot is being moved, each key may be on another node."""
    return Plan([part for step in command.steps for part in plan(step).parts], DrainReply._make)


@plan.register
def _end_loads(command: EndLoads) -> Plan:
    """Split by key: while a slot is being moved, each key is read as a whole, or not at all."""
    names = zip(command.leases, command.marks, command.places, strict=True)
    return Plan([Part(slot_of(place), EndMarkedLoad(lease, mark, place)) for lease, mark, place in names], list)


@plan.register
def _read_backlog(command: ReadBacklog) -> Plan:
    """Split as `_begin_drain` does."""
    return Plan([part for step in command.steps for part in plan(step).parts], command.joined)


def _one_each(voids: Sequence[bytes], count: int) -> list[Sequence[bytes]]:
    """Return the part of `voids` for each of `count` keys: equally many names for each key, in the keys' order."""
    each = len(voids) // count if count else 0
    return [voids[at * each : (at + 1) * each] for at in range(count)]


def _first(results: list[Any]) -> Any:
    return results[0]


def _all(results: list[list[Any]]) -> list[Any]:
    return [each for result in results for each in result]


def _nothing(_results: list[Any]) -> None:
    return None
