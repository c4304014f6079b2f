"""A URL of the wrong kind for what is there: the error, or a line in the log, says which one to write."""

import contextlib
import logging
from urllib.parse import urlsplit

import pytest
import redis
from loops import Awaited
from waiting import PATIENT, live, wait_for

from twotier import AsyncCache, Cache, RemoteError, RemoteUnavailable
from twotier.testing import FaultProxy

WRITE = r"is a node of a cluster.*write redis\+cluster://"


def node_url(cluster, number):
    """Return a redis:// URL of a node."""
    return f"redis://127.0.0.1:{cluster.servers[number].port}"


def _count(cache):
    """Count under keys of many slots."""
    for number in range(64):
        cache.incr(f"count{number}")


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_an_eager_cache_refuses_a_node_of_a_cluster(cluster, namespace, number, protocol):
    """Whichever primary is named, the error says what to write."""
    with pytest.raises(RemoteUnavailable, match=WRITE):
        Cache(node_url(cluster, number), namespace=namespace, connect="eager", protocol=protocol, **PATIENT)


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_lazy_cache_logs_that_it_is_on_a_node_of_a_cluster(cluster, namespace, caplog, protocol):
    """One line says what to write; counters say it, too."""
    with (
        caplog.at_level(logging.ERROR, "twotier"),
        Cache(node_url(cluster, 0), namespace=namespace, protocol=protocol, **PATIENT) as cache,
    ):
        for number in range(20):
            cache.set(f"key{number}", number)
        cache.get_many([f"key{number}" for number in range(20, 40)])
        with pytest.raises(RemoteError, match=WRITE):
            _count(cache)
    lines = [text for text in caplog.messages if "redis+cluster://" in text]
    assert len(lines) == 1


@pytest.mark.parametrize("settings", [{}, {"coherence": "none", "protocol": 2}])
@pytest.mark.parametrize("face", [Cache, AsyncCache])
def test_an_eager_cache_refuses_a_server_without_a_cluster(own_server, namespace, face, settings):
    """The error says what to write."""
    place = f"127.0.0.1:{own_server.port}"
    with pytest.raises(RemoteUnavailable, match=rf"{place} isn't a node of a cluster: write redis://{place}"):
        face(f"redis+cluster://{place}", namespace=namespace, connect="eager", **PATIENT, **settings)


def test_a_lazy_cache_logs_that_its_server_has_no_cluster(own_server, namespace, caplog, asyncio):
    """One line says what to write; errors of calls say it, too, through either face."""
    place = f"127.0.0.1:{own_server.port}"
    with (
        caplog.at_level(logging.ERROR, "twotier"),
        Cache(f"redis+cluster://{place}", namespace=namespace, coherence="none", **PATIENT) as cache,
    ):
        for number in range(20):
            assert cache.get(f"key{number}") is None
        for each in (cache, Awaited(cache.aio, asyncio)):
            with pytest.raises(RemoteUnavailable, match=rf"write redis://{place}"):
                each.incr("count")
    assert len([text for text in caplog.messages if f"write redis://{place}" in text]) == 1


def test_an_eager_cache_refuses_a_replica(cluster, namespace):
    """A server that takes no writes is told apart."""
    with pytest.raises(RemoteUnavailable, match=r"is a replica.*name the primary|write redis\+cluster://"):
        Cache(node_url(cluster, 3), namespace=namespace, connect="eager", **PATIENT)


def test_an_eager_cache_on_a_cluster_is_told_of_permissions(cluster, namespace):
    """Each primary is asked; the shipped permissions are enough."""
    words = ["on", ">x", f"~{namespace}:*", f"~{{*}}{namespace}:*", "-@all", "+@read", "+@write", "+@transaction"]
    words += ["+@connection", "-client|tracking", "+cluster|slots", "+role"]
    try:
        for server in cluster.servers:
            cluster.client(server).execute_command("ACL", "SETUSER", "lesser", "reset", *words)
        url = cluster.url.replace("//", "//lesser:x@")
        with pytest.raises(RemoteUnavailable, match=r"denied CLIENT\|TRACKING"):
            Cache(url, namespace=namespace, connect="eager", **PATIENT)
        for server in cluster.servers:
            cluster.client(server).execute_command("ACL", "SETUSER", "lesser", "+client|tracking")
        with Cache(url, namespace=namespace, connect="eager", **PATIENT) as cache:
            cache.set("key", 1)
            assert cache.stats().remote_errors == 0
    finally:
        for server in cluster.servers:
            cluster.client(server).execute_command("ACL", "DELUSER", "lesser")


def test_a_remapped_cluster_is_reached_where_the_map_says(cluster, namespace):
    """`address_remap` of a RedisCluster is honoured: of a cluster behind proxies no node is connected to directly."""
    with contextlib.ExitStack() as stack:
        proxies = {
            server.port: stack.enter_context(FaultProxy(f"redis://127.0.0.1:{server.port}"))
            for server in cluster.servers
        }
        behind = {("127.0.0.1", port): ("127.0.0.1", urlsplit(proxy.url).port) for port, proxy in proxies.items()}
        host, port = next(iter(behind.values()))
        client = stack.enter_context(redis.RedisCluster(host, port, address_remap=lambda where: behind[where]))
        cache = stack.enter_context(Cache(client, namespace=namespace, **PATIENT))
        wait_for(lambda: live(cache), "the link is live")
        for number in range(30):
            cache.set(f"key{number}", number)
        reached = {member.server.label for member in cache._namespace.topology.members._members.values()}
        assert len(reached) >= 3
        assert reached <= {f"redis://127.0.0.1:{port}/0" for _, port in behind.values()}
        assert cache.stats().remote_errors == 0


@pytest.mark.parametrize("bad", [lambda address: None, lambda address: ("", 1), lambda address: 1 / 0])  # noqa: ARG005
def test_a_remap_that_fails_is_an_outage_of_the_node(cluster, namespace, bad):
    """Whatever the user's function does, reads are misses."""
    fine = redis.RedisCluster.from_url(node_url(cluster, 0))
    fine.nodes_manager.address_remap = bad
    with fine, Cache(fine, namespace=namespace) as cache:
        for number in range(10):
            cache.set(f"key{number}", number)
            cache.get(f"other{number}")
