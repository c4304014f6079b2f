"""`get_or_set` in this process: of the callers that miss a key, one loads it, the others get copies of the result."""

from collections.abc import Callable
from typing import Any

from twotier.core.commands import Wait
from twotier.core.drive import Flow
from twotier.core.leases import TwoTier
from twotier.core.loadgate import inside_loader
from twotier.core.local_only import LocalOnly
from twotier.core.missing import MISSING
from twotier.core.namespace import Namespace


def get_or_set(
    tiers: TwoTier | LocalOnly, namespace: Namespace, key: str, loader: Callable[[], Any], ttl: int
) -> Flow[Any]:
    """Return the value under `key`, which the local tier missed; without one, load it and store it for `ttl`."""
    found = yield from tiers.get(key, keep=True)
    if found is not MISSING:
        return found
    flight, leads = namespace.flights.join(key, namespace.store.token(key))
    if not leads:
        payload: bytes = yield Wait(flight.future)
        return namespace.values.decode(payload)
    try:
        # The flight that we missed may have landed between our look and our taking the lead.
        value = namespace.store.get(key, MISSING)
        if value is not MISSING:
            payload = namespace.values.encode(value)
        else:
            value, payload = yield from _gated(tiers, namespace, key, loader, ttl, wait=not flight.circular)
    except BaseException as error:
        namespace.counters.load_errors += 1
        namespace.flights.land(key, flight, error=error)
        raise
    # Followers each decode a value of their own.
    namespace.flights.land(key, flight, payload)
    return value


def _gated(
    tiers: TwoTier | LocalOnly, namespace: Namespace, key: str, loader: Callable[[], Any], ttl: int, *, wait: bool
) -> Flow[tuple[Any, bytes]]:
    """Load when the cap on loads allows it; a caller who would have to queue gets the stale copy, if there is one."""
    if inside_loader():
        return (yield from tiers.load(key, loader, ttl, wait=wait))
    gate = namespace.load_gate
    turn = gate.enter()
    try:
        if turn is not None:
            spare = tiers.spare(key)
            if spare is not MISSING:
                return spare, namespace.values.encode(spare)
            yield Wait(turn)
        return (yield from tiers.load(key, loader, ttl, wait=wait))
    finally:
        gate.leave(turn)
