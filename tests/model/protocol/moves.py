"""What a thread does next, whatever it runs: the parts that reads, writes and loads have in common.

A move is one step that nothing can come between. A flow is parted where another thread, a message or the server can
come between in fact; where coming between changes nothing that a later step doesn't change as well, two steps are taken
as one (taking a token and looking up the known generation, say).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from protocol.state import NO_GENERATION, Request, State, Task
from protocol.world import Process, World

Act = Callable[[World], None]
WRITES = frozenset({"set", "add", "delete", "touch", "incr", "clear", "update", "replace"})
READS = frozenset({"get", "refresh", "load"})


class Move(NamedTuple):
    """One way to go on."""

    who: str
    what: str
    act: Act


class Thread:
    """A thread of a process, for one move."""

    __slots__ = ("key", "me", "number", "op", "process", "task", "world")

    def __init__(self, world: World, process: int, number: int) -> None:
        self.world = world
        self.process, self.number = process, number
        self.me: Process = world.process(process)
        self.task: Task = self.me.tasks[number]
        self.key = self.task.key
        self.op = world.scenario.first_ops[process][number] + self.task.step

    def go(self, at: str, **changes: Any) -> None:
        """Go on at `at`."""
        self.task = self.task._replace(at=at, **changes)
        self.me.tasks[self.number] = self.task

    def finish(self) -> None:
        """End the flow."""
        self.world.finish(self.me, self.number)

    def take_token(self) -> None:
        """Take a fill token."""
        self.me.tier.token(self.number, self.key)

    def set_out(self, **changes: Any) -> None:
        """Send the request, under the known generation; without one, ask for it first."""
        if not self.world.scenario.asks:
            self.go("sent", **changes)
        elif self.me.known != NO_GENERATION and self.me.tier.lease:
            self.go("sent", prefix=self.me.known, **changes)
        else:
            self.me.tier.asking |= 1 << self.number
            self.go("asking", **changes)

    def ask(self) -> None:
        """The server says which generation stands."""
        if not self.restores_unwatched("told"):
            self.go("told", prefix=self.world.server.ask_generation())

    def name_again(self) -> None:
        """The server says which generation stands after a write that found its name gone."""
        if not self.restores_unwatched("reply"):
            told = self.world.server.ask_generation()
            if told != self.task.prefix:  # done again: before the clear it may have counted as well
                self.world.count_anew(self.key, self.op)
            self.go("reply", told=told)

    def restores_unwatched(self, then: str) -> bool:
        """Read the copy, if the rule says that the name is written whatever comes between."""
        server = self.world.server
        if self.world.rules.restored != "unwatched" or NO_GENERATION in (server.copy, server.in_force):
            return False
        if server.generation != NO_GENERATION:
            return False
        self.go("restoring " + then, held=None, told=server.copy)
        return True

    def restore(self) -> None:
        """Write the name that was read from the copy."""
        self.world.server.generation = self.task.told
        then = self.task.at.split()[1]
        self.go(then, prefix=self.task.told if then == "told" else self.task.prefix)

    def learn(self) -> None:
        """Go on under the generation that the server named."""
        current = bool(self.me.tier.asking >> self.number & 1)
        self.me.learn(self.task.prefix, self.world.rules, current=current)
        self.me.tier.asking &= ~(1 << self.number)
        self.go("sent")

    def observe(self, data: int) -> None:
        """Return a value to the caller."""
        self.world.observe(self.key, data, self.task.mask)

    def stand_in(self) -> None:
        """Answer with the suspect, if there is one."""
        entry = self.me.tier.suspect(self.key)
        if entry is not None:
            self.observe(entry.data)
        self.finish()

    def in_doubt(self) -> bool:
        """Tell whether the remote tier isn't to be asked about the key."""
        return self.me.away or self.me.journaled(self.key)

    def fill(self) -> None:
        """Install what was read, if the token stands, and return it; drop the entry where there was nothing."""
        tier, value = self.me.tier, self.task.held
        assert value is not None
        if value.op is not None:
            tier.install(self.number, self.key, value, self.world.rules.fill, expired=self.world.expired(value.version))
        elif tier.op(self.key) is not None and tier.stands(self.number, 0):
            tier.discard(self.key)
        self.observe(value.data)


def act(process: int, number: int, step: Callable[[Thread], None]) -> Act:
    """Return `step` of a thread as a move's act."""
    return lambda world: step(Thread(world, process, number))


def lost(process: int, number: int, then: Callable[[Thread], None], *, late: bool, free: bool) -> Act:
    """Return the failure of a request: `late`, it may arrive afterwards; `free`, the breaker refused it."""

    def fail(world: World) -> None:
        thread = Thread(world, process, number)
        if not free:
            world.spend("failures")
        if late:
            world.spend("late")
            world.network = (*world.network, Request(process, thread.task, thread.op))
        then(thread)

    return fail


def failures(
    state: State, process: int, number: int, then: Callable[[Thread], None], who: str, *, write: bool
) -> list[Move]:
    """Return the ways in which the request under way may fail."""
    task, me = state.processes[process].tasks[number], state.processes[process]
    before = task.at in {"asking", "sent"}
    moves = []
    if before and me.away:
        moves.append(Move(who, "is refused by the breaker", lost(process, number, then, late=False, free=True)))
    if state.budget.failures:
        what = "fails before the server got it" if before else "fails: the reply is lost"
        moves.append(Move(who, what, lost(process, number, then, late=False, free=False)))
        if task.at == "sent" and write and state.budget.late:
            what = "fails, but is still on its way"
            moves.append(Move(who, what, lost(process, number, then, late=True, free=False)))
    return moves
