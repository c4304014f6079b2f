"""Listeners on real servers."""

import pytest
import redis
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection

from twotier.clock import SystemClock
from twotier.coherence.listener import Listener
from twotier.options import Options


@pytest.fixture
def make_listener():
    """Makes listeners on a unix socket (`path=`) or a TCP port (`port=`), and closes them after the test."""
    made = []

    def make(*, protocol=3, max_staleness=2.5, tls=None, **where):
        kind = UnixDomainSocketConnection if "path" in where else SSLConnection if tls else Connection
        listener = Listener(
            lambda: kind(**where, **(tls or {}), protocol=protocol, socket_timeout=2.0, socket_connect_timeout=2.0),
            SystemClock(),
            Options(protocol=protocol, max_staleness=max_staleness),
        )
        made.append(listener)
        return listener

    yield make
    for listener in made:
        listener.close()


@pytest.fixture
def client(server):
    """A client of the shared server."""
    with redis.Redis.from_url(server.url) as connected:
        yield connected


@pytest.fixture
def own_client(own_server):
    """A client of the test's own server."""
    with redis.Redis.from_url(own_server.url) as connected:
        yield connected
