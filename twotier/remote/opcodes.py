"""A check of pickled bytes before they are loaded: only the opcodes that our own encoder writes are let through.

The C unpickler does whatever the bytes say. Restricting the names it may resolve isn't enough: BUILD sets attributes of
what it made (members of an enum are shared by the whole process), EXT opcodes come past the name check by a cache of
`copyreg`, and PUT makes room in the memo for whatever index it names. None of these is ever written by us.

Cost: one pass. Runs of fixed-size opcodes are skipped by one regular expression, in C; a string costs some 0.2 us.
Tuples that can nest deeply, or that share their items so that hashing one takes exponential time, are weighed by a
second pass, which only values with very many tuples, or with several tuples and shared items, go through.
"""

import re
from typing import Final

from twotier.errors import SerializationError

_PROTO: Final = b"\x80\x05"
_STOP: Final = 0x2E
_SHORT_TEXT: Final = 0x8C
_TUPLES: Final = (b"t", b"\x85", b"\x86", b"\x87")
_GETS: Final = (b"h", b"j")
_GLOBAL: Final = b"\x93"

# None, booleans, numbers; empty containers and what fills them; memo by counting; frames; the resolving of a name and
# its call (what may be resolved is up to the codec).
_RUN: Final = re.compile(
    rb"(?s:[N\x88\x89\])}(aeust\x85-\x87\x8f-\x91\x9401\x93R]|K.|h.|M.{2}|J.{4}|j.{4}|G.{8}|\x95.{8})*+"
)
_LENGTH_BYTES: Final = {
    _SHORT_TEXT: 1, ord("X"): 4, 0x8D: 8, ord("C"): 1, ord("B"): 4, 0x8E: 8, 0x96: 8, 0x8A: 1, 0x8B: 4,
}  # fmt: skip
"""Opcodes that a length and as many bytes follow: text, bytes, bytearray, long integers."""
_ARGUMENT_BYTES: Final = {ord(op): size for op, size in (("K", 1), ("h", 1), ("M", 2), ("J", 4), ("j", 4), ("G", 8))}

_FEW_TUPLES: Final = 500
"""Nesting that no stack minds; values with fewer tuples need no second pass for their depth."""
_FEW_GETS: Final = 20
DEEPEST: Final = 500
"""Tuples in tuples: hashing them recurses in C, unguarded."""
HEAVIEST: Final = 10_000_000
"""Items that hashing one tuple may visit, shared ones as often as they are met (or eight a byte, if that is more)."""


def check(payload: bytes) -> bool:
    """Return whether `payload` resolves any name; SerializationError if it holds what our encoder doesn't write."""
    if payload[:2] != _PROTO:
        raise SerializationError("the payload isn't of pickle protocol 5")
    match, widths = _RUN.match, _LENGTH_BYTES
    at, tuples, gets, names = 2, 0, 0, False
    try:
        while True:
            run = match(payload, at).group()  # type: ignore[union-attr] # it matches nothing, too
            if run:
                at += len(run)
                tuples += sum(map(run.count, _TUPLES))
                gets += sum(map(run.count, _GETS))
                names = names or _GLOBAL in run
            opcode = payload[at]
            if opcode == _STOP:
                break
            width = widths[opcode]
            at += 1 + width + int.from_bytes(payload[at + 1 : at + 1 + width], "little")
    except (IndexError, KeyError):
        raise SerializationError("the payload is cut short, or not written by this codec") from None
    if at + 1 != len(payload):
        raise SerializationError("the payload goes on after its end")
    if tuples > _FEW_TUPLES or (tuples > 1 and gets > _FEW_GETS):
        _weigh(payload)
    return names


def _weigh(payload: bytes) -> None:
    """Follow how tuples are built of tuples; SerializationError if one is too deep, or too much work to hash."""
    most = max(HEAVIEST, 8 * len(payload))
    try:
        _Scale(payload, most).run()
    except (IndexError, TypeError):
        raise SerializationError("the payload isn't well-formed") from None


class _Scale:
    """A stack machine that keeps, of each value, its weight (items that hashing visits) and depth; None is a mark."""

    def __init__(self, payload: bytes, most: int) -> None:
        self._payload = payload
        self._most = most
        self._stack: list[tuple[int, int] | None] = []
        self._memo: list[tuple[int, int] | None] = []

    def run(self) -> None:
        """Go through the whole payload, which `check` has found to be of known opcodes."""
        payload, at = self._payload, 2
        while (opcode := payload[at]) != _STOP:
            width = _LENGTH_BYTES.get(opcode)
            if width is not None:
                self._stack.append((1, 0))
                at += 1 + width + int.from_bytes(payload[at + 1 : at + 1 + width], "little")
                continue
            size = _ARGUMENT_BYTES.get(opcode, 0)
            if opcode == 0x95:  # noqa: PLR2004 - FRAME
                at += 9
                continue
            if opcode in b"hj":
                self._stack.append(self._memo[int.from_bytes(payload[at + 1 : at + 1 + size], "little")])
            else:
                self._step(opcode)
            at += 1 + size

    def _step(self, opcode: int) -> None:  # noqa: C901 - one case an opcode
        stack = self._stack
        match opcode:
            case 0x28:  # MARK
                stack.append(None)
            case 0x85 | 0x86 | 0x87:  # TUPLE1 to 3
                count = opcode - 0x84
                items = stack[-count:]
                del stack[-count:]
                self._tuple(items)
            case 0x74:  # TUPLE
                self._tuple(self._to_mark())
            case 0x61 | 0x30:  # APPEND, POP
                stack.pop()
            case 0x73:  # SETITEM
                del stack[-2:]
            case 0x65 | 0x75 | 0x90 | 0x31:  # APPENDS, SETITEMS, ADDITEMS, POP_MARK
                self._to_mark()
            case 0x91:  # FROZENSET: remembers its hash
                self._to_mark()
                stack.append((1, 0))
            case 0x94:  # MEMOIZE
                self._memo.append(stack[-1])
            case 0x93:  # STACK_GLOBAL
                stack[-2:] = [(1, 0)]
            case 0x52:  # REDUCE: what is made may hold its arguments
                arguments = stack.pop()
                stack[-1] = arguments
            case _:
                stack.append((1, 0))

    def _to_mark(self) -> list[tuple[int, int] | None]:
        stack = self._stack
        at = len(stack) - 1
        while stack[at] is not None:
            at -= 1
            if at < 0:
                raise IndexError
        items = stack[at + 1 :]
        del stack[at:]
        return items

    def _tuple(self, items: list[tuple[int, int] | None]) -> None:
        weight, depth = 1, 0
        for item in items:
            if item is None:
                raise IndexError
            weight += item[0]
            depth = max(depth, item[1])
        if weight > self._most or depth >= DEEPEST:
            raise SerializationError("the payload nests or shares tuples beyond reason")
        self._stack.append((weight, depth + 1))
