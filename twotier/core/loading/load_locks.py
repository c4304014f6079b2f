"""Loading across processes: the load lock of a key, which every write of the key ends.

A loader reads the source at some moment and its result is stored at a later one; a write in between
makes the result stale. The loading process therefore takes the key's load lock on the server before
the loader runs; every write removes the lock in the same transaction as its change; and the result
is stored only if the lock is still there. A result that was overtaken is returned to its callers and
enters neither tier. The same lock makes one process load while others wait. They check again until
the value is there, the lock is gone (its holder failed, or was killed), or the lock has been held for
as long as a lock may last; then they load the key themselves.

If a loader found nothing, and that is to be remembered, an absence replaces the lock for a while:
other loads of the key see the absence, and every write removes it like a lock.
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
"""Seconds between two checks of a process that waits for another's load: doubled from the first to the last."""
Others = Literal["wait", "ignore", "leave"]
"""The treatment of keys that another process is loading: wait for them, load them all the same, or leave them out."""
LoadKeys = Callable[[Sequence[str], Held], Flow[dict[str, LoaderResult]]]
"""Loads keys from the source, in one call of the loader."""
Tell = Callable[[Mapping[str, LoaderResult]], None]
"""Receives the results of keys."""


@dataclass(slots=True)
class _Polls:
    """The findings of repeated attempts to take the load locks of some keys."""

    claim: Claim
    terms: CallPolicy
    anew: bool
    made: dict[str, LoaderResult] = field(default_factory=dict)
    """Results that were found."""
    ours: dict[str, LoadLock] = field(default_factory=dict)
    """Locks taken."""
    over: list[bytes] = field(default_factory=list)
    """Locks taken in vain, as the value was there."""
    busy: list[str] = field(default_factory=list)
    """Keys that others are loading."""
    holders: set[bytes] = field(default_factory=set)
    """Tokens of the processes that load them."""
    away: list[str] = field(default_factory=list)
    """Keys that the remote tier can't be asked about."""
    ended: set[bytes] = field(default_factory=set)
    """Locks replaced by an absence that has ended with one of its tags."""
    stood: dict[str, bytes | None] = field(default_factory=dict)
    """The value of each key at the first attempt; a key that is loaded anew isn't satisfied with it."""


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
        """Load keys, or find the values that others have loaded meanwhile; pass each result to `tell`.

        `anew`: replace present values; only a value that arrives while another process loads counts as loaded.
        """
        namespace = self._open()
        looks = _Polls(Claim(namespace.claims, namespace.op_ids.next()), terms, anew)
        admission.claim = looks.claim
        try:
            try:
                yield from self._load_claiming(keys, load, tell, looks, admission, others)
            except GeneratorExit:
                raise  # the flow was discarded, and can run no more commands
            except BaseException:
                yield from self._release_locks(looks.claim)  # the last lock may have been granted
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
        """Load keys; `looks` claims their load locks."""
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
            admission.leave()  # no loader of this call runs while it waits for others
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
        """Return True if another call of this process has a lock that this one waits for, and may need this thread.

        Two loads of one process wait for one lock if a write, or a new epoch, has come between them.
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
        """Release the locks and wait for a place at the gate; return the keys that are to be loaded then.

        Thus no process waits for a lock whose holder waits for a place, and other processes may load.
        """
        yield from self._release_locks(looks.claim, [lease.lease for lease in ours.values()])
        return (yield from admission.queue(list(ours)))

    def _not_held_locally(self, alone: list[str], looks: _Polls, tell: Tell) -> list[str]:
        """Return the keys to load without a lock: `alone`, and keys about which the remote tier can't be asked.

        Another thread may have loaded one of the latter since the check: without the server, the result is a suspect.
        """
        away = looks.away
        spares = {} if looks.anew else {key: value for key in away if (value := self.spare(key)) is not MISSING}
        if spares:
            tell({key: LoaderResult(value, self._namespace.values.encode(value)) for key, value in spares.items()})
        return alone + [key for key in away if key not in spares]

    def _not_in_local_tier(self, keys: list[str], tell: Tell) -> list[str]:
        """Return the keys that are still not in the local tier; pass the values of the others to `tell`."""
        namespace = self._namespace
        found = namespace.store.get_many(keys)
        if found:
            tell({key: LoaderResult(value, namespace.values.encode(value)) for key, value in found.items()})
        return [key for key in keys if key not in found]

    def spare(self, key: str) -> Any:
        """Return the stale copy of `key` to a caller that would have to wait for a load; MISSING if there is none."""
        value = self.held(key)
        if value is not MISSING:
            self._namespace.served_stale()
        return value

    def held(self, key: str) -> Any:
        """Return the value that the local tier still has under `key`, without counting a hit or miss."""
        store = self._namespace.store
        if self._namespace.options.on_outage == "serve":
            return store.suspect(key, MISSING)
        value = store.get(key, MISSING) if key in store else MISSING
        return store.lapsed(key, NEVER, MISSING) if value is MISSING else value

    def lapsed(self, key: str, window: int) -> Any:
        """Return the value of `key` that expired by time alone, at most `window` ns ago; MISSING if there is none."""
        return MISSING if self._in_doubt(key) else self._namespace.store.lapsed(key, window, MISSING)

    def _look(self, looks: _Polls, keys: Sequence[str], patience: int) -> Flow[None]:
        """Try to take the load locks of keys, and sort the keys by the server's replies."""
        namespace = self._namespace
        tokens, now = (yield from tokens_of(namespace.store, keys)), namespace.clock.now()
        asked = [key for key in keys if not self._in_doubt(key)]
        if len(asked) < len(keys):
            looks.away += [key for key in keys if key not in set(asked)]
        for start in range(0, len(asked), CHUNK):
            found, away = yield from self._taken(asked[start : start + CHUNK], looks, patience)
            looks.away += away
            if away and not found:  # no node answers
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
        """Try to take locks; return each key, its name, its lock's name and the reply, and the keys that are away."""
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
                if isinstance(outcome, BreakerOpenError):  # no request was sent
                    looks.claim.drop([names[key][1] for key in members if key in names])
            else:
                looks.claim.drop(
                    [names[key][1] for key, taken in zip(members, outcome, strict=True) if not taken.taken]
                )
                found += [(key, names[key], taken) for key, taken in zip(members, outcome, strict=True)]
        return found, away

    def _is_there(self, looks: _Polls, key: str, ours: LoadLock, taken: LockReply, now: int) -> Flow[bool]:
        """Return True if there is nothing to load: the value is there, or is known to be absent."""
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
        """Take a lock that is replaced by an absence, is abandoned, or never expires; return True if it was taken."""
        namespace, stands = self._namespace, taken.holder.data
        # No process of ours takes a lock that never expires or is no string: it was planted, or made permanent.
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
            namespace.tags.note(key, tuple(loaded.stamps))  # held here, for the case that the value is kept
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
        """Load without locks: the values are kept here as suspects, and not stored remotely."""
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
