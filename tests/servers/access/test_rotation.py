"""The recipe for a new secret (docs/django.md), done by real processes: no step lets anybody miss a write."""

import json
import subprocess
import sys
import time

import pytest
from waiting import PATIENCE, wait_for

OLD, NEW = "the old key of 16 bytes", "the new key of 16 bytes"
RECIPE = [[OLD], [OLD, NEW], [NEW, OLD], [NEW]]
"""What a process has, one step after the other."""

WORKER = """
import json, sys
from twotier import Cache

url, namespace, secret = json.loads(sys.argv[1])
with Cache(url, namespace=namespace, secret=secret, timeout=2.0, connect_timeout=2.0, max_staleness=8.0) as cache:
    for line in sys.stdin:
        call, *arguments = json.loads(line)
        if call == "health":
            state = [cache.health().link, cache.health().conflicts, cache.stats().unverified, cache.stats().corrupt]
        elif call == "look":
            state = cache._namespace.fleet.look()
        else:
            state = getattr(cache, call)(*arguments)
        print(json.dumps(state), flush=True)
"""


class Worker:
    """A process with a cache."""

    def __init__(self, url, namespace, secret):
        command = [sys.executable, "-c", WORKER, json.dumps([url, namespace, secret])]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self("get", "nothing")
        wait_for(lambda: self("health")[0] == "live", "the link is live")

    def __call__(self, *call):
        """Return what the process says to `call`."""
        self._process.stdin.write(json.dumps(call) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self):
        """End the process."""
        with self._process as process:
            process.stdin.close()
            process.wait(PATIENCE)


@pytest.fixture
def start(server, namespace):
    """Starts workers."""
    workers = []

    def start(secret):
        workers.append(Worker(server.url, namespace, secret))
        return workers[-1]

    yield start
    for worker in workers:
        worker.close()


@pytest.mark.parametrize("step", [0, 1, 2], ids=["accept the new one", "sign with it", "drop the old one"])
def test_each_step_keeps_values_and_coherence(start, step):
    """While some processes have made a step and others haven't, both read and hear each other's writes."""
    before, after = start(RECIPE[step]), start(RECIPE[step + 1])
    for writer, reader in ((before, after), (after, before)):
        writer("set", "key", 1)
        assert reader("get", "key") == 1
        writer("set", "key", 2)
        wait_for(lambda reader=reader: reader("get", "key") == 2, "the write is heard of")
        writer("clear")
        wait_for(lambda reader=reader: reader("get", "key") is None, "the clear is heard of")
    for worker in (before, after, before):
        worker("look")
    for worker in (before, after):
        link, conflicts, unverified, corrupt = worker("health")
        assert (link, unverified, corrupt) == ("live", 0, 0)
        assert not conflicts


def test_without_the_first_step_health_says_so(start):
    """Straight to a secret that the others don't accept: stale for no longer than the bound, and both sides say so."""
    before, after = start([OLD]), start([NEW, OLD])
    before("set", "key", 1)
    assert after("get", "key") == 1
    assert before("get", "key") == 1
    after("set", "key", 2)
    begun = time.monotonic()
    wait_for(lambda: before("get", "key") != 1, "the old value isn't served any more")
    assert time.monotonic() - begun < 8.0
    for worker in (before, after):
        wait_for(lambda worker=worker: worker("health")[1], "the contradiction is seen")
