"""`get_or_set` in this process: of the callers that miss a key, one loads it, the others get copies of the result."""

from collections.abc import Callable
from typing import Any

from twotier.core.blocking import holds_up_a_loop
from twotier.core.commands import Wait
from twotier.core.drive import Flow
from twotier.core.leases import TwoTier
from twotier.core.local_only import LocalOnly
from twotier.core.missing import MISSING
from twotier.core.namespace import Namespace
from twotier.core.singleflight import ABANDONED, Flight, inside_loader, part_of


def get_or_set(
    tiers: TwoTier | LocalOnly, namespace: Namespace, key: str, loader: Callable[[], Any], ttl: int
) -> Flow[Any]:
    """Return the value under `key`, which the local tier missed; without one, load it and store it for `ttl`."""
    found = yield from tiers.get(key, keep=True)
    if found is not MISSING:
        return found
    while True:
        flight, leads = namespace.flights.join(key, namespace.store.token(key))
        if leads:
            return (yield from _lead(tiers, namespace, flight, loader, ttl))
        payload = yield Wait(flight.future)
        if payload is not ABANDONED:
            return namespace.values.decode(payload)


def _lead(
    tiers: TwoTier | LocalOnly, namespace: Namespace, flight: Flight, loader: Callable[[], Any], ttl: int
) -> Flow[Any]:
    """Load for oneself and for those who follow `flight`."""
    key, flights = flight.key, namespace.flights
    try:
        # The flight that we missed may have landed between our look and our taking the lead.
        value = namespace.store.get(key, MISSING)
        if value is not MISSING:
            payload = namespace.values.encode(value)
        else:
            value, payload = yield from _gated(tiers, namespace, flight, loader, ttl)
    except Exception as error:
        namespace.counters.load_errors += 1
        flights.land(flight, error=error)
        raise
    except BaseException:
        flights.abandon(flight)  # it is we who are stopped, not they
        raise
    # Followers each decode a value of their own.
    flights.land(flight, payload)
    return value


def _gated(
    tiers: TwoTier | LocalOnly, namespace: Namespace, flight: Flight, loader: Callable[[], Any], ttl: int
) -> Flow[tuple[Any, bytes]]:
    """Load when the cap on loads allows it; a caller who would have to queue gets the stale copy, if there is one."""
    key, wait, gate = flight.key, not flight.circular, namespace.load_gate
    loader = part_of((flight,), loader)
    if inside_loader() or holds_up_a_loop():
        return (yield from tiers.load(key, loader, ttl, wait=wait))
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
