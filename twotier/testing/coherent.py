"""The check that caches agree with the server once no writes are under way (invariant I2 of the design)."""

import time
from collections.abc import Iterable
from typing import Any

from twotier.cache import Cache
from twotier.core.access.missing import MISSING
from twotier.core.namespace.namespace import TwoTierNamespace
from twotier.errors import RemoteError
from twotier.opid import op_tag
from twotier.remote.commands.base import Fetch
from twotier.remote.commands.replicas import ReadGeneration

_POLL = 0.005


def assert_coherent(*caches: Cache, keys: Iterable[str] | None = None, patience: float = 10.0) -> None:
    """Wait until `caches` have recovered and received all messages, then compare their fresh entries with the server.

    `keys`: those to check, by default all that a cache holds. Nobody may be writing meanwhile. `patience`: seconds
    for the caches to become live, with a closed breaker, an empty journal, and a proof newer than this call.

    Raises an AssertionError that names the keys, or the event that a cache is still waiting for.

    >>> from twotier.testing import EmbeddedServer
    >>> with EmbeddedServer() as server, Cache(server.url) as cache:
    ...     cache.set("key", 1)
    ...     assert_coherent(cache)
    """
    began = time.monotonic()
    for cache in caches:
        namespace = cache._namespace  # noqa: SLF001 - the check reads private state
        if not isinstance(namespace, TwoTierNamespace):
            continue
        namespace.ensure_listening()
        _settle(cache, began, began + patience)
        namespace.store.validate()
        wrong = {}
        for key in list(namespace.store.keys() if keys is None else keys):
            if (found := _disagreement(namespace, key)) is not None:
                wrong[key] = found
        assert not wrong, f"{cache!r} disagrees with its server: {wrong}"  # noqa: S101 - the purpose of this function


def _settle(cache: Cache, began: float, deadline: float) -> None:
    """Wait until the link is proven, the breaker closed and the journal empty."""
    while True:
        health = cache.health()
        proven = health.link == "none" or (health.link == "live" and health.staleness < time.monotonic() - began)
        if proven and health.breaker == "closed" and not health.journal:
            return
        assert time.monotonic() < deadline, f"{cache!r} has not recovered: {health}"  # noqa: S101 - a check
        time.sleep(_POLL)


def _disagreement(namespace: TwoTierNamespace, key: str) -> str | None:
    """Return how the fresh local entry of `key` differs from the server's, None where it doesn't, or there is none."""
    store = namespace.store
    local: Any = store.get(key, MISSING)
    if local is MISSING:
        return None
    tag = store.op(key)
    try:
        generations = namespace.generations
        name = namespace.executor.run(ReadGeneration(generations.keys[generations.group_of(key)]))
        (place,) = generations.places_under(generations.prefix_of(name or b"none"), (key,))
        data = namespace.executor.run(Fetch(place)).data
    except RemoteError as error:
        return f"the server can't be asked: {error}"
    loaded = None if data is None else namespace.values.load(place, data, counted=True)
    if loaded is not None and (op_tag(loaded.op_id) == tag or loaded.value == local):
        return None
    if store.get(key, MISSING) is MISSING:  # it expired meanwhile
        return None
    return f"{local!r} here, {'nothing' if loaded is None else repr(loaded.value)} there"
