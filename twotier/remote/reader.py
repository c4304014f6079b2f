"""The reader of replies on the data path: hiredis's where that is installed, else our own behind the same surface.

`feed` bytes as they come, then call `gets` until it returns NOTHING. Strings are bytes, an error reply is an
`ErrorReply` (a value: nothing is raised for it), a push is of type `PUSH`; what isn't RESP raises `ProtocolError`.
"""

import importlib
from collections import deque
from typing import Any, Final, Protocol

from twotier import resp
from twotier.resp import ErrorReply, ProtocolError

NOTHING: Final = object()
"""What `gets` returns until a whole reply has come in."""
_MOST: Final = 1 << 30
"""Bytes of one reply of the data path: a bulk read of large values."""

try:
    _hiredis: Any = importlib.import_module("hiredis")
except ImportError:
    _hiredis = None

PUSH: Final[type[list[Any]]] = resp.Push if _hiredis is None else _hiredis.PushNotification
"""The type of out-of-band messages that `make_reader`'s readers give."""


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
        return PlainReader()
    reader: Reader = _hiredis.Reader(protocolError=ProtocolError, replyError=ErrorReply, notEnoughData=NOTHING)
    return reader


class PlainReader:
    r"""Our own parser with hiredis's surface.

    >>> reader = PlainReader()
    >>> reader.feed(b"*2\r\n:1\r\n$3\r\nab")
    >>> reader.gets() is NOTHING
    True
    >>> reader.feed(b"c\r\n")
    >>> reader.gets()
    [1, b'abc']
    """

    __slots__ = ("_parser", "_whole")

    def __init__(self) -> None:
        self._parser = resp.Reader(_MOST)
        self._whole: deque[Any] = deque()

    def feed(self, buffer: bytes | bytearray, offset: int = 0, length: int = -1, /) -> None:
        """Take `length` bytes from `offset` on; -1 for all that follow."""
        end = len(buffer) if length < 0 else offset + length
        self._whole.extend(self._parser.feed(bytes(buffer[offset:end])))

    def gets(self) -> Any:
        """Return the next whole reply, or NOTHING."""
        return self._whole.popleft() if self._whole else NOTHING

    def has_data(self) -> bool:
        """Tell whether bytes were fed that no reply has used up."""
        return bool(self._whole) or not self._parser.idle
