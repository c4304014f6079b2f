"""`allowed_hosts`: where sentinels and cluster nodes may send a cache, and its password, to."""

import logging
import time

import pytest
from scripted_server import ScriptedServer
from waiting import wait_for

from twotier import Cache, ConfigurationError
from twotier.clock import SystemClock
from twotier.errors import RemoteError, RemoteUnavailable
from twotier.rate_limited_log import RateLimitedLog
from twotier.remote.deploy import allowed_hosts
from twotier.remote.deploy.allowed_hosts import ensure_allowed

LISTED = ["cache.example.org", ".internal", "10.0.0.0/8", "192.168.1.7", "fd00::/8"]


@pytest.mark.parametrize(
    "host", ["cache.example.org", "CACHE.example.org.", "a.b.internal", "10.9.8.7", "192.168.1.7", "fd00::1%eth0"]
)
def test_what_is_listed_is_allowed(host):
    """Names whatever their case, hosts of a domain, addresses and those of a network."""
    ensure_allowed(host, LISTED)


@pytest.mark.parametrize(
    "host",
    ["example.org", "x.cache.example.org", "evilinternal", "11.0.0.1", "192.168.1.70", "10.0.0.1.evil.org"],
)
def test_what_is_not_listed_is_refused(host, caplog, monkeypatch):
    """Anything else is as if it were away, and said in one line a minute."""
    monkeypatch.setattr(allowed_hosts, "_occasional", RateLimitedLog(SystemClock()))
    for _ in range(3):
        with pytest.raises(RemoteUnavailable, match="allowed_hosts"):
            ensure_allowed(host, LISTED)
    assert len(caplog.records) == 1
    ensure_allowed(host, None)


@pytest.mark.parametrize("bad", ["", "a b", "10.0.0.0/99", "http://x", "x:6379"])
def test_what_is_no_host_is_refused_at_once(bad):
    """A bad entry is a ConfigurationError that shows it."""
    with pytest.raises(ConfigurationError, match="allowed_hosts must"):
        Cache("redis+cluster://localhost:1", namespace="t", allowed_hosts=[bad])
    with pytest.raises(ConfigurationError, match="allowed_hosts must"):
        Cache("redis+cluster://localhost:1", namespace="t", allowed_hosts="localhost")


@pytest.fixture
def thief():
    """A server that somebody would like to be sent passwords to."""
    server = ScriptedServer(None, lambda words, connection: None)  # noqa: ARG005 - it only listens
    yield server
    server.close()


@pytest.mark.parametrize("allowed", [["127.0.0.2"], None], ids=["refused", "any"])
def test_redirections_elsewhere_send_no_password(thief, allowed, caplog, monkeypatch):
    """A node that names another host sends nobody there unless that is allowed."""
    monkeypatch.setattr(allowed_hosts, "_occasional", RateLimitedLog(SystemClock()))
    place = b"*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n" % thief.port
    slots = b"*1\r\n*3\r\n:0\r\n:16383\r\n" + place
    node = ScriptedServer(None, lambda words, _: slots if words[0] == b"CLUSTER" else b"-ERR x\r\n")
    try:
        url = f"redis+cluster://app:secret-word@localhost:{node.port}"
        with (
            caplog.at_level(logging.ERROR, "twotier"),
            Cache(url, namespace="t", allowed_hosts=allowed) as cache,
        ):
            assert cache.get("key") is None
            with pytest.raises(RemoteError):
                cache.incr("count")
            assert bool(thief.accepted) == (allowed is None)
        assert any("allowed_hosts" in record.getMessage() for record in caplog.records) == (allowed is not None)
    finally:
        node.close()


@pytest.mark.parametrize("allowed", [["127.0.0.2"], None], ids=["refused", "any"])
def test_sentinels_send_no_password_elsewhere(thief, allowed, monkeypatch):
    """A primary that sentinels name is connected to only if that is allowed."""
    monkeypatch.setattr(allowed_hosts, "_occasional", RateLimitedLog(SystemClock()))
    named = b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%d\r\n" % (len(str(thief.port)), thief.port)
    sentinel = ScriptedServer(None, lambda words, _: named if words[0] == b"SENTINEL" else None)
    try:
        url = f"redis+sentinel://app:secret-word@localhost:{sentinel.port}/orders"
        with Cache(url, namespace="t", allowed_hosts=allowed) as cache:
            with pytest.raises(RemoteError):
                cache.incr("count")
            assert bool(thief.accepted) == (allowed is None)
    finally:
        sentinel.close()


@pytest.mark.parametrize("allowed", [["127.0.0.2"], ["127.0.0.0/8"]], ids=["refused", "allowed"])
def test_replicas_elsewhere_get_no_password(thief, allowed, monkeypatch):
    """A replica that sentinels name is read from, while the primary is away, only if that is allowed."""
    monkeypatch.setattr(allowed_hosts, "_occasional", RateLimitedLog(SystemClock()))

    def bulk(text):
        return b"$%d\r\n%b\r\n" % (len(text), text)

    def answer(words, _):
        match words:
            case [b"SENTINEL", b"REPLICAS", *_]:
                fields = (b"ip", b"127.0.0.1", b"port", b"%d" % thief.port, b"flags", b"slave")
                return b"*1\r\n*6\r\n" + b"".join(map(bulk, fields))
            case [b"SENTINEL", *_]:
                return b"*2\r\n" + bulk(b"127.0.0.2") + bulk(b"1")  # where nobody listens
        return None

    sentinel = ScriptedServer(None, answer)
    try:
        url = f"redis+sentinel://app:secret-word@localhost:{sentinel.port}/orders"
        with Cache(url, namespace="t", allowed_hosts=allowed, replica_fallback=True) as cache:
            watch = cache._namespace.topology._watch
            wait_for(lambda: cache.get("warm") is None and watch.replicas, "the replica is known")
            if allowed == ["127.0.0.0/8"]:
                wait_for(lambda: cache.get("key") is None and thief.accepted, "the replica is connected to")
            else:
                with pytest.raises(RemoteUnavailable, match="allowed_hosts"):
                    cache._namespace.topology.replica_pool().take([], time.monotonic() + 5)
                assert not thief.accepted
    finally:
        sentinel.close()
