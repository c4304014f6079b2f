"""RESP2 and RESP3: the packing of commands, the bounds on replies, and the types of replies.

`twotier/replies.py` reads replies; every byte from a server goes through that reader.
"""

import contextlib
import re
from typing import Any, Final

MAX_BULK: Final = 64 << 20
"""Longest string, and largest nested reply (bytes); servers drop a subscriber at half of that by default."""
MAX_ELEMENTS: Final = 1 << 20
"""Most elements of one reply, those of the arrays, maps, sets and pushes in it counted together."""
MAX_DEPTH: Final = 32
"""Deepest nesting of a reply."""
MAX_LINE: Final = 64 << 10
"""Longest line: a simple string, an error, a number, a length (bytes); longest blob error."""
MAX_ERROR: Final = 512
"""Most bytes of an error's text that are kept."""

_INTEGER: Final = re.compile(rb"[+-]?[0-9]{1,19}")
_LOWEST: Final = -(1 << 63)
_HIGHEST: Final = (1 << 63) - 1
_LITERALS: Final[dict[bytes, Any]] = {b"_": None, b"#t": True, b"#f": False}

_WORD: Final = b"$%d\r\n%b\r\n"
_TWO: Final = b"*2\r\n" + 2 * _WORD
_THREE: Final = b"*3\r\n" + 3 * _WORD
_FIVE: Final = b"*5\r\n" + 5 * _WORD


class ProtocolError(Exception):
    """The peer doesn't speak RESP, or exceeds the limits; the connection must be closed."""


class TooLargeError(ProtocolError):
    """A string is longer than its reader takes; nothing of it was read."""


class ErrorReply:
    """An error reply of the server; the first word of its text is the code."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"ErrorReply({self.text!r})"


class Push(list[Any]):
    """A message that a server sends unrequested on RESP3: pub/sub messages, and confirmations of subscriptions."""


def pack(*words: bytes) -> bytes:
    r"""Return the command of `words` as RESP; the usual lengths by one format each, which halves the time.

    >>> pack(b"GET", b"key")
    b'*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n'
    """
    match words:
        case (a, b):
            return _TWO % (len(a), a, len(b), b)
        case (a, b, c):
            return _THREE % (len(a), a, len(b), b, len(c), c)
        case (a, b, c, d, e):
            return _FIVE % (len(a), a, len(b), b, len(c), c, len(d), d, len(e), e)
    return b"*%d\r\n" % len(words) + b"".join([_WORD % (len(word), word) for word in words])


def error_reply(text: bytes) -> ErrorReply:
    """Return `text` as an error reply, cut to its beginning if it is long."""
    return ErrorReply(text[:MAX_ERROR].decode(errors="replace"))


def is_key(value: Any) -> bool:
    """Return True if `value` may be the key of a map: a string, or an int of 64 bits, as longer ones may collide."""
    return type(value) is bytes or (type(value) is int and _LOWEST <= value <= _HIGHEST)


def scalar(kind: int, line: bytes) -> Any:
    """Return the reply that is one line of `kind`."""
    if kind == ord("+"):
        return line
    if kind == ord("-"):
        return error_reply(line)
    literal = _LITERALS.get(bytes((kind,)) + line, _LITERALS)
    if literal is not _LITERALS:
        return literal
    with contextlib.suppress(ValueError):
        if kind == ord(",") and line:
            return float(line)
        if kind == ord("("):
            return int(line)
        if kind == ord(":") and _INTEGER.fullmatch(line) and _LOWEST <= (number := int(line)) <= _HIGHEST:
            return number
    raise ProtocolError(f"a reply can't begin with {bytes((kind,)) + line[:32]!r}")
