"""User types that the plain format accepts through `allow=`: enums by value, others by their own `__reduce_ex__`.

A payload names a type, and the codec looks up the name in its own list. The author of a type is responsible for the
effects of its `__reduce__`, `__new__` and `__setstate__`.
"""

import copyreg
import decimal
import enum
import fractions
from collections import deque
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from twotier.codec.type_tags import CALL, NEW, NEW_KEYWORDS
from twotier.errors import SerializationError

_NEWOBJ = copyreg.__newobj__  # type: ignore[attr-defined]
_NEWOBJ_EX = copyreg.__newobj_ex__  # type: ignore[attr-defined]
_PROTOCOL: Final = 4
_BOMBS: Final[dict[type, set[type]]] = {
    **{kind: {int, range} for kind in (bytes, bytearray)},
    **{kind: {range} for kind in (list, set, frozenset, deque)},
    fractions.Fraction: {str, decimal.Decimal},
}
"""Base classes, and argument types of which a few bytes can make an instance take gigabytes."""


class Reduced(NamedTuple):
    """The parts from which a value is rebuilt."""

    name: str
    """Of its type."""
    form: int | None
    """CALL, NEW, NEW_KEYWORDS; None for a member of an enum."""
    arguments: Any
    """A tuple; the value of a member."""
    keywords: dict[str, Any] | None = None
    state: Any = None
    items: Iterable[Any] | None = None
    """Items to append to it."""
    pairs: Iterable[tuple[Any, Any]] | None = None
    """Keys and values that are put into it."""


class AllowedTypes:
    """The allowed types of one codec: takes their values apart and puts them together."""

    def __init__(self, allow: Iterable[type] = ()) -> None:
        self._kinds = {_name(kind): kind for kind in allow}

    def __contains__(self, kind: type) -> bool:
        return self._kinds.get(_name(kind)) is kind

    def reduce(self, value: Any) -> Reduced:
        """Take `value` apart."""
        kind = type(value)
        name = _name(kind)
        if isinstance(value, enum.Enum):
            return Reduced(name, None, value.value)
        reduced = value.__reduce_ex__(_PROTOCOL)
        if not isinstance(reduced, tuple) or len(reduced) > 5:  # noqa: PLR2004 - a setter of its own is code
            raise SerializationError(f"{kind.__qualname__} reduces to what can't be stored: {type(reduced).__name__}")
        make, arguments, *rest = reduced
        state, items, pairs = (*rest, None, None, None)[:3]
        if make is _NEWOBJ and arguments[0] is kind:
            return Reduced(name, NEW, tuple(arguments[1:]), None, state, items, pairs)
        if make is _NEWOBJ_EX and arguments[0] is kind:
            return Reduced(name, NEW_KEYWORDS, tuple(arguments[1]), dict(arguments[2]), state, items, pairs)
        if make is kind:
            return Reduced(name, CALL, tuple(arguments), None, state, items, pairs)
        raise SerializationError(f"{kind.__qualname__} reduces to a call of {make!r}, which isn't allowed")

    def member(self, name: str, value: Any) -> Any:
        """Return the member of an enum that has `value`."""
        kind = self._kind(name)
        if not issubclass(kind, enum.Enum):
            raise SerializationError("the payload names a class that isn't an enum")
        return kind(value)

    def make(self, name: str, form: int, arguments: tuple[Any, ...], keywords: dict[str, Any] | None) -> Any:
        """Make an instance of an allowed type."""
        kind = self._kind(name)
        if issubclass(kind, enum.Enum):
            raise SerializationError("the payload builds a new member of an enum")
        if any(issubclass(kind, base) and kinds & set(map(type, arguments)) for base, kinds in _BOMBS.items()):
            raise SerializationError("the payload builds an instance whose size its bytes don't bound")
        return kind(*arguments) if form == CALL else kind.__new__(kind, *arguments, **(keywords or {}))

    def extend(self, made: Any, items: list[Any]) -> None:
        """Append `items` to an instance, as pickle does."""
        extend = getattr(made, "extend", None)
        if extend is not None:
            extend(items)
            return
        for item in items:
            made.append(item)

    def set_state(self, made: Any, state: Any) -> None:
        """Give an instance its state."""
        if type(made) not in self or isinstance(made, enum.Enum):
            raise SerializationError("the payload sets the state of a value of another type")
        own = getattr(made, "__setstate__", None)
        if own is not None:
            own(state)
            return
        attributes, slots = state if type(state) is tuple else (state, None)
        for name, value in (attributes or {}).items():
            made.__dict__[name] = value
        for name, value in (slots or {}).items():
            object.__setattr__(made, name, value)

    def _kind(self, name: str) -> Any:
        kind = self._kinds.get(name)
        if kind is None:
            raise SerializationError("the payload holds a type that isn't allowed here")
        return kind


def _name(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"
