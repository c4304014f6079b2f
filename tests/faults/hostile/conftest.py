"""Servers that send what they like, and a proxy that garbles what a good one says."""

import contextlib
import os
import socket
import threading

import pytest
from scripted_server import ScriptedServer


class Garbler:
    """Forwards its TCP `port` to a unix socket; what the server says goes through `garble`, bytes in, bytes out."""

    def __init__(self, path):
        self._path = path
        self.garble = None
        self._sockets = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        for each in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._path)
                self._sockets += [near, far]
                threading.Thread(target=self._forward, args=(near, far, False), daemon=True).start()
                threading.Thread(target=self._forward, args=(far, near, True), daemon=True).start()

    def _forward(self, source, sink, said):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                garble = self.garble
                sink.sendall(garble(data) if said and garble else data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def garbler(server):
    """A `Garbler` before the shared server."""
    with contextlib.closing(Garbler(server.socket_path)) as made:
        yield made


@pytest.fixture
def scripted(tmp_path_factory):
    """A factory of `ScriptedServer`s, which are closed after the test."""
    with contextlib.ExitStack() as stack:

        def make(answer, **settings):
            path = tmp_path_factory.mktemp("hostile") / "s.sock"
            if len(os.fsencode(path)) > 100:
                pytest.skip(f"the temporary directory's name is too long for a socket: {path}")
            server = ScriptedServer(path, answer, **settings)
            stack.callback(server.close)
            return server

        yield make
