"""A scenario: who runs what, and what may happen besides. The smallest bounds in which a mistake shows."""

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain
from typing import Literal

from protocol.rules import Rules
from protocol.state import (
    NO_GENERATION,
    NONE_HELD,
    NOTHING,
    Budget,
    Entry,
    ProcessState,
    Replay,
    ServerState,
    State,
    Task,
    TierState,
    Value,
)

BASE_OP = 1
"""The op id of the values that are there from the start; those of writes follow."""
NO_BUDGET = Budget()

Choice = tuple[str, ...]
"""What a thread may do at one step of its program: each "get 0", "set 1", "clear 0", ..."""
Program = tuple[Choice, ...]


@dataclass(frozen=True)
class Scenario:
    """Bounds of an exploration. Every thread runs its program once, in order; everything else at any moment."""

    name: str
    programs: tuple[tuple[Program, ...], ...]
    """By process and thread."""
    keys: int = 1
    """How many keys there are."""
    budget: Budget = NO_BUDGET
    cold: bool = False
    """Start with empty local tiers; else every process holds what the server has."""
    empty: bool = False
    """Start with nothing on the server either."""
    staleness: int = 0
    """`max_staleness` in ticks; 0 explores without a clock: a lease lasts until the loss of the link is noticed."""
    replay: Literal["delete", "set"] = "delete"
    asks: bool = False
    """Whether the generation can change, and has to be asked for and looked after."""
    tracking: bool = False
    """Whether the server itself tells of changes (step 11), expiry and loss included, and no op id comes with that."""
    parents: tuple[int, ...] = ()
    """By process: whose child it becomes; its own number for those that are there from the start."""

    @cached_property
    def first_ops(self) -> tuple[tuple[int, ...], ...]:
        """The op id of what a thread does at its first step, by process and thread; the others follow it."""
        ops = accumulate(map(len, chain.from_iterable(self.programs)), initial=BASE_OP + 1)
        return tuple(tuple(next(ops) for _ in threads) for threads in self.programs)

    def ops(self, process: int) -> range:
        """Return the op ids of what a process's threads do."""
        first = self.first_ops[process][0]
        return range(first, first + sum(map(len, self.programs[process])))

    def replay_op(self, process: int) -> int:
        """Return the op id of a process's replays: nothing is ever installed under it."""
        return 100 + process

    @cached_property
    def journals(self) -> bool:
        """Whether writes can fail."""
        return bool(self.budget.failures)

    @cached_property
    def loads(self) -> bool:
        """Whether there is a source of truth."""
        return any(
            "load" in choice for threads in self.programs for prog in threads for step in prog for choice in step
        )

    def first(self) -> State:
        """Return the state in which everything begins."""
        base = NOTHING if self.empty else Value(0, 0, BASE_OP)
        held = None if self.cold or self.empty else Entry(0, 0, BASE_OP, True, False)
        server = ServerState(
            rows=((base,) * self.keys,),
            leases=((NONE_HELD,) * self.keys,),
            generation=0,
            copy=0,
            past=0,
            expired=0,
            source=(0,) * self.keys,
        )
        processes = []
        for number, programs in enumerate(self.programs):
            unborn = bool(self.parents) and self.parents[number] != number
            tier = TierState(
                entries=(None if unborn else held,) * self.keys,
                tokens=(None,) * len(programs),
                last_ops=(0,) * self.keys,
                lease=0 if unborn else max(1, self.staleness),
                marks=0,
                asking=0,
            )
            processes.append(
                ProcessState(
                    tier=tier,
                    link="unborn" if unborn else "up",
                    queue=(),
                    asked=-1,
                    known=NO_GENERATION if self.asks and self.cold else 0,
                    tasks=(Task(0),) * len(programs),
                    journal=(None,) * self.keys,
                    overflows=0,
                    away=False,
                    replay=Replay(),
                    floor=0,
                    owed=0,
                )
            )
        return State(server, tuple(processes), (), self.budget, "")


DEFAULT = Rules()
