"""The callables that `cache.cached(...)` makes: functions whose results are kept in the cache.

A local hit is one call of their compiled base class `Memo`, which remembers the keys of earlier calls and reads the
local tier itself. Any other call is a `get_or_set` whose loader runs the function with the call's arguments
(`functions.py`, `coroutines.py`). Section 6 of docs/design.md describes the decorator.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate, Generic, NamedTuple, ParamSpec, Self, TypeVar

from twotier.decorators.keys import Writer
from twotier.decorators.tagging import Tags
from twotier.errors import TwoTierError
from twotier.load_policy import LoadPolicyDict
from twotier.local import Memo
from twotier.options import Ttl

if TYPE_CHECKING:
    from twotier.local import Store

P = ParamSpec("P")
R = TypeVar("R")

MOST_CALLS = 65_536
"""Calls whose keys a function remembers, if its cache holds so many; at most twice as many are in memory."""


class CacheInfo(NamedTuple):
    """Counts of a function's calls in this process, by outcome."""

    hits: int
    """Calls answered from the cache, by whichever tier, or by another caller's run of the function."""
    misses: int
    """Runs of the function."""
    local_hits: int
    """Hits of the local tier."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """How a function's results are kept."""

    name: str
    """The function's name in messages."""
    write_key: Writer
    """Writes the key of a call."""
    tags: Tags
    """Returns the tags of a call."""
    own_tag: str | None
    """The tag that all results carry and `cache_clear` expires; None if the function can't be cleared."""
    ttl: Ttl
    policy: LoadPolicyDict
    direct: bool
    """Whether a local hit may be answered without the loading flows, which draw chances for early refreshes."""

    def terms(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the keyword arguments of the load of a call."""
        return {"ttl": self.ttl, "tags": self.tags(args, kwargs), **self.policy}

    def tag_to_clear(self) -> str:
        """Return the tag of all results; TwoTierError if they have none."""
        if self.own_tag is None:
            raise TwoTierError(f"{self.name} was cached with clearable=False: its results have no tag to clear them by")
        return self.own_tag


class Cached(Memo, Generic[P, R]):
    """A function whose results are cached; R is the type of a call's result."""

    __slots__ = ("__dict__", "__weakref__", "_function", "_hits", "_keeping", "_misses", "_write_key")

    if TYPE_CHECKING:  # set by functools.update_wrapper
        __wrapped__: Callable[P, R]
        __name__: str
        __qualname__: str

    def __init__(self, function: Callable[P, R], keeping: Keeping, store: "Store", *, awaited: bool) -> None:
        limit = min(store.maxsize, MOST_CALLS)
        super().__init__(store, skipped=keeping.write_key.skipped, limit=limit, awaited=awaited, direct=keeping.direct)
        functools.update_wrapper(self, function)
        self.__dict__["__call__"] = _call(self, function)
        self._function = function
        self._keeping = keeping
        self._write_key = keeping.write_key
        self._hits = self._misses = 0

    if TYPE_CHECKING:

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
            """Return the cached result of the call, or run the function."""

    def key_for(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Return the cache key of a call with these arguments; TypeError if one that counts has no stable text."""
        return self._write_key(args, kwargs)

    def cache_info(self) -> CacheInfo:
        """Return the counts of this function's calls in this process."""
        local = self.local_hits
        return CacheInfo(local + self._hits, self._misses, local)

    def _loader(self, args: tuple[Any, ...], kwargs: dict[str, Any], runs: list[None]) -> Callable[[], R]:
        """Return a loader that runs the function with a call's arguments and appends to `runs`."""

        def load() -> R:
            runs.append(None)
            self._misses += 1
            return self._function(*args, **kwargs)

        return load

    def _key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        return self._write_key(args, kwargs)

    def __repr__(self) -> str:
        return f"<cached {self._keeping.name}>"

    def __reduce__(self) -> str:
        return self.__qualname__

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


def _call(cached: Callable[P, R], function: Callable[P, R]) -> Callable[P, R]:
    """Return a plain function for code that reads `cached.__call__` by name, as Celery does.

    Ordinary calls bypass this function. A compiled type's own `__call__` has neither module nor signature.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return cached(*args, **kwargs)

    return call


class Bound(Generic[P, R]):
    """A cached method of one object (or class), which `invalidate` and the others pass as first argument, too."""

    __slots__ = ("__func__", "__self__")

    def __init__(self, cached: Cached[Concatenate[Any, P], R], instance: object) -> None:
        self.__func__: Any = cached  # typed by our own parameters
        self.__self__ = instance

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the cached result of the call, or run the method."""
        return self.__func__(self.__self__, *args, **kwargs)  # type: ignore[no-any-return]

    @property
    def __wrapped__(self) -> Callable[P, R]:
        """The undecorated method, bound."""
        return self.__func__.__wrapped__.__get__(self.__self__)  # type: ignore[no-any-return]

    def key_for(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Return the cache key of a call with these arguments."""
        return self.__func__.key_for(self.__self__, *args, **kwargs)  # type: ignore[no-any-return]

    def cache_info(self) -> CacheInfo:
        """Return the counts of this method's calls in this process, for all objects together."""
        return self.__func__.cache_info()  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__func__, name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Bound):
            return NotImplemented
        return self.__func__ is other.__func__ and self.__self__ is other.__self__

    def __hash__(self) -> int:
        return hash((id(self.__func__), id(self.__self__)))

    def __repr__(self) -> str:
        return f"<{self.__func__!r} of {self.__self__!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self.__self__, self.__func__.__name__)
