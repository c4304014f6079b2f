"""The argument of a loader that takes one: it informs the loader, and receives the result's ttl and tags."""

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
"""The result by which a loader keeps the stale value."""


class LoadContext:
    """A load under way, as its loader sees it: the key's earlier value, and the ttl and tags of the result.

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
    """Tags of the loaded value; the loader may add to them."""

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
        """The earlier value, which may be out of date; None if there is none."""
        return None if self._stale is MISSING else self._stale

    @property
    def ttl(self) -> float | None:
        """Life of the loaded value (s); None for no expiry. The loader may set it, to any ttl that `set` takes."""
        return None if self._ttl == NEVER else self._ttl / SECOND

    @ttl.setter
    def ttl(self, seconds: float | None) -> None:
        self._ttl = ttl_ns(seconds)

    def not_modified(self) -> Any:
        """Return the result for "the stale value is still valid": the value is kept, with its tags and the new ttl.

        Raises TwoTierError if there is no stale value.
        """
        if self._stale is MISSING:
            raise TwoTierError(f"not_modified() of {self.key!r}, and there is no earlier value; see has_stale")
        return NOT_MODIFIED

    def settled(self, result: Any) -> tuple[Any, int]:
        """Return the value that the loader's result means, and the value's ttl (ns)."""
        if result is not NOT_MODIFIED:
            return result, self._ttl
        self.tags |= self._kept
        return self._stale, self._ttl


def checked_loader(loader: Callable[..., Any]) -> Callable[..., Any]:
    """Return `loader`, or raise TypeError if it isn't callable."""
    if not callable(loader):
        raise TypeError(f"loader must be callable, got {type(loader).__name__}: {loader!r:.100}")
    return loader


def takes_context(loader: Callable[..., Any]) -> bool:
    """Return True if `loader` takes a positional argument; arguments with defaults don't count.

    Raises TypeError if `loader` takes more than one.

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
    except ValueError:  # a built-in without a signature
        return 0
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(each.kind in by_position and each.default is inspect.Parameter.empty for each in parameters)
