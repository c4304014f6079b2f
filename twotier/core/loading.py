"""Loading: `get_or_set` as a flow, one loader call a key at a time in this process.

The fill token is taken before the loader runs. If a write or an invalidation of the key comes in while it runs, the
token falls, and the loaded value is returned to those who waited for it but reaches neither tier.
"""

from collections.abc import Callable
from typing import Any

from twotier.core.commands import Load, Wait
from twotier.core.drive import Flow
from twotier.core.local_only import LocalOnly
from twotier.core.namespace import MISSING, Namespace
from twotier.core.writes import TwoTier


def get_or_set(
    tiers: TwoTier | LocalOnly, namespace: Namespace, key: str, loader: Callable[[], Any], ttl: int
) -> Flow[Any]:
    """Return the value under `key`, which the local tier missed; without one, load it and store it for `ttl`."""
    found = yield from tiers.get(key)
    if found is not MISSING:
        return found
    token = namespace.store.token(key)
    flight, leads = namespace.flights.join(key, token)
    if not leads:
        payload: bytes = yield Wait(flight.future)
        return namespace.values.decode(payload)
    try:
        # The flight that we missed may have landed between our look and our taking the lead.
        found = namespace.store.get(key, MISSING)
        if found is not MISSING:
            namespace.flights.land(key, flight, namespace.values.encode(found))
            return found
        namespace.counters.loads += 1
        value = yield Load(loader)
        # Followers each decode a value of their own; what the codec can't take is refused to all alike.
        payload = namespace.values.encode(value)
        if namespace.store.token(key) == token:
            yield from tiers.set(key, value, ttl, loaded=True)
    except BaseException as error:
        namespace.counters.load_errors += 1
        namespace.flights.land(key, flight, error=error)
        raise
    namespace.flights.land(key, flight, payload)
    return value
