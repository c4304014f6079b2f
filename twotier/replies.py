r"""The reader of all server replies: bytes in, complete replies out, however the bytes were split.

The data path, the link, handshakes, and the connections to sentinels and cluster nodes all read through it. So one
place bounds lengths, nesting, elements and sizes, before it allocates memory for them, and raises one error. `Reader`
is the compiled reader (`_speedups/replies.pxi`), or `PlainReader` where nothing was compiled.

Strings are bytes, numbers int or float, null None, maps dicts, sets lists, errors `ErrorReply`, pushes `Push`.
Verbatim strings come without their format. Attributes are dropped: they only comment on the reply that follows.

A reader that `skips` returns an empty string in place of one that is too long, and stays in step: a key with too large
a value doesn't affect other keys. (No value of ours is empty, nor is a generation, a load lock or a version of a tag.)

Invariants: no byte is parsed twice except those of one unfinished line; memory is in proportion to the bytes received,
never to an announced length; a push is never part of another reply; the key of a map is a string or an int.

>>> reader = Reader()
>>> reader.feed(b"$5\r\nhel")
[]
>>> reader.feed(b"lo\r\n:1\r\n")
[b'hello', 1]
"""

import os
import re
from typing import TYPE_CHECKING, Any, Final, final

from twotier.resp import (
    MAX_BULK,
    MAX_DEPTH,
    MAX_ELEMENTS,
    MAX_LINE,
    ProtocolError,
    Push,
    TooLargeError,
    error_reply,
    is_key,
    scalar,
)

__all__ = ["PlainReader", "Reader"]

_LENGTH: Final = re.compile(rb"[0-9]{1,10}|-1")
_MESSAGES: Final = (b">3\r\n$7\r\nmessage\r\n$", b"*3\r\n$7\r\nmessage\r\n$")
_MESSAGE_HEAD: Final = len(_MESSAGES[0])
_LENGTH_DIGITS: Final = 8


class _Aggregate:
    """An array, map, set, push or attribute whose elements are still arriving."""

    __slots__ = ("elements", "kind", "missing")

    def __init__(self, kind: int, missing: int) -> None:
        self.kind = kind
        self.missing = missing
        self.elements: list[Any] = []

    def whole(self) -> Any:
        """Return the reply that the elements form."""
        if self.kind == ord(">"):
            return Push(self.elements)
        if self.kind == ord("%"):
            keys = self.elements[::2]
            if not all(map(is_key, keys)):
                raise ProtocolError("a map has a key that is neither a string nor an integer")
            return dict(zip(keys, self.elements[1::2], strict=True))
        return self.elements


@final
class PlainReader:
    """The reader in Python; see the contract (`twotier/_speedups.pyi`).

    A run of messages is split off by a loop of a few slices each (`_messages`). All else goes through a stack of
    unfinished aggregates, which survives between chunks.
    """

    __slots__ = (
        "_broken",
        "_chunks",
        "_count",
        "_elements",
        "_largest",
        "_longest",
        "_missing",
        "_size",
        "_skipping",
        "_skips",
        "_stack",
    )

    def __init__(
        self,
        *,
        longest: int = MAX_BULK,
        largest: int = MAX_BULK,
        elements: int = MAX_ELEMENTS,
        skips: bool = False,
    ) -> None:
        self._skips = skips
        self._skipping = 0
        """Bytes still to come of a string that is too long."""
        self._longest = longest
        self._largest = largest
        self._elements = elements
        self._chunks: list[bytes] = []
        """Bytes not yet parsed."""
        self._missing = 0
        """Number of bytes that must arrive before parsing can go on."""
        self._stack: list[_Aggregate] = []
        self._size = 0
        """Bytes of the aggregate at the bottom of the stack so far."""
        self._count = 0
        """Elements that it has or has promised, with those of the aggregates in it."""
        self._broken = False

    def feed(self, data: bytes | bytearray | memoryview, length: int = -1) -> list[Any]:
        """Take `data`, or its first `length` bytes; return the replies that are whole now."""
        if self._broken:
            raise ProtocolError("earlier bytes on this connection weren't RESP")
        taken = bytes(memoryview(data)[:length] if length >= 0 else data)
        if not taken:
            return []
        self._chunks.append(taken)
        self._missing -= len(taken)
        if self._missing > 0:
            return []
        buffer = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        replies: list[Any] = []
        at = 0
        self._broken = True  # unless all goes well
        while at < len(buffer):
            if self._skipping:
                skipped = min(self._skipping, len(buffer) - at)
                self._skipping -= skipped
                at += skipped
                if not self._skipping:
                    self._close(b"", replies)
                continue
            if not self._stack:
                at = _messages(buffer, at, replies)
            after = self._element(buffer, at, replies)
            if after == at:
                break
            at = after
        rest = buffer[at:]
        self._chunks = [rest] if rest else []
        if not rest:
            self._missing = 0
        self._broken = False
        return replies

    @property
    def idle(self) -> bool:
        """Whether every byte so far belonged to a reply that is whole."""
        return not (self._chunks or self._stack or self._skipping)

    def _element(self, buffer: bytes, at: int, replies: list[Any]) -> int:
        """Parse the scalar or the head of an aggregate at `at`; return where it ends, or `at` if it isn't all there."""
        if at == len(buffer):
            return at
        end = buffer.find(b"\r\n", at, at + MAX_LINE)
        if end < 0:
            if len(buffer) - at >= MAX_LINE:
                raise ProtocolError(f"a line is longer than {MAX_LINE} bytes")
            self._missing = 1
            return at
        kind, line, after = buffer[at], buffer[at + 1 : end], end + 2
        if kind in b"$=!":
            value, after = self._bulk(kind, line, buffer, after)
            if self._skipping:
                return after
            if after < 0:
                return at
        elif kind in b"*%~>|":
            count = _length(line, self._elements, nullable=kind == ord("*"))
            if count >= 0:
                self._open(kind, count)
                if count:
                    self._grow(after - at)
                    return after
                value = self._stack.pop()
            else:
                value = None
        else:
            value = scalar(kind, line)
        self._grow(after - at)
        self._close(value, replies)
        return after

    def _bulk(self, kind: int, line: bytes, buffer: bytes, start: int) -> tuple[Any, int]:
        """Return the string of length `line` at `start`, and where it ends; -1 if it isn't all there."""
        longest = MAX_LINE if kind == ord("!") else self._longest
        length = _length(line, None, nullable=kind == ord("$"))
        if length > longest and kind == ord("$") and self._skips:
            self._skipping = length + 2
            return None, start
        if length > longest:
            raise TooLargeError(f"a string must be of at most {longest} bytes, got {length}")
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
            return error_reply(text), stop + 2
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
        missing = 2 * count if kind in b"%|" else count
        self._count += missing
        if self._count > self._elements:
            raise ProtocolError(f"a reply has more than {self._elements} elements")
        self._stack.append(_Aggregate(kind, missing))

    def _grow(self, size: int) -> None:
        """Count the bytes of an aggregate."""
        if self._stack:
            self._size += size
            if self._size > self._largest:
                raise ProtocolError(f"a reply is larger than {self._largest} bytes")

    def _close(self, value: Any, replies: list[Any]) -> None:
        """Put the complete `value` in its place, and likewise each aggregate that it completes."""
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
            self._size = self._count = 0


def _messages(buffer: bytes, at: int, replies: list[Any]) -> int:
    """Split off the whole messages at `at`; return where they end. Any unusual form is left to the parser."""
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


def _length(line: bytes, most: int | None, *, nullable: bool) -> int:
    """Return the length in `line`; -1 for null."""
    if not _LENGTH.fullmatch(line) or (line == b"-1" and not nullable):
        raise ProtocolError(f"a length must be a decimal number, got {line[:32]!r}")
    length = int(line)
    if most is not None and length > most:
        raise ProtocolError(f"a reply has {length} elements, and may have {most}")
    return length


if TYPE_CHECKING:
    from twotier._speedups import ReplyReader as Reader
elif os.environ.get("TWOTIER_IMPL") == "python":
    Reader = PlainReader
else:
    try:
        from twotier._speedups import ReplyReader as Reader
    except ImportError:  # said by twotier.local
        Reader = PlainReader
