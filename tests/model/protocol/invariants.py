"""What must hold in every state: I1 to I7 of the design, and I8, which is section 6's promise about loads.

*Fresh* is an entry that a read would return now: of the current epoch, not expired, while the lease holds. *Differs*
means that the server's value under the key, in the generation in force, isn't by the same write: a new life (`touch`)
counts as a new value, so the invariants hold lives equal as well. A link that is dead without having been noticed is
*cut*.

Not covered: a failover to a server that lost acknowledged writes (there is one server here, which at most loses
everything), writers that bypass twotier, and a process killed with doubts in its journal, which nobody replays then. A
write that was given up and takes place later counts as a new write at that moment.
"""

from collections.abc import Iterator

from protocol.scenario import Scenario
from protocol.server import in_force
from protocol.state import NO_GENERATION, NO_OP, NOTHING, Entry, ProcessState, State, Task, Value, bit
from protocol.world import named

ALL = frozenset({"I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8"})
"""I4 and I5 are seen in moves, which report them as `State.broken`:

- I4: nothing is installed under a token of another epoch.
- I5: a read that begins after a write of its own process has returned (acknowledged, or in doubt) returns no value that
  this write superseded, whether it comes from the local tier, as a suspect, or from the server. Nothing in place of
  nothing makes no difference, and nothing is always allowed where it is there by expiry, replay or loss. A forked
  child's reads count as its parent's.
"""


def broken(state: State, scenario: Scenario, checked: frozenset[str]) -> str:
    """Return the first of the `checked` invariants that doesn't hold, with what breaks it; "" if all hold."""
    if state.broken:
        return state.broken if state.broken[:2] in checked else ""
    server = state.server
    stands = in_force(server)
    row = server.rows[stands] if stands != NO_GENERATION else (NOTHING,) * scenario.keys
    for number, process in enumerate(state.processes):
        for which, what in _wrong(state, scenario, process, row):
            if which in checked:
                return f"{which}: P{number} {what}"
    return _loads(state, row) if scenario.loads and "I8" in checked else ""


def _wrong(
    state: State, scenario: Scenario, process: ProcessState, row: tuple[Value, ...]
) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with one process."""
    tier = process.tier
    for key, entry in enumerate(tier.entries):
        if (
            entry is not None
            and tier.lease
            and entry.current
            and not entry.expired
            and entry.version != row[key].version
        ):
            for which, what in _superseded(state, scenario, process, key, entry):
                yield which, f"holds {named(entry.data)} of key {key} as fresh{what}"
    if process.owed:
        for key, value in enumerate(row):
            if _undone(process, key, value):
                yield "I6", f"has nothing of key {key} in its journal any more, and the server has {named(value.data)}"
    if process.link == "inherited":
        yield "I7", "uses its parent's link"


def _superseded(
    state: State, scenario: Scenario, process: ProcessState, key: int, entry: Entry
) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a fresh entry that differs."""
    if scenario.staleness and entry.age >= scenario.staleness:
        yield "I3", f", {entry.age} ticks after it was superseded"
    if _quiet(state, process):
        yield "I2", ", all is quiet, and the server has another value"
    if not _in_flight(process, key, entry, in_force(state.server)):
        yield "I1", "; the server has another value, and no invalidation is under way"


def _in_flight(process: ProcessState, key: int, entry: Entry, generation: int) -> bool:
    """I1: an entry that differs has in flight what will put it in doubt; or the link is cut, which the lease bounds.

    A lost generation is noticed by the next lease exchange, and that is in flight at any time.
    """
    if process.link == "cut" or process.known not in {NO_GENERATION, generation}:
        return True
    return any(
        item.kind in {"clear", "confirmed"}
        or (item.kind == "inv" and key in item.keys and (item.op == NO_OP or item.op != entry.op))
        for item in process.queue
    )


def _quiet(state: State, process: ProcessState) -> bool:
    """I2: when nothing is under way and the link is up, every fresh entry equals the server's."""
    return (
        process.link not in {"cut", "down"}
        and not process.queue
        and process.known in {NO_GENERATION, in_force(state.server)}
        and all(not task.at for each in state.processes for task in each.tasks)
    )


def _undone(process: ProcessState, key: int, value: Value) -> bool:
    """I6: once the journal is done with a key, the server doesn't hold what the journaled write was to supersede."""
    return not process.overflows and process.journal[key] is None and bool(bit(key, value.data) & process.owed)


def _loads(state: State, row: tuple[Value, ...]) -> str:
    """I8: a value on the server shows the source as it is, unless the change's own write is still under way."""
    for key, value in enumerate(row):
        if value.op is None or value.data == state.server.source[key]:
            continue
        announced = any(_announced(task, key) for process in state.processes for task in process.tasks)
        if not announced and not any(process.overflows or process.journal[key] for process in state.processes):
            source = named(state.server.source[key])
            return f"I8: the server keeps {named(value.data)} of key {key}, where the source has {source}"
    return ""


def _announced(task: Task, key: int) -> bool:
    """Tell whether a task has changed the source of `key` and not yet the server."""
    before = task.at in {"asking", "told", "sent", "failed", "doubted"}
    return before and (task.do == "clear" or (task.do in {"update", "replace"} and task.key == key))
