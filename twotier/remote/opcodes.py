"""A check of pickled bytes before they are loaded: only the opcodes that our own encoder writes are let through.

The C unpickler does whatever the bytes say. Restricting the names it may resolve isn't enough: BUILD sets attributes of
what it made (members of an enum are shared by the whole process), EXT opcodes come past the name check by a cache of
`copyreg`, and PUT makes room in the memo for whatever index it names. None of these is ever written by us.

Cost: one pass. Runs of short opcodes are skipped by one regular expression, in C, at some 70 ns an opcode; a long text
or a tuple costs some 0.3 us. Values with very many tuples are gone through again, to see how deep they nest.
"""

import re
from typing import Final

from twotier.errors import SerializationError

_PROTO: Final = b"\x80\x05"
_STOP: Final = 0x2E
_GLOBAL: Final = b"\x93"
_SHORT: Final = 64
"""Texts shorter than this (bytes) are skipped by the regular expression."""

# None, booleans, numbers; empty containers and what fills them; memo by counting; frames; the resolving of a name and
# its call (what may be resolved is up to the codec); short texts. Bounded, as each repetition takes memory.
_RUN: Final = re.compile(
    rb"(?s:[N\x88\x89\])}(aesu\x8f-\x91\x9401\x93R]+|K.|h.|M.{2}|J.{4}|j.{4}|G.{8}|\x95.{8}|\x8c(?:"
    + b"|".join(re.escape(bytes([length])) + b".{%d}" % length for length in range(_SHORT))
    + rb")){0,1000}"
)
_LENGTH_BYTES: Final = {
    0x8C: 1, ord("X"): 4, 0x8D: 8, ord("C"): 1, ord("B"): 4, 0x8E: 8, 0x96: 8, 0x8A: 1, 0x8B: 4,
}  # fmt: skip
"""Opcodes that a length of so many bytes, and as much data, follows: text, bytes, bytearray, long integers."""
_ARGUMENT_BYTES: Final = {ord("K"): 1, ord("h"): 1, ord("M"): 2, ord("J"): 4, ord("j"): 4, ord("G"): 8, 0x95: 8}
_TUPLES: Final = {0x85: 1, 0x86: 2, 0x87: 3, ord("t"): None}
"""Opcodes that make a tuple, and of how many items; None: of all since the mark."""
_GETS: Final = frozenset(b"hj")

DEEPEST: Final = 2_000
"""Tuples in tuples: hashing them recurses in C, with nothing to end it but the end of the stack."""


def check(payload: bytes) -> bool:
    """Return whether `payload` may resolve names; SerializationError if it holds what our encoder doesn't write."""
    if payload[:2] != _PROTO:
        raise SerializationError("the payload isn't of pickle protocol 5")
    skip, at, tuples = _RUN.match, 2, 0
    try:
        while True:
            end = skip(payload, at).end()  # type: ignore[union-attr] # it matches nothing, too
            opcode = payload[end]
            if opcode == _STOP:
                break
            if opcode in _TUPLES:
                tuples += 1
                at = end + 1
            elif opcode in _LENGTH_BYTES:
                at = _after(payload, end, _LENGTH_BYTES[opcode])
            elif end > at:  # the run came to its bound
                at = end
            else:
                raise SerializationError("the payload holds what this codec doesn't write")
    except IndexError:
        raise SerializationError("the payload is cut short") from None
    if end + 1 != len(payload):
        raise SerializationError("the payload goes on after its end")
    if tuples > DEEPEST:
        _check_depth(payload)
    return _GLOBAL in payload


def _after(payload: bytes, at: int, width: int) -> int:
    """Return where the opcode at `at`, with a length of `width` bytes and its data, ends."""
    return at + 1 + width + int.from_bytes(payload[at + 1 : at + 1 + width], "little")


def _check_depth(payload: bytes) -> None:
    """Follow how tuples are built of tuples; SerializationError if they nest too deep."""
    try:
        _Depths(payload).run()
    except (IndexError, TypeError, ValueError):
        raise SerializationError("the payload isn't well-formed") from None


class _Depths:
    """The unpickler's stack and memo, holding for each value how deep tuples nest in it; None for a mark."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._stack: list[int | None] = []
        self._memo: list[int | None] = []

    def run(self) -> None:
        """Go through the payload, whose opcodes `check` has found to be known ones."""
        payload, stack, at = self._payload, self._stack, 2
        while (opcode := payload[at]) != _STOP:
            if opcode in _LENGTH_BYTES:
                stack.append(0)
                at = _after(payload, at, _LENGTH_BYTES[opcode])
                continue
            size = _ARGUMENT_BYTES.get(opcode, 0)
            if opcode in _GETS:
                stack.append(self._memo[int.from_bytes(payload[at + 1 : at + 1 + size], "little")])
            elif opcode in _TUPLES:
                self._tuple(_TUPLES[opcode])
            else:
                self._step(opcode)
            at += 1 + size

    def _step(self, opcode: int) -> None:
        stack = self._stack
        match opcode:
            case 0x28:  # MARK
                stack.append(None)
            case 0x61 | 0x30:  # APPEND, POP
                stack.pop()
            case 0x73:  # SETITEM
                del stack[-2:]
            case 0x65 | 0x75 | 0x90 | 0x31:  # APPENDS, SETITEMS, ADDITEMS, POP_MARK
                del stack[self._mark() :]
            case 0x91:  # FROZENSET; remembers its hash, so that nothing recurses through it
                stack[self._mark() :] = [0]
            case 0x94:  # MEMOIZE
                self._memo.append(stack[-1])
            case 0x93:  # STACK_GLOBAL
                stack[-2:] = [0]
            case 0x52:  # REDUCE: what is made may hold its arguments
                stack[-2:] = [stack[-1]]
            case 0x95:  # FRAME
                pass
            case _:
                stack.append(0)

    def _mark(self) -> int:
        stack = self._stack
        at = len(stack) - 1
        while stack[at] is not None:
            if at == 0:
                raise IndexError
            at -= 1
        return at

    def _tuple(self, count: int | None) -> None:
        stack = self._stack
        start = self._mark() if count is None else len(stack) - count
        items = stack[start + (count is None) :]
        depth = 1 + max((item for item in items if item is not None), default=0)
        if start < 0 or depth > DEEPEST:
            raise SerializationError("the payload nests tuples beyond reason")
        stack[start:] = [depth]
