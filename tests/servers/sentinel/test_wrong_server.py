"""URLs of one server and of sentinels that lead to the other, or to a replica; TLS options in URLs of sentinels."""

import logging

import pytest
from waiting import PATIENT, wait_for

from twotier import AsyncCache, Cache, ConfigurationError, RemoteError, RemoteUnavailable
from twotier.testing.sentinels import SERVICE

WRITE = r"is a sentinel.*write redis\+sentinel://"


@pytest.mark.parametrize("database", ["", "/1"])
@pytest.mark.parametrize("protocol", [2, 3])
def test_an_eager_cache_refuses_a_sentinel(deployment, namespace, protocol, database):
    """The error says what to write."""
    url = f"redis://127.0.0.1:{deployment.sentinels[0].port}{database}"
    expected = WRITE if protocol == 3 or not database else "refuses the handshake"
    with pytest.raises(RemoteUnavailable, match=expected):
        Cache(url, namespace=namespace, connect="eager", protocol=protocol, **PATIENT)


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_lazy_cache_logs_that_it_is_on_a_sentinel(deployment, namespace, caplog, protocol):
    """A line says what to write, whichever of data path and link has found out."""
    with (
        caplog.at_level(logging.WARNING, "twotier"),
        Cache(f"redis://127.0.0.1:{deployment.sentinels[0].port}", namespace=namespace, protocol=protocol) as cache,
    ):
        cache.set("key", 1)
        assert cache.get("other") is None
        with pytest.raises(RemoteError):
            cache.incr("count")
        wait_for(lambda: "write redis+sentinel://" in caplog.text, "the line is logged")


@pytest.mark.parametrize("protocol", [2, 3])
def test_an_eager_cache_refuses_a_replica(deployment, namespace, protocol):
    """A server that takes no writes can't be what a cache is made for."""
    replica = deployment.nodes[(deployment.primary() + 1) % 3]
    url = deployment.url.partition("//")[2].rpartition("@")[0]
    user = f"{url}@" if url else ""
    with pytest.raises(RemoteUnavailable, match=r"is a replica.*name the primary"):
        Cache(
            f"redis://{user}127.0.0.1:{replica.port}",
            namespace=namespace,
            connect="eager",
            protocol=protocol,
            **PATIENT,
        )


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_data_server_that_is_named_as_a_sentinel_is_told_apart(deployment, namespace, protocol, caplog):
    """An eager cache is refused, and a lazy one logs once a minute what to write."""
    place = f"127.0.0.1:{deployment.nodes[deployment.primary()].port}"
    url, write = f"redis+sentinel://{place}/{SERVICE}", rf"no sentinel: write redis://{place}"
    with pytest.raises(RemoteUnavailable, match=write):
        Cache(url, namespace=namespace, connect="eager", protocol=protocol, **PATIENT)
    with pytest.raises(RemoteUnavailable, match=write):
        AsyncCache(url, namespace=namespace, connect="eager", protocol=protocol, **PATIENT)
    caplog.clear()
    with (
        caplog.at_level(logging.WARNING, "twotier"),
        Cache(url, namespace=namespace, protocol=protocol, coherence="none") as cache,
    ):
        for number in range(3):
            assert cache.get(f"key{number}") is None
            wait_for(lambda: f"write redis://{place}" in caplog.text, "the line is logged")
    assert len([text for text in caplog.messages if f"write redis://{place}" in text]) == 1


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_node_of_a_cluster_that_is_named_as_a_sentinel_is_told_apart(cluster, namespace, protocol):
    """The error says that it is a cluster."""
    place = f"127.0.0.1:{cluster.servers[0].port}"
    with pytest.raises(RemoteUnavailable, match=rf"sentinel: write .*redis\+cluster://{place}"):
        Cache(f"redis+sentinel://{place}/x", namespace=namespace, connect="eager", protocol=protocol, **PATIENT)


def test_a_sentinel_that_is_named_as_a_node_of_a_cluster_is_told_apart(deployment, namespace):
    """The error says what to write, through either face."""
    url = f"redis+cluster://127.0.0.1:{deployment.sentinels[0].port}"
    for face in (Cache, AsyncCache):
        with pytest.raises(RemoteUnavailable, match=WRITE):
            face(url, namespace=namespace, connect="eager", **PATIENT)


@pytest.mark.parametrize("query", ["ssl_cert_reqs=CERT_NONE", "ssl_bogus=1"])
def test_options_of_tls_that_nobody_knows_are_refused_at_once(query):
    """As for one server: an error where the cache is made, which shows no password."""
    with pytest.raises(ConfigurationError, match="ssl_") as caught:
        Cache(f"rediss+sentinel://app:hunter2@h:1,h:2/{SERVICE}?{query}", namespace="t")
    assert "hunter2" not in str(caught.value)


def test_options_of_tls_without_tls_are_refused_at_once():
    """They would be ignored."""
    with pytest.raises(ConfigurationError, match="ssl_"):
        Cache(f"redis+sentinel://h:1/{SERVICE}?ssl_ca_certs=x", namespace="t")
