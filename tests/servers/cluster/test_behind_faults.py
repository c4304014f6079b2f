"""Write-behind in a cluster that moves slots, and with many processes that write the same keys."""

import random
import subprocess
import sys
import threading
import time

import pytest
from fake_source import contradictions
from stepping import SOON, between_steps, slot_of_stream
from waiting import PATIENT, wait_for

from twotier import RemoteError, WriteBehind
from twotier.core.write_behind.streams import Streams
from twotier.remote.commands.streams import Range
from twotier.remote.hash_slots import slot_of

HOT = [f"hot{number}" for number in range(6)]
ROUNDS = [f"round{number}" for number in range(80)]


WRITER = """
import random, sys, time

from twotier import Cache, WriteBehind

url, namespace, seed, rounds = sys.argv[1:5]
dice = random.Random(int(seed))


class Nothing:
    def write(self, values): ...

    def delete(self, keys): ...


with Cache(url, namespace=namespace, timeout=2.0, connect_timeout=2.0, max_staleness=8.0) as cache:
    behind = WriteBehind(cache, Nothing(), trust_server=True, drain=False)
    for number in range(80):
        time.sleep(0.01 - time.time() % 0.01)  # all at once
        behind.set(f"round{number}", [seed, number])
    for number in range(int(rounds)):
        key = f"hot{dice.randrange(6)}"
        if dice.random() < 0.2:
            behind.delete(key)
        elif dice.random() < 0.2:
            behind.set_many({key: [seed, number], f"hot{dice.randrange(6)}": [seed, number]})
        else:
            behind.set(key, [seed, number])
"""


def start_writers(cluster, namespace, count, rounds):
    """Start processes that write the same keys at random."""
    arguments = [
        [sys.executable, "-c", WRITER, cluster.url, namespace, str(seed), str(rounds)] for seed in range(count)
    ]
    return [subprocess.Popen(each) for each in arguments]


def test_the_last_write_appended_stands(cluster, make, source, namespace):
    """Of processes that write the same keys at once, cache and source end with what was appended last."""
    cache = make(cluster, **PATIENT)
    writers = start_writers(cluster, namespace, 4, 150)
    assert [writer.wait() for writer in writers] == [0] * 4
    last = {}
    for stream in Streams(namespace, cache._namespace.values, slotted=True).all:
        for entry in cache._namespace.executor.run(Range(stream.stream, count=10_000)):
            change = stream.open(entry)
            last[change.key] = None if change.removes else change.value
    assert set(last) == {*HOT, *ROUNDS}
    expected = {key: value for key, value in last.items() if value is not None}
    assert cache.get_many(last) == expected
    with WriteBehind(cache, source, trust_server=True) as drainer:
        drainer.flush(30)
    assert source.rows == expected
    assert cache.get_many(last) == expected


def test_cache_and_source_never_part_for_good(cluster, make, source, namespace):
    """Writers in many processes, loads of a source that lags, and clears: all settle on what the source has."""
    cache = make(cluster, load_lease=0.05, **PATIENT)
    dice = random.Random(7)
    source.before = lambda: time.sleep(dice.random() * 0.02)
    with WriteBehind(cache, source, trust_server=True, batch_size=3) as drainer:
        writers = start_writers(cluster, namespace, 3, 150)
        while any(writer.poll() is None for writer in writers):
            key = dice.choice(HOT)
            cache.get_or_set(key, lambda key=key: source.rows.get(key))
            if dice.random() < 0.02:
                cache.clear()
        assert [writer.returncode for writer in writers] == [0] * 3
        drainer.flush(30)
    reader = make(cluster, **PATIENT)
    assert contradictions(reader, source, [*HOT, *ROUNDS]) == []
    wait_for(lambda: contradictions(cache, source, [*HOT, *ROUNDS]) == [], "the other has heard of it")


def test_slots_are_moved(own_cluster, make, source):
    """While slots of streams and of keys are moved, writes and drainers go on, and nothing is lost or undone."""
    cache, other = make(own_cluster), make(own_cluster)
    keys = [f"key{number}" for number in range(30)]
    behind = WriteBehind(cache, source, trust_server=True, drain=False)
    drainer = WriteBehind(other, source, trust_server=True, **SOON)
    stop, written, failed = threading.Event(), {}, []

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            for key in keys:
                try:
                    behind.set(key, [number])
                except RemoteError as error:
                    failed.append(error)
                    written.pop(key, None)
                else:
                    written[key] = [number]

    thread = threading.Thread(target=write)
    moved = {slot_of_stream(cache, source, key) for key in keys} | {slot_of(key.encode()) for key in keys[:10]}
    thread.start()
    try:
        for slot in sorted(moved):
            here = own_cluster.owner(slot)
            own_cluster.move(slot, next(each for each in own_cluster.primaries().values() if each is not here))
        wait_for(lambda: failed or (written.keys() == set(keys) and [1] not in written.values()), "writes went on")
    finally:
        stop.set()
        thread.join()
    behind.flush(30)
    assert failed == []
    assert source.rows == written
    for asked in {key: [asked[key] for _, asked in source.asked if key in asked] for key in keys}.values():
        assert asked == sorted(asked)
    wait_for(lambda: not cache.health().journal, "the journal is replayed")
    wait_for(lambda: contradictions(cache, source, keys) == [] == contradictions(other, source, keys), "all agree")
    drainer.close()


def test_a_slot_that_is_being_moved(own_cluster, make, source, namespace):
    """At every stage of a stream's move, writes, drainers that take over, looks and dead letters find it whole."""
    cache = make(own_cluster, **PATIENT)
    behind = WriteBehind(cache, source, trust_server=True, drain=False)
    streams = Streams(namespace, cache._namespace.values, slotted=True)
    stream = streams.all[0]
    slot = slot_of(stream.stream)
    here = own_cluster.owner(slot)
    target = next(each for each in own_cluster.primaries().values() if each is not here)
    keys = [key for key in (f"{'x' * (number % 7)}{number}" for number in range(2000)) if streams.of(key) == 0][:20]
    written = {}

    def write(value):
        behind.set_many(dict.fromkeys(keys, value))
        written.update(dict.fromkeys(keys, value))
        assert behind.stats().depth == len(keys)
        with pytest.raises(TimeoutError):
            behind.flush(0)

    def names_at(server):
        return set(own_cluster.client(server).execute_command("CLUSTER", "GETKEYSINSLOT", slot, 10))

    write("before")
    own_cluster.begin_move(slot, here, target)
    with WriteBehind(cache, source, trust_server=True, **SOON) as drainer:
        drainer.flush(30)
        assert stream.stream.decode() not in names_at(target)
    assert source.rows == written
    for value, other in (("moving", target), ("moved", here)):
        if value == "moved":
            own_cluster.carry(here, target, *names_at(here))
        write(value)
        assert stream.stream.decode() not in names_at(other)
        source.before = lambda: 1 / 0
        with WriteBehind(cache, source, trust_server=True, max_attempts=1, batch_size=1, **SOON) as drainer:
            drainer.flush(30)
            assert len(drainer.dead_letters()) == len(keys)
            source.before = lambda: None
            drainer.retry_dead_letters()
            drainer.flush(30)
            assert drainer.dead_letters() == []
        assert source.rows == written
    own_cluster.end_move(slot, here, target)
    assert own_cluster.owner(slot) is target
    write("after")
    with WriteBehind(cache, source, trust_server=True, **SOON) as drainer:
        drainer.flush(30)
    assert source.rows == written
    wait_for(lambda: not cache.health().journal, "the journal is replayed")
    assert contradictions(cache, source, keys) == []


def test_a_mark_whose_entry_was_lost(cluster, make, source, namespace):
    """A mark of a write that its stream has lost, with an id that was never reached again, doesn't stand for long."""
    cache = make(cluster, **PATIENT)
    behind = WriteBehind(cache, source, trust_server=True, drain=False)
    behind.set("key", "lost")
    for server in cluster.primaries().values():
        client = cluster.client(server)
        for name in client.keys(f"{namespace}:wb*"):
            client.delete(name)
        for name in client.keys(f"{namespace}:*~!*key"):
            raw = cluster.client(server)
            raw.connection_pool.connection_kwargs["decode_responses"] = False
            mark = raw.get(name)
            raw.set(name, mark[:16] + b"\x7f" + mark[17:])
    behind.set("key", "kept")
    with WriteBehind(cache, source, trust_server=True) as drainer:
        drainer.flush(30)
        assert source.rows == {"key": "kept"}
        wait_for(lambda: cache.get("key") is None, "what was lost has left the cache")
        behind.set("key", "later")
        assert cache.get("key") == "later"
        drainer.flush(30)
    assert cache.get("key") == source.rows["key"] == "later"


def test_a_write_that_was_held_up_for_long(cluster, make, source, namespace, monkeypatch):
    """When marks of later writes may have expired, a value isn't put any more."""
    cache, other = make(cluster, **PATIENT), make(cluster, **PATIENT)

    def overtake():
        with WriteBehind(other, source, trust_server=True) as drainer:
            drainer.set("key", "later")
            drainer.flush(30)
        for server in cluster.primaries().values():
            client = cluster.client(server)
            for name in client.keys(f"{namespace}:*~!*key"):
                client.delete(name)
        monkeypatch.setattr("twotier.core.write_behind.cluster_append.IN_TIME", 0)

    happened = between_steps(monkeypatch, cache, overtake)
    WriteBehind(cache, source, trust_server=True, drain=False).set("key", "earlier")
    assert happened
    assert source.rows == {"key": "later"}
    assert other.get("key") == cache.get("key") == "later"
