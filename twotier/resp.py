"""RESP2 and RESP3, incrementally: bytes in, whole replies out, whichever way the bytes were cut.

Written for the link, where replies are few and pushed messages are many; it is also the data path's where hiredis isn't
installed. A run of messages is split off by a loop of a
few slices each (`_messages`). All else goes through a stack of unfinished aggregates, which survives between chunks, so
that no byte is parsed twice but those of one unfinished line; the cost is linear, and the limits bound the memory.

The link doesn't use hiredis, although it is faster: it returns an attribute as if it were a reply (each reply after it
would be taken for the answer to another request; the data path would notice), doesn't know blob errors, and allocates a
hostile array length before the elements arrive. See DECISIONS.md.
"""

import contextlib
import re
from typing import Any, Final

MAX_BULK: Final = 64 << 20
"""Longest string, and largest nested reply (bytes); servers drop a subscriber at half of that by default."""
MAX_ELEMENTS: Final = 1 << 20
"""Most elements of one array, map, set or push."""
MAX_DEPTH: Final = 32
"""Deepest nesting of a reply."""
MAX_LINE: Final = 64 << 10
"""Longest line: a simple string, an error, a number, a length (bytes)."""

_INTEGER: Final = re.compile(rb"[+-]?[0-9]{1,19}")
_LENGTH: Final = re.compile(rb"[0-9]{1,10}|-1")
_MESSAGES: Final = (b">3\r\n$7\r\nmessage\r\n$", b"*3\r\n$7\r\nmessage\r\n$")
_MESSAGE_HEAD: Final = len(_MESSAGES[0])
_LENGTH_DIGITS: Final = 8
_LITERALS: Final[dict[bytes, Any]] = {b"_": None, b"#t": True, b"#f": False}

_WORD: Final = b"$%d\r\n%b\r\n"
_TWO: Final = b"*2\r\n" + 2 * _WORD
_THREE: Final = b"*3\r\n" + 3 * _WORD
_FIVE: Final = b"*5\r\n" + 5 * _WORD


class ProtocolError(Exception):
    """The peer doesn't speak RESP, or goes beyond the limits; the connection is of no more use."""


class ErrorReply:
    """An error that the server answered with; the first word of its text is the code."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"ErrorReply({self.text!r})"


class Push(list[Any]):
    """What a server sends unasked on RESP3: pub/sub messages, and confirmations of subscriptions."""


class _Aggregate:
    """An array, map, set, push or attribute whose elements are still arriving."""

    __slots__ = ("elements", "kind", "missing")

    def __init__(self, kind: int, missing: int) -> None:
        self.kind = kind
        self.missing = missing
        self.elements: list[Any] = []

    def whole(self) -> Any:
        """Return what the elements make."""
        if self.kind == ord(">"):
            return Push(self.elements)
        if self.kind == ord("%"):
            try:
                return dict(zip(self.elements[::2], self.elements[1::2], strict=True))
            except TypeError:
                raise ProtocolError("a map has an aggregate for a key") from None
        return self.elements


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


class Reader:
    r"""The parser of one connection's bytes.

    Strings are bytes, numbers int or float, null None, maps dicts, sets lists, errors `ErrorReply`, pushes `Push`.
    Verbatim strings come without their format. Attributes are dropped: they only comment on the reply that follows.
    `most`: longest string, and largest nested reply (bytes).

    >>> reader = Reader()
    >>> reader.feed(b"$5\r\nhel")
    []
    >>> reader.feed(b"lo\r\n:1\r\n")
    [b'hello', 1]
    """

    __slots__ = ("_chunks", "_missing", "_most", "_size", "_stack")

    def __init__(self, most: int = MAX_BULK) -> None:
        self._most = most
        self._chunks: list[bytes] = []
        """What wasn't parsed yet."""
        self._missing = 0
        """Fewest bytes without which there is nothing to parse."""
        self._stack: list[_Aggregate] = []
        self._size = 0
        """Bytes of the aggregate at the bottom of the stack so far."""

    def feed(self, data: bytes) -> list[Any]:
        """Take `data`, and return the replies that are whole now; ProtocolError if it isn't RESP."""
        self._chunks.append(data)
        self._missing -= len(data)
        if self._missing > 0:
            return []
        buffer = b"".join(self._chunks)
        replies: list[Any] = []
        at = 0
        while at < len(buffer):
            if not self._stack:
                at = _messages(buffer, at, replies)
            after = self._element(buffer, at, replies)
            if after == at:
                break
            at = after
        rest = buffer[at:]
        self._chunks = [rest] if rest else []
        return replies

    @property
    def idle(self) -> bool:
        """Whether every byte so far belonged to a reply that is whole."""
        return not self._chunks and not self._stack

    def _element(self, buffer: bytes, at: int, replies: list[Any]) -> int:
        """Parse the scalar or the head of an aggregate at `at`; return where it ends, or `at` if it isn't all there."""
        end = buffer.find(b"\r\n", at, at + MAX_LINE)
        if end < 0:
            if len(buffer) - at >= MAX_LINE:
                raise ProtocolError(f"a line is longer than {MAX_LINE} bytes")
            self._missing = 1
            return at
        kind, line, after = buffer[at], buffer[at + 1 : end], end + 2
        if kind in b"$=!":
            value, after = self._bulk(kind, line, buffer, after)
            if after < 0:
                return at
        elif kind in b"*%~>|":
            count = _length(line, MAX_ELEMENTS, nullable=kind == ord("*"))
            if count >= 0:
                self._open(kind, count)
                if count:
                    self._grow(after - at)
                    return after
                value = self._stack.pop()
            else:
                value = None
        else:
            value = _scalar(kind, line)
        self._grow(after - at)
        self._close(value, replies)
        return after

    def _bulk(self, kind: int, line: bytes, buffer: bytes, start: int) -> tuple[Any, int]:
        """Return the string of length `line` at `start`, and where it ends; -1 if it isn't all there."""
        length = _length(line, self._most, nullable=kind == ord("$"))
        if length < 0:
            return None, start
        stop = start + length
        if stop + 2 > len(buffer):
            self._missing = stop + 2 - len(buffer)
            return None, -1
        if buffer[stop : stop + 2] != b"\r\n":
            raise ProtocolError("a string doesn't end where its length says")
        text = buffer[start:stop]
        if kind == ord("!"):
            return ErrorReply(text.decode(errors="replace")), stop + 2
        if kind == ord("="):
            if text[3:4] != b":":
                raise ProtocolError("a verbatim string has no format")
            text = text[4:]
        return text, stop + 2

    def _open(self, kind: int, count: int) -> None:
        """Begin an aggregate."""
        if len(self._stack) >= MAX_DEPTH:
            raise ProtocolError(f"a reply is nested deeper than {MAX_DEPTH}")
        if kind == ord(">") and self._stack:
            raise ProtocolError("a push inside of a reply")
        self._stack.append(_Aggregate(kind, 2 * count if kind in b"%|" else count))

    def _grow(self, size: int) -> None:
        """Count the bytes of an aggregate."""
        if self._stack:
            self._size += size
            if self._size > self._most:
                raise ProtocolError(f"a reply is larger than {self._most} bytes")

    def _close(self, value: Any, replies: list[Any]) -> None:
        """Put `value`, which is whole, where it belongs, and so every aggregate that is whole by it."""
        while True:
            if isinstance(value, _Aggregate):
                if value.kind == ord("|"):
                    break
                value = value.whole()
            if not self._stack:
                replies.append(value)
                break
            top = self._stack[-1]
            top.elements.append(value)
            top.missing -= 1
            if top.missing:
                break
            value = self._stack.pop()
        if not self._stack:
            self._size = 0


def _messages(buffer: bytes, at: int, replies: list[Any]) -> int:
    """Split off the whole messages at `at`; return where they end. What is odd in any way is left to the parser."""
    while buffer.startswith(_MESSAGES, at):
        start = at + _MESSAGE_HEAD
        line = buffer.find(b"\r\n", start, start + _LENGTH_DIGITS)
        digits = buffer[start:line]
        if line < 0 or not digits.isdigit():
            break
        stop = line + 2 + int(digits)
        if buffer[stop : stop + 3] != b"\r\n$":
            break
        channel, start = buffer[line + 2 : stop], stop + 3
        line = buffer.find(b"\r\n", start, start + _LENGTH_DIGITS)
        digits = buffer[start:line]
        if line < 0 or not digits.isdigit():
            break
        stop = line + 2 + int(digits)
        if buffer[stop : stop + 2] != b"\r\n":
            break
        message = [b"message", channel, buffer[line + 2 : stop]]
        replies.append(Push(message) if buffer[at] == ord(">") else message)
        at = stop + 2
    return at


def _length(line: bytes, most: int, *, nullable: bool) -> int:
    """Return the length in `line`; -1 for null."""
    if not _LENGTH.fullmatch(line) or (line == b"-1" and not nullable):
        raise ProtocolError(f"a length must be a decimal number, got {line[:32]!r}")
    length = int(line)
    if length > most:
        raise ProtocolError(f"a length must be at most {most}, got {length}")
    return length


def _scalar(kind: int, line: bytes) -> Any:
    """Return the reply that is one line of `kind`."""
    if kind == ord("+"):
        return line
    if kind == ord("-"):
        return ErrorReply(line.decode(errors="replace"))
    literal = _LITERALS.get(bytes((kind,)) + line, _LITERALS)
    if literal is not _LITERALS:
        return literal
    with contextlib.suppress(ValueError):
        if kind == ord(",") and line:
            return float(line)
        if kind == ord("(") or (kind == ord(":") and _INTEGER.fullmatch(line)):
            return int(line)
    raise ProtocolError(f"a reply can't begin with {bytes((kind,)) + line[:32]!r}")
