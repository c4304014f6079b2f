"""`rediss://` to a port that doesn't speak TLS, and `redis://` to one that does: what to write instead is said."""

import logging
import socket
import time

import pytest
from loops import Awaited
from waiting import wait_for

from twotier import AsyncCache, Cache, RemoteError, RemoteUnavailable
from twotier.remote.io import transport_probe

WAITS = {"timeout": 0.3, "connect_timeout": 0.3}
SLACK = 2.0
"""Seconds that a busy machine may add to a bound."""


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch):
    """What other tests have found out about ports isn't known."""
    monkeypatch.setattr(transport_probe, "_kept", {})


@pytest.fixture(params=["Cache", "AsyncCache"])
def make(request, namespace, asyncio):
    """Makes caches, through either face, that are closed at the end."""
    caches = []

    def make(url, **settings):
        given = {"namespace": namespace, **WAITS, **settings}
        cache = Cache(url, **given) if request.param == "Cache" else Awaited(AsyncCache(url, **given), asyncio)
        caches.append(cache)
        return cache

    yield make
    for cache in caches:
        cache.close()


@pytest.mark.parametrize("scheme", ["rediss", "rediss+cluster", "rediss+sentinel"])
def test_an_eager_cache_is_told_that_a_port_speaks_no_tls(make, own_server, scheme):
    """The error names what to write, whatever kind of deployment is asked for."""
    place = f"127.0.0.1:{own_server.port}"
    service = "/orders" if scheme.endswith("sentinel") else ""
    with pytest.raises(RemoteUnavailable, match=rf"doesn't speak TLS: write redis in .*redis://{place}"):
        make(f"{scheme}://{place}{service}", connect="eager")


@pytest.mark.parametrize("coherence", ["pubsub", "none"])
def test_a_lazy_cache_logs_once_that_a_port_speaks_no_tls(make, own_server, caplog, coherence):
    """Calls fail as in an outage, and one line of the data path, and one of the link, names what to write."""
    with caplog.at_level(logging.WARNING, "twotier"):
        cache = make(f"rediss://127.0.0.1:{own_server.port}", coherence=coherence)
        wait_for(lambda: cache.get("key") is None and "doesn't speak TLS" in caplog.text, "the line is logged")
        for _ in range(10):
            cache.set("key", 1)
        with pytest.raises(RemoteError):
            cache.incr("count")
    assert len([text for text in caplog.messages if "logged once a minute" in text and "TLS" in text]) == 1


@pytest.mark.parametrize("protocol", [2, 3])
def test_an_eager_cache_is_told_that_a_port_speaks_tls(make, tls_server, protocol):
    """The error names what to write."""
    place = f"127.0.0.1:{tls_server().tls_port}"
    with pytest.raises(RemoteUnavailable, match=rf"speaks TLS: write rediss in .*rediss://{place}"):
        make(f"redis://{place}", connect="eager", protocol=protocol)


def test_a_lazy_cache_logs_once_that_a_port_speaks_tls(make, tls_server, caplog):
    """The same in the log."""
    with caplog.at_level(logging.WARNING, "twotier"):
        cache = make(f"redis://127.0.0.1:{tls_server().tls_port}")
        wait_for(lambda: cache.get("key") is None and "speaks TLS: write rediss" in caplog.text, "the line is logged")
    assert len([text for text in caplog.messages if "logged once a minute" in text and "TLS" in text]) == 1


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_a_port_that_says_nothing_holds_up_an_eager_cache_for_its_deadlines_alone(make, scheme):
    """No hint is made up, and each wait has its limit."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        with pytest.raises(RemoteUnavailable, match="remote tier isn't usable: no connection"):
            make(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}", connect="eager")
        assert time.monotonic() - began < 3 * 0.3 + SLACK


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x16", b"\x00\x03", b""])
@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_other_servers_get_no_hint(make, fake_answers, scheme, answer):
    """What speaks neither is no reason to change the URL."""
    port = fake_answers(answer.decode())
    with pytest.raises(RemoteUnavailable) as caught:
        make(f"{scheme}://127.0.0.1:{port}", connect="eager")
    assert "write redis" not in str(caught.value)
