"""What tests of the remote tier share: an executor on a real server, and servers that misbehave on demand."""

import contextlib
import os
import socket
import threading

import pytest
from waiting import PATIENT

from twotier.clock import SystemClock
from twotier.options import Options
from twotier.remote.async_executor import AsyncExecutor
from twotier.remote.breaker import Breaker
from twotier.remote.connect import connect
from twotier.remote.edge import Edge
from twotier.remote.executor import Executor
from twotier.remote.reader import NOTHING, PlainReader

HELLO = b"%1\r\n$5\r\nproto\r\n:3\r\n"


class Remote:
    """An executor with its topology and breaker; on `loop`, if there is one."""

    def __init__(self, target, loop=None, **settings):
        self.options = Options(**settings)
        self.topology = connect(target, self.options)
        self.breaker = Breaker(SystemClock())
        self.edge = Edge(self.topology, self.options, self.breaker)
        self.pool = self.topology.pool()
        self._executor = Executor(self.edge) if loop is None else AsyncExecutor(self.edge)
        self._loop = loop

    def run(self, command, *, probing=False):
        result = self._executor.run(command, probing=probing)
        return result if self._loop is None else self._loop.run(result)

    def close(self):
        self.topology.close()


@pytest.fixture(params=["threads", "asyncio"])
def face(request):
    """Who calls: threads, or a loop's tasks; None for threads, else a `LoopThread`."""
    return None if request.param == "threads" else request.getfixturevalue(request.param)


@pytest.fixture
def remotes(face):
    """A factory of `Remote`s, which are closed after the test; patient unless a timeout is given."""
    with contextlib.ExitStack() as stack:

        def make(target, **settings):
            remote = Remote(target, face, **(settings if "timeout" in settings else {**PATIENT, **settings}))
            stack.callback(remote.close)
            return remote

        yield make


@pytest.fixture
def remote(remotes, server):
    """An executor on the shared server."""
    return remotes(server.url)


class FakeServer:
    """Listens on a unix socket; `answer(words, connection)` returns the bytes to reply with, None for silence.

    HELLO and, unless `answer` is asked first (`pings`), the PING that ends each trip are answered as a server would.
    """

    def __init__(self, path, answer, *, wrap=None, pings=False):
        self.url = f"unix://{path}"
        self.accepted = 0
        self.commands = []
        self._answer = answer
        self._pings = pings
        self._wrap = wrap
        self._connections = []
        if wrap is None:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(path))
        else:
            self._listener = socket.socket()
            self._listener.bind(("127.0.0.1", 0))
            self.port = self._listener.getsockname()[1]
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._thread.join(5)

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        reader = PlainReader()
        with contextlib.suppress(OSError):
            if self._wrap is not None:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection = self._wrap(connection)
                self._connections.append(connection)
            while data := connection.recv(65536):
                reader.feed(data)
                while (words := reader.gets()) is not NOTHING:
                    self.commands.append(words)
                    reply = self._reply(words, connection)
                    if reply:
                        connection.sendall(reply)
        connection.close()

    def _reply(self, words, connection):
        if words[0] == b"HELLO":
            return HELLO
        if words[0] == b"PING" and len(words) == 2 and not self._pings:
            return b"$%d\r\n%b\r\n" % (len(words[1]), words[1])
        return self._answer(words, connection)


@pytest.fixture
def fake_server(tmp_path_factory):
    """A factory of `FakeServer`s, which are closed after the test."""
    with contextlib.ExitStack() as stack:

        def make(answer, **settings):
            path = tmp_path_factory.mktemp("fake") / "s.sock"
            if len(os.fsencode(path)) > 100:
                pytest.skip(f"the temporary directory's name is too long for a socket: {path}")
            server = FakeServer(path, answer, **settings)
            stack.callback(server.close)
            return server

        yield make
