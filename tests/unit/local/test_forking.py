"""Forks while other threads use a store."""

import os
import threading

import pytest
from forking import in_child

from twotier.clock import NEVER

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")


class Slow:
    """Equal to what has its hash, once it is let go on."""

    def __init__(self, like):
        self.like, self.compared, self.go_on = like, threading.Event(), threading.Event()

    def __hash__(self):
        return hash(self.like)

    def __eq__(self, other):
        self.compared.set()
        return self.go_on.wait(30) and other == self.like


def test_a_child_waits_for_no_thread_of_its_parent(make_store):
    """A store that was in use when the process forked works in the child; what it had may be gone there."""
    store = make_store()
    store.put("key", 1, expires=NEVER)
    slow = Slow("key")
    thread = threading.Thread(target=store.get, args=(slow,))
    thread.start()

    def child():
        assert store.get("key") in (1, None)
        store.put("other", 2, expires=NEVER)
        token = store.token("key")
        assert store.install("key", 3, token, expires=NEVER)
        assert (store.get("other"), store.get("key"), len(store)) == (2, 3, 2)
        store.validate()

    try:
        assert slow.compared.wait(30)
        in_child(child)
    finally:
        slow.go_on.set()
        thread.join()
    assert store.get("key") == 1


def test_a_child_has_what_its_parent_had(make_store):
    """Where nobody was in the middle of a call, nothing is lost."""
    store = make_store()
    store.put("key", 1, expires=NEVER)

    def child():
        assert store.get("key") == 1
        store.validate()

    in_child(child)
