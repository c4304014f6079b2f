"""Write-through: the source first, the cache after.

Of two writes of one key, in one process or in two, the write that reaches the source last needn't
reach the cache last. A write therefore takes the key's write-through lock before it goes to the
source, which also voids loads under way, and writes the cache only if it still has the lock
afterwards. If it has lost the lock, another write has come since, and the key is removed, for the
next reader to load. The cache thus differs from the source no longer than a write that has reached
the source is under way to the cache. A process that is killed in between leaves the old value until
its ttl. Locks that a write may still have when it ends are claimed, and released later (`claims.py`).

A writer that raises has changed nothing, and neither tier is touched. If anything else ends a write
(a cancelled task, an exception of a signal handler), the source may have been written: the key is
journaled, and removed in the background.

While the remote tier is away there are no locks: the key is journaled as always, and the value kept
as a suspect unless another write of the key in this process has overlapped (`write_conflicts.py`),
as without a remote tier.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from twotier.clock import SECOND
from twotier.core.access.failed_writes import note_failed_write
from twotier.core.access.keys import checked_in_turns, encoded_many
from twotier.core.access.local_only import LocalOnly
from twotier.core.access.reads import CHUNK
from twotier.core.access.refusal import Refusal, refusing
from twotier.core.access.ttl import MILLISECOND, milliseconds
from twotier.core.access.write_conflicts import WriteConflicts
from twotier.core.access.writes import put_again_until
from twotier.core.flow.batch import run_batch
from twotier.core.flow.drive import Flow
from twotier.core.flow.requests import Load
from twotier.core.loading.claims import Claim
from twotier.core.loading.load_locks import TwoTier
from twotier.core.namespace.namespace import Namespace, TwoTierNamespace
from twotier.core.outage.journal import Doubt
from twotier.errors import RemoteError
from twotier.opid import NO_OP, op_tag
from twotier.remote.commands.generations import UnderGeneration
from twotier.remote.commands.write_through_locks import PutLocked, TakeWriteLocks
from twotier.remote.io.breaker import BreakerOpenError
from twotier.writer import Writer

Entry = tuple[str, Any, bytes]
"""A key, its value, and the value's encoding."""


class LocalThrough(LocalOnly):
    """All flows of a namespace without a remote tier, with the write-through ones."""

    def __init__(self, namespace: Namespace, writer: Writer) -> None:
        super().__init__(namespace)
        self._writer: Final = writer
        self._overlaps = WriteConflicts()

    def put_through(self, values: Mapping[str, Any], ttl: int, *, tags: tuple[str, ...] = ()) -> Flow[None]:
        """Write every value to the source, then here."""
        self._namespace.check_open()
        entries = yield from _encoded(self._namespace, values)
        keys = [key for key, _, _ in entries]
        error: Exception | None = None
        try:
            with self._overlaps.during(keys), _unless_stopped(lambda: self._forget(keys)):
                yield from _write(self._writer, entries)
                with self._overlaps.settling() as alone:
                    for key, value, payload in entries:
                        self._put(key, value, payload, ttl if alone(key) else 0, absent=False, tags=tags)
        except Refusal as refusal:
            error = refusal.error
        if error is not None:
            raise error

    def remove_through(self, keys: Iterable[str]) -> Flow[int]:
        """Remove keys from the source, then here; return how many existed here."""
        self._namespace.check_open()
        wanted = yield from checked_in_turns(keys)
        try:
            with self._overlaps.during(wanted), _unless_stopped(lambda: self._forget(wanted)):
                yield from _delete(self._writer, wanted)
                return (yield from self.delete_many(wanted))
        except Refusal as refusal:
            error = refusal.error
        raise error

    def _forget(self, keys: list[str]) -> None:
        """Remove keys after a write with an unknown outcome at the source."""
        for key in keys:
            self._namespace.store.discard(key)


class TwoTierThrough(TwoTier):
    """All flows of a namespace with a remote tier, with the write-through ones."""

    def __init__(self, namespace: TwoTierNamespace, writer: Writer) -> None:
        super().__init__(namespace)
        self._writer: Final = writer
        self._overlaps = WriteConflicts()

    def put_through(self, values: Mapping[str, Any], ttl: int, *, tags: tuple[str, ...] = ()) -> Flow[None]:
        """Write every value to the source, then to both tiers."""
        namespace = self._open()
        entries = yield from _encoded(namespace, values)
        keys = [key for key, _, _ in entries]
        claim = Claim(namespace.claims, namespace.op_ids.next())
        stopped = _unless_stopped(lambda: self._forget(keys, claim.token))
        error: Exception | None = None
        try:
            try:
                with self._overlaps.during(keys), namespace.tags.holding(keys, tags), stopped:
                    yield from self._put_claiming(entries, ttl, tags, claim)
            except Refusal as refusal:
                error = refusal.error
            finally:
                claim.close()
        finally:
            claim.close()
        if error is not None:
            raise error

    def remove_through(self, keys: Iterable[str]) -> Flow[int]:
        """Remove keys from the source, then from both tiers; return how many existed."""
        namespace = self._open()
        wanted = yield from checked_in_turns(keys)
        op_id = namespace.op_ids.next()
        try:
            with self._overlaps.during(wanted), _unless_stopped(lambda: self._forget(wanted, op_id)):
                yield from _delete(self._writer, wanted)
                # This also removes values written or loaded since the source's delete.
                return (yield from self.delete_many(wanted))
        except Refusal as refusal:
            error = refusal.error
        raise error

    def _put_claiming(self, entries: list[Entry], ttl: int, tags: tuple[str, ...], claim: Claim) -> Flow[None]:
        """Write entries to the source, then to both tiers; `claim` covers their write-through locks."""
        namespace, keys = self._namespace, [key for key, _, _ in entries]
        places = yield from self._take_over(keys, claim)
        try:
            yield from _write(self._writer, entries)
        except Refusal:
            yield from self._release_locks(claim)
            raise
        if not ttl:
            yield from self._delete_claimed(keys, places, claim)
            return
        away = [entry for entry in entries if entry[0] not in places]
        if away:
            self._keep(away, claim.token, ttl, [namespace.store.op(key) or NO_OP for key, _, _ in away], tags)
        held = [entry for entry in entries if entry[0] in places] if away else entries
        for start in range(0, len(held), CHUNK):
            yield from self._put_held(places, held[start : start + CHUNK], claim, ttl, tags)

    def _take_over(self, keys: list[str], claim: Claim) -> Flow[dict[str, bytes]]:
        """Take the write-through locks of `keys`; return the names on the server of keys whose node answered."""
        namespace = self._namespace
        patience = round(namespace.options.load_lease * SECOND)
        names: dict[str, bytes] = {}

        def make(members: list[str], places: list[bytes]) -> TakeWriteLocks:
            leases = namespace.generations.leases(places)
            claim.add(leases)
            names.update(zip(members, places, strict=True))
            return TakeWriteLocks(leases, claim.token, patience // MILLISECOND)

        taken: dict[str, bytes] = {}
        for start in range(0, len(keys), CHUNK):
            parts = yield from namespace.generations.each(keys[start : start + CHUNK], make)
            there = [part.keys for part in parts if not isinstance(part.outcome, RemoteError)]
            unasked = [key for part in parts if isinstance(part.outcome, BreakerOpenError) for key in part.keys]
            claim.drop(namespace.generations.leases([names[key] for key in unasked if key in names]))
            taken.update((key, names[key]) for members in there for key in members)
            namespace.counters.remote_errors += len(parts) - len(there)
            if not there:  # no node answers
                break
        return taken

    def _delete_claimed(self, keys: list[str], places: Mapping[str, bytes], claim: Claim) -> Flow[None]:
        """Remove keys, and their write-through locks with them; failed removals are journaled, and done later."""
        yield from self.delete_many(keys)
        claim.drop(self._namespace.generations.leases([places[key] for key in keys if key in places]))

    def _put_held(
        self, places: Mapping[str, bytes], entries: list[Entry], claim: Claim, ttl: int, tags: tuple[str, ...]
    ) -> Flow[None]:
        """Put the entries whose keys no other write has taken since, and remove the other keys."""
        namespace, op_id = self._namespace, claim.token
        keys = [key for key, _, _ in entries]
        seen = [namespace.store.op(key) or NO_OP for key in keys]
        noted = namespace.journal.noted(keys)
        tokens = [namespace.store.begin_write(key) for key in keys]
        now = namespace.clock.now()
        publication = namespace.publication("set", op_id, keys)
        stamps = b""
        payloads = {key: payload for key, _, payload in entries}

        def put(group: int, members: list[str]) -> PutLocked:
            names = [places[key] for key in members]
            items = [
                (place, namespace.values.seal(place, op_id, payloads[key], stamps), milliseconds(ttl))
                for key, place in zip(members, names, strict=True)
            ]
            leases = namespace.generations.leases(names)
            return PutLocked(leases, op_id, items, publication, namespace.generations.keys[group])

        groups = namespace.generations.split(keys)
        try:
            stamps = yield from self._stamps(tags, ttl)
            outcomes = yield from run_batch([put(group, members) for group, members in groups.items()])
            for at, (group, outcome) in enumerate(zip(groups, outcomes, strict=True)):
                outcomes[at] = yield from self._with_name(group, outcome)
        except RemoteError as error:
            outcomes = [error] * len(groups)
        held, lost = self._sorted(list(zip(groups.values(), outcomes, strict=True)), places, payloads)
        claim.drop(namespace.generations.leases([places[key] for key in held]))
        overtaken = []
        for (key, value, payload), token in zip(entries, tokens, strict=True):
            if key in held:
                self._install(key, value, payload, token, op_id, ttl, now)
            elif key not in lost:
                overtaken.append(key)
        if lost:
            away = [(entry, op) for entry, op in zip(entries, seen, strict=True) if entry[0] in lost]
            self._keep([entry for entry, _ in away], op_id, ttl, [op for _, op in away], tags)
        namespace.journal.settle({key: doubt for key, doubt in noted.items() if key in held})
        if overtaken:
            yield from self._delete_claimed(overtaken, places, claim)

    def _with_name(
        self, group: int, outcome: UnderGeneration[list[bool]] | RemoteError
    ) -> Flow[UnderGeneration[list[bool]] | RemoteError]:
        """Return a write's outcome with the generation's name after the write, even if that name had been evicted."""
        if isinstance(outcome, RemoteError):
            return outcome
        try:
            name = yield from self._namespace.generations.name_after(group, outcome.generation)
        except RemoteError as error:
            return error
        return outcome._replace(generation=name)

    def _sorted(
        self,
        parts: list[tuple[list[str], UnderGeneration[list[bool]] | RemoteError]],
        places: Mapping[str, bytes],
        payloads: Mapping[str, bytes],
    ) -> tuple[set[str], set[str]]:
        """Return the keys of a write whose locks were still held, and the lost keys; the others were overtaken."""
        namespace = self._namespace
        held: set[str] = set()
        lost: set[str] = set()
        for members, outcome in parts:
            if isinstance(outcome, RemoteError):
                lost.update(members)
                note_failed_write(namespace, outcome, [payloads[key] for key in members])
                continue
            stands = [namespace.generations.is_under(places[key], outcome.generation) for key in members]
            held.update(key for key, *good in zip(members, stands, outcome.result, strict=True) if all(good))
            if not all(stands):
                # Cleared meanwhile: a load under the new generation may have stored a value read before this write.
                namespace.store.bump_epoch()
        return held, lost

    def _keep(self, entries: list[Entry], op_id: bytes, ttl: int, seen: list[int], tags: tuple[str, ...]) -> None:
        """Journal writes that may not have arrived; keep values as suspects where no other write overlapped."""
        namespace = self._namespace
        now = namespace.clock.now()
        expires = put_again_until(now, ttl, tags)
        doubts = {}
        with self._overlaps.settling() as alone:
            for (key, value, payload), op in zip(entries, seen, strict=True):
                if alone(key):
                    doubts[key] = Doubt(op_id, op, expires)
                    self._keep_suspect(key, value, payload, op_id, ttl, now)
                else:
                    doubts[key] = Doubt(op_id)
                    namespace.store.discard(key)
        namespace.doubt(doubts)

    def _forget(self, keys: list[str], op_id: bytes) -> None:
        """Remove keys in the background after a write with an unknown outcome at the source."""
        self._namespace.doubt(dict.fromkeys(keys, Doubt(op_id)))
        self._namespace.store.apply(keys, op_tag(op_id))


def _encoded(namespace: Namespace, values: Mapping[str, Any]) -> Flow[list[Entry]]:
    """Return the entries of a mapping; raise before the source is touched if one value can't be stored."""
    encoded = yield from encoded_many(namespace.values.encode, values)
    return list(zip(*encoded, strict=True))


def _write(writer: Writer, entries: list[Entry]) -> Flow[None]:
    values = {key: value for key, value, _ in entries}
    if values:
        yield Load(refusing(writer.write, values))


def _delete(writer: Writer, keys: list[str]) -> Flow[None]:
    if keys:
        yield Load(refusing(writer.delete, list(keys)))


@contextlib.contextmanager
def _unless_stopped(forget: Callable[[], object]) -> Iterator[None]:
    """Call `forget` after any exception but a Refusal: the write's progress is unknown, and its keys must go."""
    try:
        yield
    except Refusal:
        raise
    except BaseException:
        forget()
        raise
