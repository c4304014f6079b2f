"""Settling load locks: a loaded value is stored if its lock is still held; uncertain locks stay claimed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from twotier.codec.tag_stamps import Stamps, pack_stamps
from twotier.core.access.failed_writes import note_failed_write
from twotier.core.access.reads import CHUNK
from twotier.core.access.ttl import after, milliseconds
from twotier.core.access.writes import Writes
from twotier.core.flow.batch import run_batch
from twotier.core.flow.drive import Flow
from twotier.core.loading.call_policy import CallPolicy
from twotier.core.loading.claims import Claim
from twotier.core.loading.loader_call import LoaderResult
from twotier.core.tags.tag_index import Hold, Unheld
from twotier.errors import RemoteError
from twotier.opid import op_tag
from twotier.remote.commands.base import Put, Remove, Write
from twotier.remote.commands.load_locks import PutAbsence, SettleLoadLocks

ATTEMPTS: Final = 4
"""How often a bulk of locks is settled, if locks keep ending at that moment, before the keys are settled one by one."""


@dataclass(frozen=True, slots=True)
class LoadLock:
    """A load lock that was taken: the fill token from before, the key's name on the server, and the lock's name."""

    token: int
    place: bytes
    lease: bytes


class LockSettlement(Writes):
    """The flows of a namespace with a remote tier that store loaded values, beside the reading and writing ones."""

    def _early_stamps(self, terms: CallPolicy) -> Flow[Stamps | None]:
        """Return stamps for values that are about to be loaded; None if the server can't be asked."""
        if not terms.noted:
            return {}
        try:
            return (yield from self._namespace.versions.stamps(terms.noted, terms.ttl))
        except RemoteError:
            self._namespace.counters.remote_errors += 1
            return None

    def _late_stamps(
        self, early: Stamps | None, made: Mapping[str, LoaderResult], terms: CallPolicy, hold: Hold | Unheld
    ) -> Flow[bytes | None]:
        """Return the packed stamps of loaded values, whose tags the loader may have named.

        Returns None if the server can't be asked: the values can't be stored there then.
        """
        if not terms.noted or early is None:
            return b"" if early is not None else None
        versions = self._namespace.versions
        tags = tuple(dict.fromkeys(tag for each in made.values() for tag in each.tags))
        ttl = max((each.ttl for each in made.values()), default=0)
        if not tags or not ttl:
            return b""
        try:
            if terms.may_add_tags and isinstance(hold, Hold):
                hold.add(tags)
            if ttl > terms.ttl:
                yield from versions.stamps(tags, ttl)  # their keys are to live as long
            return pack_stamps((yield from versions.late_stamps(early, tags, ttl)))
        except RemoteError:
            self._namespace.counters.remote_errors += 1
            return None

    def _settle(
        self,
        ours: dict[str, LoadLock],
        made: Mapping[str, LoaderResult],
        stamps: bytes | None,
        claim: Claim,
        *,
        anew: bool,
    ) -> Flow[bool]:
        """Store the results whose locks are still held, and release the locks; return True if all were stored."""
        namespace = self._namespace
        op_id, now = namespace.op_ids.next(), namespace.clock.now()
        if stamps is None:
            self._keep_suspects(ours, made, op_id, now)
            return False
        puts = {key: self._put(lease, made[key], op_id, stamps, anew=anew) for key, lease in ours.items()}
        changed = [key for key, put in puts.items() if put is not None and _changes(put)]
        publication = namespace.publication("set", op_id, changed) if changed else None
        stored = None not in puts.values()
        left = list(namespace.generations.split(ours).values())
        for _ in range(ATTEMPTS):
            settles = [
                SettleLoadLocks(
                    [ours[key].lease for key in keys], claim.token, [puts[key] for key in keys], publication
                )
                for keys in left
            ]
            again: list[list[str]] = []
            for keys, settled in zip(left, (yield from run_batch(settles)), strict=True):
                if settled is None:
                    again.append(keys)
                elif isinstance(settled, RemoteError):
                    note_failed_write(namespace, settled, [made[key].payload for key in keys])
                    self._keep_suspects({key: ours[key] for key in keys}, made, op_id, now)
                    stored = False
                else:
                    claim.drop([ours[key].lease for key in keys])
                    for key, stood in zip(keys, settled, strict=True):
                        if stood and (put := puts[key]) is not None:
                            self._take_in(key, ours[key], made[key], put, op_id, now)
                    stored &= all(settled)
            left = again
            if not left:
                return stored
        for key in [key for keys in left for key in keys]:
            stored &= yield from self._settle({key: ours[key]}, made, stamps, claim, anew=anew)
        return stored

    def _keep_suspects(
        self, ours: Mapping[str, LoadLock], made: Mapping[str, LoaderResult], op_id: bytes, now: int
    ) -> None:
        """Keep loaded values in the local tier alone, as suspects, unless a write has overtaken them."""
        for key, lease in ours.items():
            each = made[key]
            if each.payload and each.ttl and self._namespace.store.stands(key, lease.token):
                self._keep_suspect(key, each.value, each.payload, op_id, each.ttl, now)

    def _put(
        self, lease: LoadLock, made: LoaderResult, op_id: bytes, stamps: bytes, *, anew: bool
    ) -> Write[Any] | None:
        """Return the write that stores a key's result: a value, an absence, a removal; None leaves the key as it is."""
        values = self._namespace.values
        life = milliseconds(made.ttl)
        if made.ttl and made.payload:
            data = values.seal(lease.place, op_id, made.payload, stamps)
            return Put(lease.place, data, life, absent=False, publication=None)
        removes = (lease.place,) if anew else ()
        if made.ttl and life is not None:
            return PutAbsence(lease.lease, values.absence(lease.lease, op_id, stamps), life, removes=removes)
        return Remove(removes, None) if removes else None

    def _take_in(self, key: str, lease: LoadLock, made: LoaderResult, put: Write[Any], op_id: bytes, now: int) -> None:
        """Update the local tier to the remote tier's new state."""
        namespace = self._namespace
        if isinstance(put, Put):
            self._install(key, made.value, made.payload, lease.token, op_id, made.ttl, now)
        elif _changes(put):
            namespace.store.apply((key,), op_tag(op_id))
        else:
            namespace.absences.remember(key, lease.token, after(now, made.ttl), made.tags)

    def _release_locks(self, claim: Claim, leases: Iterable[bytes] | None = None) -> Flow[None]:
        """Release locks (by default all that are claimed), so that others needn't wait for them to expire.

        Locks whose release is uncertain stay claimed.
        """
        given = list(claim.leases if leases is None else leases)
        try:
            for start in range(0, len(given), CHUNK):
                chunk = given[start : start + CHUNK]
                if (yield SettleLoadLocks(chunk, claim.token, [None] * len(chunk), None)) is not None:
                    claim.drop(chunk)
        except RemoteError:
            self._namespace.counters.remote_errors += 1


def _changes(put: Write[Any]) -> bool:
    """Return True if a write changes the key itself, so that it must be published."""
    return not isinstance(put, PutAbsence) or bool(put.removes)
