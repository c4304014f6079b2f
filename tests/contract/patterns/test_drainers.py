"""Draining by several processes, of which one at a time does it, and which are killed in the midst of it."""

import random
import subprocess
import sys
import threading
import time

import pytest
import redis
from forking import in_child
from private_servers import private_server
from project import ROOT
from shared_source import SharedSource
from waiting import PATIENT, live, wait_for

from twotier import Cache

HERE = ROOT / "tests" / "support"


WORKER = """
import sys, time
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from shared_source import SharedSource
from twotier import Cache, WriteBehind

url, namespace, path, role = sys.argv[2:6]
folder = Path(path)


class Stuck(SharedSource):
    def write(self, values):
        super().write(dict(list(values.items())[: len(values) // 2]))
        (folder / "stuck").touch()
        time.sleep(60)


class Slow(SharedSource):
    def write(self, values):
        time.sleep(0.002)
        super().write(values)


kind = Stuck if role == "stuck" else Slow
with Cache(url, namespace=namespace, timeout=2.0, max_staleness=8.0) as cache:
    with WriteBehind(cache, kind(folder / "ledger"), trust_server=True, drain_lease=0.4, batch_size=16) as writes:
        acknowledged = folder / f"acknowledged-{role}"
        number = int(acknowledged.read_text()) if acknowledged.exists() else 0
        while role != "stuck":
            number += 1
            writes.set_many({f"{role}:{key}": number for key in range(5)})
            acknowledged.with_suffix(".new").write_text(str(number))
            acknowledged.with_suffix(".new").rename(acknowledged)
            time.sleep(0.005)
        time.sleep(60)
"""


@pytest.fixture(params=["one server", "a cluster"])
def where(request):
    """What caches of a test that holds for both are on, as settings for `make`."""
    return {"cluster": request.param == "a cluster"}


@pytest.fixture
def work(request, where, namespace, tmp_path):
    """Starts worker processes, killed at the end."""
    processes = []
    url = request.getfixturevalue("cluster" if where["cluster"] else "server").url

    def work(role):
        arguments = [HERE, url, namespace, tmp_path, role]
        processes.append(subprocess.Popen([sys.executable, "-c", WORKER, *map(str, arguments)]))
        return processes[-1]

    yield work
    for process in processes:
        process.kill()
        process.wait()


def test_a_drainer_that_is_killed_in_mid_batch_loses_nothing(make, where, behind, work, tmp_path):
    """Another takes over: what the first had read and not acknowledged is written, and no key goes back."""
    cache = make(**where)
    writes = behind(cache, drain=False)
    for number in range(10):
        writes.set_many({f"key:{key}": number for key in range(8)})
    process = work("stuck")
    wait_for((tmp_path / "stuck").exists, "the writer is in the midst of its batch")
    writes.set("key:0", 10)
    process.kill()
    ledger = SharedSource(tmp_path / "ledger")
    assert ledger.lines()
    behind(cache, ledger, drain_lease=0.4).flush(30)
    assert ledger.rows() == {f"key:{key}": "10" if key == 0 else "9" for key in range(8)}
    ledger.assert_order()


def test_processes_that_write_and_are_killed_lose_nothing(make, where, behind, work, tmp_path):
    """Whatever was acknowledged to a writer reaches the source in order, whoever is killed on the way."""
    dice, ledger = random.Random(3), SharedSource(tmp_path / "ledger")

    def acknowledged(role):
        path = tmp_path / f"acknowledged-{role}"
        return int(path.read_text()) if path.exists() else 0

    running = {role: work(role) for role in "abc"}
    reached = dict.fromkeys(running, 0)
    for _ in range(3):
        lines = len(ledger.lines())
        wait_for(lambda: all(acknowledged(role) > reached[role] for role in reached), "everybody writes")
        wait_for(lambda lines=lines: len(ledger.lines()) > lines + 20, "writes arrive")
        victim = dice.choice("abc")
        running[victim].kill()
        running[victim].wait()
        reached[victim] = acknowledged(victim)
        running[victim] = work(victim)
    for process in running.values():
        process.kill()
        process.wait()
    behind(make(**where), ledger, drain_lease=0.4).flush(30)
    ledger.assert_order()
    for role in running:
        for key in range(5):
            assert int(ledger.rows()[f"{role}:{key}"]) in (acknowledged(role), acknowledged(role) + 1)


def test_one_at_a_time_drains(make, source, behind):
    """Of several write-behinds one calls its writer, and another as soon as that one is closed."""
    at_once, most = [], []

    def before():
        at_once.append(1)
        most.append(len(at_once))
        time.sleep(0.001)  # the source's own time
        at_once.pop()

    source.before = before
    caches = [make() for _ in range(3)]
    crew = [behind(cache, drain_lease=20.0) for cache in caches]
    for number in range(60):
        crew[number % 3].set(f"key:{number}", number)
    crew[0].flush(20)
    assert source.rows == {f"key:{number}": number for number in range(60)}
    assert max(most) == 1
    draining = [one for one in crew if one.stats().draining]
    assert len(draining) == 1
    draining[0].close()
    start = time.monotonic()
    rest = [one for one in crew if one is not draining[0]]
    rest[0].set("last", 1)
    rest[1].flush(15)
    assert time.monotonic() - start < 15
    assert source.rows["last"] == 1


def test_a_long_call_of_the_writer_is_not_overtaken(make, source, behind):
    """The lease is renewed while the writer runs, longer than the lease lasts."""
    calls = []

    def before():
        calls.append(threading.current_thread())
        if len(calls) == 1:
            time.sleep(1.0)  # three leases

    source.before = before
    crew = [behind(make(), drain_lease=0.3) for _ in range(2)]
    crew[0].set("key", 1)
    wait_for(lambda: calls, "the writer is called")
    crew[1].set("other", 2)
    crew[1].flush(20)
    assert len(set(calls)) == 1
    assert source.asked == [("write", {"key": 1}), ("write", {"other": 2})]


def test_a_drainer_that_lost_its_lease_begins_anew(make, source, behind, server, namespace):
    """When the lease is another's all of a sudden, nothing is acknowledged, and who has it next writes all of it."""
    writes = behind(make(), drain_lease=0.3)
    with redis.Redis.from_url(server.url) as client:

        def before():
            if not source.asked:
                source.before = lambda: None
                client.set(f"{namespace}:wb!lease", "a stranger", px=300)
                wait_for(lambda: not writes.stats().draining, "the loss is noticed")

        source.before = before
        writes.set("key", 1)
        writes.flush(20)
    assert source.asked == [("write", {"key": 1})] * 2


def test_a_stream_that_was_removed_is_made_again(make, source, behind, server, namespace):
    """Draining goes on when somebody has deleted the stream and its group."""
    writes = behind(make())
    writes.set("key", 1)
    writes.flush(20)
    with redis.Redis.from_url(server.url) as client:
        client.delete(f"{namespace}:wb")
    writes.set("key", 2)
    writes.flush(20)
    assert source.rows == {"key": 2}


def test_an_entry_that_was_removed_by_hand_is_passed_over(make, source, behind, server, namespace):
    """What was read, and then removed from the stream before it was written, is acknowledged."""
    cache = make()
    source.before = lambda: 1 / 0
    first = behind(cache, max_attempts=1000)
    first.set_many({"a": 1, "b": 2})
    wait_for(lambda: first.stats().retried, "it was read")
    first.close()
    with redis.Redis.from_url(server.url) as client:
        client.xdel(f"{namespace}:wb", client.xrange(f"{namespace}:wb", count=1)[0][0])
        source.before = lambda: None
        behind(cache).flush(20)
        wait_for(lambda: client.xpending(f"{namespace}:wb", "drainers")["pending"] == 0, "all is acknowledged")
    assert source.rows == {"b": 2}


def test_what_a_durable_server_had_acknowledged_survives_its_crash(namespace, source, behind):
    """With appendonly, kill -9 of the server loses no write that has returned."""
    with (
        private_server(settings={"appendonly": "yes", "appendfsync": "always"}) as server,
        Cache(server.url, namespace=namespace, **PATIENT) as cache,
    ):
        wait_for(lambda: live(cache), "the link is live")
        writes = behind(cache, drain=False)
        for number in range(50):
            writes.set(f"key:{number}", number)
        server.kill()
        server.start()
        wait_for(lambda: live(cache) and cache.health().breaker == "closed", "the server is back")
        behind(cache).flush(30)
        assert source.rows == {f"key:{number}": number for number in range(50)}


def test_a_forked_child_drains_once_it_writes(make, source, behind):
    """A child has no thread of its parent's; its writes reach the stream, and are drained by whoever does that."""
    writes = behind(make())
    writes.set("parent", 1)
    writes.flush(20)

    def work():
        assert [thread.name for thread in threading.enumerate() if "write-behind" in thread.name] == []
        assert not writes.stats().draining
        writes.set("child", 2)
        assert len([thread.name for thread in threading.enumerate() if "write-behind" in thread.name]) == 2
        writes.flush(20)
        writes.close()

    in_child(work)
    writes.flush(20)
    assert source.rows == {"parent": 1, "child": 2}
