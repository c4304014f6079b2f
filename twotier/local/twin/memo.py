"""Memo of the Python twin: maps a call's arguments to the call's key, and finds the key's value in the store."""

from collections.abc import Iterable
from datetime import date
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from twotier.local.twin.fast_get import ready

if TYPE_CHECKING:
    from twotier.local.twin.store import Store

_MISSING: Final = object()
_DISTINCT: Final = frozenset({int, type(None), date, UUID})
"""Types of arguments that are never equal to one of another type; so are str and bytes, where they aren't long."""
_LONGEST: Final = 1024


class Memo:
    """Base of a cached function: a local hit is one call; `_key` and `_load` of the subclass do the rest."""

    __slots__ = ("__awaited", "__direct", "__hits", "__limit", "__old", "__skipped", "__store", "__young")

    def __init__(
        self,
        store: "Store",
        *,
        skipped: Iterable[int] = (),
        limit: int = 16_384,
        awaited: bool = False,
        direct: bool = True,
    ) -> None:
        if type(limit) is not int or limit < 1:
            raise ValueError(f"limit must be an int >= 1, got {limit!r}")
        self.__store = store
        self.__skipped = frozenset(skipped)
        self.__limit = limit
        self.__awaited = awaited
        self.__direct = direct
        self.__young: dict[Any, str] = {}
        self.__old: dict[Any, str] = {}
        self.__hits = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the fresh local value of the call, or the result of `_load` without one."""
        key = self.__key_of(args, kwargs)
        value = self.__store.get(key, _MISSING) if self.__direct else _MISSING
        if value is _MISSING:
            return self._load(key, args, kwargs)
        self.__hits += 1
        return ready(value) if self.__awaited else value

    @property
    def local_hits(self) -> int:
        """Number of calls that this process's local tier has answered."""
        return self.__hits

    def _key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """Return the cache key of a call; subclasses override it."""
        raise NotImplementedError

    def _load(self, key: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Answer a call that the local tier couldn't; subclasses override it."""
        raise NotImplementedError

    def __key_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        call = _call_of([value for n, value in enumerate(args) if n not in self.__skipped], kwargs)
        if call is None:
            return self._key(args, kwargs)
        key = self.__young.get(call)
        if key is None:
            key = self.__old.get(call)
            if key is None:
                key = self._key(args, kwargs)
            if len(self.__young) >= self.__limit:
                self.__old, self.__young = self.__young, {}
            self.__young[call] = key
        return key


def _call_of(args: list[Any], kwargs: dict[str, Any]) -> tuple[Any, ...] | None:
    """Return a tuple that equals another call's only if both have one key; None if comparison can't show that."""
    arguments = [*args, *kwargs.values()]
    alike = False
    for argument in arguments:
        kind = type(argument)
        if kind is bool or kind is type or (kind is float and (argument < 0 or argument > 0)):
            alike = True
        elif kind not in _DISTINCT and not (kind in {str, bytes} and len(argument) <= _LONGEST):
            return None
    names = (tuple(kwargs),) if kwargs else ()
    return (*args, *names, *kwargs.values(), *(map(type, arguments) if alike else ()))
