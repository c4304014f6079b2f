"""The moment of a switch: nothing read from one primary is fresh under the other's link, in whatever order."""

import threading

import pytest
import redis
from fake_sentinel import FakeSentinel
from forking import in_child
from waiting import PATIENT, live, wait_for

from twotier import Cache
from twotier.core.namespace.subscriber import NamespaceSubscriber
from twotier.testing import EmbeddedServer, FaultProxy, assert_coherent


@pytest.fixture
def servers():
    """Two primaries that know nothing of each other: the old one, and the one that is named later."""
    with EmbeddedServer(tcp=True) as old, EmbeddedServer(tcp=True) as new:
        yield old, new


@pytest.fixture
def sentinel(servers):
    """A sentinel that names the old one."""
    fake = FakeSentinel(("127.0.0.1", servers[0].port))
    yield fake
    fake.close()


@pytest.fixture
def cache(sentinel, namespace):
    """A cache that is live on the old primary; its lease is renewed every second."""
    with Cache(sentinel.url, namespace=namespace, timeout=0.6, connect_timeout=0.6) as cache:
        wait_for(lambda: live(cache), "the link is live")
        yield cache


def place_of(cache):
    """Return the port of the primary in use."""
    primary = cache._namespace.topology._watch._primary
    return primary and primary.place.port


def link_port(cache):
    """Return the port of the server that the link is to."""
    connection = cache._namespace._listener._connection
    return connection and connection.port


def test_fills_from_the_new_primary_wait_for_its_link(cache, sentinel, servers, namespace, monkeypatch):
    """While the link to the old primary lingers, and even renews its lease, what the new one says isn't fresh."""
    _, new = servers
    held, go_on = threading.Event(), threading.Event()
    renewed = NamespaceSubscriber.renewed

    def late(self, lease_until, generation):
        if self is cache._namespace.subscriber and not go_on.is_set():
            held.set()
            go_on.wait(30)
        renewed(self, lease_until, generation)

    cache.set("key", "old")
    with Cache(new.tcp_url, namespace=namespace, **PATIENT) as peer:
        wait_for(lambda: live(peer), "the peer's link is live")
        peer.set("key", "new")
        monkeypatch.setattr(NamespaceSubscriber, "renewed", late)
        assert held.wait(30)  # the link's thread holds a proof of the old primary in its hands
        sentinel.announce(("127.0.0.1", new.port))
        wait_for(lambda: place_of(cache) == new.port, "the new primary is in use")
        assert cache.get("key") == "new"
        assert "key" not in cache._namespace.store
        epoch = cache.health().epoch
        go_on.set()
        wait_for(lambda: cache.health().epoch > epoch, "what was renewed too late was taken back")
        wait_for(lambda: live(cache) and link_port(cache) == new.port, "the link is live, and to the new one")
        peer.set("key", "newer")
        wait_for(lambda: cache.get("key") == "newer", "the news has arrived")
        assert_coherent(cache, peer)


def test_no_connection_to_the_old_primary_is_used_again(cache, sentinel, servers):
    """Connections that were idle, in use, or being opened at the switch all give way."""
    old, new = servers
    pool = cache._namespace.topology.pool()
    cache.get("nothing")
    in_use = []
    assert pool.idle(in_use)
    sentinel.announce(("127.0.0.1", new.port))
    wait_for(lambda: place_of(cache) == new.port, "the new primary is in use")
    pool.give(in_use)
    wait_for(lambda: live(cache), "the link is live")
    cache.set("key", 1)
    cache.set("other", 2)
    assert {channel._connection.port for channel in pool.channels()} == {new.port}
    assert old.port != new.port


def test_another_process_at_the_same_place_is_a_new_primary(servers, namespace):
    """Where an address leads to another server than the link's, the run id tells, and the link follows."""
    old, new = servers
    with FaultProxy(old.tcp_url) as proxy:
        port = int(proxy.url.rsplit(":", 1)[1].split("/")[0])
        fake = FakeSentinel(("127.0.0.1", port))
        with (
            Cache(fake.url, namespace=namespace, **PATIENT) as cache,
            Cache(new.tcp_url, namespace=namespace, **PATIENT) as peer,
        ):
            wait_for(lambda: live(cache), "the link is live")
            cache.set("key", "old")
            peer.set("key", "new")
            term = cache._namespace.topology._watch._primary.term
            proxy._target = ("127.0.0.1", new.port)
            proxy.reset(only="data")  # the link to the old server stays
            wait_for(lambda: cache.get(f"nothing {term}") is None and place_of(cache) == port, "asked")
            wait_for(lambda: cache._namespace.topology._watch._term > term, "a new term")
            wait_for(lambda: live(cache) and cache.get("key") == "new", "the link has followed")
            peer.set("key", "newer")
            wait_for(lambda: cache.get("key") == "newer", "the news has arrived")
        fake.close()


def test_a_demoted_primary_is_left_alone(cache, sentinel, servers):
    """READONLY has the connections dropped and the sentinels asked, without an announcement; the write isn't lost."""
    old, new = servers
    with redis.Redis(port=old.port) as client:
        client.replicaof("127.0.0.1", new.port)
    sentinel.place = ("127.0.0.1", new.port)
    cache.set("key", 1)
    wait_for(lambda: place_of(cache) == new.port, "the new primary is in use")
    wait_for(lambda: live(cache) and not cache.health().journal, "recovered")
    cache.set("key", 2)
    with redis.Redis(port=new.port) as client:
        assert client.keys("*:key")
    with redis.Redis(port=old.port) as client:
        client.replicaof("NO", "ONE")  # a server that stops waits for its replicas


def test_a_forked_child_watches_for_itself(cache, sentinel, servers):
    """A child makes its own connections, follows a switch, and leaves the parent's talk and link alone."""
    _, new = servers
    cache.set("key", "parent")
    watch = cache._namespace.topology._watch

    def child():
        assert cache.get("key") == "parent"
        wait_for(lambda: live(cache), "the child's link is live")
        assert watch._thread is not None
        sentinel_thread = watch._thread.name
        assert sentinel_thread == "twotier-sentinels"
        cache.set("key", "child")

    in_child(child)
    wait_for(lambda: cache.get("key") == "child", "the parent has heard of it")
    sentinel.announce(("127.0.0.1", new.port))
    wait_for(lambda: place_of(cache) == new.port and live(cache), "the parent follows")


def test_what_is_opened_at_once_is_not_missed(sentinel, namespace, monkeypatch):
    """The sentinel may be connected to before the starter of the watch goes on: the watch hears of it all the same."""
    opened, start = threading.Event(), threading.Thread.start

    def slow_starter(thread):
        start(thread)
        if threading.current_thread().name == "twotier-sentinels":
            thread.join()
            opened.set()
        elif thread.name == "twotier-sentinels":
            opened.wait(5)

    monkeypatch.setattr(threading.Thread, "start", slow_starter)
    with Cache(sentinel.url, namespace=namespace, connect="eager", **PATIENT) as cache:
        assert cache.get("key") is None
