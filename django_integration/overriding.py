"""Which methods of a backend are another's: a subclass's, or set on the class or the backend itself.

Django's base class builds calls of others (`get_or_set` of `get` and `add`, each `a...` method of its synchronous
twin), and who overrides `get`, to compress or to count, counts on that. So a call that the cache answers in one step
of its own does so only while nothing that Django would build it of is overridden. That is looked at in each call, as
instrumentation replaces methods of classes and backends in use.
"""

from typing import Any, TypeVar

from django.core.cache.backends.base import BaseCache

C = TypeVar("C", bound=type[BaseCache])

_own: dict[str, Any] = {}
"""The backend's own methods by name."""


class Overriding(BaseCache):
    """Base of the backend."""

    def overrides(self, *methods: str) -> bool:
        """Return True if one of `methods` isn't the backend's own."""
        return any(is_replaced(self, name, _own[name]) for name in methods)


def is_replaced(backend: BaseCache, name: str, method: Any) -> bool:
    """Return True if what `backend` calls by `name` isn't `method`, a function of one of its classes."""
    # Not by the instance's __dict__: once somebody has asked for that, CPython is slower at all attributes.
    return getattr(getattr(backend, name), "__func__", None) is not method


def own_methods(cls: C) -> C:
    """Take the methods of `cls`, the backend, for its own; a decorator."""
    _own.update({name: getattr(cls, name) for name in dir(BaseCache) if not name.startswith("_")})
    return cls
