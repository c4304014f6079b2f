"""The reader of replies on the data path (RESP2 and RESP3), and the packing of commands.

`make_reader()` gives hiredis's reader where that is installed, else `PythonReader`; both keep one contract: `feed`
bytes as they come, in any slices, then call `gets` until it returns NOTHING. Bulk and simple strings arrive as bytes,
an error reply as a `ServerError` *value* (nothing is raised for it, inside arrays neither), maps as dicts, sets as
lists, out-of-band messages as `Push`. What isn't RESP raises `ProtocolError`, after which a reader is of no more use.
"""

import importlib
from collections.abc import Generator
from typing import Any, Final, Protocol

NOTHING: Final = object()
"""What `gets` returns until a whole reply has come in."""
_DEEPEST: Final = 16
"""Arrays in arrays: no reply of ours comes near, and a hostile one must not exhaust the stack."""
_LONGEST: Final = 1 << 30
"""Bytes of one bulk string, or items of one array; servers refuse longer strings themselves (proto-max-bulk-len)."""


class ServerError(Exception):
    """An error reply; `code` is its first word (`WRONGTYPE`, `OOM`, ...)."""

    @property
    def code(self) -> str:
        """The error's kind, as servers put it before the text; "ERR" where nothing better is known."""
        words = str(self).split(maxsplit=1)
        return words[0] if words and words[0].isupper() else "ERR"


class ProtocolError(Exception):
    """Bytes that are not RESP."""


class _Push(list[Any]):
    """An out-of-band message."""


try:
    _hiredis: Any = importlib.import_module("hiredis")
except ImportError:
    _hiredis = None

Push: Final[type[list[Any]]] = _Push if _hiredis is None else _hiredis.PushNotification
"""The type of out-of-band messages (RESP3 pushes)."""


class Reader(Protocol):
    """An incremental reader of replies."""

    def feed(self, buffer: bytes | bytearray, offset: int = 0, length: int = -1, /) -> None:
        """Take `length` bytes from `offset` on; -1 for all that follow."""
        ...

    def gets(self) -> Any:
        """Return the next whole reply, or NOTHING."""
        ...

    def has_data(self) -> bool:
        """Tell whether bytes were fed that no reply has used up."""
        ...


def make_reader() -> Reader:
    """Return a fresh reader, the fastest there is."""
    if _hiredis is None:
        return PythonReader()
    reader: Reader = _hiredis.Reader(protocolError=ProtocolError, replyError=ServerError, notEnoughData=NOTHING)
    return reader


def pack(*parts: bytes) -> bytes:
    r"""Pack one command.

    >>> pack(b"GET", b"key")
    b'*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n'
    """
    return b"*%d\r\n%b" % (len(parts), b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts]))


class PythonReader:
    r"""The reader for where hiredis isn't installed.

    Parsing is a generator that stops wherever bytes are missing, so no byte is looked at twice.

    >>> reader = PythonReader()
    >>> reader.feed(b"*2\r\n:1\r\n$3\r\nab")
    >>> reader.gets() is NOTHING
    True
    >>> reader.feed(b"c\r\n")
    >>> reader.gets()
    [1, b'abc']
    """

    __slots__ = ("_at", "_buffer", "_parsing")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0
        self._parsing = self._parse()

    def feed(self, buffer: bytes | bytearray, offset: int = 0, length: int = -1, /) -> None:
        """Take `length` bytes from `offset` on; -1 for all that follow."""
        if self._at == len(self._buffer):
            self._buffer.clear()
            self._at = 0
        end = len(buffer) if length < 0 else offset + length
        self._buffer += memoryview(buffer)[offset:end]

    def gets(self) -> Any:
        """Return the next whole reply, or NOTHING."""
        try:
            return next(self._parsing)
        except (ValueError, OverflowError) as error:
            raise ProtocolError(f"not a RESP reply: {type(error).__name__}") from None
        except StopIteration:
            raise ProtocolError("the reader met what isn't RESP before") from None

    def has_data(self) -> bool:
        """Tell whether bytes were fed that no reply has used up."""
        return self._at < len(self._buffer)

    def _parse(self) -> Generator[Any, None, None]:
        while True:
            reply = yield from self._reply(0)
            if self._at > 1 << 16:
                del self._buffer[: self._at]
                self._at = 0
            yield reply

    def _line(self) -> Generator[Any, None, bytes]:
        while (end := self._buffer.find(b"\r\n", self._at)) < 0:
            yield NOTHING
        line = bytes(self._buffer[self._at : end])
        self._at = end + 2
        return line

    def _bulk(self, length: bytes) -> Generator[Any, None, bytes | None]:
        size = int(length)
        if size == -1:
            return None
        if not 0 <= size <= _LONGEST:
            raise ProtocolError("a bulk string claims an absurd length")
        end = self._at + size
        while len(self._buffer) < end + 2:
            yield NOTHING
            end = self._at + size  # a feed may have moved what is unread to the front
        data = bytes(self._buffer[self._at : end])
        if self._buffer[end : end + 2] != b"\r\n":
            raise ProtocolError("a bulk string runs past its length")
        self._at = end + 2
        return data

    def _items(self, length: bytes, depth: int, each: int = 1) -> Generator[Any, None, list[Any] | None]:
        size = int(length)
        if size == -1:
            return None
        if not 0 <= size <= _LONGEST or depth >= _DEEPEST:
            raise ProtocolError("an aggregate claims an absurd length or depth")
        items = []
        for _ in range(size * each):
            items.append((yield from self._reply(depth + 1)))  # noqa: PERF401 - comprehensions can't yield
        return items

    def _reply(self, depth: int) -> Generator[Any, None, Any]:  # noqa: C901, PLR0911, PLR0912 - one case a type
        line = yield from self._line()
        rest = line[1:]
        match line[:1]:
            case b"+":
                return rest
            case b"-":
                return ServerError(rest.decode("utf-8", "replace"))
            case b":" | b"(":
                return int(rest)
            case b"$":
                return (yield from self._bulk(rest))
            case b"*" | b"~":
                return (yield from self._items(rest, depth))
            case b"_":
                return None
            case b"#":
                return rest == b"t"
            case b",":
                return float(rest)
            case b"!":
                return ServerError(((yield from self._bulk(rest)) or b"").decode("utf-8", "replace"))
            case b"=":
                return ((yield from self._bulk(rest)) or b"")[4:]
            case b"%":
                flat = (yield from self._items(rest, depth, 2)) or []
                return dict(zip(flat[::2], flat[1::2], strict=True))
            case b">":
                return Push((yield from self._items(rest, depth)) or [])
            case b"|":  # attributes say something about the reply that follows; we ask for none
                yield from self._items(rest, depth, 2)
                return (yield from self._reply(depth))
            case _:
                raise ProtocolError("a reply begins with no type that RESP has")
