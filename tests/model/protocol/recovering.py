"""The recovery of one process: replay what is journaled, then close the breaker (steps 8 and 9)."""

from collections.abc import Callable
from typing import Any

from protocol.moves import Move
from protocol.state import NO_GENERATION, NONE_HELD, NOTHING, Item, ProcessState, Replay, State, Value
from protocol.world import Process, World

Step = Callable[[World, Process], None]


def moves(state: State, number: int, process: ProcessState) -> list[Move]:
    """Return how the recovery goes on, if there is anything to recover from."""
    at = process.replay.at
    if not at and not process.away and not process.overflows and not any(process.journal):
        return []
    what, step = STEPS[at]
    who = f"P{number}'s recovery"
    found = [Move(who, what, lambda world: step(world, world.process(number)))]
    if at and state.budget.failures:
        found.append(Move(who, "fails", lambda world: _fail(world, world.process(number))))
    return found


def _go(me: Process, at: str, **changes: Any) -> None:
    me.replay = me.replay._replace(at=at, **changes)


def _begin(world: World, me: Process) -> None:  # noqa: ARG001 - one signature for all
    if me.overflows:
        _go(me, "clear", note=me.overflows)
    else:
        _name_or_close(me)


def _name_or_close(me: Process) -> None:
    if any(me.journal):
        _go(me, "name")
    else:
        _go(me, "close")


def _clear(world: World, me: Process) -> None:
    op = _op(world, me)
    world.server.clear(op, copies=world.rules.clears_write_copies)
    world.publish(Item("clear", op))
    _go(me, "cleared")


def _cleared(world: World, me: Process) -> None:
    if world.rules.replayed_clear_bumps_epoch:
        me.bump_epoch()
    if me.overflows == me.replay.note:
        me.overflows = 0
    _name_or_close(me)


def _name(world: World, me: Process) -> None:
    prefix = world.server.ask_generation()
    if world.rules.replay_compares_generations and me.known not in {NO_GENERATION, prefix}:
        me.bump_epoch()
    _go(me, "key", prefix=prefix)


def _key(world: World, me: Process) -> None:
    doubts = [(key, doubt) for key, doubt in enumerate(me.journal) if doubt is not None]
    if not doubts:
        _go(me, "close")
        return
    key, doubt = doubts[0]
    again = world.scenario.replay == "set" and doubt.seen and me.tier.op(key) == doubt.op
    _go(me, "again" if again else "remove", key=key, doubt=doubt)


def _again(world: World, me: Process) -> None:
    doubt, key, prefix = me.replay.doubt, me.replay.key, me.replay.prefix
    assert doubt is not None
    if world.server.read(prefix, key).op != doubt.seen:
        _go(me, "remove")
        return
    world.server.change(prefix, key, Value(doubt.op, doubt.op, doubt.op))
    world.server.set_lease(prefix, key, NONE_HELD)
    world.publish(Item("inv", doubt.op, (key,)))
    _go(me, "settle")


def _remove(world: World, me: Process) -> None:
    key, prefix = me.replay.key, me.replay.prefix
    world.server.change(prefix, key, NOTHING)
    world.server.set_lease(prefix, key, NONE_HELD)
    world.publish(Item("inv", _op(world, me), (key,)))
    _go(me, "settle")


def _settle(world: World, me: Process) -> None:  # noqa: ARG001 - one signature for all
    key = me.replay.key
    if me.journal[key] == me.replay.doubt:
        me.journal[key] = None
    _go(me, "key", key=0, doubt=None)


def _close(world: World, me: Process) -> None:  # noqa: ARG001 - one signature for all
    me.away = False
    me.replay = Replay()


def _fail(world: World, me: Process) -> None:
    world.spend("failures")
    me.replay = Replay()


def _op(world: World, me: Process) -> int:
    return world.scenario.replay_op(me.number)


STEPS: dict[str, tuple[str, Step]] = {
    "": ("begins", _begin),
    "clear": ("clears the namespace on the server", _clear),
    "cleared": ("takes the reply", _cleared),
    "name": ("asks the server for the generation", _name),
    "key": ("takes the next key", _key),
    "again": ("puts the value again, where nothing else was written", _again),
    "remove": ("removes the key on the server", _remove),
    "settle": ("takes the reply", _settle),
    "close": ("closes the breaker", _close),
}
