"""What happens by itself: messages arrive, links break and come back, lives end, data is lost, processes fork."""

from collections.abc import Callable, Iterator

from protocol.moves import Move
from protocol.rules import Rules
from protocol.scenario import Scenario
from protocol.state import (
    NO_GENERATION,
    NO_OP,
    NONE_HELD,
    Budget,
    Item,
    ProcessState,
    Replay,
    ServerState,
    State,
    TierState,
)
from protocol.world import Process, World


def moves(state: State, scenario: Scenario, rules: Rules) -> Iterator[Move]:
    """Return what may happen in `state`."""
    budget = state.budget
    for number, process in enumerate(state.processes):
        who = f"P{number}"
        if process.link == "unborn":
            parent = scenario.parents[number]
            if state.processes[parent].link not in {"unborn", "idle"}:
                yield Move(f"P{parent}", f"forks P{number}", _fork(parent, number))
            continue
        if process.link == "idle":
            continue
        if process.queue:
            head = process.queue[0]
            yield Move(who, f"receives {_described(head)}", _on(number, _receive))
            if budget.duplicates and head.kind == "inv":
                yield Move(who, f"receives {_described(head)}, which will come again", _on(number, _receive_copy))
        yield from _link_moves(state, number, process, scenario, rules)
        if budget.local_expiries and any(e is not None and not e.expired for e in process.tier.entries):
            yield Move(who, "finds its local entries expired", _on(number, _expire_locally))
    yield from _server_moves(state, scenario)
    if scenario.staleness:
        yield Move("time", "passes by a tick", _tick)


def _link_moves(state: State, number: int, process: ProcessState, scenario: Scenario, rules: Rules) -> Iterator[Move]:
    who = f"P{number}"
    if process.link == "up":
        if state.budget.cuts:
            yield Move(who, "is cut off, and doesn't know it", _on(number, _cut))
        if _wants_lease(
            process,
            state,
            timed=bool(scenario.staleness),
            named=scenario.asks and rules.lease_names_generation,
        ):
            yield Move(who, "asks for a lease", _on(number, _ask_lease))
        if process.asked >= 0:
            yield Move(who, "is given a lease by the server", _on(number, _give_lease))
    elif process.link == "cut":
        yield Move(who, "notices the loss of its link", _on(number, _notice))
    elif process.link == "down":
        yield Move(who, "connects and subscribes", _on(number, _connect))


def _wants_lease(process: ProcessState, state: State, *, timed: bool, named: bool) -> bool:
    """Tell whether a lease would change anything; without a clock, one that is had already is as good as new."""
    if process.asked >= 0 or any(item.kind in {"confirmed", "lease"} for item in process.queue):
        return False
    return (
        timed
        or not process.tier.lease
        or process.known not in ({state.server.generation} if named else {NO_GENERATION, state.server.generation})
    )


def _server_moves(state: State, scenario: Scenario) -> Iterator[Move]:
    server, budget = state.server, state.budget
    if budget.expiries and server.generation != NO_GENERATION:
        for key, value in enumerate(server.rows[server.generation]):
            if value.op is not None:
                yield Move("server", f"expires key {key}", _expire(key))
            if server.leases[server.generation][key]:
                yield Move("server", f"ends the lease on key {key}", _expire_lease(key))
    yield from _name_moves(server, budget)
    if budget.flushes:
        yield Move("server", "is flushed", _flush)
    if budget.restarts:
        yield Move("server", "restarts empty", _restart)
    if scenario.journals and budget.failures:
        for number, process in enumerate(state.processes):
            if not process.away and process.link not in {"unborn", "idle"}:
                yield Move(f"P{number}", "opens its breaker", _on(number, _open_breaker))


def _name_moves(server: ServerState, budget: Budget) -> Iterator[Move]:
    if budget.evictions:
        if server.generation != NO_GENERATION:
            yield Move("server", "evicts the generation's name", _evict(name=True))
        if server.copy != NO_GENERATION:
            yield Move("server", "evicts the copy of the name", _evict(name=False))
    if server.copy != server.generation:
        yield Move("somebody", "writes what is missing of name and copy", lambda world: world.server.keep_copy())


def _on(number: int, step: Callable[[World, Process], None]) -> Callable[[World], None]:
    return lambda world: step(world, world.process(number))


def _described(item: Item) -> str:
    if item.kind == "inv":
        return f"the invalidation of key {item.keys[0]} by write {item.op}"
    return {"clear": "a clear", "confirmed": "the confirmation of its subscription", "lease": "its lease"}[item.kind]


# The link


def _receive(world: World, me: Process) -> None:
    item, *rest = me.queue
    me.queue = tuple(rest)
    _handle(world, me, item)


def _receive_copy(world: World, me: Process) -> None:
    world.spend("duplicates")
    _handle(world, me, me.queue[0])


def _handle(world: World, me: Process, item: Item) -> None:
    rules, scenario = world.rules, world.scenario
    if item.kind == "inv":
        for key in item.keys:
            # An earlier write of ours leaves what is kept of one that failed. Of two threads either may be the earlier;
            # here it is the first one, whichever began: both cases are met.
            doubt = me.journal[key]
            if doubt is None or item.op not in scenario.ops(me.number) or item.op >= doubt.op:
                me.tier.apply(key, item.op)
    elif item.kind == "clear":
        me.clear()
    elif item.kind == "confirmed":
        if rules.confirmation_bumps_epoch:
            me.bump_epoch()
    else:
        if scenario.asks:
            if me.known == NO_GENERATION:
                me.known = item.op if rules.lease_names_generation else NO_GENERATION
            elif me.known != item.op:
                me.bump_epoch()
        left = scenario.staleness - (item.age if rules.lease_from_asking else 0)
        me.tier.renew(max(0, left) if scenario.staleness else 1)


def _ask_lease(world: World, me: Process) -> None:
    if world.scenario.staleness:
        me.asked = 0
    else:
        _answer_lease(world, me, 0)


def _give_lease(world: World, me: Process) -> None:
    age, me.asked = me.asked, -1
    _answer_lease(world, me, age)


def _answer_lease(world: World, me: Process, age: int) -> None:
    answer = Item("lease", world.server.generation, (), age)
    me.queue = (*me.queue, answer) if world.rules.ordered_lease else (answer, *me.queue)


def _cut(world: World, me: Process) -> None:
    world.spend("cuts")
    me.link, me.queue, me.asked = "cut", (), -1


def _notice(world: World, me: Process) -> None:
    me.link = "down"
    me.tier.lose()
    if world.rules.loss_bumps_epoch:
        me.known = NO_GENERATION


def _connect(world: World, me: Process) -> None:  # noqa: ARG001 - one signature for all
    me.link, me.queue = "up", (Item("confirmed"),)


# Lives and losses


def _expire(key: int) -> Callable[[World], None]:
    def expire(world: World) -> None:
        world.spend("expiries")
        version = world.value(key).version
        world.server.expire(key)
        for number, state in enumerate(world.state.processes):
            entry = state.tier.entries[key]
            if entry is not None and entry.version == version:
                # A copy's life never exceeds what was left when it was asked for.
                world.process(number).tier.entries[key] = entry._replace(expired=True)
        if world.scenario.tracking:
            world.publish(Item("inv", NO_OP, (key,)))

    return expire


def _expire_lease(key: int) -> Callable[[World], None]:
    def expire(world: World) -> None:
        world.spend("expiries")
        world.server.set_lease(world.server.generation, key, NONE_HELD)

    return expire


def _expire_locally(world: World, me: Process) -> None:
    world.spend("local_expiries")
    me.tier.expire()


def _flush(world: World) -> None:
    world.spend("flushes")
    world.server.flush()
    if world.scenario.tracking:
        world.publish(Item("clear"))


def _evict(*, name: bool) -> Callable[[World], None]:
    def evict(world: World) -> None:
        world.spend("evictions")
        if not name:
            world.server.copy = NO_GENERATION
            return
        world.server.generation = NO_GENERATION
        if world.scenario.tracking:
            world.publish(Item("clear"))

    return evict


def _restart(world: World) -> None:
    world.spend("restarts")
    world.server.flush()
    for number, state in enumerate(world.state.processes):
        if state.link == "up":
            me = world.process(number)
            me.link, me.queue, me.asked = "cut", (), -1


def _open_breaker(world: World, me: Process) -> None:
    world.spend("failures")
    me.away = True


def _tick(world: World) -> None:
    limit = world.scenario.staleness
    for number in range(len(world.state.processes)):
        me = world.process(number)
        tier = me.tier
        tier.lease = max(0, tier.lease - 1)
        if me.asked >= 0:
            me.asked = min(limit, me.asked + 1)
        me.queue = tuple([i._replace(age=min(limit, i.age + 1)) if i.kind == "lease" else i for i in me.queue])
        for key, entry in enumerate(tier.entries):
            if entry is not None and entry.version != world.value(key).version:
                tier.entries[key] = entry._replace(age=min(limit, entry.age + 1))


def _fork(parent: int, child: int) -> Callable[[World], None]:
    def fork(world: World) -> None:
        world.spend("forks")
        state = world.process(parent).freeze()
        me = world.process(child)
        inherited = not world.rules.fork_drops_link
        tier = me.tier
        tier.entries, tier.lease, tier.marks = list(state.tier.entries), state.tier.lease, 0
        me.known = state.known
        me.link = "inherited"
        if not inherited:
            tier.lose()
            me.link, me.known = "down", NO_GENERATION
        me.away, me.replay, me.overflows, me.owed = False, Replay(), 0, 0
        me.floor = state.floor

    return fork


def idle(state: ProcessState) -> ProcessState:
    """Return what is left of a process that nothing can be seen of any more."""
    tier = TierState((None,) * len(state.tier.entries), state.tier.tokens, (0,) * len(state.tier.last_ops), 0, 0, 0)
    return state._replace(tier=tier, link="idle", queue=(), asked=-1, known=NO_GENERATION, floor=0)
