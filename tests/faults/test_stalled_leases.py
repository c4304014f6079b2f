"""A server that stalls while a lease is taken or given back: nobody waits for that lease until it expires."""

import time

import pytest
from waiting import wait_for

LEASE = 60.0
"""What a lease that was forgotten would cost."""


class RefusedError(Exception):
    """The source takes nothing."""


class Source:
    """A source that stalls the server while it is written, or makes it go on; then it may refuse."""

    def __init__(self):
        self.before, self.refuses = lambda: None, False

    def write(self, _):
        """Take values, or none."""
        self.before()
        if self.refuses:
            raise RefusedError

    def delete(self, _):
        """Take nothing."""


def fail():
    """Refuse to load."""
    raise RefusedError


def store(scene, source):
    """Stall while the value is being stored in the cache."""
    source.before = scene.stop_server
    scene.cache.set("key", "written")


def give_back(scene, source):
    """Stall while the lease is given back, as the source has refused."""
    source.before, source.refuses = scene.stop_server, True
    with pytest.raises(RefusedError):
        scene.cache.set("key", "written")


def take(scene, source):
    """Stall while the lease is taken, and refuse as well."""
    scene.stop_server()
    source.refuses = True
    with pytest.raises(RefusedError):
        scene.cache.set("key", "written")


def load(scene, _):
    """Stall while a loaded value is stored."""
    assert scene.cache.get_or_set("key", lambda: scene.stop_server() or "loaded") == "loaded"


def load_nothing(scene, _):
    """Stall while a loader fails."""
    with pytest.raises(RefusedError):
        scene.cache.get_or_set("key", lambda: scene.stop_server() or fail())


@pytest.mark.parametrize("stall", [store, give_back, take, load, load_nothing])
def test_nobody_waits_for_a_lease_that_a_stall_has_left(make_scene, stall):
    """Once the server goes on, both processes load the key long before the lease would expire."""
    source = Source()
    scene = make_scene(writer=source, load_lease=LEASE)
    try:
        stall(scene, source)
    finally:
        scene.go_on()
    source.before, source.refuses = lambda: None, False
    began = time.monotonic()
    wait_for(lambda: scene.peer.get_or_set("key", lambda: "loaded") == "loaded", "another process loads")
    scene.cache._namespace.store.clear()
    assert scene.cache.get_or_set("key", lambda: "loaded") == "loaded"
    assert time.monotonic() - began < LEASE / 4
    wait_for(lambda: not scene.cache._namespace.claims, "nothing is left to be given back")
