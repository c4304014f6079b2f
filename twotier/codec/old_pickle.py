"""Read payloads of the codec before the plain format (flag 1): pickles of protocol 5 that name only our builders.

This module stays for one release. It runs only the opcodes that our encoder wrote, in Python and without `pickle`,
whose unpickler runs any code that the bytes name. Budgets apply as in the plain format: weight by the payload's
length, depth, and work, so that a part to which a payload refers many times (a tuple, a large integer, the text of a
Decimal) costs its size each time. A genuine payload that shares more than these budgets allow is refused, and counts
as missing.

A builder is not a value: only a call takes it off the stack. The items of a container wait until the container is
complete, so that the reader checks all of its keys before it puts the first into a table.
"""

import struct
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, ClassVar, Final

from twotier.codec import hash_collisions, weights
from twotier.codec.allow_list import AllowedTypes
from twotier.codec.old_builders import OLD_BUILDERS
from twotier.codec.type_tags import CALL, MOST_DEPTH, NEW, NEW_KEYWORDS
from twotier.errors import SerializationError

_MODULE: Final = "twotier.remote.rebuild"
_OF_THE_CODEC: Final = frozenset({"instance", "member", "state"})
_WORK: Final = 20_000
_WORK_PER_BYTE: Final = 4
_PLAIN: Final = frozenset({str, bytes, int, float, bool, type(None)})
_FILLED: Final = frozenset({list, dict, set, deque, OrderedDict, defaultdict, Counter})
_NODE_WEIGHT: Final = 160


class OldPickleReader:
    """Decodes payloads of flag 1; writes none."""

    flag: ClassVar[int] = 1

    def __init__(self, allow: Iterable[type] = ()) -> None:
        self._allowed = AllowedTypes(allow)

    def decode(self, payload: bytes) -> Any:
        """Return the value of `payload`; SerializationError if it is damaged, too costly, or names a forbidden type."""
        try:
            return _Reading(payload, self._allowed).run()
        except SerializationError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever damaged bytes lead to
            raise SerializationError(f"the payload can't be decoded ({type(error).__name__})") from None


class _Name:
    """A builder that the payload has named."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class _Node:
    """A container or a builder's result, on the stack and in the memo."""

    __slots__ = ("cost", "depth", "early", "is_open", "items", "keys", "value")

    def __init__(self, value: Any, depth: int = 1, cost: int = 1) -> None:
        self.value = value
        self.depth = depth
        self.cost = cost
        """Cost of hashing it, in elements: each element counts once per occurrence."""
        self.is_open = True
        """Still on the stack, where it can be filled."""
        self.early = 0
        """References to it while it was open: cycles."""
        self.keys: list[Any] = []
        self.items: list[Any] = []


class _Reference:
    """A node read from the memo."""

    __slots__ = ("node",)

    def __init__(self, node: _Node) -> None:
        self.node = node


class _Reading:
    def __init__(self, payload: bytes, allowed: AllowedTypes) -> None:
        self._payload = payload
        self._allowed = allowed
        self._at = 2
        self._left = weights.FREE + weights.PER_BYTE * len(payload)
        self._work = _WORK + _WORK_PER_BYTE * len(payload)
        self._extra = 0
        """Depth that containers gained after something referred to them."""
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: list[Any] = []

    def run(self) -> Any:
        """Return the value."""
        payload = self._payload
        if payload[:2] != b"\x80\x05":
            raise SerializationError("the payload isn't of pickle protocol 5")
        while (opcode := payload[self._at]) != _STOP:
            self._at += 1
            step = _STEPS.get(opcode)
            if step is None:
                raise SerializationError("the payload holds what this codec didn't write")
            step(self)
        if self._at + 1 != len(payload) or len(self._stack) != 1 or self._marks:
            raise SerializationError("the payload has data after its end")
        value, _, _ = self._taken(self._stack[0])
        return value

    # Budgets

    def _weigh(self, weight: int) -> None:
        self._left -= weight
        if self._left < 0:
            raise SerializationError("the payload holds more than its length allows for")

    def _spend(self, work: int) -> None:
        self._work -= work
        if self._work < 0:
            raise SerializationError("the payload refers to what it holds more often than its length allows for")

    def _check_depth(self, depth: int) -> int:
        if depth + self._extra > MOST_DEPTH:
            raise SerializationError(f"the payload nests more than {MOST_DEPTH} levels deep")
        return depth

    # The stack

    def _taken(self, item: Any) -> tuple[Any, int, int]:
        """Return the value of an item that moves from the stack into a container, its depth, and its hashing cost."""
        kind = type(item)
        if kind in _PLAIN:
            cost = 1 + item.bit_length() // 256 if kind is int else 1
            return item, 0, cost
        if kind is _Node:
            self._close(item)
            return item.value, item.depth, item.cost
        if kind is _Reference:
            node = item.node
            if node.is_open:
                node.early += 1
                return node.value, 1, 1
            self._spend(node.cost)
            return node.value, node.depth, node.cost
        if kind is bytearray:
            return item, 0, 1
        raise SerializationError("the payload holds a builder where a value belongs")

    def _all_taken(self, items: list[Any]) -> tuple[list[Any], int, int]:
        """Return the values of `items`, their greatest depth, and the sum of their costs."""
        depth, cost, values = 0, 0, []
        for item in items:
            value, its_depth, its_cost = self._taken(item)
            values.append(value)
            depth = max(depth, its_depth)
            cost += its_cost
        return values, depth, cost

    def _close(self, node: _Node) -> None:
        if not node.is_open:
            return
        self._flush(node)
        node.is_open = False
        self._extra += node.early * node.depth
        self._check_depth(node.depth)

    def _flush(self, node: _Node) -> None:
        """Put the waiting keys and items into their container."""
        value, keys, items = node.value, node.keys, node.items
        if not keys and not items:
            return
        node.keys, node.items = [], []
        kind = type(value)
        if kind not in _FILLED and (kind not in self._allowed or isinstance(value, Enum)):
            raise SerializationError("the payload fills what isn't a container")
        if kind is set:
            self._weigh(weights.of_set(len(items)))
            _look_at(items, in_set=True)
            value.update(items)
        elif keys:
            self._weigh(weights.of_ordered(len(keys)) if kind is OrderedDict else weights.of_mapping(len(keys)))
            _look_at(keys, in_set=False)
            for key, item in zip(keys, items, strict=True):
                value[key] = item
        elif kind is list or kind is deque:
            value.extend(items)
        else:
            self._allowed.extend(value, items)

    def _mark(self) -> None:
        self._weigh(40)
        self._marks.append(len(self._stack))

    def _since_mark(self) -> list[Any]:
        mark = self._marks.pop()
        items = self._stack[mark:]
        del self._stack[mark:]
        return items

    def _target(self) -> _Node:
        node = self._stack[-1]
        if len(self._stack) <= (self._marks[-1] if self._marks else 0) or type(node) is not _Node or not node.is_open:
            raise SerializationError("the payload fills what it didn't make")
        return node

    def _popped(self) -> Any:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise SerializationError("the payload takes from the stack what isn't there")
        return self._stack.pop()

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _bytes(self, size: int) -> bytes:
        data = self._payload[self._at : self._at + size]
        if len(data) != size:
            raise SerializationError("the payload is cut short")
        self._at += size
        return data

    # Steps that need more than a line

    def _text(self, width: int) -> None:
        size = int.from_bytes(self._bytes(width), "little")
        data = self._bytes(size)
        self._weigh(weights.of_text(size, is_ascii=data.isascii()))
        self._push(str(data, "utf-8", "surrogatepass"))

    def _data(self, width: int, kind: Callable[[bytes], Any] = bytes) -> None:
        size = int.from_bytes(self._bytes(width), "little")
        self._weigh(weights.of_bytearray(size))
        self._push(kind(self._bytes(size)))

    def _long(self, width: int) -> None:
        size = int.from_bytes(self._bytes(width), "little")
        self._weigh(weights.of_big(size))
        self._push(int.from_bytes(self._bytes(size), "little", signed=True))

    def _number(self, size: int, *, signed: bool) -> None:
        self._weigh(weights.INT)
        self._push(int.from_bytes(self._bytes(size), "little", signed=signed))

    def _float(self) -> None:
        self._weigh(weights.FLOAT)
        (number,) = struct.unpack(">d", self._bytes(8))
        self._push(number)

    def _frame(self) -> None:
        if int.from_bytes(self._bytes(8), "little") > len(self._payload) - self._at:
            raise SerializationError("the payload is cut short")

    def _new(self, value: Any) -> None:
        self._weigh(_NODE_WEIGHT + (240 if type(value) is set else 80))
        self._push(_Node(value))

    def _memoize(self) -> None:
        self._weigh(16)
        item = self._popped()
        self._push(item)
        self._memo.append(item.node if type(item) is _Reference else item)

    def _get(self, size: int) -> None:
        number = int.from_bytes(self._bytes(size), "little")
        item = self._memo[number]
        self._weigh(64)
        if type(item) is int:
            self._spend(item.bit_length() // 256)
        self._push(_Reference(item) if type(item) is _Node else item)

    def _tuple(self, items: list[Any]) -> None:
        values, depth, cost = self._all_taken(items)
        self._weigh(_NODE_WEIGHT + weights.of_tuple(len(items)))
        self._spend(cost)
        self._push(_Node(tuple(values), self._check_depth(depth + 1), cost + 1))

    def _frozenset(self) -> None:
        values, depth, cost = self._all_taken(self._since_mark())
        self._weigh(_NODE_WEIGHT + weights.of_set(len(values)))
        self._spend(cost)
        _look_at(values, in_set=True)
        self._push(_Node(frozenset(values), self._check_depth(depth + 1), len(values) + 1))

    def _append(self, items: list[Any]) -> None:
        node = self._target()
        if type(node.value) in (dict, set, OrderedDict, defaultdict, tuple, frozenset):
            raise SerializationError("the payload appends to what isn't a list")
        self._filled(node, [], items)

    def _add(self) -> None:
        items = self._since_mark()
        node = self._target()
        if type(node.value) is not set:
            raise SerializationError("the payload adds items to what isn't a set")
        self._filled(node, [], items)

    def _set_items(self, pairs: list[Any]) -> None:
        node = self._target()
        if type(node.value) in (list, set, deque, tuple, frozenset) or len(pairs) % 2:
            raise SerializationError("the payload sets items of what isn't a dict")
        self._filled(node, pairs[::2], pairs[1::2])

    def _filled(self, node: _Node, keys: list[Any], items: list[Any]) -> None:
        self._weigh(16 * (len(keys) + len(items)))
        taken, key_depth, cost = self._all_taken(keys)
        self._spend(cost)
        values, depth, cost = self._all_taken(items)
        if type(node.value) is set:
            self._spend(cost)
        node.keys += taken
        node.items += values
        node.depth = self._check_depth(max(node.depth, depth + 1, key_depth + 1))

    def _setitem(self) -> None:
        value = self._popped()
        key = self._popped()
        self._set_items([key, value])

    def _discard(self) -> None:
        item = self._popped()
        if type(item) is not _Name:
            self._taken(item)

    def _discard_since_mark(self) -> None:
        self._all_taken(self._since_mark())

    def _global(self) -> None:
        name, module = self._popped(), self._popped()
        if module != _MODULE or type(name) is not str or (name not in OLD_BUILDERS and name not in _OF_THE_CODEC):
            raise SerializationError("the payload names what isn't allowed")
        self._weigh(64)
        self._push(_Name(name))

    def _reduce(self) -> None:
        given, builder = self._popped(), self._popped()
        if type(builder) is not _Name:
            raise SerializationError("the payload calls what isn't a builder")
        given_node = given.node if type(given) is _Reference else given
        arguments, depth, cost = self._taken(given)
        if type(arguments) is not tuple or type(given_node) is not _Node:
            raise SerializationError("the payload calls a builder without arguments")
        size = sum(len(text) for text in arguments if type(text) is str or type(text) is bytes)
        self._spend(cost + size // 4)
        if builder.name in _OF_THE_CODEC:
            self._of_the_codec(builder.name, arguments, depth, cost)
            return
        make, weight = OLD_BUILDERS[builder.name]
        self._weigh(_NODE_WEIGHT + weight + 8 * size)
        made = make(*arguments)
        self._push(_Node(made, depth if type(made) is slice else 1, cost + size // 8 + 8))

    def _of_the_codec(self, name: str, arguments: tuple[Any, ...], depth: int, cost: int) -> None:
        self._weigh(_NODE_WEIGHT + weights.INSTANCE)
        if name == "member":
            kind, value = arguments
            self._push(_Node(self._allowed.member(_text(kind), value), 1, cost + 4))
        elif name == "instance":
            kind, given, *new = arguments
            form = CALL if not new else NEW if new[0] is None else NEW_KEYWORDS
            if type(given) is not tuple or (form == NEW_KEYWORDS and type(new[0]) is not dict):
                raise SerializationError("the payload builds an instance in an unknown way")
            made = self._allowed.make(_text(kind), form, given, new[0] if form == NEW_KEYWORDS else None)
            self._push(_Node(made, self._check_depth(depth + 1), cost + 4))
        else:
            made, state = arguments
            self._state(made, state, depth)

    def _state(self, made: Any, state: Any, depth: int) -> None:
        # Its node is the last one pushed, to which the arguments had a reference.
        node = self._target()
        if node.value is not made:
            raise SerializationError("the payload sets the state of what it didn't make just now")
        self._flush(node)
        node.depth = self._check_depth(max(node.depth, depth + 1))
        self._allowed.set_state(made, state)
        self._push(None)


def _text(name: Any) -> str:
    if type(name) is not str:
        raise SerializationError("the payload names a type with a value that isn't text")
    return name


def _look_at(keys: list[Any], *, in_set: bool) -> None:
    kinds = set(map(type, keys))
    if kinds - {str, bytes}:
        hash_collisions.check(keys, in_set=in_set, slow=bool(kinds - _PLAIN))


_STOP: Final = 0x2E
_STEPS: Final[dict[int, Callable[[_Reading], None]]] = {
    ord("N"): lambda r: r._push(None),
    0x88: lambda r: r._push(True),
    0x89: lambda r: r._push(False),
    ord(")"): lambda r: r._tuple([]),
    ord("]"): lambda r: r._new([]),
    ord("}"): lambda r: r._new({}),
    0x8F: lambda r: r._new(set()),
    ord("("): _Reading._mark,
    ord("a"): lambda r: r._append([r._popped()]),
    ord("e"): lambda r: r._append(r._since_mark()),
    ord("s"): _Reading._setitem,
    ord("u"): lambda r: r._set_items(r._since_mark()),
    0x90: _Reading._add,
    0x91: _Reading._frozenset,
    ord("t"): lambda r: r._tuple(r._since_mark()),
    0x85: lambda r: r._tuple([r._popped()]),
    0x86: lambda r: r._tuple([r._popped(), r._popped()][::-1]),
    0x87: lambda r: r._tuple([r._popped(), r._popped(), r._popped()][::-1]),
    ord("0"): _Reading._discard,
    ord("1"): _Reading._discard_since_mark,
    0x94: _Reading._memoize,
    ord("h"): lambda r: r._get(1),
    ord("j"): lambda r: r._get(4),
    ord("K"): lambda r: r._number(1, signed=False),
    ord("M"): lambda r: r._number(2, signed=False),
    ord("J"): lambda r: r._number(4, signed=True),
    0x8A: lambda r: r._long(1),
    0x8B: lambda r: r._long(4),
    ord("G"): _Reading._float,
    0x8C: lambda r: r._text(1),
    ord("X"): lambda r: r._text(4),
    0x8D: lambda r: r._text(8),
    ord("C"): lambda r: r._data(1),
    ord("B"): lambda r: r._data(4),
    0x8E: lambda r: r._data(8),
    0x96: lambda r: r._data(8, bytearray),
    0x95: _Reading._frame,
    0x93: _Reading._global,
    ord("R"): _Reading._reduce,
}
"""By opcode."""
