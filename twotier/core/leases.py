"""Loading across processes: the lease on a key, which every write of the key ends.

A loader reads the source at some moment and its result is stored at a later one; a write in between makes the result
stale. So the loading process takes a lease on the server before the loader runs; every write removes the key's lease in
the same transaction as its change; and the result is written only where the lease still stands. What was overtaken is
returned to those who asked for it and reaches neither tier. The same lease makes one process load while others wait:
they look again until the value is there, or the lease is gone (its holder failed, or was killed), or it has been held
for as long as a lease may last; then they load for themselves.

Where a loader found nothing, and that is to be remembered, an absence takes the lease's place for a while: who would
load sees it, and every write removes it like a lease.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from twotier.clock import NEVER, SECOND
from twotier.core.commands import Pause
from twotier.core.drive import Flow
from twotier.core.lifetimes import MILLISECOND, after, milliseconds
from twotier.core.loading.sources import NOTHING, Held, Made
from twotier.core.loading.terms import Terms
from twotier.core.missing import MISSING
from twotier.core.reads import CHUNK
from twotier.core.severally import severally
from twotier.core.tags import Hold, Unheld
from twotier.core.writes import Writes
from twotier.errors import RemoteError
from twotier.opid import op_tag
from twotier.remote.commands import Put, Remove, Write
from twotier.remote.conditional import IfStands
from twotier.remote.leasing import PutAbsence, SettleLeases, TakeLeases, Taken
from twotier.remote.stamps import Stamps, pack_stamps

FIRST_LOOK: Final = 0.002
LAST_LOOK: Final = 0.05
"""Seconds between two looks of a process that waits for another's load: doubled from the first to the last."""
ATTEMPTS: Final = 4
"""How often a bulk of leases is settled, when one after the other ends in that moment, before it is done key by key."""

Others = Literal["wait", "ignore", "leave"]
"""What becomes of keys that another process is loading: they are waited for, loaded all the same, or left out."""
LoadKeys = Callable[[Sequence[str], Held], Flow[dict[str, Made]]]
"""Loads keys from the source, in one call of the loader."""


@dataclass(frozen=True, slots=True)
class _Lease:
    """A lease that is ours: the fill token from before it was taken, the key's name on the server, and its own."""

    token: int
    place: bytes
    lease: bytes


@dataclass(slots=True)
class _Looks:
    """What repeated looks for the leases on some keys have found."""

    lease: bytes
    terms: Terms
    anew: bool
    asked: list[bytes] = field(default_factory=list)
    """Leases that the last look has asked for."""
    made: dict[str, Made] = field(default_factory=dict)
    """What is there."""
    ours: dict[str, _Lease] = field(default_factory=dict)
    """Leases taken."""
    over: list[bytes] = field(default_factory=list)
    """Leases taken for nothing, as the value was there."""
    busy: list[str] = field(default_factory=list)
    """Keys that others are loading."""
    away: list[str] = field(default_factory=list)
    """Keys that the remote tier can't be asked about."""
    stood: dict[str, bytes | None] = field(default_factory=dict)
    """What stood under a key at the first look: when it is to be loaded anew, that doesn't count."""


class TwoTier(Writes):
    """All flows of a namespace with a remote tier. Keys are checked by the caller; ttl in ns, NEVER for none."""

    def load(
        self,
        keys: Sequence[str],
        load: LoadKeys,
        tell: Callable[[Mapping[str, Made]], None],
        terms: Terms,
        *,
        others: Others = "wait",
        anew: bool = False,
    ) -> Flow[None]:
        """Load keys, or find what another process has made of them meanwhile; `tell` what comes of each.

        `anew`: what is there is to be replaced; only what comes while another process loads counts as loaded.
        """
        namespace = self._open()
        patience = round(namespace.options.load_lease * SECOND)
        give_up = namespace.clock.now() + patience
        looks = _Looks(namespace.op_ids.next(), terms, anew)
        pause = FIRST_LOOK
        waiting: Sequence[str] = keys
        while waiting:
            yield from self._ask(looks, waiting, patience)
            if looks.ours:
                ours, looks.ours = looks.ours, {}
                looks.made.update((yield from self._load_leased(ours, load, looks)))
            if looks.made:
                made, looks.made = looks.made, {}
                tell(made)
            waiting, looks.busy = looks.busy, []
            if waiting and (others != "wait" or namespace.clock.now() >= give_up):
                break
            if waiting:
                yield Pause(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, guards nothing
                pause = min(2 * pause, LAST_LOOK)
        alone = [] if others == "leave" else list(waiting)
        if looks.away:
            # Another thread may have loaded a key between our look and now: without the server, that is a suspect.
            spares = {} if anew else {key: value for key in looks.away if (value := self.spare(key)) is not MISSING}
            if spares:
                tell({key: Made(value, namespace.values.encode(value)) for key, value in spares.items()})
            alone += [key for key in looks.away if key not in spares]
        if alone:
            tell((yield from self._load_alone(alone, load, terms)))

    def spare(self, key: str) -> Any:
        """Return the stale copy of `key`, for one who would have to wait for a load; MISSING without one."""
        value = self.held(key)
        if value is not MISSING:
            self._namespace.served_stale()
        return value

    def held(self, key: str) -> Any:
        """Return what the local tier still has under `key`; counts nothing."""
        store = self._namespace.store
        if self._namespace.options.on_outage == "serve":
            return store.suspect(key, MISSING)
        value = store.get(key, MISSING) if key in store else MISSING
        return store.lapsed(key, NEVER, MISSING) if value is MISSING else value

    def lapsed(self, key: str, window: int) -> Any:
        """Return the value under `key` that only time has ended, at most `window` ns ago; MISSING without one."""
        return MISSING if self._in_doubt(key) else self._namespace.store.lapsed(key, window, MISSING)

    def _ask(self, looks: _Looks, keys: Sequence[str], patience: int) -> Flow[None]:
        """Look, and keep no lease that isn't needed, whatever stops us."""
        try:
            yield from self._look(looks, keys, patience)
            if looks.over:
                over, looks.over = looks.over, []
                yield from self._give_back(over, looks.lease)
        except GeneratorExit:
            raise  # the flow was thrown away, and can ask for nothing more
        except BaseException:
            yield from self._give_back(looks.asked, looks.lease)  # the last of them may have been granted
            raise

    def _look(self, looks: _Looks, keys: Sequence[str], patience: int) -> Flow[None]:
        """Take the leases on keys, as far as nobody has them, and see what is there."""
        namespace = self._namespace
        tokens, now = {key: namespace.store.token(key) for key in keys}, namespace.clock.now()
        asked = [key for key in keys if not self._in_doubt(key)]
        looks.asked = []
        if len(asked) < len(keys):
            looks.away += [key for key in keys if key not in set(asked)]
        for start in range(0, len(asked), CHUNK):
            found, away = yield from self._taken(asked[start : start + CHUNK], looks, patience)
            looks.away += away
            if away and not found:  # nobody answers
                looks.away += asked[start + CHUNK :]
                return
            for key, (place, lease), taken in found:
                ours = _Lease(tokens[key], place, lease)
                try:
                    if (yield from self._is_there(looks, key, ours, taken, now)):
                        continue
                    held = taken.taken or (looks.anew and (yield from self._displaced(looks, ours, taken, patience)))
                except RemoteError:
                    namespace.counters.remote_errors += 1
                    looks.away.append(key)
                else:
                    if held:
                        looks.ours[key] = ours
                    else:
                        looks.busy.append(key)

    def _taken(
        self, keys: list[str], looks: _Looks, patience: int
    ) -> Flow[tuple[list[tuple[str, tuple[bytes, bytes], Taken]], list[str]]]:
        """Take leases; return of each key its name, its lease's, and what was found, and the keys that are away."""
        namespace = self._namespace
        names: dict[str, tuple[bytes, bytes]] = {}

        def make(members: list[str], places: list[bytes]) -> TakeLeases:
            leases = namespace.generations.leases(places)
            looks.asked += leases
            pairs = list(zip(places, leases, strict=True))
            names.update(zip(members, pairs, strict=True))
            return TakeLeases(pairs, looks.lease, patience // MILLISECOND)

        found, away = [], []
        for members, outcome in (yield from namespace.generations.each(keys, make)):
            if isinstance(outcome, RemoteError):
                namespace.counters.remote_errors += 1
                away += members
            else:
                found += [(key, names[key], taken) for key, taken in zip(members, outcome, strict=True)]
        return found, away

    def _is_there(self, looks: _Looks, key: str, ours: _Lease, taken: Taken, now: int) -> Flow[bool]:
        """Tell whether there is nothing to load: the value is there, or it is known that there is none."""
        namespace = self._namespace
        stands = taken.fetched.data
        if looks.anew and looks.stood.setdefault(key, stands) == stands:
            return False
        if stands is not None:
            value = yield from self._let_in(key, ours.place, taken.fetched, ours.token, now)
            if value is not MISSING:
                looks.made[key] = Made(value, namespace.values.encode(value))
                if taken.taken:
                    looks.over.append(ours.lease)
                return True
        holder = taken.holder
        if not taken.taken and holder.data is not None and namespace.values.is_absence(ours.lease, holder.data):
            namespace.absences.remember(key, ours.token, now + max(0, holder.pttl) * MILLISECOND)
            namespace.counters.negative_hits += 1
            looks.made[key] = NOTHING
            return True
        return False

    def _displaced(self, looks: _Looks, ours: _Lease, taken: Taken, patience: int) -> Flow[bool]:
        """Take a lease whose place an absence has; tell whether it is ours."""
        namespace, absence = self._namespace, taken.holder.data
        if absence is None or not namespace.values.is_absence(ours.lease, absence):
            return False
        lease = Put(ours.lease, looks.lease, patience // MILLISECOND, absent=False, publication=None)
        return bool((yield IfStands(ours.lease, absence, lease)))

    def _load_leased(self, ours: dict[str, _Lease], load: LoadKeys, looks: _Looks) -> Flow[dict[str, Made]]:
        namespace, keys = self._namespace, list(ours)

        def held(key: str) -> Any:
            stood = looks.stood.get(key)
            loaded = None if stood is None else namespace.values.load(ours[key].place, stood)
            return self.held(key) if loaded is None else loaded.value

        with namespace.tags.holding(keys, looks.terms.noted) as hold:
            try:
                early = yield from self._early_stamps(looks.terms)
                made = yield from load(keys, held)
                stamps = yield from self._late_stamps(early, made, looks.terms, hold)
                stored = True
                for start in range(0, len(keys), CHUNK):
                    chunk = {key: ours[key] for key in keys[start : start + CHUNK]}
                    stored &= yield from self._settle(chunk, made, stamps, looks)
            except GeneratorExit:
                raise  # as above
            except BaseException:
                yield from self._give_back([lease.lease for lease in ours.values()], looks.lease)
                raise
            if stored:
                hold.written()
        return made

    def _early_stamps(self, terms: Terms) -> Flow[Stamps | None]:
        """Return stamps for what is going to be loaded; None where the server doesn't give them."""
        if not terms.noted:
            return {}
        try:
            return (yield from self._namespace.versions.stamps(terms.noted, terms.ttl))
        except RemoteError:
            self._namespace.counters.remote_errors += 1
            return None

    def _late_stamps(
        self, early: Stamps | None, made: Mapping[str, Made], terms: Terms, hold: Hold | Unheld
    ) -> Flow[bytes | None]:
        """Return the stamps of what was loaded, packed: its tags may have been named by the loader alone.

        None where the server doesn't give them: then it can't be stored there.
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
        self, ours: dict[str, _Lease], made: Mapping[str, Made], stamps: bytes | None, looks: _Looks
    ) -> Flow[bool]:
        """Store what was made of keys, where their leases still stand, and end those; tell whether all were stored."""
        namespace = self._namespace
        op_id, now = namespace.op_ids.next(), namespace.clock.now()
        if stamps is None:
            self._keep_suspects(ours, made, op_id, now)
            return False
        puts = {key: self._put(lease, made[key], op_id, stamps, anew=looks.anew) for key, lease in ours.items()}
        changed = [key for key, put in puts.items() if put is not None and _changes(put)]
        publication = namespace.publication("set", op_id, changed) if changed else None
        stored = None not in puts.values()
        left = list(namespace.generations.split(ours).values())
        for _ in range(ATTEMPTS):
            settles = [
                SettleLeases([ours[key].lease for key in keys], looks.lease, [puts[key] for key in keys], publication)
                for keys in left
            ]
            again: list[list[str]] = []
            for keys, settled in zip(left, (yield from severally(settles)), strict=True):
                if settled is None:
                    again.append(keys)
                elif isinstance(settled, RemoteError):
                    namespace.counters.remote_errors += 1
                    self._keep_suspects({key: ours[key] for key in keys}, made, op_id, now)
                    stored = False
                else:
                    for key, stood in zip(keys, settled, strict=True):
                        if stood and (put := puts[key]) is not None:
                            self._take_in(key, ours[key], made[key], put, op_id, now)
                    stored &= all(settled)
            left = again
            if not left:
                return stored
        for key in [key for keys in left for key in keys]:
            stored &= yield from self._settle({key: ours[key]}, made, stamps, looks)
        return stored

    def _keep_suspects(self, ours: Mapping[str, _Lease], made: Mapping[str, Made], op_id: bytes, now: int) -> None:
        """Keep what was loaded here alone, where nothing has overtaken it."""
        for key, lease in ours.items():
            each = made[key]
            if each.payload and each.ttl and self._namespace.store.stands(key, lease.token):
                self._keep_suspect(key, each.value, each.payload, op_id, each.ttl, now)

    def _put(self, lease: _Lease, made: Made, op_id: bytes, stamps: bytes, *, anew: bool) -> Write[Any] | None:
        """Return what is to become of a key: a value, an absence, nothing at all, or (None) what it is."""
        values = self._namespace.values
        life = milliseconds(made.ttl)
        if made.ttl and made.payload:
            data = values.seal(lease.place, op_id, made.payload, stamps)
            return Put(lease.place, data, life, absent=False, publication=None)
        removes = (lease.place,) if anew else ()
        if made.ttl and life is not None:
            return PutAbsence(lease.lease, values.absence(lease.lease, op_id), life, removes=removes)
        return Remove(removes, None) if removes else None

    def _take_in(self, key: str, lease: _Lease, made: Made, put: Write[Any], op_id: bytes, now: int) -> None:
        """Have the local tier follow what the remote one has now."""
        namespace = self._namespace
        if isinstance(put, Put):
            self._install(key, made.value, made.payload, lease.token, op_id, made.ttl, now)
        elif _changes(put):
            namespace.store.apply((key,), op_tag(op_id))
        else:
            namespace.absences.remember(key, lease.token, after(now, made.ttl))

    def _load_alone(self, keys: Sequence[str], load: LoadKeys, terms: Terms) -> Flow[dict[str, Made]]:
        """Load without leases: the values are kept here as suspects, and not stored remotely."""
        namespace = self._namespace
        with namespace.tags.holding(keys, terms.noted) as hold:
            tokens = {key: namespace.store.token(key) for key in keys}
            made = yield from load(keys, self.held)
            op_id, now = namespace.op_ids.next(), namespace.clock.now()
            for key, each in made.items():
                if isinstance(hold, Hold):
                    hold.add(each.tags)
                if not each.ttl or not namespace.store.stands(key, tokens[key]):
                    continue
                if each.payload:
                    self._keep_suspect(key, each.value, each.payload, op_id, each.ttl, now)
                else:
                    namespace.absences.remember(key, tokens[key], after(now, each.ttl))
        return made

    def _give_back(self, leases: Iterable[bytes], token: bytes) -> Flow[None]:
        """Give leases back, so that others needn't wait for their end; if that fails, they end by themselves."""
        given = list(leases)
        try:
            for start in range(0, len(given), CHUNK):
                chunk = given[start : start + CHUNK]
                yield SettleLeases(chunk, token, [None] * len(chunk), None)
        except RemoteError:
            self._namespace.counters.remote_errors += 1


def _changes(put: Write[Any]) -> bool:
    """Tell whether a write changes the key itself, so that others have to hear of it."""
    return not isinstance(put, PutAbsence) or bool(put.removes)
