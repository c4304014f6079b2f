"""Calling the caller's loader: its arguments, its duration, and the conversion of its result."""

import functools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from twotier.clock import NEVER
from twotier.core.access.ttl import after
from twotier.core.flow.drive import Flow
from twotier.core.flow.requests import Load
from twotier.core.flow.turns import Turns, parts
from twotier.core.loading.call_policy import CallPolicy
from twotier.core.loading.context import LoadContext, takes_context
from twotier.core.loading.single_flight import Flight, part_of
from twotier.core.namespace.namespace import Namespace
from twotier.core.tags.tag_index import checked_tags
from twotier.notfound import NOT_FOUND
from twotier.options import ttl_ns

Held = Callable[[str], Any]
"""Returns the value that the cache still has under a key, or MISSING."""


@dataclass(frozen=True, slots=True)
class LoaderResult:
    """The loaded or found value of a key, its encoding (empty: there is no value), its life and its tags."""

    value: Any
    payload: bytes
    ttl: int = 0
    """Life (ns) of the value, or of the absence; 0: it isn't kept."""
    tags: tuple[str, ...] = ()
    keeps_stale: bool = False
    """Whether the value is kept past its expiry even if the cache keeps no others."""


NOTHING = LoaderResult(NOT_FOUND, b"")
"""There is no value, and the absence isn't remembered."""


class LoaderCall:
    """A caller's loader, and the terms on which its results are kept."""

    __slots__ = ("_loader", "_namespace", "terms")

    def __init__(self, namespace: Namespace, loader: Callable[..., Any], terms: CallPolicy) -> None:
        self._namespace = namespace
        self._loader = loader
        self.terms = terms

    def load(self, flights: Sequence[Flight], keys: Sequence[str], held: Held) -> Flow[dict[str, LoaderResult]]:
        """Load keys, as part of the loads of `flights`; return the result of each key."""
        raise NotImplementedError


class SingleLoaderCall(LoaderCall):
    """A loader of one key, which takes no argument, or a LoadContext."""

    __slots__ = ("_informed",)

    def __init__(self, namespace: Namespace, loader: Callable[..., Any], terms: CallPolicy) -> None:
        self._informed = takes_context(loader)
        super().__init__(namespace, loader, replace(terms, may_add_tags=True) if self._informed else terms)

    def load(self, flights: Sequence[Flight], keys: Sequence[str], held: Held) -> Flow[dict[str, LoaderResult]]:
        """Call the loader."""
        (key,) = keys
        terms, call, context = self.terms, self._loader, None
        if self._informed:
            stale = held(key)
            context = LoadContext(key, stale, terms.ttl, terms.tags, self._namespace.tags.tags_of(key))
            call = functools.partial(self._loader, context)
        result, now, took = yield from _timed(self._namespace, flights, call)
        made = _made(self._namespace, result, terms, context)
        self._namespace.durations.note(key, took, after(now, made.ttl))
        return {key: made}


class BulkLoaderCall(LoaderCall):
    """A loader that takes a list of keys and returns a mapping; keys that it leaves out have no value."""

    __slots__ = ()

    def load(self, flights: Sequence[Flight], keys: Sequence[str], held: Held) -> Flow[dict[str, LoaderResult]]:  # noqa: ARG002 - it sees no context
        """Call the loader, once."""
        results, now, took = yield from _timed(self._namespace, flights, functools.partial(self._loader, list(keys)))
        if not isinstance(results, Mapping):
            raise TypeError(
                f"the loader of get_or_set_many must return a mapping of keys to values, got {type(results).__name__}"
            )
        turns, made = Turns(), {}
        for part in parts(keys):
            for key in part:
                made[key] = each = _made(self._namespace, results.get(key, NOT_FOUND), self.terms, None)
                self._namespace.durations.note(key, took, after(now, each.ttl))
            yield from turns.give(len(part))
        return made


def _timed(namespace: Namespace, flights: Sequence[Flight], call: Callable[[], Any]) -> Flow[tuple[Any, int, int]]:
    """Call a loader; return its result, the instant of its return, and its duration (ns)."""
    namespace.counters.loads += 1
    began = namespace.clock.now()
    try:
        result = yield Load(part_of(flights, call))
    except Exception:
        namespace.counters.load_errors += 1
        raise
    now = namespace.clock.now()
    return result, now, now - began


def _made(namespace: Namespace, result: Any, terms: CallPolicy, context: LoadContext | None) -> LoaderResult:
    policy, ttl, tags = terms.policy, terms.ttl, terms.tags
    if context is not None:
        result, ttl = context.settled(result)
        tags = tuple(dict.fromkeys((*tags, *checked_tags(context.tags))))
    if result is NOT_FOUND:
        return (
            NOTHING if policy.negative_ttl is None else LoaderResult(NOT_FOUND, b"", ttl_ns(policy.negative_ttl), tags)
        )
    if policy.load_jitter and ttl != NEVER:
        ttl -= int(ttl * policy.load_jitter * random.random())  # noqa: S311 - spreads load, guards nothing
    return LoaderResult(result, namespace.values.encode(result), ttl, tags, policy.keeps_stale)
