"""A sentinel that says what it is told to."""

import contextlib
import socketserver
import threading

from twotier.replies import Reader


class FakeSentinel:
    """Names `place` (host, port) as the primary of every service; `announce` tells who listens that it has changed."""

    def __init__(self, place):
        self.place = place
        self._listening = []
        fake = self

        class Talk(socketserver.BaseRequestHandler):
            def handle(self):
                reader = Reader()
                with contextlib.suppress(OSError):
                    while data := self.request.recv(65536):
                        for command in reader.feed(data):
                            self.request.sendall(fake._answer(command, self.request))

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Talk)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.url = f"redis+sentinel://127.0.0.1:{self._server.server_address[1]}/orders"

    def announce(self, place):
        """Name another primary, and say so."""
        old, self.place = self.place, place
        text = f"orders {old[0]} {old[1]} {place[0]} {place[1]}".encode()
        for connection in self._listening:
            with contextlib.suppress(OSError):
                connection.sendall(b">3\r\n$7\r\nmessage\r\n$14\r\n+switch-master\r\n$%d\r\n%b\r\n" % (len(text), text))

    def close(self):
        """End it."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, command, connection):
        match command[0], *command[1:]:
            case b"HELLO", *_:
                return b"%1\r\n$5\r\nproto\r\n:3\r\n"
            case b"SUBSCRIBE", *_:
                self._listening.append(connection)
                return b">3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n"
            case b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", _:
                host, port = (str(part).encode() for part in self.place)
                return b"*2\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(host), host, len(port), port)
        return b"-ERR unknown command\r\n"
