"""Reading flows: the steps after a local miss (DESIGN steps 2, 7 and 8).

A fill takes its token before the round trip and installs its result under the token, so that no
value that was superseded on the way enters the local tier. While the remote tier can't answer, or
can't be trusted for a key (the key is in the journal), the local tier's suspect is served within
its stale window; without a suspect a replica is read, if the options say so.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from twotier.clock import NEVER, SECOND
from twotier.core.access.fills import Bare, Fills, Unproven
from twotier.core.access.keys import checked_in_turns
from twotier.core.access.missing import MISSING
from twotier.core.access.ttl import MILLISECOND
from twotier.core.flow.drive import Flow
from twotier.core.flow.turns import PART, Turns, in_order, parts
from twotier.core.flow.wait import wait_for
from twotier.core.namespace.namespace import Namespace
from twotier.errors import RemoteError
from twotier.local import Store
from twotier.remote.commands.base import KEY_MISSING, Fetch, Fetched, FetchMany, TimeLeft

CHUNK: Final = 500
"""Keys in one round trip of a bulk command: bounds the server's work at a time, and the work within a deadline."""


class Reads(Fills):
    """The reading flows of a namespace with a remote tier. Keys are checked by the caller."""

    def get(self, key: str, *, keep: bool = False) -> Flow[Any]:
        """Return the value that the local tier missed, or MISSING.

        A suspect that the remote tier doesn't have is dropped, unless `keep`: a caller is about to load the key.
        """
        namespace = self._namespace
        namespace.check_open()
        namespace.ensure_listening()
        if namespace.absences.holds(key):
            namespace.found_absent()
            return MISSING
        token = namespace.store.token(key)
        if self._in_doubt(key):
            return (yield from self._unanswered(key))
        if namespace.store.op(key) is None:
            return (yield from self._fetch(key, token, keep=keep))
        return (yield from self._revalidate(key, token, keep=keep))

    def look(self, key: str) -> Flow[Any]:
        """Return the remote value of a key that another caller loads; MISSING (no counted miss) if there is none."""
        namespace = self._namespace
        token = namespace.store.token(key)
        if self._in_doubt(key):
            return MISSING
        now = namespace.clock.now()
        try:
            place = yield from namespace.generations.place(key)
            fetched: Fetched = yield Fetch(place)
            if fetched.data is not None:
                return (yield from self._accept_fill(key, place, fetched, token, now, keep=True))
        except RemoteError:
            namespace.counters.remote_errors += 1
        return MISSING

    def get_many(self, keys: Iterable[str]) -> Flow[dict[str, Any]]:
        """Return the values that either tier has of `keys`, in the order of `keys`."""
        namespace = self._namespace
        namespace.check_open()
        namespace.ensure_listening()
        wanted = yield from checked_in_turns(keys)
        found = yield from held_here(namespace.store, wanted)
        if len(found) == len(wanted):
            return found
        yield from self.fetch_many([key for key in wanted if key not in found], found)
        return (yield from in_order(wanted, found))

    def fetch_many(self, missed: list[str], found: dict[str, Any], *, keep: bool = False) -> Flow[None]:
        """Add to `found` the values of keys that the local tier has missed; `keep` as for `get`."""
        namespace = self._namespace
        namespace.check_open()
        namespace.ensure_listening()
        asked = []
        for key in missed:
            if namespace.absences.holds(key):
                namespace.found_absent()
            else:
                asked.append(key)
        turns = Turns()  # while the server is away, nothing else lets other tasks run
        for start in range(0, len(asked), CHUNK):
            yield from self._fetch_many(asked[start : start + CHUNK], found, keep=keep)
            if len(asked) > start + CHUNK:
                yield from turns.give(CHUNK)

    def contains(self, key: str) -> Flow[bool]:
        """Return True if either tier has `key`; a value that only the remote tier has is filled on the way."""
        if holds(self._namespace.store, key):
            return True
        return (yield from self.get(key)) is not MISSING

    def ttl(self, key: str) -> Flow[float | None]:
        """Return the seconds that `key` has left, None for no expiry, 0.0 if it doesn't exist."""
        namespace = self._namespace
        namespace.check_open()
        namespace.ensure_listening()
        try:
            place = yield from namespace.generations.place(key)
            left: int
            if self._in_doubt(key) or holds(namespace.store, key):
                left = yield TimeLeft(place)
            else:
                fetched: Fetched = yield Fetch(place)
                left = fetched.pttl
                if fetched.data is not None and (yield from self._valid(place, fetched.data)) is None:
                    left = KEY_MISSING
        except RemoteError:
            namespace.counters.remote_errors += 1
            return local_ttl_left(namespace, key)
        if left == -1:
            return None
        return max(0, left) / 1000

    def _away(self) -> bool:
        return self._namespace.breaker.state != "closed"

    def _in_doubt(self, key: str) -> bool:
        """Return True if the remote tier must not be asked about `key`.

        Take the fill token before this check: a write that fails after the check voids the token, so the
        value that the server still has isn't installed.
        """
        return self._away() or key in self._namespace.journal

    def _unanswered(self, key: str) -> Flow[Any]:
        """Return the suspect or a replica's value of a key for which the server gave no answer."""
        value, fallback = self._serve_stale(key), self._namespace.fallback
        if value is MISSING and fallback is not None:
            value = (yield from fallback.read((key,))).get(key, MISSING)
        return value

    def _revalidate(self, key: str, token: int, *, keep: bool) -> Flow[Any]:
        """Fetch a key that has a suspect here; of concurrent callers, one asks the server and the others wait.

        They wait no longer than one call to the server may take: the asking caller may be a task of a loop
        that doesn't get to run it.
        """
        namespace = self._namespace
        store, fetches = namespace.store, namespace.fetches
        mine = fetches.flight(key)
        try:
            try:
                flight, leads = fetches.join(key, mine)
                if leads:
                    return (yield from self._fetch(key, token, keep=keep))
            finally:
                fetches.abandon(mine)
        finally:
            fetches.abandon(mine)
        yield from wait_for(flight.future, namespace.options.timeout, lambda: flight.is_lost)
        if key in store:
            value = store.get(key, MISSING)
            if value is not MISSING:
                return value
        token = store.token(key)
        if self._in_doubt(key):
            return (yield from self._unanswered(key))
        return (yield from self._fetch(key, token, keep=keep))

    def _fetch(self, key: str, token: int, *, keep: bool) -> Flow[Any]:
        namespace = self._namespace
        now = namespace.clock.now()
        try:
            place = namespace.generations.known_place(key) or (yield from namespace.generations.place(key))
            fetched: Fetched = yield Fetch(place)
            value = self._received(key, place, fetched, token, now, keep=keep)
            if type(value) is Unproven or type(value) is Bare:
                value = yield from self._accept_pending_fill(value)
        except RemoteError:
            namespace.counters.remote_errors += 1
        else:
            return value
        return (yield from self._unanswered(key))

    def _fetch_many(self, keys: list[str], found: dict[str, Any], *, keep: bool) -> Flow[None]:
        """Add to `found` the values of `keys` from the remote tier, or failing that from suspects or a replica."""
        namespace = self._namespace
        taken = {key: namespace.store.token(key) for key in keys}
        asked = [] if self._away() else [key for key in keys if not self._in_doubt(key)]
        now = namespace.clock.now()
        values: dict[str, Any] = {}
        if asked:
            try:
                pending: list[Unproven | Bare] = []
                for key, place, fetched in (yield from self._fetched(asked)):
                    value = self._received(key, place, fetched, taken[key], now, keep=keep)
                    if type(value) is Unproven or type(value) is Bare:
                        pending.append(value)
                    else:
                        values[key] = value
                values |= yield from self._decided(pending)
            except RemoteError:
                namespace.counters.remote_errors += 1
        unanswered = []
        for key in keys:
            value = values[key] if key in values else self._serve_stale(key)
            if value is not MISSING:
                found[key] = value
            elif key not in values:
                unanswered.append(key)
        if unanswered and namespace.fallback is not None:
            found |= yield from namespace.fallback.read(unanswered)

    def _fetched(self, keys: list[str]) -> Flow[list[tuple[str, bytes, Fetched]]]:
        """Fetch keys; return each key that the server answered for, its name on the server, and the reply."""
        names: dict[str, bytes] = {}

        def make(members: list[str], places: list[bytes]) -> FetchMany:
            names.update(zip(members, places, strict=True))
            return FetchMany(places)

        parts = yield from self._namespace.generations.each(keys, make, reads=True)
        found = []
        for members, outcome in parts:
            if isinstance(outcome, RemoteError):
                self._namespace.counters.remote_errors += 1
            else:
                found += [(key, names[key], fetched) for key, fetched in zip(members, outcome, strict=True)]
        return found

    def _accept_fill(
        self, key: str, place: bytes, fetched: Fetched, token: int, now: int, *, keep: bool = False
    ) -> Flow[Any]:
        """Install the remote tier's value if `token` is still valid, and return it; MISSING if there is none."""
        value = self._received(key, place, fetched, token, now, keep=keep)
        if type(value) is Unproven or type(value) is Bare:
            value = yield from self._accept_pending_fill(value)
        return value

    def _accept_pending_fill(self, pending: Unproven | Bare) -> Flow[Any]:
        """Decide an entry that needs one more round trip, and return its value as `_accept_fill` does."""
        found = yield from self._decided([pending])
        return found[pending.key] if pending.key in found else (yield from self._unanswered(pending.key))

    def _received(self, key: str, place: bytes, fetched: Fetched, token: int, now: int, *, keep: bool = False) -> Any:
        """Do as `_accept_fill`, but return an entry with tags as `Unproven`, and a raw number as `Bare`."""
        namespace = self._namespace
        store = namespace.store
        if fetched.data is None:
            if not keep and store.op(key) is not None and not self._explained(key) and store.stands(key, token):
                store.discard(key)  # removed there for an unknown reason: an outage must not revive it
            namespace.counters.misses += 1
            return MISSING
        left = NEVER if fetched.pttl == -1 else max(0, fetched.pttl) * MILLISECOND
        if namespace.values.is_bare_number(fetched.data):
            return Bare(key, place, fetched.data, token, now, left)
        loaded = namespace.values.load(place, fetched.data)
        if loaded is None:
            namespace.counters.corrupt += 1
            namespace.counters.misses += 1
            return MISSING
        if namespace.late and self._is_late(key, loaded):
            return self._serve_stale(key)
        if loaded.stamps:
            return Unproven(key, loaded, token, now, left)
        self._fill(key, loaded, token, now, left)
        return loaded.value

    def _explained(self, key: str) -> bool:
        """Return True if the local copy explains the entry's absence on the server, and is of use to a load."""
        namespace, store = self._namespace, self._namespace.store
        if store.demoted(key):
            return True
        return namespace.options.keeps_stale and store.lapsed(key, NEVER, MISSING) is not MISSING


def holds(store: Store, key: str) -> bool:
    """Return True if the local tier has a fresh value under `key`; drop a value that can't be decoded."""
    return key in store and store.suspect(key, MISSING) is not MISSING


def held_here(store: Store, keys: list[str]) -> Flow[dict[str, Any]]:
    """Return the fresh values that the local tier has under `keys`, in the order of `keys`."""
    if len(keys) <= PART:
        return store.get_many(keys)
    turns, found = Turns(), {}
    for part in parts(keys):
        found.update(store.get_many(part))
        yield from turns.give(len(part))
    return found


def tokens_of(store: Store, keys: Sequence[str]) -> Flow[dict[str, int]]:
    """Return a fill token for each of `keys`."""
    turns, tokens = Turns(), {}
    for part in parts(keys):
        tokens.update({key: store.token(key) for key in part})
        yield from turns.give(len(part))
    return tokens


def local_ttl_left(namespace: Namespace, key: str) -> float | None:
    """Return the seconds that `key` has left in the local tier, None for no expiry, 0.0 if it isn't there."""
    expires = namespace.store.expires(key)
    if expires is None:
        return 0.0
    return None if expires == NEVER else max(0, expires - namespace.clock.now()) / SECOND
