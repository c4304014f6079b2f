"""What happens to processes: their clock is set, and they fork under load."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from forking import in_child
from waiting import live, wait_for

from twotier.testing import assert_coherent

HERE = Path(__file__).parent

STEPPED = """
import sys, time
from pathlib import Path
from twotier import Cache

step = Path(sys.argv[3])
with Cache(sys.argv[1], namespace=sys.argv[2]) as cache:
    deadline = time.monotonic() + 10
    while cache.get("?") is not None or cache.health().link != "live":
        assert time.monotonic() < deadline
    cache.set("long", "value", ttl=1000)
    cache.set("short", "value", ttl=0.3)
    epoch, wall = cache.health().epoch, time.time()
    for hours in (1, -1, 0):
        step.write_text(str(hours * 3600))
        assert abs(time.time() - wall - hours * 3600) < 60, "the wall clock wasn't stepped"
        before = cache.stats().local_hits
        assert cache.get("long") == "value"
        assert cache.stats().local_hits == before + 1, "fresh all the same"
        assert 990 < cache.ttl("long") <= 1000
        renewed = time.monotonic() + 1.1
        while time.monotonic() < renewed:
            health = cache.health()
            assert health.link == "live" and 0 <= health.staleness < 2.5, health
            time.sleep(0.05)
    assert cache.get("short") is None, "expired in its own time"
    assert cache.health().epoch == epoch
"""


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("cc"), reason="needs Linux and a C compiler")
def test_clock_steps_of_an_hour(server, namespace, tmp_path):
    """The wall clock is set forth and back by an hour: entries live as long as they were to, and the link stays up."""
    library = tmp_path / "clock_steps.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, HERE / "clock_steps.c", "-ldl"], check=True)
    run = subprocess.run(
        [sys.executable, "-c", STEPPED, server.url, namespace, tmp_path / "step"],
        env={**os.environ, "LD_PRELOAD": str(library), "CLOCK_STEP": str(tmp_path / "step")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def open_files():
    """Return how many file descriptors this process has."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_two_hundred_forks_under_load(scene):
    """Children of a loaded process all work and end; the parent's link is never lost, and nothing piles up."""
    cache = scene.peer
    epoch = cache.health().epoch
    stop, failures = threading.Event(), []

    def load(number):
        count = 0
        try:
            while not stop.is_set():
                count += 1
                cache.set(f"key {number}", count)
                assert cache.get(f"key {number}") == count
                cache.get(f"nothing {count}")
                stop.wait(0.001)  # the machine is the children's too
        except BaseException as error:  # noqa: BLE001 - reported below
            failures.append(error)

    def child():
        cache.set(f"child {os.getpid()}", 1)
        assert cache.get(f"child {os.getpid()}") == 1
        assert cache.get("hot") == ["value"]

    threads = [threading.Thread(target=load, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        before = open_files()
        for _ in range(200):
            in_child(child)
        after = open_files()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures
    assert after <= before + 3
    assert cache.health().epoch == epoch
    assert live(cache)
    wait_for(lambda: scene.cache.get("key 0") == cache.get("key 0"), "the writes are heard of")
    assert_coherent(cache, scene.cache)
