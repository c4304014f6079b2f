"""Replica reads while the primary is away: values that the local tier doesn't have, returned as stale.

Such a value doesn't enter the local tier: a replica may lag, and no invalidation shows by how much. A
replica is read only for keys about which the primary gave no answer, and which aren't in the journal,
since writes made here meanwhile count; and under the replica's own generation, if that is acceptable.
The values are those that a failover to the replica would bring.

A caller that would load a key gets the replica's value, too, before the loader is called.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from twotier.core.flow.batch import run_batch
from twotier.core.flow.drive import Flow
from twotier.errors import RemoteError
from twotier.remote.commands.base import Fetch, Fetched, FetchMany
from twotier.remote.commands.replicas import ReadGeneration

if TYPE_CHECKING:
    from twotier.codec.values import Values
    from twotier.core.namespace.namespace import TwoTierNamespace


class ReplicaReads:
    """The replica reads of one namespace."""

    def __init__(self, namespace: "TwoTierNamespace") -> None:
        self._namespace = namespace

    def read(self, keys: Iterable[str]) -> Flow[dict[str, Any]]:
        """Return the values that replicas have of `keys`, which were counted as misses."""
        counters, values = self._namespace.counters, self._namespace.values
        found: dict[str, Any] = {}
        fetches = yield from self._fetched(keys)
        warranted = yield from self._warranted([place for _, place, each in fetches if _is_bare(values, each)])
        for key, place, fetched in fetches:
            if fetched.data is None:
                continue
            loaded = values.load(place, fetched.data, counted=place in warranted)
            if loaded is None:
                counters.corrupt += 1
                continue
            found[key] = loaded.value
            counters.misses -= 1
            counters.replica_reads += 1
            self._namespace.served_stale()
        return found

    def _warranted(self, places: list[bytes]) -> Flow[set[bytes]]:
        """Return the places whose raw numbers have a counter's warrant there."""
        names = self._namespace.generations.warrants(places)
        outcomes = yield from run_batch([Fetch(name) for name in names], replicas=True)
        is_warrant = self._namespace.values.is_warrant
        return {
            place
            for place, name, each in zip(places, names, outcomes, strict=True)
            if not isinstance(each, RemoteError) and is_warrant(name, each.data)
        }

    def _fetched(self, keys: Iterable[str]) -> Flow[list[tuple[str, bytes, Fetched]]]:
        """Return keys with their names on the server and the replies of replicas; each group fails separately."""
        generations, journal = self._namespace.generations, self._namespace.journal
        groups = generations.split(key for key in keys if key not in journal)
        reads = [ReadGeneration(generations.keys[group]) for group in groups]
        names = yield from run_batch(reads, replicas=True)
        asked = [
            (members, generations.places_under(generations.prefix_of(name), members))
            for (group, members), name in zip(groups.items(), names, strict=True)
            if isinstance(name, bytes) and generations.is_acceptable(group, name)
        ]
        outcomes = yield from run_batch([FetchMany(places) for _, places in asked], replicas=True)
        return [
            each
            for (members, places), outcome in zip(asked, outcomes, strict=True)
            if not isinstance(outcome, RemoteError)
            for each in zip(members, places, outcome, strict=True)
        ]


def _is_bare(values: "Values", fetched: Fetched) -> bool:
    return fetched.data is not None and values.is_bare_number(fetched.data)
