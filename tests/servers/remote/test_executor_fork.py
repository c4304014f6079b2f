"""Forked children: connections of their own, the parent's untouched, and no lock left held."""

import os
import threading

import pytest
from forking import in_child

from twotier.remote.commands.base import Fetch, Ping, Publication, Put

pytestmark = pytest.mark.parametrize("face", [None], ids=["threads"])

PUBLICATION = Publication(b"channel", b"payload")


def test_child_and_parent_have_their_own_connections(remote, namespace):
    """A child's calls go over new sockets, and the parent's connection goes on where it was."""
    key = namespace.encode()
    remote.run(Put(key, b"1", None, False, PUBLICATION))
    channel = remote.pool._idle[-1]
    inherited = channel.socket.fileno()

    def work():
        remote.topology.after_fork()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(inherited)
        assert remote.run(Fetch(key)).data == b"1"
        assert remote.pool._idle[-1] is not channel

    for _ in range(3):
        in_child(work)
    assert remote.pool._idle[-1] is channel
    assert remote.run(Fetch(key)).data == b"1"
    assert remote.pool._idle[-1] is channel


def test_a_lock_held_at_the_fork_does_not_hang_the_child(remote):
    """The child makes its own lock: nobody is there to release the parent's."""
    held, release = threading.Event(), threading.Event()

    def hold():
        with remote.pool._lock:
            held.set()
            release.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(5)

    def work():
        remote.topology.after_fork()
        remote.run(Ping())

    try:
        in_child(work)
    finally:
        release.set()
        thread.join()


def test_forks_under_load(remote, namespace):
    """Children forked while threads are in the middle of calls work, and the threads never notice."""
    key = namespace.encode()
    remote.run(Put(key, b"1", None, False, PUBLICATION))
    stop, failures = threading.Event(), []

    def load():
        while not stop.is_set():
            try:
                if remote.run(Fetch(key)).data != b"1":
                    failures.append("a wrong answer")
            except Exception as error:  # noqa: BLE001 - collected
                failures.append(repr(error))

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()

    def work():
        remote.topology.after_fork()
        assert all(remote.run(Fetch(key)).data == b"1" for _ in range(20))

    try:
        for _ in range(20):
            in_child(work)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
