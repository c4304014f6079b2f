"""Appending on one server: one transaction writes the value to the cache and the entry to the stream.

Like every write, it checks the generation: a write made under an old generation is repeated under
the current one, and appends its entry again. The repetition is harmless: the stream holds the
writes of a key in the order in which the cache took them, the last of both is the same, and the
source is written at least once.

Loads read a source that lags behind the cache. A write therefore takes the load lock of its key for
the longest life of a load lock, and loads that miss the key wait for the source meanwhile. A write
also leaves a write marker (`remote/commands/write_markers.py`), by which the drainer finds the
values to remove once the source has the write.

A write with an unknown outcome isn't journaled: either both the cache and the stream have it, or
neither has.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from twotier.core.access.failed_writes import note_failed_write
from twotier.core.access.ttl import milliseconds
from twotier.core.access.writes import Writes
from twotier.core.flow.drive import Flow
from twotier.core.outage.journal import Doubt
from twotier.core.write_behind.entries import Entries, markers_on
from twotier.core.write_behind.high_water import Origin
from twotier.core.write_behind.numbers import Numbers
from twotier.errors import RemoteError, RemoteTimeout, RemoteUnavailable
from twotier.opid import NO_OP, op_tag
from twotier.remote.commands.streams import Append, Appended

MARK_MS: Final = 24 * 3600 * 1000
"""Life of a write marker: longer than any lag that goes unnoticed."""


@dataclass(frozen=True, slots=True)
class WriteBatch:
    """The writes of one call to one stream: `items` are (key, value, payload), the payload None for a removal."""

    stream: Entries
    numbers: Numbers
    op_id: bytes
    items: list[tuple[str, Any, bytes | None]]
    ttl: int = 0
    """Life in the cache (ns); at 0, the cache has none of the keys afterwards."""
    tags: tuple[str, ...] = ()

    @property
    def keys(self) -> list[str]:
        """The keys that the batch writes."""
        return [key for key, _, _ in self.items]

    def fields(self, origins: list[Origin]) -> list[list[bytes]]:
        """Return the fields of the entries; each attempt to append them has new `origins`."""
        stream, op_id = self.stream, self.op_id
        return [
            stream.remove(key, op_id, origin) if payload is None else stream.put(key, op_id, origin, payload)
            for (key, _, payload), origin in zip(self.items, origins, strict=True)
        ]

    @property
    def payloads(self) -> Mapping[str, bytes]:
        """The payloads to store in the cache."""
        return {key: payload for key, _, payload in self.items if payload is not None} if self.ttl else {}


class ServerAppend(Writes):
    """Writes that append the entry and store the value in one transaction."""

    def write(self, batch: WriteBatch) -> Flow[Appended]:
        """Write a batch."""
        namespace = self._namespace
        payloads = batch.payloads
        if not payloads:
            appended, _ = yield from self._append(batch, payloads)
            namespace.store.apply(batch.keys, op_tag(batch.op_id))
            return appended
        now = namespace.clock.now()
        with namespace.tags.holding(batch.keys, batch.tags) as hold:
            appended, tokens = yield from self._append(batch, payloads)
            for (key, value, _), token in zip(batch.items, tokens, strict=True):
                self._install(key, value, payloads[key], token, batch.op_id, batch.ttl, now)
            hold.written()
        return appended

    def _append(self, batch: WriteBatch, payloads: Mapping[str, bytes]) -> Flow[tuple[Appended, list[int]]]:
        """Append entries for the keys; put the keys that have a payload, and remove the others.

        Returns the server's reply, and the fill tokens taken from the local tier.
        """
        namespace, names, op_id = self._namespace, batch.stream, batch.op_id
        keys = batch.keys
        origins: list[Origin] = []
        namespace.breaker.check()  # fail before anything is begun: the local entries stay
        noted = namespace.journal.noted(keys)
        namespace.store.demote(keys, NO_OP)  # not dropped: a write that raises changes nothing for an outage
        tokens = [namespace.store.token(key) for key in keys]
        publication = namespace.publication("set" if payloads else "delete", op_id, keys)
        hold = lock_ms(namespace.options.load_lease)
        life, stamps = milliseconds(batch.ttl), b""

        def make(keys: list[str], places: list[bytes]) -> Append:
            batch.numbers.acknowledged(origins)  # a repetition: the first was appended under an old generation
            origins[:] = batch.numbers.take(len(keys))
            entries = batch.fields(origins)
            items, removed = [], []
            for key, place in zip(keys, places, strict=True):
                if key in payloads:
                    items.append((place, namespace.values.seal(place, op_id, payloads[key], stamps), life))
                else:
                    removed.append(place)
            marks = [(mark, MARK_MS) for mark in markers_on(places)]
            leases = [(lease, hold) for lease in namespace.generations.leases(places)]
            return Append(items, removed, names.stream, names.dead, entries, op_id, marks + leases, publication)

        try:
            stamps = yield from self._stamps(batch.tags if payloads else (), batch.ttl)
            (part,) = yield from namespace.generations.write_each(keys, make)  # one server: all or none
            appended = part.outcome
            if isinstance(appended, RemoteError):
                raise appended
        except RemoteError as error:
            note_failed_write(namespace, error, list(payloads.values()))
            if not isinstance(error, RemoteTimeout | RemoteUnavailable):
                # A step of the transaction may have been refused and the others not.
                namespace.doubt(dict.fromkeys(keys, Doubt(op_id)))
            raise
        batch.numbers.acknowledged(origins)
        namespace.journal.settle(noted)
        return appended, tokens


def lock_ms(load_lease: float) -> int:
    """Return for how long a write takes the load lock of its key (ms)."""
    return max(1, round(load_lease * 1000))
