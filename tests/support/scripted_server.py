"""A server that answers as it is told to, on a socket of its own."""

import contextlib
import socket
import threading

from twotier.replies import Reader

HELLO = b"%1\r\n$5\r\nproto\r\n:3\r\n"


class ScriptedServer:
    """Listens on a unix socket; `answer(words, connection)` returns the bytes to reply with, None for silence.

    HELLO is answered by `hello` (or what that does with the connection), and the PING that ends each trip as a server
    would, unless `answer` is asked (`pings`).
    With `wrap`, which makes a socket another one (TLS), or without `path`, it listens on a TCP port.
    """

    def __init__(self, path, answer, *, wrap=None, pings=False, hello=HELLO):
        self.url = f"unix://{path}"
        self.accepted = 0
        self.commands = []
        self._answer = answer
        self._pings = pings
        self._wrap = wrap
        self._hello = hello
        self._connections = []
        if wrap is None and path is not None:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(path))
        else:
            self._listener = socket.socket()
            self._listener.bind(("127.0.0.1", 0))
            self.port = self._listener.getsockname()[1]
            self.url = f"redis://127.0.0.1:{self.port}/0"
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
        reader = Reader()
        with contextlib.suppress(OSError):
            if self._wrap is not None:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection = self._wrap(connection)
                self._connections.append(connection)
            while data := connection.recv(65536):
                for words in reader.feed(data):
                    self.commands.append(words)
                    reply = self._reply(words, connection)
                    if reply:
                        connection.sendall(reply)
        connection.close()

    def _reply(self, words, connection):
        if words[0] == b"HELLO":
            return self._hello(connection) if callable(self._hello) else self._hello
        if words[0] == b"PING" and len(words) == 2 and not self._pings:
            return b"$%d\r\n%b\r\n" % (len(words[1]), words[1])
        return self._answer(words, connection)
