"""Forked children get a life of their own (DESIGN step 10)."""

import os
import threading

import pytest
from forking import in_child
from waiting import live, wait_for

from twotier import Cache

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")


def test_child_is_coherent_with_its_parent(make):
    """A child hears of its parent's writes and the other way round, and the parent's link stays up."""
    cache = make()
    cache.set("key", "parent")
    epoch = cache.health().epoch

    def child():
        assert cache.health().link == "down"
        assert cache.get("key") == "parent"
        wait_for(lambda: live(cache), "the child's link is live")
        cache.set("key", "child")
        assert cache.get("key") == "child"

    in_child(child)
    wait_for(lambda: cache.get("key") == "child", "the parent hears of the child's write")
    assert cache.health().epoch == epoch
    assert cache.health().link == "live"


def test_forks_under_load(make):
    """Children forked while threads read, write and load neither hang nor disturb their parent."""
    cache = make()
    stop = threading.Event()
    failures = []

    def load(number):
        count = 0
        while not stop.is_set():
            count += 1
            try:
                cache.set(f"key {number}", count)
                assert cache.get(f"key {number}") == count
                cache.get_or_set(f"loaded {count % 50}", lambda: 1)
            except BaseException as error:  # noqa: BLE001 - reported below
                failures.append(error)
                return

    def child():
        cache.set(f"child {os.getpid()}", 1)
        assert cache.get(f"child {os.getpid()}") == 1
        cache.get_or_set("loaded 1", lambda: 1)

    threads = [threading.Thread(target=load, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(40):
            in_child(child)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures


def test_child_leaves_the_parents_sockets_alone(make):
    """A child that closes the cache takes nothing from its parent."""
    cache = make()
    cache.set("key", 1)
    in_child(cache.close)
    epoch = cache.health().epoch
    cache.set("key", 2)
    assert cache.get("key") == 2
    assert cache.health().epoch == epoch


def test_op_ids_of_parent_and_child_differ(make):
    """A child names its writes by a source of its own."""
    cache = make()
    cache.set("key", 1)
    source = cache._namespace.op_ids.next()[:8]

    def child():
        cache.get("key")
        assert cache._namespace.op_ids.next()[:8] != source

    in_child(child)


def test_a_child_counts_though_its_parent_was_counting():
    """Without a server counters are guarded by a lock, which nobody holds in a child."""
    with Cache() as cache:
        cache.incr("count")
        counting = cache._calls.tiers._counting
        held, go_on = threading.Event(), threading.Event()

        def hold():
            with counting:
                held.set()
                go_on.wait(30)

        thread = threading.Thread(target=hold)
        thread.start()
        try:
            assert held.wait(30)
            in_child(lambda: cache.incr("count"))
        finally:
            go_on.set()
            thread.join()
