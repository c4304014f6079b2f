"""Write-behind in a cluster: what may come between a write's place in its stream and its value in the cache."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from stepping import between_steps
from waiting import PATIENT, wait_for

from twotier import WriteBehind
from twotier.core.flow.drive import drive
from twotier.core.write_behind.streams import Streams

HERE = Path(__file__).parent


def agree(source, *caches, key="key"):
    """Tell whether all caches have what the source has."""
    return all(cache.get(key) == source.rows.get(key) for cache in caches)


def flushed(cache, source, **settings):
    """Have everything drained by a write-behind of its own."""
    with WriteBehind(cache, source, trust_server=True, **settings) as drainer:
        drainer.flush(30)


@pytest.fixture
def two(cluster, make):
    """Two caches of one namespace, as in two processes."""
    return make(cluster, **PATIENT), make(cluster, **PATIENT)


@pytest.mark.parametrize("first", ["put", "delete"])
@pytest.mark.parametrize("later", ["put", "delete"])
@pytest.mark.parametrize("drained", [False, True], ids=["waiting", "at the source"])
def test_a_later_write_between_the_steps_stands(two, source, monkeypatch, first, later, drained):
    """The value of a write that was appended earlier doesn't replace it, in either tier of either process."""
    slow, fast = two
    fast.set("key", "before")
    behind, other = (
        WriteBehind(slow, source, trust_server=True, drain=False),
        WriteBehind(fast, source, trust_server=True, drain=False),
    )

    def overtake():
        if later == "put":
            other.set("key", "later")
        else:
            other.delete("key")
        if drained:
            flushed(fast, source)

    happened = between_steps(monkeypatch, slow, overtake)
    if first == "put":
        behind.set("key", "earlier")
    else:
        assert not behind.delete("key")
    assert happened
    expected = "later" if later == "put" else None
    assert slow.get("key") == fast.get("key") == expected
    flushed(fast, source)
    assert source.rows.get("key") == expected
    assert agree(source, slow, fast)


def test_a_clear_between_the_steps_takes_no_later_write_back(two, source, monkeypatch):
    """With a clear go the marks that tell of later writes: the write is appended again, and is the last one then."""
    slow, fast = two
    behind, other = (
        WriteBehind(slow, source, trust_server=True, drain=False),
        WriteBehind(fast, source, trust_server=True, drain=False),
    )

    def overtake():
        other.set("key", "later")
        flushed(fast, source)
        fast.clear()

    happened = between_steps(monkeypatch, slow, overtake)
    behind.set("key", "earlier")
    assert happened
    assert source.rows == {"key": "later"}
    assert slow.get("key") == "earlier"
    flushed(fast, source)
    assert source.rows == {"key": "earlier"}
    wait_for(lambda: agree(source, slow, fast), "both have what the source has")


def test_a_clear_that_was_heard_of_between_the_steps(two, source, monkeypatch):
    """The second step is done under the generation that stood before the first, and not under one learned since."""
    slow, fast = two
    behind, other = (
        WriteBehind(slow, source, trust_server=True, drain=False),
        WriteBehind(fast, source, trust_server=True, drain=False),
    )

    def overtake():
        other.set("key", "later")
        flushed(fast, source)
        fast.clear()
        wait_for(lambda: prefix(slow)[1] == prefix(fast)[1], "it is heard")

    def prefix(cache):
        cache.get("key")
        generations = cache._namespace.generations
        return generations._known[generations.group_of("key")]

    happened = between_steps(monkeypatch, slow, overtake, early=True)
    behind.set("key", "earlier")
    assert happened
    flushed(fast, source)
    wait_for(lambda: agree(source, slow, fast), "both have what the source has")


@pytest.mark.parametrize("how", ["put", "delete"])
def test_a_clear_of_some_groups_between_the_steps(two, source, monkeypatch, how):
    """Only keys of the groups that it reached are appended again, and all are as they were last written."""
    slow, fast = two
    generations = slow._namespace.generations
    streams = Streams("any", slow._namespace.values, slotted=True)
    keys = [key for key in (f"key{number}" for number in range(2000)) if streams.of(key) == 0][:20]
    cleared = generations.group_of(keys[0])
    others = [key for key in keys if generations.group_of(key) != cleared]
    slow.set_many(dict.fromkeys(keys, "before"))
    behind = WriteBehind(slow, source, trust_server=True, drain=False)
    behind.set_many(dict.fromkeys(keys, "before"))

    def overtake():
        namespace = fast._namespace
        publication = namespace.publication("clear", namespace.op_ids.next())
        clear = namespace.generations.clear([cleared], publication)
        assert not drive(clear, namespace.executor, namespace.background)

    happened = between_steps(monkeypatch, slow, overtake)
    before = behind.stats().depth
    if how == "put":
        behind.set_many(dict.fromkeys(keys, "after"))
    else:
        assert behind.delete_many(keys) == len(others)
    assert happened
    assert behind.stats().depth - before == 2 * len(keys) - len(others)
    expected = dict.fromkeys(keys, "after") if how == "put" else {}
    assert slow.get_many(keys) == fast.get_many(keys) == expected
    flushed(fast, source)
    assert source.rows == expected
    wait_for(lambda: slow.get_many(keys) == fast.get_many(keys) == expected, "both have what the source has")


@pytest.mark.parametrize("how", ["put", "delete"])
def test_a_drainer_that_was_faster(two, source, monkeypatch, how):
    """What the source has before the second step is in the cache all the same, and no load waits for it."""
    slow, fast = two
    behind = WriteBehind(slow, source, trust_server=True, drain=False)
    source.rows["key"] = "old"
    fast.set("key", "old")
    happened = between_steps(monkeypatch, slow, lambda: flushed(fast, source))
    if how == "put":
        behind.set("key", "new")
        assert slow.get("key") == "new"
    else:
        assert behind.delete("key")
        began = time.monotonic()
        assert fast.get_or_set("key", lambda: source.rows.get("key", "loaded")) == "loaded"
        assert time.monotonic() - began < slow.options.load_lease / 2
    assert happened
    assert behind.stats().depth == 0


def test_a_write_that_was_given_up_between_the_steps(two, source, monkeypatch):
    """A value that the source never took doesn't get into the cache afterwards."""
    slow, fast = two
    behind = WriteBehind(slow, source, trust_server=True, drain=False)
    source.rows["key"] = "old"
    source.before = lambda: 1 / 0
    happened = between_steps(monkeypatch, slow, lambda: flushed(fast, source, max_attempts=1, batch_size=1))
    behind.set("key", "refused")
    assert happened
    (letter,) = behind.dead_letters()
    assert letter.value == "refused"
    assert slow.get("key") is fast.get("key") is None
    assert fast.get_or_set("key", lambda: source.rows["key"]) == "old"


def test_what_was_loaded_between_the_steps_is_overwritten(two, source, monkeypatch):
    """A load of the source that lags doesn't outlive the second step, whether it is stored before or after it."""
    slow, fast = two
    source.rows["key"] = source.rows["other"] = "old"
    behind = WriteBehind(slow, source, trust_server=True, drain=False)
    between_steps(monkeypatch, slow, lambda: fast.get_or_set("key", lambda: source.rows["key"]))
    behind.set("key", "new")
    wait_for(lambda: slow.get("key") == fast.get("key") == "new", "the load was overwritten")

    def load():
        behind.set("other", "new")
        return source.rows["other"]

    assert fast.get_or_set("other", load) == "old"
    wait_for(lambda: slow.get("other") == fast.get("other") == "new", "the load was not stored")


@pytest.mark.parametrize("loaded", [False, True])
def test_a_process_that_is_killed_between_the_steps(cluster, make, source, namespace, loaded):
    """Its write reaches the source, and what the cache has from before it leaves then."""
    cache = make(cluster, load_lease=0.05, **PATIENT)
    source.rows.update(a="old", b="old")
    if not loaded:
        cache.set_many(source.rows)
    process = subprocess.run([sys.executable, "-c", KILLED, str(HERE.parent), cluster.url, namespace], check=False)
    assert process.returncode == -signal.SIGKILL
    for key in "ab":
        assert cache.get_or_set(key, lambda key=key: source.rows[key]) == "old"
    flushed(cache, source)
    assert source.rows == {"a": "new", "b": "old"}
    wait_for(lambda: cache.get("a") is None, "it has left")
    assert cache.get("b") == "old"


KILLED = """
import os, signal, sys

sys.path[:0] = [sys.argv[1], sys.argv[1] + "/cluster"]
from stepping import is_second_step
from twotier import Cache, WriteBehind


class Nothing:
    def write(self, values): ...

    def delete(self, keys): ...


with Cache(sys.argv[2], namespace=sys.argv[3], timeout=2.0, connect_timeout=2.0, max_staleness=8.0) as cache:
    behind = WriteBehind(cache, Nothing(), trust_server=True, drain=False)
    run = cache._namespace.executor.run

    def killed(command, **how):
        if is_second_step(command):
            os.kill(os.getpid(), signal.SIGKILL)
        return run(command, **how)

    cache.get("key")
    cache._namespace.executor.run = killed
    behind.set("a", "new")
"""
