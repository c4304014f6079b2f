"""A server that answers as Redis does, in bytes and without I/O: one connection, first in, first out."""

from twotier.replies import Reader
from twotier.resp import pack

MASTER = b"*3\r\n$6\r\nmaster\r\n:42\r\n*1\r\n*3\r\n$9\r\n127.0.0.1\r\n$4\r\n6380\r\n$2\r\n42\r\n"
SLAVE = b"*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:6379\r\n$9\r\nconnected\r\n:42\r\n"


def bulk(text: bytes | None) -> bytes:
    """Return a string reply."""
    return b"$-1\r\n" if text is None else b"$%d\r\n%b\r\n" % (len(text), text)


def push(protocol: int, *parts: bytes | int) -> bytes:
    """Return what is sent unasked: an array on RESP2, a push on RESP3."""
    body = b"".join(b":%d\r\n" % part if isinstance(part, int) else bulk(part) for part in parts)
    return (b">" if protocol == 3 else b"*") + b"%d\r\n" % len(parts) + body


class FakeServer:
    """Takes commands with `take`, and leaves the bytes of its answers in `out`."""

    def __init__(self, protocol: int = 3) -> None:
        self.protocol = protocol
        self.role = MASTER
        self.keys: dict[bytes, bytes] = {}
        self.errors: dict[tuple[bytes, ...], bytes] = {}
        """Commands that are answered with an error."""
        self.silent = False
        self.commands: list[list[bytes]] = []
        self.reconnect()

    def reconnect(self) -> None:
        """Begin anew, as for a new connection."""
        self.out = b""
        self.channels: set[bytes] = set()
        self.prefixes: set[bytes] = set()
        self._reader = Reader()

    def take(self, data: bytes) -> None:
        """Run the commands in `data`."""
        for command in self._reader.feed(data):
            self.commands.append(command)
            if not self.silent:
                self.out += self._answer(*command)

    def publish(self, channel: bytes, payload: bytes) -> None:
        """Send `payload` to the channel if it is subscribed to."""
        if channel in self.channels:
            self.out += push(self.protocol, b"message", channel, payload)

    def invalidate(self, *keys: bytes) -> None:
        """Say that `keys`, or without any all there were, have changed, if any of them is tracked."""
        if not keys:
            self.out += b">2\r\n$10\r\ninvalidate\r\n_\r\n"
        elif wanted := [key for key in keys if key.startswith(tuple(self.prefixes))]:
            self.out += b">2\r\n$10\r\ninvalidate\r\n*%d\r\n" % len(wanted) + b"".join(map(bulk, wanted))

    def _answer(self, name: bytes, *rest: bytes) -> bytes:  # noqa: PLR0911 - one a command
        error = self.errors.get((name, *rest)) or self.errors.get((name,))
        if error:
            return b"-" + error + b"\r\n"
        match name:
            case b"ROLE":
                return self.role
            case b"GET":
                return bulk(self.keys.get(rest[0]))
            case b"SUBSCRIBE":
                self.channels.add(rest[0])
                return push(self.protocol, b"subscribe", rest[0], len(self.channels))
            case b"UNSUBSCRIBE":
                self.channels.discard(rest[0])
                return push(self.protocol, b"unsubscribe", rest[0], len(self.channels))
            case b"CLIENT":
                assert rest[:4] == (b"TRACKING", b"ON", b"BCAST", b"PREFIX")
                if rest[4] in self.prefixes:
                    return b"-ERR Prefix overlaps with an existing prefix\r\n"
                self.prefixes.add(rest[4])
                return b"+OK\r\n"
            case b"PING":
                return push(2, b"pong", rest[0]) if self.channels else bulk(rest[0])
        raise AssertionError(f"the link has no business with {pack(name, *rest)!r}")
