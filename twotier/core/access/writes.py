"""Writing flows (DESIGN steps 3 and 8).

A write first drops the local entry, voids the fills under way, and takes a token; then changes and
publishes in one round trip; then installs under the token.

When the reply arrives, the write drops any value that a concurrent reader has installed meanwhile
and voids the readers' tokens (`Store.apply`, as the invalidation does in every other process). A
process thus reads its own writes without waiting for the echo of its invalidation. A write that
fails, or whose outcome is unknown, is journaled, and the local tier keeps the new value as a
suspect: served here, never taken for fresh. The same holds for a write whose caller is cancelled or
interrupted half-way. Of a bulk write, only the keys that failed are journaled.
"""

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from typing import Any

from twotier.clock import NEVER
from twotier.codec.tag_stamps import pack_stamps
from twotier.core.access.failed_writes import note_failed_write
from twotier.core.access.increments import Increments
from twotier.core.access.keys import checked_in_turns, encoded_many
from twotier.core.access.missing import MISSING
from twotier.core.access.reads import CHUNK, holds
from twotier.core.access.ttl import after, milliseconds
from twotier.core.flow.batch import failed_keys
from twotier.core.flow.drive import Flow
from twotier.core.flow.turns import Turns
from twotier.core.outage.journal import Doubt
from twotier.core.tags.tag_index import ANY_TAG, Tag
from twotier.errors import RemoteError
from twotier.opid import NO_OP, op_tag
from twotier.remote.commands.base import Expire, Put, PutMany, Remove
from twotier.remote.commands.conditional_writes import ExpireIfLive


class Writes(Increments):
    """The writing flows, beside the reading ones. Callers check the keys; ttl in ns, NEVER for no expiry."""

    def set(self, key: str, value: Any, ttl: int, *, absent: bool = False, tags: tuple[str, ...] = ()) -> Flow[bool]:
        """Put `value`; with `absent`, only if `key` doesn't exist. Return True if it surely was put."""
        namespace = self._open()
        payload = namespace.values.encode(value)
        if ttl == 0:
            return (yield from self._set_nothing(key, absent=absent))
        op_id = namespace.op_ids.next()
        noted = namespace.journal.noted((key,))
        seen = namespace.store.op(key)
        with namespace.tags.holding((key,), tags) as hold:
            token = namespace.store.begin_write(key)
            now = namespace.clock.now()
            publication = namespace.publication("set", op_id, (key,))
            stamps = b""

            def make(place: bytes) -> Put:
                data = namespace.values.seal(place, op_id, payload, stamps)
                # A value that isn't put must not end a counter's warrant.
                voids = namespace.generations.leases((place,)) if absent else namespace.voids((place,))
                return Put(place, data, milliseconds(ttl), absent=False, publication=publication, voids=voids)

            try:
                stamps = yield from self._stamps(tags, ttl)
                put = yield from (self._add(key, make) if absent else namespace.generations.write(key, make))
            except BaseException as error:  # noqa: BLE001 - raised again by `_unless_failed`
                namespace.late.abandon(op_id, {key: payload}, error, ttl=ttl)
                if not absent:
                    namespace.doubt({key: Doubt(op_id, seen or NO_OP, put_again_until(now, ttl, tags))})
                    self._keep_suspect(key, value, payload, op_id, ttl, now)
                    hold.written()
                self._unless_failed(error, (payload,))
                return False
            if put:
                self._settle_doubts(noted, (key,))
                self._install(key, value, payload, token, op_id, ttl, now)
                hold.written()
            return put

    def set_many(self, values: Mapping[str, Any], ttl: int, *, tags: tuple[str, ...] = ()) -> Flow[None]:
        """Put every value; nothing is written if one value can't be stored."""
        namespace = self._open()
        keys, kept, payloads = yield from encoded_many(namespace.values.encode, values)
        if ttl == 0:
            yield from self.delete_many(keys)
            return
        turns = Turns()  # while the server is away, nothing else lets other tasks run
        for start in range(0, len(keys), CHUNK):
            chunk = slice(start, start + CHUNK)
            entries = list(zip(keys[chunk], kept[chunk], payloads[chunk], strict=True))
            yield from self._set_chunk(entries, ttl, tags)
            if len(keys) > start + CHUNK:
                yield from turns.give(CHUNK)

    def delete_many(self, keys: Iterable[str], *, kept: bool = False) -> Flow[int]:
        """Remove `keys`; return how many existed (while the remote tier is away: in the local tier).

        With `kept` they are expired instead: local tiers keep stale copies for outages.
        """
        wanted = yield from checked_in_turns(keys)
        turns, removed = Turns(), 0
        for start in range(0, len(wanted), CHUNK):
            removed += yield from self._delete_chunk(wanted[start : start + CHUNK], kept=kept)
            if len(wanted) > start + CHUNK:
                yield from turns.give(CHUNK)
        return removed

    def invalidate_tags(self, tags: Sequence[str]) -> Flow[None]:
        """Expire every entry that carries any of `tags`, in every process; stale copies stay for outages."""
        for start in range(0, len(tags), CHUNK):
            yield from self._end_tags(tags[start : start + CHUNK])

    def touch(self, key: str, ttl: int) -> Flow[bool]:
        """Set a new expiry for `key`; return False if it doesn't exist, or the remote tier doesn't answer."""
        if ttl == 0:
            return (yield from self.delete_many((key,))) == 1
        namespace = self._open()
        op_id = namespace.op_ids.next()
        publication = namespace.publication("set", op_id, (key,))
        life = milliseconds(ttl)

        def along(place: bytes) -> list[bytes]:
            return namespace.generations.warrants((place,)) if namespace.values.signs else []

        try:
            # An entry that is fresh here, without tags, is valid on the server as well: its value needn't be fetched.
            if holds(namespace.store, key) and not namespace.tags.tags_of(key):
                touched: bool = yield from namespace.generations.write(
                    key, lambda place: Expire(place, life, publication, along=along(place))
                )
            else:
                touched = yield from self._touch(
                    key, ttl, lambda place: ExpireIfLive(place, life, publication, along=along(place))
                )
        except RemoteError as error:
            note_failed_write(namespace, error)
            return False
        namespace.store.apply((key,), op_tag(op_id))
        return touched

    def clear(self) -> Flow[None]:
        """Make every key of the namespace unreachable, in every process."""
        namespace = self._open()
        namespace.store.clear()
        publication = namespace.publication("clear", namespace.op_ids.next())
        generations = namespace.generations
        groups = range(len(generations.keys))
        try:
            failed = yield from generations.clear(groups, publication)
        except BaseException:
            namespace.doubt_clear(groups)
            raise
        if failed:
            namespace.doubt_clear(failed)
            note_failed_write(namespace, next(iter(failed.values())))
        namespace.store.clear()  # again: entries filled meanwhile are of the old generation
        namespace.sweep.wake()

    def _set_nothing(self, key: str, *, absent: bool) -> Flow[bool]:
        """Set with a ttl of 0: store nothing, and remove the key unless `absent`."""
        if absent:
            return not (yield from self.contains(key))
        yield from self.delete_many((key,))
        return True

    def _set_chunk(self, entries: list[tuple[str, Any, bytes]], ttl: int, tags: tuple[str, ...]) -> Flow[None]:
        namespace = self._namespace
        op_id = namespace.op_ids.next()
        keys = [key for key, _, _ in entries]
        noted = namespace.journal.noted(keys)
        seen = [namespace.store.op(key) or NO_OP for key in keys]
        with namespace.tags.holding(keys, tags) as hold:
            tokens = [namespace.store.begin_write(key) for key in keys]
            now = namespace.clock.now()
            publication = namespace.publication("set", op_id, keys)
            stamps = b""

            payloads = {key: payload for key, _, payload in entries}

            def make(members: list[str], places: list[bytes]) -> PutMany:
                life = milliseconds(ttl)
                items = [
                    (place, namespace.values.seal(place, op_id, payloads[key], stamps), life)
                    for key, place in zip(members, places, strict=True)
                ]
                return PutMany(items, publication, namespace.voids(places))

            failed: Mapping[str, BaseException]
            try:
                stamps = yield from self._stamps(tags, ttl)
                failed = failed_keys((yield from namespace.generations.write_each(keys, make)))
            except BaseException as error:  # noqa: BLE001 - as in `set`
                failed = dict.fromkeys(keys, error)
            if failed:
                namespace.late.abandon(op_id, {key: payloads[key] for key in failed}, *failed.values(), ttl=ttl)
                again = put_again_until(now, ttl, tags)
                doubts = {key: Doubt(op_id, op, again) for key, op in zip(keys, seen, strict=True) if key in failed}
                namespace.doubt(doubts)
            self._settle_doubts(noted, keys, failed)
            for (key, value, payload), token in zip(entries, tokens, strict=True):
                if key in failed:
                    self._keep_suspect(key, value, payload, op_id, ttl, now)
                else:
                    self._install(key, value, payload, token, op_id, ttl, now)
            hold.written()
            self._unless_all_well(failed, [payloads[key] for key in failed])

    def _delete_chunk(self, keys: list[str], *, kept: bool) -> Flow[int]:
        namespace = self._open()
        store = namespace.store
        held = {key for key in keys if store.suspect(key, MISSING) is not MISSING}
        op_id = namespace.op_ids.next()
        noted = namespace.journal.noted(keys)
        if kept:
            store.demote(keys, NO_OP)
        else:
            for key in keys:
                store.begin_write(key)
        apply = store.demote if kept else store.apply
        publication = namespace.publication("expire" if kept else "delete", op_id, keys)

        def make(_: list[str], places: list[bytes]) -> Remove:
            return Remove(places, publication, namespace.voids(places))

        failed: Mapping[str, BaseException]
        removed = 0
        try:
            parts = yield from namespace.generations.write_each(keys, make)
        except BaseException as error:  # noqa: BLE001 - as in `set`
            failed = dict.fromkeys(keys, error)
        else:
            failed = failed_keys(parts)
            for _, outcome in parts:
                removed += 0 if isinstance(outcome, RemoteError) else outcome
        if failed:
            namespace.doubt(dict.fromkeys(failed, Doubt(op_id, kept=kept)))
            removed += len(held & failed.keys())
        apply(keys, op_tag(op_id))
        self._settle_doubts(noted, keys, failed)
        self._unless_all_well(failed)
        return removed

    def _unless_failed(self, error: BaseException, payloads: Collection[bytes] = ()) -> None:
        """Note a failure of the remote tier; raise any other error again, after which the outcome is unknown."""
        if not isinstance(error, RemoteError):
            raise error
        note_failed_write(self._namespace, error, payloads)

    def _settle_doubts(
        self, noted: Mapping[str | Tag, Doubt], keys: Iterable[str], failed: Container[str | Tag] = frozenset()
    ) -> None:
        """Settle the doubts about keys that were set or deleted, except the keys in `failed`."""
        if noted:
            self._namespace.journal.settle({key: doubt for key, doubt in noted.items() if key not in failed})
        if self._namespace.late:
            self._namespace.overtake(key for key in keys if key not in failed)

    def _unless_all_well(self, failed: Mapping[str, BaseException], payloads: Collection[bytes] = ()) -> None:
        """Do as `_unless_failed` for a bulk write; `failed` maps the failed keys to their errors."""
        for error in failed.values():
            self._unless_failed(error, payloads)
            return

    def _end_tags(self, tags: Sequence[str]) -> Flow[None]:
        namespace = self._open()
        op_id = namespace.op_ids.next()
        noted = namespace.journal.noted([Tag(tag) for tag in tags])
        places = [namespace.versions.place(tag) for tag in (ANY_TAG, *tags)]
        try:
            yield Remove(places, namespace.publication("tag", op_id, tags))
        except BaseException as error:  # noqa: BLE001 - as in `set`
            namespace.doubt({Tag(tag): Doubt(op_id) for tag in tags})
            namespace.end_tags(tags, op_tag(op_id))
            self._unless_failed(error)
        else:
            namespace.end_tags(tags, op_tag(op_id))
            namespace.journal.settle(noted)

    def _stamps(self, tags: tuple[str, ...], ttl: int) -> Flow[bytes]:
        """Return the packed stamps of an entry with `tags` that lives for `ttl`; call while its key is held."""
        return pack_stamps((yield from self._namespace.versions.stamps(tags, ttl))) if tags else b""

    def _install(self, key: str, value: Any, payload: bytes, token: int, op_id: bytes, ttl: int, now: int) -> None:
        """Install the value that the remote tier has now if the token is valid, and void older readers' tokens."""
        namespace = self._namespace
        tag = op_tag(op_id)
        namespace.store.install(
            key,
            value,
            token,
            op=tag,
            expires=namespace.local_expiry(now, ttl),
            stale=namespace.stale_ttl,
            encoded=payload,
            keep=True,
        )
        # A reader that took its token after ours, and read before the write arrived, would install the old value.
        namespace.store.apply((key,), tag)

    def _keep_suspect(self, key: str, value: Any, payload: bytes, op_id: bytes, ttl: int, now: int) -> None:
        """Keep a value that may not have reached the server as a suspect: expired, but inside its stale window."""
        namespace = self._namespace
        window = namespace.stale_ttl if ttl >= NEVER - namespace.stale_ttl else ttl + namespace.stale_ttl
        namespace.store.put(key, value, op=op_tag(op_id), expires=now, stale=window, encoded=payload)


def put_again_until(now: int, ttl: int, tags: tuple[str, ...]) -> int:
    """Return until when a value that may not have arrived may be put again; 0 if its tags may have ended since."""
    return 0 if tags else after(now, ttl)
