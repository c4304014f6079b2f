"""Detect overridden methods of a backend: by a subclass, or set on the class or the backend itself.

Django's base class builds calls on others (`get_or_set` on `get` and `add`, each `a...` method on its synchronous
twin), and code that overrides `get`, to compress or to count, relies on that. So the cache answers a call in one step
of its own only while none of the methods on which Django would build that call is overridden. Each call checks this,
as instrumentation replaces methods of classes and backends in use.
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
    """Return True if the attribute `name` of `backend` isn't `method`, a function of one of its classes."""
    # Don't read the instance's __dict__: after the first access, CPython is slower at all attributes.
    return getattr(getattr(backend, name), "__func__", None) is not method


def own_methods(cls: C) -> C:
    """Record the methods of `cls`, the backend, as its own; a decorator."""
    _own.update({name: getattr(cls, name) for name in dir(BaseCache) if not name.startswith("_")})
    return cls
