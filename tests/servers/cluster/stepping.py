"""Between the steps of a write-behind in a cluster: what happens there at just that moment."""

from twotier.core.write_behind.calls import WriteBehindCalls
from twotier.remote.commands.batch import Batch
from twotier.remote.commands.cluster_write_markers import PutIfLatest
from twotier.remote.commands.streams import Append
from twotier.remote.hash_slots import slot_of

SOON = {"drain_lease": 1.0, "first_backoff": 0.01}
"""Options of a write-behind whose drainers take over at once."""


def is_second_step(command):
    """Tell whether a command is the second step of a write."""
    steps = command.commands if isinstance(command, Batch) else [command]
    return all(isinstance(each, PutIfLatest) for each in steps)


def between_steps(monkeypatch, cache, happens, *, early=False):
    """Have `happens` called once between the steps of the next write on `cache`; return whether it was.

    That is right before the second, or (`early`) right after the first.
    """
    run, happened = cache._namespace.executor.run, []

    def interrupted(command, **how):
        if not early and is_second_step(command) and not happened:
            happened.append(True)
            happens()
        result = run(command, **how)
        if early and isinstance(command, Append) and not happened:
            happened.append(True)
            happens()
        return result

    monkeypatch.setattr(cache._namespace.executor, "run", interrupted)
    return happened


def slot_of_stream(cache, source, key):
    """Return the slot of the stream that `key` belongs to."""
    streams = WriteBehindCalls(cache._calls, source, None, {"trust_server": True})._streams
    return slot_of(streams.all[streams.of(key)].stream)
