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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from twotier.clock import NEVER, SECOND
from twotier.core.access.missing import MISSING
from twotier.core.access.reads import CHUNK, tokens_of
from twotier.core.access.ttl import MILLISECOND, after
from twotier.core.flow.blocking import is_gone, is_needed
from twotier.core.flow.drive import Flow
from twotier.core.flow.requests import Pause
from twotier.core.flow.turns import Turns, parts, told_in_turns
from twotier.core.loading.admission import Admission
from twotier.core.loading.call_policy import CallPolicy
from twotier.core.loading.claims import Claim
from twotier.core.loading.loader_call import NOTHING, Held, LoaderResult
from twotier.core.loading.lock_settlement import LoadLock, LockSettlement
from twotier.core.tags.tag_index import Hold
from twotier.errors import RemoteError
from twotier.remote.commands.base import NO_EXPIRY, Put
from twotier.remote.commands.conditional import IfEqual
from twotier.remote.commands.load_locks import LockReply, TakeLoadLocks
from twotier.remote.io.breaker import BreakerOpenError

FIRST_LOOK: Final = 0.002
LAST_LOOK: Final = 0.05
"""Seconds between two looks of a process that waits for another's load: doubled from the first to the last."""
Others = Literal["wait", "ignore", "leave"]
"""What becomes of keys that another process is loading: they are waited for, loaded all the same, or left out."""
LoadKeys = Callable[[Sequence[str], Held], Flow[dict[str, LoaderResult]]]
"""Loads keys from the source, in one call of the loader."""
Tell = Callable[[Mapping[str, LoaderResult]], None]
"""Is told what comes of keys."""


@dataclass(slots=True)
class _Polls:
    """What repeated looks for the leases on some keys have found."""

    claim: Claim
    terms: CallPolicy
    anew: bool
    made: dict[str, LoaderResult] = field(default_factory=dict)
    """What is there."""
    ours: dict[str, LoadLock] = field(default_factory=dict)
    """Leases taken."""
    over: list[bytes] = field(default_factory=list)
    """Leases taken for nothing, as the value was there."""
    busy: list[str] = field(default_factory=list)
    """Keys that others are loading."""
    holders: set[bytes] = field(default_factory=set)
    """Tokens of those."""
    away: list[str] = field(default_factory=list)
    """Keys that the remote tier can't be asked about."""
    ended: set[bytes] = field(default_factory=set)
    """Leases in whose place there is an absence that has ended with one of its tags."""
    stood: dict[str, bytes | None] = field(default_factory=dict)
    """What stood under a key at the first look: when it is to be loaded anew, that doesn't count."""


class TwoTier(LockSettlement):
    """All flows of a namespace with a remote tier. Keys are checked by the caller; ttl in ns, NEVER for none."""

    def load(
        self,
        keys: Sequence[str],
        load: LoadKeys,
        tell: Tell,
        terms: CallPolicy,
        admission: Admission,
        *,
        others: Others = "wait",
        anew: bool = False,
    ) -> Flow[None]:
        """Load keys, or find what others have made of them meanwhile; `tell` what comes of each.

        `anew`: what is there is to be replaced; only what comes while another process loads counts as loaded.
        """
        namespace = self._open()
        looks = _Polls(Claim(namespace.claims, namespace.op_ids.next()), terms, anew)
        admission.claim = looks.claim
        try:
            try:
                yield from self._load_claiming(keys, load, tell, looks, admission, others)
            except GeneratorExit:
                raise  # the flow was thrown away, and can ask for nothing more
            except BaseException:
                yield from self._release_locks(looks.claim)  # the last of them may have been granted
                raise
            finally:
                looks.claim.close()
        finally:
            looks.claim.close()

    def _load_claiming(
        self,
        keys: Sequence[str],
        load: LoadKeys,
        tell: Tell,
        looks: "_Polls",
        admission: Admission,
        others: Others,
    ) -> Flow[None]:
        """Load keys; the leases on them are claimed in `looks`."""
        namespace, patience = self._namespace, admission.patience
        life = round(namespace.options.load_lease * SECOND)
        pause, waiting = FIRST_LOOK, list(keys)
        while waiting:
            yield from self._look(looks, waiting, life)
            if looks.over:
                over, looks.over = looks.over, []
                yield from self._release_locks(looks.claim, over)
            if looks.made:
                made, looks.made = looks.made, {}
                yield from told_in_turns(tell, made)
            waiting, looks.busy = looks.busy, []
            if looks.ours:
                ours, looks.ours = looks.ours, {}
                if admission.enter():
                    yield from told_in_turns(tell, (yield from self._load_leased(ours, load, looks)))
                elif left := (yield from self._queue(ours, looks, admission)):
                    waiting += left
                    continue
            admission.leave()  # while we wait for others no loader of ours runs
            if not waiting or others != "wait" or not patience.left or self._is_needed(looks):
                break
            wait = pause * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
            yield Pause(wait)
            patience.waited(wait)
            pause = min(2 * pause, LAST_LOOK)
            waiting = waiting if looks.anew else self._not_in_local_tier(waiting, tell)
        alone = self._not_held_locally([] if others == "leave" else waiting, looks, tell)
        if alone and not admission.enter():
            alone = yield from admission.queue(alone)
        if alone:
            yield from told_in_turns(tell, (yield from self._load_without_lock(alone, load, looks.terms)))

    def _is_needed(self, looks: _Polls) -> bool:
        """Return True if our own process has a lease that we wait for, and may need our thread to end it.

        Two loads of one process wait for one lease where a write, or a new epoch, has come between them.
        """
        holders, looks.holders = looks.holders, set()
        for holder in holders:
            claim = self._namespace.claims.under_way.get(holder)
            if claim is not None:
                if is_gone(claim.loop):
                    claim.close()
                elif is_needed(for_loops=claim.loop is not None):
                    return True
        return False

    def _queue(self, ours: dict[str, LoadLock], looks: _Polls, admission: Admission) -> Flow[list[str]]:
        """Wait for a place at the gate, without leases meanwhile; return the keys that are to be loaded then.

        So nobody waits for a lease whose holder waits for a place, and other processes may load.
        """
        yield from self._release_locks(looks.claim, [lease.lease for lease in ours.values()])
        return (yield from admission.queue(list(ours)))

    def _not_held_locally(self, alone: list[str], looks: _Polls, tell: Tell) -> list[str]:
        """Return the keys that are to be loaded without a lease: `alone`, and those that can't be asked about.

        Another thread may have loaded one of these between our look and now: without the server, that is a suspect.
        """
        away = looks.away
        spares = {} if looks.anew else {key: value for key in away if (value := self.spare(key)) is not MISSING}
        if spares:
            tell({key: LoaderResult(value, self._namespace.values.encode(value)) for key, value in spares.items()})
        return alone + [key for key in away if key not in spares]

    def _not_in_local_tier(self, keys: list[str], tell: Tell) -> list[str]:
        """Return the keys that this process hasn't got meanwhile; tell of the others."""
        namespace = self._namespace
        found = namespace.store.get_many(keys)
        if found:
            tell({key: LoaderResult(value, namespace.values.encode(value)) for key, value in found.items()})
        return [key for key in keys if key not in found]

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

    def _look(self, looks: _Polls, keys: Sequence[str], patience: int) -> Flow[None]:
        """Take the leases on keys, as far as nobody has them, and see what is there."""
        namespace = self._namespace
        tokens, now = (yield from tokens_of(namespace.store, keys)), namespace.clock.now()
        asked = [key for key in keys if not self._in_doubt(key)]
        if len(asked) < len(keys):
            looks.away += [key for key in keys if key not in set(asked)]
        for start in range(0, len(asked), CHUNK):
            found, away = yield from self._taken(asked[start : start + CHUNK], looks, patience)
            looks.away += away
            if away and not found:  # nobody answers
                looks.away += asked[start + CHUNK :]
                return
            for key, (place, lease), taken in found:
                ours = LoadLock(tokens[key], place, lease)
                try:
                    if (yield from self._is_there(looks, key, ours, taken, now)):
                        continue
                    held = taken.taken or (yield from self._lock_displaced(looks, ours, taken, patience))
                except RemoteError:
                    namespace.counters.remote_errors += 1
                    looks.away.append(key)
                else:
                    if held:
                        looks.ours[key] = ours
                    else:
                        looks.busy.append(key)
                        if taken.holder.data is not None:
                            looks.holders.add(taken.holder.data)

    def _taken(
        self, keys: list[str], looks: _Polls, patience: int
    ) -> Flow[tuple[list[tuple[str, tuple[bytes, bytes], LockReply]], list[str]]]:
        """Take leases; return of each key its name, its lease's, and what was found, and the keys that are away."""
        namespace = self._namespace
        names: dict[str, tuple[bytes, bytes]] = {}

        def make(members: list[str], places: list[bytes]) -> TakeLoadLocks:
            leases = namespace.generations.leases(places)
            looks.claim.add(leases)
            pairs = list(zip(places, leases, strict=True))
            names.update(zip(members, pairs, strict=True))
            return TakeLoadLocks(pairs, looks.claim.token, patience // MILLISECOND)

        found, away = [], []
        for members, outcome in (yield from namespace.generations.each(keys, make)):
            if isinstance(outcome, RemoteError):
                namespace.counters.remote_errors += 1
                away += members
                if isinstance(outcome, BreakerOpenError):  # nobody was asked
                    looks.claim.drop([names[key][1] for key in members if key in names])
            else:
                looks.claim.drop(
                    [names[key][1] for key, taken in zip(members, outcome, strict=True) if not taken.taken]
                )
                found += [(key, names[key], taken) for key, taken in zip(members, outcome, strict=True)]
        return found, away

    def _is_there(self, looks: _Polls, key: str, ours: LoadLock, taken: LockReply, now: int) -> Flow[bool]:
        """Return True if there is nothing to load: the value is there, or it is known that there is none."""
        namespace = self._namespace
        stands = taken.fetched.data
        if looks.anew and looks.stood.setdefault(key, stands) == stands:
            return False
        if stands is not None:
            value = yield from self._accept_fill(key, ours.place, taken.fetched, ours.token, now)
            if value is not MISSING:
                looks.made[key] = LoaderResult(value, namespace.values.encode(value))
                if taken.taken:
                    looks.over.append(ours.lease)
                return True
        holder = taken.holder
        ends = holder.data is not None and holder.pttl != NO_EXPIRY
        stamps = namespace.values.absent(ours.lease, holder.data or b"") if ends and not taken.taken else None
        if stamps is None:
            return False
        with namespace.tags.holding((key,), tuple(stamps)):
            if (yield from self._have_ended(stamps)):
                looks.ended.add(ours.lease)
                return False
            namespace.absences.remember(key, ours.token, now + max(0, holder.pttl) * MILLISECOND, stamps)
        namespace.counters.negative_hits += 1
        looks.made[key] = NOTHING
        return True

    def _lock_displaced(self, looks: _Polls, ours: LoadLock, taken: LockReply, patience: int) -> Flow[bool]:
        """Take a lease that an absence replaces, or one that is abandoned or never ends; return True if it is ours."""
        namespace, stands = self._namespace, taken.holder.data
        # Nobody of ours takes one that never ends, or is no string: it was planted, or made permanent.
        planted = taken.holder.pttl == NO_EXPIRY
        abandoned = stands is not None and namespace.claims.is_abandoned(ours.lease, stands)
        if not planted and not abandoned:
            unwanted = stands is not None and (looks.anew or ours.lease in looks.ended)
            if not unwanted or namespace.values.absent(ours.lease, stands or b"") is None:
                return False
        lease = Put(ours.lease, looks.claim.token, patience // MILLISECOND, absent=False, publication=None)
        looks.claim.add((ours.lease,))
        done = bool((yield IfEqual(ours.lease, stands, lease)))
        if stands is not None and abandoned and done:
            namespace.claims.settled(ours.lease, stands)
        if not done:
            looks.claim.drop((ours.lease,))
        return done

    def _load_leased(self, ours: dict[str, LoadLock], load: LoadKeys, looks: _Polls) -> Flow[dict[str, LoaderResult]]:
        namespace, keys = self._namespace, list(ours)

        def held(key: str) -> Any:
            stood = looks.stood.get(key)
            if stood is None or namespace.values.is_bare_number(stood):
                return self.held(key)
            loaded = namespace.values.load(ours[key].place, stood)
            if loaded is None:
                return self.held(key)
            namespace.tags.note(key, tuple(loaded.stamps))  # held here, and asked for by who keeps the value
            return loaded.value

        with namespace.tags.holding(keys, looks.terms.noted) as hold:
            early = yield from self._early_stamps(looks.terms)
            made = yield from load(keys, held)
            stamps = yield from self._late_stamps(early, made, looks.terms, hold)
            stored = True
            for start in range(0, len(keys), CHUNK):
                chunk = {key: ours[key] for key in keys[start : start + CHUNK]}
                stored &= yield from self._settle(chunk, made, stamps, looks.claim, anew=looks.anew)
            if stored:
                hold.written()
        return made

    def _load_without_lock(
        self, keys: Sequence[str], load: LoadKeys, terms: CallPolicy
    ) -> Flow[dict[str, LoaderResult]]:
        """Load without leases: the values are kept here as suspects, and not stored remotely."""
        namespace = self._namespace
        with namespace.tags.holding(keys, terms.noted) as hold:
            tokens = yield from tokens_of(namespace.store, keys)
            made = yield from load(keys, self.held)
            op_id, now, turns = namespace.op_ids.next(), namespace.clock.now(), Turns()
            for part in parts(made.items()):
                for key, each in part:
                    if isinstance(hold, Hold):
                        hold.add(each.tags)
                    if not each.ttl or not namespace.store.stands(key, tokens[key]):
                        continue
                    if each.payload:
                        self._keep_suspect(key, each.value, each.payload, op_id, each.ttl, now)
                    else:
                        namespace.absences.remember(key, tokens[key], after(now, each.ttl), each.tags)
                yield from turns.give(len(part))
        return made
