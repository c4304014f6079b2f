"""Greenlets: they are stopped, by `gevent.Timeout` or `kill`, wherever they wait, and lose nothing by it."""

import subprocess
import sys

import pytest
from waiting import PATIENCE

pytest.importorskip("gevent")

STOPPED = """
import gevent.monkey
gevent.monkey.patch_all()

import random, sys, time
import gevent
from twotier import Cache

MOST, GREENLETS, WANTED = 8, 20, 300
cache = Cache(sys.argv[1], namespace=sys.argv[2], max_connections=MOST, timeout=2.0, max_staleness=8.0)
pool = cache._namespace.topology.pool()
for number in range(50):
    cache.set(f"key {number}", number)
stops, chance = [0], random.Random(7)


def work():
    while stops[0] < WANTED:
        timer = gevent.Timeout(chance.expovariate(1 / 0.0004))
        timer.start()
        try:
            cache._namespace.store.clear()
            cache.get(f"key {chance.randrange(50)}")
        except gevent.Timeout:
            stops[0] += 1
        finally:
            timer.close()


def victim():
    while True:
        cache._namespace.store.clear()
        cache.get(f"key {chance.randrange(50)}")


if sys.argv[3] == "timeout":
    gevent.joinall([gevent.spawn(work) for _ in range(GREENLETS)], raise_error=True)
else:
    while stops[0] < WANTED:
        greenlets = [gevent.spawn(victim) for _ in range(GREENLETS)]
        gevent.sleep(chance.expovariate(1 / 0.004))
        gevent.killall(greenlets)
        stops[0] += len(greenlets)

deadline = time.monotonic() + 20
while pool._opening and time.monotonic() < deadline:
    gevent.sleep(0.01)
assert len(pool._channels) == len(pool._idle), (len(pool._channels), len(pool._idle))
assert not (pool._opening or pool._turns or pool._asleep), (pool._opening, pool._turns, pool._asleep)
loans = [[] for _ in range(MOST)]
for loan in loans:
    pool.take(loan, time.monotonic() + 20)
for loan in loans:
    pool.give(loan)
for number in range(50):
    cache._namespace.store.clear()
    assert cache.get(f"key {number}") == number
cache.close()
print("whole")
"""


@pytest.mark.parametrize("how", ["timeout", "kill"])
def test_stopped_greenlets_lose_no_connection(server, namespace, how):
    """After hundreds of stops every connection can be had, and each key is read."""
    done = subprocess.run(
        [sys.executable, "-c", STOPPED, server.tcp_url, namespace, how],
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("whole\n", 0), done.stderr


FORKED = """
import gevent.monkey
gevent.monkey.patch_all()

import os, sys, time
import gevent
from twotier import Cache

cache = Cache(sys.argv[1], namespace=sys.argv[2], timeout=2.0, max_staleness=8.0)
cache.set("key", 1)


def live():
    deadline = time.monotonic() + 30
    while cache.health().link != "live":
        assert time.monotonic() < deadline
        gevent.sleep(0.005)
        cache.get("is the link up?")


live()
cache.get_or_set("loaded", lambda: 1, hard_timeout=10)
child = os.fork()
if not child:
    live()
    cache._namespace.store.clear()
    assert cache.get("key") == 1
    gevent.sleep(1.5)  # what the parent's greenlets were waiting for is over here, too
    cache.close()
    print("child", flush=True)
    os._exit(0)
assert gevent.os.waitpid(child, 0)[1] == 0
cache._namespace.store.clear()
assert cache.get("key") == 1
live()
cache.close()
print("parent")
"""


def test_a_forked_child_ends_the_parents_greenlets_in_silence(server, namespace):
    """Greenlets go on in a child: those of the parent's services leave its connections, and end without a word."""
    done = subprocess.run(
        [sys.executable, "-c", FORKED, server.tcp_url, namespace],
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("child\nparent\n", "", 0)
