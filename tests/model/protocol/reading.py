"""The reading flow: `get`, which a fresh local entry answers, and `refresh`, whose lookup has just missed."""

from protocol.moves import Move, Thread, act, failures
from protocol.state import State


def begin(thread: Thread) -> None:
    """Look into the local tier; on a miss, take a token and look into the journal."""
    me = thread.me
    thread.task = thread.task._replace(mask=me.floor)
    entry = me.tier.get(thread.key) if thread.task.do == "get" else None
    if entry is not None:
        thread.observe(entry.data)
        thread.finish()
        return
    if not thread.world.scenario.journals:
        thread.take_token()
        thread.set_out()
    elif thread.world.rules.token_before_journal:
        thread.take_token()
        thread.go("check")
    else:
        thread.go("check")


def check(thread: Thread) -> None:
    """Ask the remote tier, if it may be asked."""
    if thread.in_doubt():
        thread.stand_in()
        return
    if thread.world.rules.token_before_journal:
        thread.set_out()
    else:
        thread.go("checked")


def take_token(thread: Thread) -> None:
    """Take the token now that the journal has been looked at: too late."""
    thread.take_token()
    thread.set_out()


def read(thread: Thread) -> None:
    """The server reads."""
    thread.go("reply", held=thread.world.server.read(thread.task.prefix, thread.key))


def take(thread: Thread) -> None:
    """Take the reply."""
    thread.fill()
    thread.finish()


STEPS = {
    "check": ("looks into the journal", check),
    "checked": ("takes its token", take_token),
    "asking": ("is told the generation by the server", Thread.ask),
    "told": ("learns the generation", Thread.learn),
    "restoring told": ("writes the name that it has read", Thread.restore),
    "sent": ("is read on the server", read),
    "reply": ("takes the reply, and installs it if it may", take),
}


def moves(state: State, process: int, number: int, who: str) -> list[Move]:
    """Return how a read goes on."""
    at = state.processes[process].tasks[number].at
    what, step = STEPS[at]
    found = [Move(who, what, act(process, number, step))]
    if at in {"asking", "sent", "reply"}:
        found += failures(state, process, number, Thread.stand_in, who, write=False)
    return found
