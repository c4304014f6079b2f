"""The defaults of `get_or_set` as loaders: values, functions and coroutine functions, whose errors stay unchanged."""

import contextlib
import functools
import inspect
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async

from twotier.errors import SerializationError


def loader_of(default: Any) -> Callable[..., Any]:
    """Return a loader for `get_or_set`: `default` itself if it is callable, else a function that returns it."""
    return default if callable(default) else lambda: default


def async_loader_of(default: Any) -> Callable[..., Any]:
    """Return a loader for `aget_or_set`: a plain function runs in Django's thread for synchronous calls."""
    if not callable(default) or iscoroutinefunction(default) or iscoroutinefunction(type(default).__call__):
        return loader_of(default)
    return sync_to_async(_without_stop(default))


def own_errors(loader: Callable[..., Any]) -> Callable[..., Any]:
    """Mark the errors of `loader` that could also be the cache's own."""

    @functools.wraps(loader)
    def load(*args: Any) -> Any:
        with _marking():
            result = loader(*args)
        return _awaited(result) if inspect.isawaitable(result) else result

    return load


def is_loaders(error: SerializationError) -> bool:
    """Return True if a loader has raised `error`."""
    return hasattr(error, _MARK)


_MARK = "_raised_by_a_loader"


@contextlib.contextmanager
def _marking() -> Iterator[None]:
    try:
        yield
    except SerializationError as error:
        setattr(error, _MARK, True)
        raise


async def _awaited(result: Awaitable[Any]) -> Any:
    with _marking():
        return await result


def _without_stop(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that raises no StopIteration: on Python 3.11, a task that waits for one waits for ever."""

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        try:
            return function(*args)
        except StopIteration as error:
            raise RuntimeError("coroutine raised StopIteration") from error  # as Python does

    return call
