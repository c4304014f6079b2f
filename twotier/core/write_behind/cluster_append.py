"""Appending in a cluster: the first step appends the entry, the second writes value and marker in the key's slot.

The stream's ids order all writes of a key, whichever process makes them. The second step therefore
checks the key's present write marker (`remote/commands/cluster_write_markers.py`): if it is of a
later write, this write is overtaken and leaves the value alone. Between the steps there may come:

- *A later write that has also reached the source.* Its marker stays for `LINGER_MS`; a write that
  takes longer than `IN_TIME` until its second step counts as overtaken.
- *A clear.* The generation of each key's group is read before the first step and again after the
  second: if both are the same, the generation has been current all the time, and the group's markers
  are intact. If not, both steps are repeated for the keys of the group. Repeating the second step
  alone could overwrite, in the cache, a write that was appended later and has reached the source,
  since the clear removed that write's marker.
- *The drainer, which was faster.* It leaves the write's own marker: the source has the write, and no
  load needs to wait for it.
- *A load of the source before it has the write.* The second step ends the load, or overwrites the
  value that the load has stored.
- *The death of this process, or the loss of the node of the key or of its generation.* The stream has
  the write, so the write counts: it will reach the source, and then the drainer removes from the
  cache what contradicts it. Until then a living process keeps the key in its journal. The call's other
  keys are written as usual.

If it is unknown whether an entry was appended, the call raises as on one server; the cache hasn't changed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from twotier.clock import SECOND
from twotier.core.access.failed_writes import note_failed_write
from twotier.core.access.ttl import milliseconds
from twotier.core.access.writes import Writes, put_again_until
from twotier.core.flow.batch import run_batch
from twotier.core.flow.drive import Flow
from twotier.core.namespace.generations import ATTEMPTS, overtaken
from twotier.core.outage.journal import Doubt
from twotier.core.tags.tag_index import UNHELD
from twotier.core.write_behind.append import MARK_MS, WriteBatch, lock_ms
from twotier.core.write_behind.entries import markers_on
from twotier.errors import RemoteError
from twotier.opid import NO_OP, op_tag
from twotier.remote.commands.cluster_write_markers import LatestWrite, PutIfLatest, marker_of
from twotier.remote.commands.streams import Append, Appended

IN_TIME: Final = 30 * SECOND
"""Longest time from before a write's first step to the check of its second (ns)."""
AT_ONCE: Final = 50
"""Keys whose second steps run together: each takes a connection of its own."""
LINGER_MS: Final = 60_000
"""Life of a write marker once its write has reached the source (ms); far longer than `IN_TIME`."""
_CLEARED: Final = object()
"""The result for a key whose group was cleared between the steps."""


class ClusterAppend(Writes):
    """Writes whose entry and value are in different slots."""

    def write(self, batch: WriteBatch) -> Flow[Appended]:
        """Write a batch."""
        generations, payloads = self._namespace.generations, batch.payloads
        stamps, removed = b"", 0
        with self._namespace.tags.holding(batch.keys, batch.tags) if payloads else UNHELD as hold:
            if payloads:
                stamps = yield from self._stamps(batch.tags, batch.ttl)
            for _ in range(ATTEMPTS):
                landing = _SecondStep(self, batch, stamps)
                prefixes = yield from generations.prefixes(generations.split(batch.keys))
                appended = yield from self._append(batch)
                cleared = yield from landing.land(prefixes, appended.ids)
                removed += landing.removed
                if not cleared:
                    hold.written()
                    return appended._replace(removed=removed)
                batch = replace(batch, items=[item for item in batch.items if item[0] in cleared])
        raise overtaken()

    def _append(self, batch: WriteBatch) -> Flow[Appended]:
        namespace, origins = self._namespace, batch.numbers.take(len(batch.items))
        entries = batch.fields(origins)
        try:
            appended: Appended = yield Append((), (), batch.stream.stream, None, entries, batch.op_id, (), None)
        except BaseException as error:
            if isinstance(error, RemoteError):
                note_failed_write(namespace, error, list(batch.payloads.values()))
            namespace.store.demote(batch.keys, NO_OP)  # nothing has changed yet, but it may change at any time
            raise
        batch.numbers.acknowledged(origins)
        return appended


class _SecondStep:
    """The second step of one write."""

    def __init__(self, writes: ClusterAppend, batch: WriteBatch, stamps: bytes) -> None:
        self._writes, self._batch, self._stamps = writes, batch, stamps
        self._namespace = namespace = writes._namespace  # noqa: SLF001 - a part of it
        self._began = namespace.clock.now()
        self._payloads: Mapping[str, bytes] = batch.payloads
        self._seen = {key: namespace.store.op(key) or NO_OP for key in batch.keys}
        self._items = {key: (value, payload) for key, value, payload in batch.items}
        self.removed = 0

    def land(self, prefixes: Mapping[int, bytes | RemoteError], ids: list[bytes]) -> Flow[frozenset[str]]:
        """Write every key under its group's prefix in `prefixes`; return the keys whose group was cleared meanwhile.

        Keys on a lost node are journaled, and so are the keys of groups without a prefix, whose node is lost.
        """
        namespace, batch = self._namespace, self._batch
        marks = {key: marker_of(batch.op_id, entry_id) for key, entry_id in zip(batch.keys, ids, strict=True)}
        noted = namespace.journal.noted(batch.keys)
        tokens = {key: namespace.store.begin_write(key) for key in batch.keys}
        self._now = namespace.clock.now()
        left: list[str] = []
        lost: list[str] = []
        cleared: list[str] = []
        failures = [prefix for prefix in prefixes.values() if isinstance(prefix, RemoteError)]
        for group, keys in namespace.generations.split(batch.keys).items():
            (lost if isinstance(prefixes[group], RemoteError) else left).extend(keys)
        known = {group: prefix for group, prefix in prefixes.items() if not isinstance(prefix, RemoteError)}
        try:
            for _ in range(ATTEMPTS + len(left) // AT_ONCE):
                if not left:
                    break
                results = yield from self._step(known, {key: marks[key] for key in left[:AT_ONCE]})
                landed = {key: each for key, each in results.items() if isinstance(each, LatestWrite)}
                self._take(landed, tokens)
                namespace.journal.settle({key: doubt for key, doubt in noted.items() if key in landed})
                lost += [key for key, each in results.items() if isinstance(each, RemoteError)]
                failures += [each for each in results.values() if isinstance(each, RemoteError)]
                cleared += [key for key, each in results.items() if each is _CLEARED]
                left = left[AT_ONCE:] + [key for key, each in results.items() if each is None]
        except RemoteError as error:
            failures.append(error)
        except BaseException:
            self._doubt([*lost, *left, *cleared])
            raise
        if lost or left:
            away = [*lost, *left]
            failure = failures[0] if failures else overtaken()
            note_failed_write(namespace, failure, [self._payloads[key] for key in away if key in self._payloads])
            self._doubt(away)
        return frozenset(cleared)

    def _step(self, prefixes: Mapping[int, bytes], marks: Mapping[str, bytes]) -> Flow[dict[str, Any]]:
        """Write some keys; return the result of each: a LatestWrite, a RemoteError, None (try again) or _CLEARED."""
        generations = self._namespace.generations
        groups = generations.split(marks)
        lands: dict[str, PutIfLatest] = {}
        for group, keys in groups.items():
            lands |= zip(keys, self._lands(keys, generations.places_under(prefixes[group], keys), marks), strict=True)
        results: dict[str, Any] = dict(zip(lands, (yield from run_batch(list(lands.values()))), strict=True))
        reached = [
            group for group, keys in groups.items() if not all(isinstance(results[key], RemoteError) for key in keys)
        ]
        for group, stands in (yield from generations.ask(reached)).items():
            if stands != prefixes[group]:
                came = stands if isinstance(stands, RemoteError) else _CLEARED
                results |= dict.fromkeys(groups[group], came)
        return results

    def _lands(self, keys: list[str], places: list[bytes], marks: Mapping[str, bytes]) -> Iterable[PutIfLatest]:
        namespace, batch, payloads = self._namespace, self._batch, self._payloads
        hold, life = lock_ms(namespace.options.load_lease), milliseconds(batch.ttl)
        leases = namespace.generations.leases(places)
        for key, place, name, lease in zip(keys, places, markers_on(places), leases, strict=True):
            data = None
            if key in payloads:
                data = namespace.values.seal(place, batch.op_id, payloads[key], self._stamps)
            yield PutIfLatest(name, place, data, life, marks[key], MARK_MS, lease, hold, self._in_time)

    def _in_time(self) -> bool:
        return self._namespace.clock.now() - self._began < IN_TIME

    def _take(self, landed: Mapping[str, LatestWrite], tokens: Mapping[str, int]) -> None:
        """Install the values that were written in the local tier, and drop the local copies of the other keys."""
        batch = self._batch
        for key, landing in landed.items():
            self.removed += landing.removed
            if landing.stands and key in self._payloads:
                value, payload = self._items[key][0], self._payloads[key]
                self._writes._install(key, value, payload, tokens[key], batch.op_id, batch.ttl, self._now)  # noqa: SLF001 - a part of it
            else:
                self._namespace.store.apply((key,), op_tag(batch.op_id))

    def _doubt(self, keys: list[str]) -> None:
        """Journal keys whose value may not have arrived, and keep their new values as suspects meanwhile."""
        namespace, batch = self._namespace, self._batch
        again = put_again_until(self._now, batch.ttl, batch.tags)
        doubts = {}
        for key in keys:
            if key in self._payloads:
                doubts[key] = Doubt(batch.op_id, self._seen[key], again)
                self._writes._keep_suspect(  # noqa: SLF001 - a part of it
                    key, self._items[key][0], self._payloads[key], batch.op_id, batch.ttl, self._now
                )
            else:
                doubts[key] = Doubt(batch.op_id)
                namespace.store.apply((key,), op_tag(batch.op_id))
        namespace.doubt(doubts)
