"""What a loader is told when it takes an argument, and what it may say beside its result."""

import functools
import inspect
import types
from collections.abc import Callable, Iterable
from typing import Any, Final

from twotier.clock import NEVER, SECOND
from twotier.core.access.missing import MISSING
from twotier.core.tags.tag_index import ANY_TAG
from twotier.errors import TwoTierError
from twotier.options import ttl_ns

NOT_MODIFIED: Final = object()
"""What a loader returns for "keep the stale value"."""


class LoadContext:
    """A load under way, as its loader sees it: what the cache had, and how long what is loaded is to live.

    >>> from twotier import Cache
    >>> def load(context):
    ...     context.ttl = 60
    ...     return f"{context.key}, {'again' if context.has_stale else 'for the first time'}"
    >>> with Cache() as cache:
    ...     cache.get_or_set("page", load), cache.refresh("page", load)
    ('page, for the first time', 'page, again')
    """

    __slots__ = ("_kept", "_stale", "_ttl", "key", "tags")

    key: str
    """The key that is loaded."""
    tags: set[str]
    """Tags of what is loaded; the loader may add to them."""

    def __init__(self, key: str, stale: Any, ttl: int, tags: Iterable[str], kept: Iterable[str] = ()) -> None:
        self.key = key
        self._stale = stale
        self._ttl = ttl
        self.tags = set(tags)
        self._kept = set(kept) - {ANY_TAG}
        """Tags of the earlier value."""

    @property
    def has_stale(self) -> bool:
        """Whether the cache still has an earlier value of the key."""
        return self._stale is not MISSING

    @property
    def stale(self) -> Any:
        """The earlier value, which may be out of date; None without one."""
        return None if self._stale is MISSING else self._stale

    @property
    def ttl(self) -> float | None:
        """Life of what is loaded (s); None for no expiry. May be set, to any ttl that `set` takes."""
        return None if self._ttl == NEVER else self._ttl / SECOND

    @ttl.setter
    def ttl(self, seconds: float | None) -> None:
        self._ttl = ttl_ns(seconds)

    def not_modified(self) -> Any:
        """Return what a loader returns for "the stale value still holds": it is kept, with its tags and the new ttl.

        Raises TwoTierError where there is no stale value.
        """
        if self._stale is MISSING:
            raise TwoTierError(f"not_modified() of {self.key!r}, and there is no earlier value; see has_stale")
        return NOT_MODIFIED

    def settled(self, result: Any) -> tuple[Any, int]:
        """Return the value that the loader's result stands for, and its ttl (ns)."""
        if result is not NOT_MODIFIED:
            return result, self._ttl
        self.tags |= self._kept
        return self._stale, self._ttl


def checked_loader(loader: Callable[..., Any]) -> Callable[..., Any]:
    """Return `loader`, or raise TypeError where it can't be called."""
    if not callable(loader):
        raise TypeError(f"loader must be callable, got {type(loader).__name__}: {loader!r:.100}")
    return loader


def takes_context(loader: Callable[..., Any]) -> bool:
    """Return True if `loader` takes an argument: one that must be given by position; those with defaults don't count.

    Raises TypeError where it takes more than one.

    >>> takes_context(lambda: 1), takes_context(lambda context: 1), takes_context(lambda key="k": 1)
    (False, True, False)
    """
    if hasattr(loader, "__wrapped__"):
        count = _required(loader)
    elif type(loader) is types.FunctionType:
        count = loader.__code__.co_argcount - len(loader.__defaults__ or ())
    elif type(loader) is types.MethodType and type(loader.__func__) is types.FunctionType:
        function = loader.__func__
        count = function.__code__.co_argcount - len(function.__defaults__ or ()) - 1
    else:
        count = _required(loader)
    if count > 1:
        raise TypeError(f"loader must take no argument, or one (a LoadContext); {loader!r} takes {count}")
    return count == 1


def _required(loader: Callable[..., Any]) -> int:
    try:
        return _signed(loader)
    except TypeError:  # can't be hashed
        return _signed.__wrapped__(loader)


@functools.lru_cache(maxsize=256)
def _signed(loader: Callable[..., Any]) -> int:
    try:
        parameters = inspect.signature(loader).parameters.values()
    except ValueError:  # a built-in that doesn't tell
        return 0
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(each.kind in by_position and each.default is inspect.Parameter.empty for each in parameters)
