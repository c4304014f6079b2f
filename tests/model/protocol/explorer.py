"""The explorer: visits every state that a scenario can come to, breadth first, so that what it finds wrong is shortest.

States are compared after two reductions that lose nothing that invariants speak of. Threads (processes) that run the
same reads, and nothing else, are interchangeable: of the orders of their states one stands for all. And a process that
has run its programs, and holds nothing that could become fresh or be replayed, is set aside: nothing of it can be seen
any more.

Costs: about 0.1 ms and 0.5 KB a state.
"""

import gc
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from protocol import loading, reading, recovering, surroundings, writing
from protocol.invariants import ALL, broken
from protocol.moves import READS, WRITES, Move, act
from protocol.rules import Rules
from protocol.scenario import DEFAULT, Scenario
from protocol.state import ProcessState, State
from protocol.tier import Tier
from protocol.world import OpenTier, World

BEGIN = {"get": reading.begin, "refresh": reading.begin, "load": loading.begin} | dict.fromkeys(WRITES, writing.begin)


@dataclass(frozen=True)
class Report:
    """What an exploration found."""

    states: int
    moves: int
    depth: int
    """Moves on the longest of the shortest ways."""
    trace: tuple[str, ...] = ()
    """The shortest way to a broken invariant, and what broke."""

    @property
    def broken(self) -> str:
        """The invariant that broke, "" if none."""
        return self.trace[-1].strip() if self.trace else ""

    def __str__(self) -> str:
        return "\n".join((f"{self.states} states, {self.moves} moves, depth {self.depth}", *self.trace))


def moves(state: State, scenario: Scenario, rules: Rules) -> Iterator[Move]:
    """Return every way to go on from `state`."""
    for number, process in enumerate(state.processes):
        if process.link == "unborn":
            continue
        for thread, task in enumerate(process.tasks):
            program = scenario.programs[number][thread]
            if task.at:
                who = f"P{number}.{thread} {task.do} {task.key}"
                yield from _going_on(state, number, thread, who, rules)
            elif task.step < len(program):
                for choice in program[task.step]:
                    do, key = choice.split()
                    yield Move(f"P{number}.{thread} {do} {key}", "begins", _begin(number, thread, do, int(key)))
        yield from recovering.moves(state, number, process)
        if process.link != "idle":
            yield from loading.recoveries(state, scenario, number)
    yield from surroundings.moves(state, scenario, rules)
    for request in set(state.network):
        yield writing.arrive(request)


def _going_on(state: State, number: int, thread: int, who: str, rules: Rules) -> list[Move]:
    do = state.processes[number].tasks[thread].do
    if do in WRITES:
        return writing.moves(state, number, thread, who)
    if do == "load":
        return loading.moves(state, number, thread, who, by_token=rules.load == "token")
    return reading.moves(state, number, thread, who)


def _begin(number: int, thread: int, do: str, key: int) -> partial[None]:
    return partial(_begun, number=number, thread=thread, do=do, key=key)


def _begun(world: World, *, number: int, thread: int, do: str, key: int) -> None:
    me = world.process(number)
    me.tasks[thread] = me.tasks[thread]._replace(do=do, key=key)
    act(number, thread, BEGIN[do])(world)


def after(state: State, move: Move, scenario: Scenario, rules: Rules, tiers: OpenTier = Tier) -> State:
    """Return the state that `move` leads to."""
    world = World(state, scenario, rules, tiers)
    move.act(world)
    return world.freeze()


def explore(
    scenario: Scenario, rules: Rules = DEFAULT, checked: frozenset[str] = ALL, *, reduced: bool = True
) -> Report:
    """Visit every state, up to the first that breaks one of the `checked` invariants.

    Without the reductions a trace tells interchangeable threads apart.
    """
    with _uncollected():
        return _explore(scenario, rules, checked, Reduction(scenario) if reduced else _same)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Suspend garbage collection: states hold no cycles, and looking through all of them takes a third of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _same(state: State) -> State:
    return state


def _explore(scenario: Scenario, rules: Rules, checked: frozenset[str], reduce: Callable[[State], State]) -> Report:
    first = scenario.first()
    seen: dict[State, tuple[State, str] | None] = {reduce(first): None}
    frontier = deque([(first, 0)])
    taken = depth = 0
    while frontier:
        state, depth = frontier.popleft()
        stuck = True
        for move in moves(state, scenario, rules):
            stuck = False
            taken += 1
            reached = reduce(after(state, move, scenario, rules))
            if reached in seen:
                continue
            seen[reached] = (state, f"{move.who} {move.what}")
            wrong = broken(reached, scenario, checked)
            if wrong:
                return Report(len(seen), taken, depth + 1, _trace(seen, reached, wrong))
            frontier.append((reached, depth + 1))
        if stuck and not _ended(state, scenario):
            return Report(len(seen), taken, depth, _trace(seen, reduce(state), "stuck: a flow doesn't end"))
    return Report(len(seen), taken, depth)


def _ended(state: State, scenario: Scenario) -> bool:
    """Tell whether every program has been run."""
    return all(
        process.link == "unborn" or task.step == len(program)
        for process, programs in zip(state.processes, scenario.programs, strict=True)
        for task, program in zip(process.tasks, programs, strict=True)
    )


def _trace(seen: dict[State, tuple[State, str] | None], last: State, wrong: str) -> tuple[str, ...]:
    """Return the moves that lead to `last`, numbered, and what is wrong there."""
    labels: list[str] = []
    came = seen[last]
    while came is not None:
        state, label = came
        labels.append(label)
        came = seen[state]
    return (*(f"{number:3}. {label}" for number, label in enumerate(reversed(labels), 1)), f"     {wrong}")


class Reduction:
    """Maps a state to the one that stands for it."""

    def __init__(self, scenario: Scenario) -> None:
        self._steps = tuple(tuple(map(len, programs)) for programs in scenario.programs)
        reads = [[all(_reads(choice) for choice in program) for program in threads] for threads in scenario.programs]
        self._threads = [
            _alike(list(zip(programs, reads[i], strict=True))) for i, programs in enumerate(scenario.programs)
        ]
        whole = [] if scenario.parents else list(zip(scenario.programs, map(all, reads), strict=True))
        self._processes = _alike(whole)
        self._sets_aside = not scenario.parents
        self._known: list[dict[ProcessState, ProcessState]] = [{} for _ in scenario.programs]

    def __call__(self, state: State) -> State:
        """Return the state that stands for `state`."""
        if state.broken:
            return state
        processes = [self._reduced(number, process) for number, process in enumerate(state.processes)]
        for group in self._processes:
            ordered = sorted((processes[number] for number in group), key=hash)
            for number, process in zip(group, ordered, strict=True):
                processes[number] = process
        return State(state.server, tuple(processes), state.network, state.budget, "")

    def _reduced(self, number: int, process: ProcessState) -> ProcessState:
        """Return what stands for a process; the states of one are few, and kept once."""
        known = self._known[number]
        reduced = known.get(process)
        if reduced is None:
            reduced = surroundings.idle(process) if self._is_over(number, process) else process
            for group in self._threads[number]:
                reduced = _ordered(reduced, group)
            known[process] = reduced
        return reduced

    def _is_over(self, number: int, process: ProcessState) -> bool:
        """Tell whether nothing can be seen of a process any more."""
        if not self._sets_aside or process.overflows or process.away or process.replay.at or any(process.journal):
            return False
        return all(
            task.step == steps for task, steps in zip(process.tasks, self._steps[number], strict=True)
        ) and not any(entry is not None and entry.current and not entry.expired for entry in process.tier.entries)


def _reads(choice: tuple[str, ...]) -> bool:
    return all(each.split()[0] in READS - {"load"} for each in choice)


def _alike(members: Sequence[tuple[object, bool]]) -> list[list[int]]:
    """Return the groups of indices of equal members that only read."""
    groups: dict[object, list[int]] = {}
    for number, (program, reads) in enumerate(members):
        if reads:
            groups.setdefault(program, []).append(number)
    return [group for group in groups.values() if len(group) > 1]


def _ordered(process: ProcessState, group: list[int]) -> ProcessState:
    """Return `process` with the threads of `group` in a fixed order."""
    tier = process.tier
    parts = sorted(((process.tasks[n], tier.tokens[n], tier.asking >> n & 1) for n in group), key=hash)
    tasks, tokens, asking = list(process.tasks), list(tier.tokens), tier.asking
    for n, (task, token, asks) in zip(group, parts, strict=True):
        tasks[n], tokens[n] = task, token
        asking = asking & ~(1 << n) | asks << n
    return process._replace(tasks=tuple(tasks), tier=tier._replace(tokens=tuple(tokens), asking=asking))
