"""A state under change: what one move works on. Processes and server are opened on first touch, closed by `freeze`."""

from collections.abc import Callable
from itertools import starmap

from protocol.rules import Rules
from protocol.scenario import Scenario
from protocol.server import Server
from protocol.state import (
    GONE,
    NO_GENERATION,
    NO_OP,
    NOTHING_BY,
    Item,
    ProcessState,
    State,
    Task,
    TierState,
    Value,
    bit,
)
from protocol.tier import Tier

OpenTier = Callable[[TierState, Rules, int], Tier]


class Process:
    """One process under change."""

    __slots__ = (
        "asked",
        "away",
        "floor",
        "journal",
        "known",
        "link",
        "number",
        "overflows",
        "owed",
        "queue",
        "replay",
        "tasks",
        "tier",
    )

    def __init__(self, number: int, state: ProcessState, tier: Tier) -> None:
        self.number = number
        self.tier = tier
        (
            _,
            self.link,
            self.queue,
            self.asked,
            self.known,
            tasks,
            journal,
            self.overflows,
            self.away,
            self.replay,
            self.floor,
            self.owed,
        ) = state
        self.tasks, self.journal = list(tasks), list(journal)

    def freeze(self) -> ProcessState:
        """Return the state."""
        return ProcessState(
            self.tier.freeze(),
            self.link,
            self.queue,
            self.asked,
            self.known,
            tuple(self.tasks),
            tuple(self.journal),
            self.overflows,
            self.away,
            self.replay,
            self.floor,
            self.owed,
        )

    def journaled(self, key: int) -> bool:
        """Tell whether the journal speaks of `key`."""
        return self.overflows > 0 or self.journal[key] is not None

    def bump_epoch(self) -> None:
        """Put everything in doubt, what is known of the generation included."""
        self.tier.bump_epoch()
        self.known = NO_GENERATION

    def clear(self) -> None:
        """Remove everything."""
        self.tier.clear()
        self.known = NO_GENERATION

    def learn(self, generation: int, rules: Rules, *, current: bool) -> None:
        """Take the answer to a question for the generation, asked in the current epoch or in an older one."""
        if not rules.generations_compared:
            self.known = generation if current else NO_GENERATION
        elif current:
            if self.known not in (NO_GENERATION, generation):
                self.bump_epoch()
            else:
                self.known = generation


class World:
    """Everything under change."""

    __slots__ = (
        "_opened",
        "_processes",
        "_server",
        "_tiers",
        "broken",
        "budget",
        "network",
        "rules",
        "scenario",
        "state",
    )

    def __init__(self, state: State, scenario: Scenario, rules: Rules, tiers: OpenTier = Tier) -> None:
        self.state, self.scenario, self.rules = state, scenario, rules
        self._tiers = tiers
        self._processes = list(state.processes)
        self._opened: dict[int, Process] = {}
        self._server: Server | None = None
        self.network = state.network
        self.budget = state.budget
        self.broken = ""

    @property
    def server(self) -> Server:
        """The server."""
        if self._server is None:
            self._server = Server(self.state.server)
        return self._server

    def process(self, number: int) -> Process:
        """Return a process."""
        process = self._opened.get(number)
        if process is None:
            state = self._processes[number]
            process = Process(number, state, self._tiers(state.tier, self.rules, number))
            self._opened[number] = process
        return process

    def freeze(self) -> State:
        """Return the state."""
        for number, process in self._opened.items():
            if process.tier.crossed:
                self.broken = "I4: something was installed across epochs"
            self._processes[number] = process.freeze()
        server = self.state.server if self._server is None else self._server.freeze()
        return State(server, tuple(self._processes), self.network, self.budget, self.broken)

    # What several flows do

    def publish(self, item: Item) -> None:
        """Hand a message to every subscription."""
        if self.scenario.tracking and item.kind == "inv":
            item = item._replace(op=NO_OP)
        for number, state in enumerate(self._processes):
            if self._opened.get(number, state).link == "up":
                process = self.process(number)
                process.queue = (*process.queue, item)

    def count_anew(self, key: int, op: int) -> None:
        """Have a write that takes place once more, or late, count as a new one."""
        own = ~bit(key, op)
        self.server.past &= own
        for number in range(len(self.state.processes)):
            me = self.process(number)
            me.floor, me.owed = me.floor & own, me.owed & own
            me.tasks = [task._replace(mask=task.mask & own) for task in me.tasks]

    def spend(self, name: str) -> None:
        """Take one from the budget."""
        self.budget = self.budget._replace(**{name: getattr(self.budget, name) - 1})

    def finish(self, process: Process, thread: int) -> None:
        """End what a thread does."""
        process.tasks[thread] = Task(process.tasks[thread].step + 1)
        process.tier.release(thread)
        process.tier.asking &= ~(1 << thread)

    def observe(self, key: int, data: int, floor: int) -> None:
        """Note that a read whose process had written before it began has returned `data`."""
        if bit(key, data) & floor:
            self.broken = f"I5: a read of key {key} returned {named(data)}, older than this process's own write"

    def value(self, key: int) -> Value:
        """Return what the server has."""
        return self.server.value(key)

    def expired(self, version: int) -> bool:
        """Tell whether a version's life is over."""
        return version != GONE and bool(self.state.server.expired >> version & 1)


def named(data: int) -> str:
    """Return a value's name in traces."""
    if data == GONE:
        return "nothing"
    return f"v{data}" if data < NOTHING_BY else f"nothing (by write {data - NOTHING_BY})"


def all_bits(server: Server) -> int:
    """Return the values that a clear supersedes: all there are."""
    return server.past | sum(starmap(bit, ((key, value.data) for key, value in enumerate(server.row()))))
