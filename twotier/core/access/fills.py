"""Fills: values read from the server that enter the local tier, some after a further check (DESIGN step 2).

An entry with tags is valid if none of its tags has ended. Where values are signed, a raw number is
valid if it is a counter's. Each check costs one more round trip, for all keys of a call together.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from twotier.codec.values import Loaded
from twotier.core.access.missing import MISSING
from twotier.core.flow.drive import Flow
from twotier.core.namespace.namespace import TwoTierNamespace
from twotier.core.tags.tag_index import Tag
from twotier.errors import RemoteError
from twotier.opid import op_tag
from twotier.remote.commands.base import Fetch, Fetched, FetchMany


class Unproven(NamedTuple):
    """An entry with tags that was read: it is valid if none of its tags has ended."""

    key: str
    loaded: Loaded
    token: int
    now: int
    left: int


class Bare(NamedTuple):
    """A raw number that was read where values are signed: it is valid if it has a counter's warrant."""

    key: str
    place: bytes
    data: bytes
    token: int
    now: int
    left: int


class Fills:
    """The fills of a namespace with a remote tier: check, install and return entries that were read."""

    def __init__(self, namespace: TwoTierNamespace) -> None:
        self._namespace = namespace

    def _serve_stale(self, key: str) -> Any:
        """Return the suspect of `key` if there is one and the options allow it, else MISSING."""
        namespace = self._namespace
        value = MISSING
        if namespace.options.on_outage == "serve" and not namespace.journal.undoes(key):
            value = namespace.store.suspect(key, MISSING)
        if value is MISSING:
            namespace.counters.misses += 1
        else:
            namespace.served_stale()
        return value

    def _decided(self, pending: list[Unproven | Bare]) -> Flow[dict[str, Any]]:
        """Decide all pending entries, by `_proven` and `_warranted`."""
        unproven = [each for each in pending if isinstance(each, Unproven)]
        bare = [each for each in pending if isinstance(each, Bare)]
        values = (yield from self._proven(unproven)) if unproven else {}
        return values | (yield from self._warranted(bare)) if bare else values

    def _warranted(self, bare: list[Bare]) -> Flow[dict[str, Any]]:
        """Install and return the numbers that have a counter's warrant; the others are MISSING.

        Numbers whose warrant couldn't be read are left out.
        """
        namespace, values = self._namespace, self._namespace.values
        names: dict[str, bytes] = {}

        def make(members: list[str], places: list[bytes]) -> FetchMany:
            warrants = namespace.generations.warrants(places)
            names.update(zip(members, warrants, strict=True))
            return FetchMany(warrants)

        found: dict[str, Any] = {}
        numbers = {each.key: each for each in bare}
        for members, outcome in (yield from namespace.generations.each(list(numbers), make, reads=True)):
            if isinstance(outcome, RemoteError):
                namespace.counters.remote_errors += 1
                continue
            for key, fetched in zip(members, outcome, strict=True):
                number = numbers[key]
                counted = values.is_warrant(names[key], fetched.data)
                loaded = values.load(number.place, number.data, counted=counted)
                if loaded is None:
                    namespace.counters.corrupt += 1
                    namespace.counters.misses += 1
                    found[key] = MISSING
                else:
                    self._fill(key, loaded, number.token, number.now, number.left)
                    found[key] = loaded.value
        return found

    def _proven(self, unproven: list[Unproven]) -> Flow[dict[str, Any]]:
        """Install and return the entries whose tags haven't ended; the others are MISSING, or their suspects."""
        namespace = self._namespace
        values: dict[str, Any] = {}
        # The keys are noted before the check: whatever ends a tag afterwards finds them, and voids their tokens.
        with namespace.tags.holding_each([(each.key, tuple(each.loaded.stamps)) for each in unproven]):
            current = yield from namespace.versions.current(
                [stamp for each in unproven for stamp in each.loaded.stamps.items()]
            )
            for each in unproven:
                key, loaded, token, now, left = each
                if self._ended_here(loaded.stamps):
                    values[key] = self._serve_stale(key)
                elif all(current.get(tag) == version for tag, version in loaded.stamps.items()):
                    self._fill(key, loaded, token, now, left)
                    values[key] = loaded.value
                else:
                    self._drop_other(key, loaded, token)
                    namespace.counters.misses += 1
                    values[key] = MISSING
        return values

    def _valid(self, place: bytes, data: bytes) -> Flow[Loaded | None]:
        """Return the value in `data`, read at `place`; None if it is unusable or one of its tags has ended."""
        namespace, counted = self._namespace, False
        if namespace.values.is_bare_number(data):
            (name,) = namespace.generations.warrants((place,))
            warrant: Fetched = yield Fetch(name)
            counted = namespace.values.is_warrant(name, warrant.data)
        loaded = namespace.values.load(place, data, counted=counted)
        if loaded is None:
            namespace.counters.corrupt += 1
        elif (yield from self._have_ended(loaded.stamps)):
            return None
        return loaded

    def _have_ended(self, stamps: Mapping[str, bytes]) -> Flow[bool]:
        """Return True if a tag of an entry with `stamps` has ended since."""
        if not stamps:
            return False
        current = yield from self._namespace.versions.current(stamps.items())
        return self._ended_here(stamps) or any(current.get(tag) != version for tag, version in stamps.items())

    def _ended_here(self, tags: Iterable[str]) -> bool:
        """Return True if this process has ended a tag, and the remote tier may not have the end yet."""
        journal = self._namespace.journal
        return bool(journal) and any(Tag(tag) in journal for tag in tags)

    def _is_late(self, key: str, loaded: Loaded) -> bool:
        """Return True if a late write of this process stored the value; the journal then undoes it."""
        namespace = self._namespace
        late = namespace.late.by(key, loaded.op_id)
        if late is not None and key not in namespace.journal:
            namespace.late.take_place(late.op_id, (key,))
            namespace.undo(key, (late,))
        return late is not None

    def _drop_other(self, key: str, loaded: Loaded, token: int) -> None:
        """Drop the suspect of a key whose remote value has ended, unless it is that same value, kept for outages."""
        store = self._namespace.store
        if store.op(key) not in (None, op_tag(loaded.op_id)) and store.stands(key, token):
            store.discard(key)

    def _fill(self, key: str, loaded: Loaded, token: int, now: int, left: int) -> None:
        """Install a valid entry that has `left` ns to live, if `token` is still valid."""
        namespace = self._namespace
        namespace.counters.remote_hits += 1
        if left:
            namespace.store.install(
                key,
                loaded.value,
                token,
                op=op_tag(loaded.op_id),
                expires=namespace.local_expiry(now, left),
                stale=namespace.stale_ttl,
                encoded=loaded.payload,
                keep=True,
            )
