"""Types of the user's that a restricted codec was told to take (`allow=`): enums by value, others by their own reduce.

Their classes are never named in a payload by themselves; a payload names one of three builders, which look the type up
in the codec's own list. What a type's own `__reduce__`, `__new__`, `__setstate__` does is its author's business.
"""

import copyreg
import enum
from collections.abc import Iterable
from typing import Any

from twotier.errors import SerializationError
from twotier.remote import rebuild
from twotier.remote.rebuild import Builder
from twotier.remote.reduce import Reduced

_NEWOBJ = copyreg.__newobj__  # type: ignore[attr-defined]
_NEWOBJ_EX = copyreg.__newobj_ex__  # type: ignore[attr-defined]
_PROTOCOL = 4


class AllowedTypes:
    """The allowed types of one codec: takes their values apart and puts them together."""

    def __init__(self, allow: Iterable[type]) -> None:
        self._kinds = {_name(kind): kind for kind in allow}

    def __contains__(self, kind: type) -> bool:
        return self._kinds.get(_name(kind)) is kind

    def builders(self) -> dict[str, Builder]:
        """Return the builders that stand in for those of `rebuild`."""
        made = (Builder("instance", self._instance), Builder("member", self._member), Builder("state", self._state))
        return {builder.name: builder for builder in made}

    def reduce(self, value: Any) -> Reduced:
        """Take `value` apart."""
        kind = type(value)
        name = _name(kind)
        if isinstance(value, enum.Enum):
            return rebuild.member, (name, value.value)
        reduced = value.__reduce_ex__(_PROTOCOL)
        if not isinstance(reduced, tuple) or len(reduced) > 5:  # noqa: PLR2004 - a setter of its own is code
            raise SerializationError(f"{kind.__qualname__} reduces to what can't be stored: {type(reduced).__name__}")
        make, arguments, *rest = reduced
        state, items, pairs = (*rest, None, None, None)[:3]
        if make is _NEWOBJ and arguments[0] is kind:
            how: tuple[Any, ...] = (tuple(arguments[1:]), None)
        elif make is _NEWOBJ_EX and arguments[0] is kind:
            how = (tuple(arguments[1]), dict(arguments[2]))
        elif make is kind:
            how = (tuple(arguments),)
        else:
            raise SerializationError(f"{kind.__qualname__} reduces to a call of {make!r}, which isn't allowed")
        return rebuild.instance, (name, *how), state, items, pairs, None if state is None else rebuild.state

    def _kind(self, name: object) -> Any:
        kind = self._kinds.get(name) if type(name) is str else None
        if kind is None:
            raise SerializationError("a payload holds a type that isn't allowed here")
        return kind

    def _instance(self, name: str, arguments: tuple[Any, ...], *new: dict[str, Any] | None) -> Any:
        kind = self._kind(name)
        if type(arguments) is not tuple or issubclass(kind, enum.Enum):
            raise SerializationError("a payload makes an instance in a way that isn't allowed")
        if not new:
            return kind(*arguments)
        return kind.__new__(kind, *arguments, **(new[0] or {}))

    def _member(self, name: str, value: Any) -> Any:
        kind = self._kind(name)
        if not issubclass(kind, enum.Enum):
            raise SerializationError("a payload takes a class for an enum")
        return kind(value)

    def _state(self, made: Any, state: Any) -> None:
        if type(made) not in self or isinstance(made, enum.Enum):
            raise SerializationError("a payload sets the state of what isn't its own")
        own = getattr(made, "__setstate__", None)
        if own is not None:
            own(state)
            return
        attributes, slots = state if type(state) is tuple else (state, None)
        for name, value in (attributes or {}).items():
            made.__dict__[name] = value
        for name, value in (slots or {}).items():
            object.__setattr__(made, name, value)


def _name(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"
