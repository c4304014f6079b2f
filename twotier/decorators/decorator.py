"""`cached(...)` of a cache makes the callable, after every check that is possible before the first call."""

import inspect
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from types import CodeType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload
from weakref import WeakKeyDictionary, ref

from twotier.decorators.arguments import name_of, parameters_of
from twotier.decorators.cached import Keeping
from twotier.decorators.caches import AnyCache
from twotier.decorators.collisions import warn_of_collision
from twotier.decorators.coroutines import CachedCoroutine
from twotier.decorators.functions import CachedFunction
from twotier.decorators.keys import Writer, by_arguments, by_template
from twotier.decorators.tagging import by_templates, own_tag
from twotier.load_policy import LoadPolicyDict
from twotier.options import DEFAULT_TTL, Ttl, ttl_ns

if TYPE_CHECKING:
    from twotier.local import Store

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Asked:
    """The arguments of `cached`, checked."""

    ttl: Ttl
    key: str | None
    tags: Iterable[str]
    ignore: Iterable[str]
    clearable: bool
    policy: LoadPolicyDict

    def __post_init__(self) -> None:
        """Check the arguments, as far as possible without the function."""
        if callable(self.ttl):
            raise TypeError(f"cached takes options, not the function itself: write @cache.cached() over {self.ttl!r}")
        if self.ttl is not DEFAULT_TTL:
            ttl_ns(self.ttl)
        for name in ("tags", "ignore"):
            given = getattr(self, name)
            if isinstance(given, str):
                raise TypeError(f"{name} must be several str, as ({given!r},), got one: {given!r}")
            if not isinstance(given, Iterable):
                raise TypeError(f"{name} must be an iterable of str, got {type(given).__name__}: {given!r:.100}")
            object.__setattr__(self, name, tuple(given))  # may be iterated over again


class Decorator:
    """The decorator that `Cache.cached(...)` returns."""

    __slots__ = ("_asked", "_cache", "_direct", "_store")

    def __init__(self, cache: AnyCache, store: "Store", asked: Asked, *, direct: bool) -> None:
        self._cache = cache
        self._store = store
        self._asked = asked
        self._direct = direct

    @overload
    def __call__(  # type: ignore[overload-overlap]  # coroutine functions are functions
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> CachedCoroutine[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> CachedFunction[P, R]: ...
    def __call__(self, function: Any, /) -> Any:
        """Return `function` with its results kept in the cache; TypeError or ValueError if it can't be cached."""
        if isinstance(function, staticmethod):
            return staticmethod(self(function.__func__))
        if isinstance(function, classmethod):
            return CachedClassmethod(self(function.__func__))
        _check_kind(function)
        return self._made(function, self._keeping(function))

    def _made(self, function: Any, keeping: Keeping) -> Any:
        cache: Any = self._cache
        if inspect.iscoroutinefunction(function):
            return CachedCoroutine(function, keeping, cache.aio, self._store)
        return CachedFunction(function, keeping, cache, self._store)

    def _keeping(self, function: Any) -> Keeping:
        asked = self._asked
        if asked.key is None:
            _claim_name(self._cache, function)
            write_key = by_arguments(function, asked.ignore)
        else:
            write_key = by_template(function, asked.key, "key", asked.ignore)
            self._warn_of_one_key(function, write_key)
            warn_of_collision(self._cache, function, asked.key, stacklevel=3)
        own = own_tag(name_of(function) if asked.key is None else asked.key) if asked.clearable else None
        tags = by_templates(function, asked.tags, own)
        return Keeping(name_of(function), write_key, tags, own, asked.ttl, asked.policy, self._direct)

    def _warn_of_one_key(self, function: Any, write_key: Writer) -> None:
        """Warn if the key uses no argument of the function, unless `ignore` names all of them."""
        counted = list(parameters_of(function))
        if counted[:1] in (["self"], ["cls"]):
            del counted[0]
        uncounted = [name for name in counted if name not in self._asked.ignore]
        if write_key.constant is not None and uncounted:
            warnings.warn(
                f"{name_of(function)} is cached under the one key {write_key.constant!r}, whatever its arguments: name "
                f"those that count in the template, as {{{uncounted[0]}}}, or say that none does, "
                f"ignore={tuple(counted)!r}",
                stacklevel=4,
            )


class AsyncDecorator(Decorator):
    """The decorator for coroutine functions that `AsyncCache.cached(...)` returns."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __call__(  # type: ignore[override]  # takes less
            self, function: Callable[P, Awaitable[R]], /
        ) -> CachedCoroutine[P, R]:
            """Return `function` with its results kept in the cache."""

    def _made(self, function: Any, keeping: Keeping) -> Any:
        cache: Any = self._cache
        return CachedCoroutine(function, keeping, cache, self._store)


class CachedClassmethod(classmethod):  # type: ignore[type-arg]  # its maker knows the type of its function
    """A classmethod that binds as its cached function does; a plain classmethod doesn't from Python 3.13 on."""

    def __get__(self, instance: object, owner: type[Any] | None = None) -> Any:
        """Bind the class."""
        return cast("CachedFunction[..., Any]", self.__func__).__get__(type(instance) if owner is None else owner)


def _check_kind(function: Any) -> None:
    """Raise TypeError, with the reason, if `function` can't be cached."""
    if isinstance(function, property):
        raise TypeError("cached takes a function, got a property: write @property above @cache.cached(...)")
    if isinstance(function, type) or not callable(function):
        raise TypeError(f"cached takes a function, got {function!r}")
    for is_kind, kind, instead in (
        (inspect.isasyncgenfunction, "an async generator", "await and collect what it yields, and return a list"),
        (inspect.isgeneratorfunction, "a generator", "return a list or a tuple of what it yields"),
    ):
        if is_kind(inspect.unwrap(function)) or is_kind(function):
            raise TypeError(f"{name_of(function)} is {kind} function: what it returns can be used up once; {instead}")


_claimed: WeakKeyDictionary[AnyCache, dict[str, tuple[ref[Any], CodeType]]] = WeakKeyDictionary()
"""Per cache: the function behind each name that several functions may share."""


def _claim_name(cache: AnyCache, function: Callable[..., Any]) -> None:
    """Raise TypeError if keys made of this function's name and arguments could belong to another function, too.

    Functions made in functions, and lambdas, share their names; each closure may return a different result for the
    same arguments.
    """
    inner: Any = inspect.unwrap(function)
    code = getattr(inner, "__code__", None)
    name = name_of(function)
    if not isinstance(code, CodeType):
        raise TypeError(f"{function!r} has no name to make keys of: give it a template, key=...")
    if "<" not in name:
        return
    claimed = _claimed.setdefault(cache, {})
    known, known_code = claimed.setdefault(name, (ref(inner), code))
    closes_over = set(code.co_freevars) - {"__class__"}
    if known() is not inner and (closes_over or known_code is not code):
        raise TypeError(
            f"another function named {name} is cached already, and keys made of name and arguments would be the same "
            "for both: give each a template, key=..."
        )
