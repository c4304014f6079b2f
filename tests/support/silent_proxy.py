"""A loopback proxy in front of a server's unix socket, which can fall silent without closing anything."""

import socket
import ssl
import threading
from contextlib import suppress
from typing import Self


class Proxy:
    """Forwards both ways between its TCP `port` and a unix socket; with `tls`, its own side speaks TLS.

    While `frozen` is set it forwards nothing and closes nothing: a half-open connection.
    """

    def __init__(self, path: str, tls: ssl.SSLContext | None = None) -> None:
        self._path = path
        self._tls = tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[socket.socket] = []
        self.port: int = self._listening.getsockname()[1]
        self.frozen = threading.Event()
        self.accepted = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.frozen.set()
        for each in (self._listening, *self._pairs):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                self.accepted += 1
                if self._tls is not None:
                    near = self._tls.wrap_socket(near, server_side=True)
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._path)
                self._pairs += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if self.frozen.is_set():
                    return
                sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)
