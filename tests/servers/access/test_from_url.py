"""`Cache.from_url`, and whether the server must be there: what is told at once, and what waits."""

import logging
import time

import pytest
import redis
from waiting import PATIENT, live, wait_for

from twotier import Cache, ConfigurationError, RemoteUnavailable
from twotier.remote.deploy.embedded import _free_port
from twotier.testing import FaultProxy
from twotier.testing.faults import BOTH_WAYS

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (f"http://bob:{SECRET}@h", "must begin with one of redis://, rediss://"),
        (f"bob:{SECRET}@h", "must begin with one of"),
        (f"redis://bob:{SECRET}@h:port", "port isn't valid"),
        (f"redis://bob:{SECRET}@h:0", "port from 1 to 65535"),
        (f"redis://bob:{SECRET}@h/orders", "database number"),
        (f"redis://bob:{SECRET}@h?timeout=1", "can't hold"),
    ],
)
def test_what_cannot_work_is_told_at_once(url, says):
    """A bad URL is a ConfigurationError that says what is expected, and shows no secret."""
    began = time.monotonic()
    with pytest.raises(ConfigurationError, match=says) as caught:
        Cache.from_url(url)
    assert time.monotonic() - began < 0.2
    assert SECRET not in str(caught.value)


def test_only_a_url(server):
    """What isn't a str is named by its type."""
    with pytest.raises(ConfigurationError, match="url must be a str, got NoneType"):
        Cache.from_url(None)
    with pytest.raises(ConfigurationError, match="connect must be one of"):
        Cache.from_url(server.url, connect="now")


def test_lazy_starts_without_the_server(own_server, namespace):
    """A lazy cache serves from the local tier alone until the server comes, and uses it then."""
    own_server.kill()
    with Cache.from_url(own_server.tcp_url, namespace=namespace) as cache:
        cache.set("key", 1)
        assert cache.get("key") == 1
        assert cache.get_or_set("loaded", lambda: 2) == 2
        own_server.start()
        wait_for(lambda: live(cache) and cache.health().breaker == "closed", "the server is in use")
        wait_for(lambda: not cache.health().journal, "the journal is empty")
        cache.set("key", 3)
    with Cache.from_url(own_server.tcp_url, namespace=namespace, connect="eager", **PATIENT) as cache:
        assert cache.get("key") == 3


def test_eager_raises_where_nobody_listens(namespace):
    """An eager cache isn't made without its server: RemoteUnavailable, at once, with the place but no secret."""
    began = time.monotonic()
    with pytest.raises(RemoteUnavailable, match=r"redis://127\.0\.0\.1:") as caught:
        Cache.from_url(f"redis://bob:{SECRET}@127.0.0.1:{_free_port()}", namespace=namespace, connect="eager")
    assert time.monotonic() - began < 1.0
    assert SECRET not in str(caught.value)


def test_eager_waits_no_longer_than_its_deadline(own_server, namespace):
    """A server that takes connections and says nothing costs one timeout."""
    with FaultProxy(own_server.tcp_url) as proxy:
        proxy.data.silent = proxy.link.silent = BOTH_WAYS
        began = time.monotonic()
        with pytest.raises(RemoteUnavailable, match=r"deadline|within"):
            Cache.from_url(proxy.url, namespace=namespace, connect="eager", timeout=0.25)
        assert 0.2 < time.monotonic() - began < 2.0


def test_eager_raises_when_refused(own_server, namespace):
    """Wrong credentials are a reason, too; nothing of the cache is left behind."""
    with pytest.raises(RemoteUnavailable, match="refuses the user name or password"):
        Cache.from_url(f"redis://nobody:{SECRET}@127.0.0.1:{own_server.port}", namespace=namespace, connect="eager")


def test_eager_local_only_and_embedded(namespace):
    """There is nothing to wait for without a server; an embedded one is there at once."""
    with Cache(connect="eager") as cache:
        assert cache.health().link == "local"
    with Cache.from_url("embedded://", namespace=namespace, connect="eager", **PATIENT) as cache:
        cache.set("key", 1)


def test_plaintext_to_another_host_is_warned_of_once(caplog):
    """The first cache of a process that would send plaintext to another host says so; loopback, TLS, sockets don't."""
    with caplog.at_level(logging.WARNING, "twotier"):
        for url in (
            "redis://localhost",
            "redis://127.3.2.1",
            "redis://[::1]",
            "unix:///x.sock",
            "rediss://far.example",
        ):
            Cache.from_url(url).close()
        assert not caplog.records
        for _ in range(3):
            Cache.from_url(f"redis://bob:{SECRET}@warned.example").close()
    (line,) = caplog.messages
    assert "warned.example" in line
    assert SECRET not in line


@pytest.mark.parametrize(
    "url",
    [
        "rediss://h/0?ssl_cert_reqs=CERT_NONE",
        "rediss://h/0?ssl_bogus=1",
        "redis://h/0?ssl_ca_certs=x",
        "rediss+cluster://h?ssl_bogus=1",
    ],
)
def test_options_of_tls_that_nobody_knows_are_refused_at_once(url):
    """A name or value that redis-py doesn't take is an error here, not on a thread that connects."""
    with pytest.raises(ConfigurationError, match="ssl_"):
        Cache(url, namespace="t")


def test_a_client_without_sockets_is_refused():
    """A client that only plays a server, as FakeRedis does, is told of at once: it would never be asked."""

    class Played(redis.Connection):
        def _connect(self):
            raise AssertionError

    client = redis.Redis(connection_pool=redis.ConnectionPool(connection_class=Played))
    with pytest.raises(ConfigurationError, match="embedded://"):
        Cache(client, namespace="t")
