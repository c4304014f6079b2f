"""Reads from a replica while the primary is away: what the local tier doesn't have, given out as stale.

Nothing of it enters the local tier: a replica may lag, and no invalidation tells by how much. It is asked only for keys
that aren't in the journal, since what was written here meanwhile counts, and under the generation that it knows itself.
What it gives is what a failover to it would give. Who would load a key is given that, too, before the loader is asked.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from twotier.core.drive import Flow
from twotier.core.missing import MISSING
from twotier.errors import RemoteError
from twotier.remote.commands import Fetched, FetchMany
from twotier.remote.replicas import OnReplica, ReadGeneration

if TYPE_CHECKING:
    from twotier.core.namespace import TwoTierNamespace


class ReplicaFallback:
    """The fallback of one namespace."""

    def __init__(self, namespace: "TwoTierNamespace") -> None:
        self._namespace = namespace

    def get(self, key: str, reading: Flow[Any]) -> Flow[Any]:
        """Return what `reading` gives, or what a replica has where that is nothing because the primary is away."""
        errors = self._namespace.counters.remote_errors
        found = yield from reading
        if found is MISSING and self._is_away(errors) and not self._namespace.absences.holds(key):
            found = (yield from self._read([key])).get(key, MISSING)
        return found

    def fetch_many(self, keys: Sequence[str], found: dict[str, Any], reading: Flow[None]) -> Flow[None]:
        """Let `reading` add to `found` what there is of `keys`, and add what a replica has of the others."""
        errors = self._namespace.counters.remote_errors
        yield from reading
        missing = [key for key in keys if key not in found]
        if missing and self._is_away(errors):
            found |= yield from self._read(missing)

    def _is_away(self, errors: int) -> bool:
        """Tell whether the primary can't be asked, or couldn't just now: `errors` were counted before."""
        namespace = self._namespace
        if namespace.options.on_outage == "miss":
            return False
        return namespace.breaker.state != "closed" or namespace.counters.remote_errors > errors

    def _read(self, keys: list[str]) -> Flow[dict[str, Any]]:
        namespace = self._namespace
        counters = namespace.counters
        values: dict[str, Any] = {}
        wanted = [key for key in keys if key not in namespace.journal]
        if not wanted:
            return {}
        try:
            name: bytes | None = yield OnReplica(ReadGeneration(namespace.generations.keys[0]))
            if name is None:
                return {}
            places = namespace.generations.places_under(namespace.generations.prefix_of(name), wanted)
            replies: list[Fetched] = yield OnReplica(FetchMany(places))
        except RemoteError:
            return {}
        for key, place, fetched in zip(wanted, places, replies, strict=True):
            if fetched.data is None:
                continue
            loaded = namespace.values.load(place, fetched.data)
            if loaded is None:
                counters.corrupt += 1
                continue
            values[key] = loaded.value
            counters.misses -= 1  # it was counted as one
            counters.replica_reads += 1
            namespace.served_stale()
        return values
