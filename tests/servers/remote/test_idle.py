"""Idle connections that are dead without a sign of it, too old, or closed by the server."""

import contextlib
import functools
import threading
import time

import pytest
from waiting import wait_for

from twotier import Cache
from twotier.errors import RemoteTimeout
from twotier.remote.commands.base import Fetch, Fetched, Ping
from twotier.remote.io import pool as pool_module
from twotier.testing import FaultProxy


@pytest.fixture
def face():
    """Threads call; the pool is the same for tasks."""
    return


def open_many(pool, count):
    """Have `count` idle connections; a busy machine may need several tries to open one."""
    loans = [[] for _ in range(count)]

    def opened(loan):
        with contextlib.suppress(RemoteTimeout):
            pool.take(loan, time.monotonic() + 30)
        return loan

    for loan in loans:
        wait_for(functools.partial(opened, loan), "a connection is open")
    for loan in loans:
        pool.give(loan)
    assert len(pool._idle) == count


def test_after_a_timeout_no_idle_connection_is_used(server, remotes):
    """Of sixty idle connections that a router has forgotten, one costs a timeout; the next call has a fresh one."""
    with FaultProxy(server.tcp_url) as proxy:
        remote = remotes(proxy.url, timeout=0.25, max_staleness=2)
        open_many(remote.pool, 60)
        remote.run(Ping())
        proxy.sever("data")
        proxy.sever(None)
        with pytest.raises(RemoteTimeout):
            remote.run(Ping())
        assert not remote.pool._idle
        for _ in range(5):
            assert remote.run(Fetch(b"nothing")) == Fetched(None, -2)
        assert remote.breaker.state == "closed"


def test_idle_connections_that_are_dead_cost_a_cache_less_than_a_second(server, namespace):
    """Sixty at once, with as many callers: the cache is itself again within a second."""
    with FaultProxy(server.tcp_url) as proxy, Cache(proxy.url, namespace=namespace) as cache:
        cache.set("key", "value")
        pool = cache._namespace.topology.pool()
        open_many(pool, 60)
        proxy.sever("data")
        for pair in list(proxy._pairs):
            if pair.kind is None:
                pair.sever()
        began = time.monotonic()
        threads = [threading.Thread(target=cache.get, args=("nothing",)) for _ in range(60)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_for(lambda: cache.health().breaker == "closed" and cache.add(f"new {time.monotonic()}", 1), "it is well")
        assert time.monotonic() - began < 5  # a machine that is busy; thirty-six seconds before


def test_a_probe_has_a_fresh_connection(server, remotes):
    """Once the breaker is open, nothing that was idle before is used."""
    remote = remotes(server.url)
    open_many(remote.pool, 5)
    before = set(remote.pool.channels())
    loan = []
    assert remote.pool.idle(loan)
    lent = loan[0]
    remote.pool.give(loan)
    assert lent in before
    for _ in range(3):
        remote.breaker.failed()
    with pytest.raises(Exception, match="breaker"):
        remote.run(Ping())
    remote.breaker.begin_probe()
    remote.pool.distrust()
    remote.run(Ping(), probing=True)
    assert not before & set(remote.pool.channels())


def test_a_connection_is_not_used_after_a_minute_idle(server, remotes):
    """It is closed instead, and another is opened."""
    remote = remotes(server.url)
    remote.run(Ping())
    (old,) = remote.pool.channels()
    old.alive_at -= pool_module.MAX_IDLE + 1
    remote.run(Ping())
    (new,) = remote.pool.channels()
    assert new is not old
    assert old.socket.fileno() == -1
    new.alive_at -= pool_module.MAX_IDLE + 1
    assert remote.pool.tend() is False
    assert not remote.pool._channels


def test_what_the_server_has_closed_is_closed_here(own_server, remotes):
    """Idle connections of a server that is gone don't keep their descriptors until somebody needs them."""
    remote = remotes(own_server.url)
    open_many(remote.pool, 10)
    sockets = [channel.socket for channel in remote.pool.channels()]
    own_server.kill()
    wait_for(lambda: not remote.pool._channels, "the rounds have found them")
    assert all(each.fileno() == -1 for each in sockets)


def test_tending_leaves_good_connections(server, remotes):
    """In their order, so that the latest used is used first."""
    remote = remotes(server.url)
    open_many(remote.pool, 5)
    before = list(remote.pool._idle)
    assert remote.pool.tend()
    assert list(remote.pool._idle) == before
