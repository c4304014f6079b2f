"""The loading flow, `get_or_set`: under a lease on the server, which every write of the key ends (design, section 6).

Where another process has the lease, a caller looks again, any number of times, or gives up and loads for itself. A
lease that a load of this process has left behind, as its grant or return was uncertain, is taken for free; and recovery
gives it back.
"""

from collections.abc import Callable, Iterable

from protocol.moves import Move, Thread, act, failures
from protocol.scenario import Scenario
from protocol.state import NO_GENERATION, NONE_HELD, Item, State, Task, Value
from protocol.world import World
from protocol.writing import forget


def begin(thread: Thread) -> None:
    """Look into the local tier; on a miss, take a token, and ask for the lease and the value."""
    entry = thread.me.tier.get(thread.key)
    thread.task = thread.task._replace(mask=thread.me.floor)
    if entry is not None:
        thread.observe(entry.data)
        thread.finish()
        return
    look(thread)


def look(thread: Thread) -> None:
    """Ask for the lease and the value, if the remote tier may be asked."""
    thread.take_token()
    if thread.in_doubt():
        thread.go("alone")
    else:
        thread.set_out(done=False, held=None)


def ask_for_lease(thread: Thread) -> None:
    """The server gives the lease, unless somebody has it, and reads the key."""
    server, prefix = thread.world.server, thread.task.prefix
    leased = thread.world.rules.load != "token"
    taken = leased and server.lease(prefix, thread.key) == NONE_HELD
    if taken:
        server.set_lease(prefix, thread.key, thread.op)
    holder = NONE_HELD if taken else server.lease(prefix, thread.key)
    thread.go("looked", held=server.read(prefix, thread.key), done=taken, seen=holder)


def found(thread: Thread) -> None:
    """Take the reply: a value; or the lease and the duty to load; or neither."""
    task = thread.task
    assert task.held is not None
    if task.held.op is not None:
        thread.fill()
        if task.done:
            thread.go("ending")
        else:
            thread.finish()
    elif task.done or thread.world.rules.load == "token":
        thread.go("load", held=None)
    elif task.seen in abandoned(thread.world.scenario, thread.process, thread.me.tasks):
        thread.go("taking", held=None)
    else:
        thread.go("waiting", held=None, seen=NONE_HELD)


def abandoned(scenario: Scenario, process: int, tasks: Iterable[Task]) -> frozenset[int]:
    """Return the tokens of the loads of a process that have ended: a lease that one of these has may still stand."""
    first = scenario.first_ops[process]
    return frozenset(op for at, task in zip(first, tasks, strict=True) for op in range(at, at + task.step))


def take_abandoned(thread: Thread) -> None:
    """The server gives the lease that this process has abandoned, if nobody else has it by now."""
    server, prefix = thread.world.server, thread.task.prefix
    taken = server.lease(prefix, thread.key) == thread.task.seen
    if taken:
        server.set_lease(prefix, thread.key, thread.op)
    thread.go("taken", done=taken, seen=NONE_HELD)


def has_taken(thread: Thread) -> None:
    """Take the reply: the duty to load, or not."""
    thread.go("load" if thread.task.done else "waiting")


def give_back(key: int, holder: int) -> Callable[[World], None]:
    """Return recovery's act of giving an abandoned lease back."""

    def act_on(world: World) -> None:
        if world.server.lease(world.server.in_force, key) == holder:
            world.server.set_lease(world.server.in_force, key, NONE_HELD)

    return act_on


def recoveries(state: State, scenario: Scenario, process: int) -> list[Move]:
    """Return what the recovery of a process may give back."""
    server = state.server
    if server.generation == NO_GENERATION or not any(server.leases[server.generation]):
        return []
    tokens = abandoned(scenario, process, state.processes[process].tasks)
    return [
        Move(f"P{process} recovery", f"gives the lease on key {key} back", give_back(key, holder))
        for key, holder in enumerate(server.leases[server.generation])
        if holder in tokens
    ]


def end_lease(thread: Thread) -> None:
    """The server takes the lease back, if it is still ours."""
    server, prefix = thread.world.server, thread.task.prefix
    if server.lease(prefix, thread.key) == thread.op:
        server.set_lease(prefix, thread.key, NONE_HELD)
    thread.finish()


def read_source(thread: Thread) -> None:
    """The loader reads the source."""
    thread.go("loaded", held=Value(thread.op, thread.world.server.source[thread.key], thread.op))


def check_token(thread: Thread) -> None:
    """With the local token alone: go on if it stands."""
    if thread.me.tier.stands(thread.number, 0):
        thread.me.tier.begin_write(thread.number, thread.key)
        thread.go("store")
    else:
        thread.finish()


def store(thread: Thread) -> None:
    """The server puts the loaded value, if the lease still stands."""
    server, task = thread.world.server, thread.task
    assert task.held is not None
    if thread.world.rules.load != "token":
        if server.lease(task.prefix, thread.key) != thread.op:
            thread.observe(task.held.data)
            thread.finish()
            return
        server.set_lease(task.prefix, thread.key, NONE_HELD)
    server.change(task.prefix, thread.key, task.held)
    thread.world.publish(Item("inv", thread.op, (thread.key,)))
    thread.go("stored")


def stored(thread: Thread) -> None:
    """Take the reply: install, or drop what stands here from before."""
    tier, value = thread.me.tier, thread.task.held
    assert value is not None
    if not thread.world.rules.forgets_what_it_saw:
        forget(thread)
    expired = thread.world.expired(thread.op)
    put = tier.install(thread.number, thread.key, value, thread.world.rules.own_set, expired=expired)
    if not put or thread.world.rules.reply_applies == "always":
        tier.apply(thread.key, thread.op)
    thread.observe(value.data)
    thread.finish()


def keep(thread: Thread) -> None:
    """Keep the loaded value as a suspect, if the token stands."""
    value = thread.task.held
    assert value is not None
    if thread.me.tier.stands(thread.number, 0) or not thread.world.rules.kept_loads_checked:
        thread.me.tier.put(thread.key, thread.op, value.data)
    thread.observe(value.data)
    thread.finish()


def keep_alone(thread: Thread) -> None:
    """Keep what was loaded without a lease, if the token stands."""
    value = thread.task.held
    assert value is not None
    if thread.me.tier.stands(thread.number, 0):
        thread.me.tier.put(thread.key, thread.op, value.data)
    thread.observe(value.data)
    thread.finish()


def load_alone(thread: Thread) -> None:
    """Load without a lease."""
    thread.me.tier.release(thread.number)
    thread.take_token()
    thread.go("alone")


def read_source_alone(thread: Thread) -> None:
    """The loader reads the source, without a lease."""
    thread.go("kept", held=Value(thread.op, thread.world.server.source[thread.key], thread.op))


def fail(thread: Thread) -> None:
    """Take a failure."""
    at = thread.task.at
    if at in {"loaded", "store", "stored"}:
        keep(thread)
    elif at == "ending":
        thread.finish()
    else:
        load_alone(thread)


STEPS = {
    "asking": ("is told the generation by the server", Thread.ask),
    "told": ("learns the generation", Thread.learn),
    "sent": ("asks the server for the lease and the value", ask_for_lease),
    "looked": ("takes the reply", found),
    "ending": ("gives the lease back on the server", end_lease),
    "load": ("reads the source", read_source),
    "loaded": ("stores what it loaded on the server, if it may", store),
    "store": ("stores what it loaded on the server", store),
    "stored": ("takes the reply", stored),
    "taking": ("takes the lease that this process has abandoned", take_abandoned),
    "taken": ("takes the reply", has_taken),
    "waiting": ("looks again", look),
    "alone": ("reads the source without a lease", read_source_alone),
    "kept": ("keeps what it loaded alone, if it may", keep_alone),
}


def moves(state: State, process: int, number: int, who: str, *, by_token: bool) -> list[Move]:
    """Return how a load goes on."""
    at = state.processes[process].tasks[number].at
    what, step = STEPS[at]
    if at == "loaded" and by_token:
        what, step = "looks at its token", check_token
    found = [Move(who, what, act(process, number, step))]
    if at == "waiting":
        found.append(Move(who, "gives up waiting", act(process, number, load_alone)))
    if at in {"asking", "sent", "looked", "ending", "taking", "taken", "loaded", "store", "stored"}:
        found += failures(state, process, number, fail, who, write=False)
    return found
