"""Moments of draining that have to be met exactly: its requests are interrupted, or its process ends between two."""

import pytest
import redis
from draining import exhaust
from waiting import wait_for

from twotier.core.flow.requests import Load
from twotier.core.write_behind.calls import WriteBehindCalls
from twotier.core.write_behind.pending import KILLED
from twotier.core.write_behind.settings import WriteBehindOptions
from twotier.errors import RemoteTimeout
from twotier.remote.commands.generations import WithGeneration
from twotier.remote.commands.streams import ReadGroup, Settle


def test_large_values_are_read_fewer_at_once(make, source, behind, monkeypatch):
    """When the server takes too long to send a batch, the next one is half as large."""
    cache = make()
    run, counts = cache._namespace.executor.run, []

    def slow(command, **how):
        if isinstance(command, ReadGroup):
            counts.append(command.count)
            if command.count > 5:
                raise RemoteTimeout("too much")
        return run(command, **how)

    monkeypatch.setattr(cache._namespace.executor, "run", slow)
    monkeypatch.setattr("twotier.core.write_behind.drainer.AWAY", 0.001)
    writes = behind(cache, batch_size=32)
    writes.set_many({f"key:{number}": number for number in range(20)})
    writes.flush(20)
    assert len(source.rows) == 20
    assert min(counts) <= 4


def test_a_clear_at_the_last_moment_lets_nothing_old_stay(make, source, behind, monkeypatch):
    """What was loaded under a generation that came up while a write was acknowledged leaves as well."""
    cache, other = make(), make(load_lease=0.05)
    source.rows["key"] = "old"
    writes = behind(cache, drain=False)
    writes.set("key", "new")
    run, once = cache._namespace.executor.run, []

    def interrupted(command, **how):
        if isinstance(command, WithGeneration) and isinstance(command.write, Settle) and not once:
            once.append(True)
            other.clear()
            other.get_or_set("key", lambda: "old")
        return run(command, **how)

    monkeypatch.setattr(cache._namespace.executor, "run", interrupted)
    behind(cache).flush(20)
    assert once
    wait_for(lambda: cache.get("key") is None and other.get("key") is None, "the old value has left")


def test_a_value_that_kills_its_process_is_given_up(make, source, behind):
    """Each process that hands it to the writer dies; then it is a dead letter, and the others arrive."""
    cache = make()
    behind(cache, drain=False).set_many({"good": 1, "deadly": 2, "fine": 3})
    options = WriteBehindOptions(trust_server=True, batch_size=4, max_attempts=2, first_backoff=0.001)
    alive, deaths = None, 0
    for _ in range(20):
        calls = WriteBehindCalls(cache._calls, source, options, {})
        calls.drainers.all[0]._token = b"the lease of one that was killed has ended"
        if not dies(calls.drainers.all[0], cache._namespace.executor):
            alive = calls
            break
        deaths += 1
    assert alive, "it goes on for ever"
    assert deaths >= 4
    assert source.rows == {"good": 1, "fine": 3}
    (letter,) = cache._run(alive.dead_letters(10))
    assert (letter.key, letter.error) == ("deadly", KILLED)


def test_what_the_source_may_have_already_is_not_undone(make, behind, source):
    """A batch that was written and not acknowledged is larger than a read: all of it is read again before a write."""
    cache = make()
    writes = behind(cache, drain=False)
    for number in range(8):
        writes.set("key", number)
    calls = WriteBehindCalls(
        cache._calls, source, WriteBehindOptions(trust_server=True, batch_size=2, first_backoff=0.05), {}
    )
    source.before = lambda: 1 / 0 if calls.drainers.all[0]._waiting.group(1 << 62)[0].change.value < 7 else None
    run, written = cache._namespace.executor.run, []

    class Killed(BaseException):
        """The process is gone."""

    def until_written(command):
        if source.rows:
            raise Killed
        return run(command)

    with pytest.raises(Killed):
        exhaust(calls.drainers.all[0], until_written)
    assert source.rows == {"key": 7}
    source.before = lambda: None
    source.write = lambda values: written.append(values["key"])
    with redis.Redis.from_url(cache._namespace.label) as client:
        client.delete(f"{cache.options.namespace}:wb!lease")
    behind(cache, batch_size=2).flush(20)
    assert written == [7]


def dies(drainer, executor):
    """Step a drainer until it hands the deadly value to its writer; tell whether it did, or had nothing left to do."""
    for _ in range(60):
        flow = drainer.step()
        reply = None
        try:
            while True:
                command = flow.send(reply)
                if isinstance(command, Load):
                    if any(
                        "deadly" in item.change.key for item in drainer._waiting.group(drainer._namespace.clock.now())
                    ):
                        return True
                    reply = command.loader()
                else:
                    reply = executor.run(command)
        except StopIteration:
            pass
    return False
