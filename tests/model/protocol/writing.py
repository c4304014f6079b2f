"""The writing flows. `update` changes the source of truth and deletes the key; `replace` changes it and sets it."""

from protocol.moves import READS, Move, Thread, act, failures
from protocol.state import (
    FIRST_GENERATION,
    NO_GENERATION,
    NONE_HELD,
    Doubt,
    Item,
    Request,
    State,
    Task,
    Value,
    bit,
    nothing_by,
    somethings,
)
from protocol.world import World, all_bits

SETS = frozenset({"set", "add", "replace"})
REMOVES = frozenset({"delete", "update"})


def begin(thread: Thread) -> None:
    """Drop the local entry, take the token, and set out."""
    world, me, do = thread.world, thread.me, thread.task.do
    if do == "clear":
        me.clear()
        mask = somethings(all_bits(world.server), world.scenario.keys) if world.scenario.journals else 0
        if world.scenario.loads:
            world.server.source = [thread.op] * world.scenario.keys
        thread.go("sent", mask=mask)
        return
    if do in {"update", "replace"}:
        world.server.source[thread.key] = thread.op
    seen = doubt = 0
    if do in SETS or do in REMOVES:
        journaled = me.journal[thread.key]
        doubt = 0 if journaled is None else journaled.op
        seen = me.tier.op(thread.key) or 0
        me.tier.begin_write(thread.number, thread.key)
    mask = world.server.mask(thread.key) if world.scenario.journals else 0
    if do in REMOVES:
        mask = somethings(mask, world.scenario.keys)
    thread.set_out(doubt=doubt, seen=seen if do in SETS else 0, mask=mask)


def change(world: World, task: Task, op: int) -> Task:
    """Do a write on the server, and publish it; return the task with what the reply tells."""
    server, key, prefix, do = world.server, task.key, task.prefix, task.do
    if do == "clear":
        mask = all_bits(server)
        server.clear(op, copies=world.rules.clears_write_copies)
        world.publish(Item("clear", op))
        own = sum(bit(each, op) for each in range(world.scenario.keys))
        server.past &= ~own
        mask = somethings(mask & ~own, world.scenario.keys)
        return task._replace(mask=mask, done=True, told=FIRST_GENERATION, prefix=FIRST_GENERATION)
    old = server.read(prefix, key)
    done, mask = True, server.mask(key)
    if do in SETS:
        done = do != "add" or old.op is None
        if done:
            server.change(prefix, key, Value(op, op, op))
    elif do in REMOVES:
        server.change(prefix, key, nothing_by(op))
    elif do == "incr":
        server.change(prefix, key, Value(op, op, 0))
    else:
        done = False
        if old.op is not None:
            server.change(prefix, key, Value(op, old.data, old.op))
    if do != "touch" and world.rules.load != "unvoided":
        server.set_lease(prefix, key, NONE_HELD)
    world.publish(Item("inv", op, (key,)))
    own = bit(key, op)  # a load that saw the source changed may have stored what shows this write before it took place
    server.past &= ~own
    mask = (mask if done else server.past) & ~own
    if do in REMOVES:
        mask = somethings(mask, world.scenario.keys)
    if server.generation == NO_GENERATION and world.rules.restored == "known":
        server.generation = prefix
    return task._replace(mask=mask, done=done, told=server.generation)


def execute_request(thread: Thread) -> None:
    """The server does it."""
    thread.task = change(thread.world, thread.task, thread.op)
    thread.go("reply")


def arrive(request: Request) -> Move:
    """Return the move by which a request that was given up takes place."""

    def act_late(world: World) -> None:
        left = list(world.network)
        left.remove(request)
        world.network = tuple(left)
        change(world, request.task, request.op)
        world.count_anew(request.task.key, request.op)

    task = request.task
    return Move(f"P{request.process}'s given up {task.do} {task.key}", "takes place after all", act_late)


def take(thread: Thread) -> None:
    """Take the reply: install, or drop what stands here from before."""
    me, task, rules = thread.me, thread.task, thread.world.rules
    if thread.world.scenario.asks and task.told == NO_GENERATION:
        thread.go("unnamed")  # evicted: if it is restored as it was, the write counts
        return
    if thread.world.scenario.asks and rules.fenced_writes and task.told != task.prefix:
        me.bump_epoch()  # the write went into a dead generation: do it again
        thread.set_out()
        return
    if task.do == "clear":
        me.clear()
    elif task.do in SETS:
        if task.done:
            forget(thread)
            value = Value(thread.op, thread.op, thread.op)
            expired = thread.world.expired(thread.op)
            put = me.tier.install(thread.number, thread.key, value, rules.own_set, expired=expired)
            if rules.reply_applies == "always" or (rules.reply_applies != "never" and not put):
                me.tier.apply(thread.key, thread.op)
    else:
        if rules.reply_applies != "never":
            me.tier.apply(thread.key, thread.op)
        if task.do in REMOVES:
            forget(thread)
    me.floor |= task.mask
    thread.finish()


def forget(thread: Thread) -> None:
    """Take the key from the journal, now that a write of it has arrived."""
    journaled = thread.me.journal[thread.key]
    if journaled is not None and (not thread.world.rules.forgets_what_it_saw or journaled.op == thread.task.doubt):
        thread.me.journal[thread.key] = None


def fail(thread: Thread) -> None:
    """Take the failure: what `set` and `delete` were to do is journaled; `touch`, `incr` and `add` tell the caller."""
    if thread.task.do in {"touch", "incr", "add"}:
        thread.finish()
    else:
        thread.go("failed")


def doubt(thread: Thread) -> None:
    """Enter the journal."""
    me, task = thread.me, thread.task
    me.owed |= task.mask
    if task.do == "clear":
        overflow(thread)
        return
    earlier = me.journal[thread.key]
    seen = task.seen if earlier is None else earlier.seen
    me.journal[thread.key] = Doubt(thread.op, seen, task.do)
    thread.go("doubted")


def overflow(thread: Thread) -> None:
    """Enter the journal as everything."""
    me = thread.me
    me.owed |= thread.task.mask
    me.journal = [None] * len(me.journal)
    me.overflows = min(2, me.overflows + 1)
    thread.go("doubted")


def doubt_beyond_bound(thread: Thread) -> None:
    """Enter a journal that is full."""
    thread.world.spend("overflows")
    overflow(thread)


def keep(thread: Thread) -> None:
    """Keep the value as a suspect, or the removal."""
    me, task = thread.me, thread.task
    if task.do == "clear":
        me.clear()
    elif task.do in SETS:
        me.tier.put(thread.key, thread.op, thread.op)
    else:
        me.tier.apply(thread.key, thread.op)
    # Its outcome is unknown: it counts as the last of the writes that were under way with it.
    own = bit(thread.key, thread.op)
    me.floor = (me.floor | task.mask) & ~own
    for number, other in enumerate(me.tasks):
        if other.do in READS:
            me.tasks[number] = other._replace(mask=other.mask & ~own)
    thread.finish()


STEPS = {
    "asking": ("is told the generation by the server", Thread.ask),
    "told": ("learns the generation", Thread.learn),
    "sent": ("takes place on the server and is published", execute_request),
    "reply": ("takes the reply", take),
    "unnamed": ("is told the generation by the server", Thread.name_again),
    "restoring told": ("writes the name that it has read", Thread.restore),
    "restoring reply": ("writes the name that it has read", Thread.restore),
    "failed": ("goes to the journal", doubt),
    "doubted": ("returns in doubt", keep),
}


def moves(state: State, process: int, number: int, who: str) -> list[Move]:
    """Return how a write goes on."""
    task = state.processes[process].tasks[number]
    what, step = STEPS[task.at]
    found = [Move(who, what, act(process, number, step))]
    if task.at in {"asking", "sent", "reply", "unnamed"}:
        found += failures(state, process, number, fail, who, write=True)
    if task.at == "failed" and state.budget.overflows and task.do != "clear":
        found.append(Move(who, "overflows the journal", act(process, number, doubt_beyond_bound)))
    return found
