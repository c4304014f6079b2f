"""The flows of a cache without a remote tier: the same calls and meanings, answered by the local tier alone.

They are flows so that one `Calls` serves both modes, but yield only loads, and pauses that let
other tasks run. Values that can't be stored remotely are refused here as well: a cache that is
given a server later must not begin to fail then.
"""

import functools
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, ParamSpec, TypeVar

from twotier.clock import SECOND
from twotier.core.access.keys import INT64, checked_in_turns, encoded_many
from twotier.core.access.missing import MISSING
from twotier.core.access.reads import held_here, holds, local_ttl_left, tokens_of
from twotier.core.access.ttl import after
from twotier.core.flow.drive import Flow
from twotier.core.flow.turns import Turns, parts, told_in_turns
from twotier.core.loading.admission import Admission
from twotier.core.loading.call_policy import CallPolicy
from twotier.core.loading.load_locks import LoadKeys, Others
from twotier.core.loading.loader_call import LoaderResult
from twotier.core.namespace.namespace import Namespace
from twotier.core.tags.tag_index import Hold
from twotier.fork import reset_on_fork
from twotier.opid import NO_OP

P = ParamSpec("P")
R = TypeVar("R")


def _flow(answer: Callable[P, R]) -> Callable[P, Flow[R]]:
    """Turn a function that returns at once into a flow."""

    @functools.wraps(answer)
    def flow(*args: P.args, **kwargs: P.kwargs) -> Flow[R]:
        return answer(*args, **kwargs)
        yield  # makes a generator of it

    return flow


class LocalOnly:
    """The flows of a namespace without a remote tier. Keys are checked by the caller; ttl in ns, NEVER for none."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self.after_fork()
        reset_on_fork(self)
        self._stale_ttl: Final = round(namespace.options.stale_ttl * SECOND)
        self._stale: Final = self._stale_ttl if namespace.options.keeps_stale else 0
        """How long entries are kept past their expiry (ns), unless their load says otherwise."""

    def after_fork(self) -> None:
        """Replace the lock in a forked child, where no other thread is counting."""
        self._counting = threading.Lock()

    @_flow
    def get(self, key: str, *, keep: bool = False) -> Any:  # noqa: ARG002 - nothing is dropped here
        """Return MISSING: there is no other tier to read."""
        self._namespace.check_open()
        if self._namespace.absences.holds(key):
            self._namespace.found_absent()
        else:
            self._namespace.counters.misses += 1
        return MISSING

    def get_many(self, keys: Iterable[str]) -> Flow[dict[str, Any]]:
        """Return the values of the keys that exist, in the order of `keys`."""
        self._namespace.check_open()
        wanted = yield from checked_in_turns(keys)
        found = yield from held_here(self._namespace.store, wanted)
        self._namespace.counters.misses += len(wanted) - len(found)
        return found

    @_flow
    def contains(self, key: str) -> bool:
        """Return True if `key` exists."""
        self._namespace.check_open()
        return holds(self._namespace.store, key)

    @_flow
    def ttl(self, key: str) -> float | None:
        """Return the seconds that `key` has left, None for no expiry, 0.0 if it doesn't exist."""
        self._namespace.check_open()
        return local_ttl_left(self._namespace, key) if holds(self._namespace.store, key) else 0.0

    @_flow
    def set(self, key: str, value: Any, ttl: int, *, absent: bool = False, tags: tuple[str, ...] = ()) -> bool:
        """Put `value`; with `absent`, only if `key` doesn't exist. Return True if it was put."""
        self._namespace.check_open()
        return self._put(key, value, self._namespace.values.encode(value), ttl, absent=absent, tags=tags)

    def set_many(self, values: Mapping[str, Any], ttl: int, *, tags: tuple[str, ...] = ()) -> Flow[None]:
        """Put every value; nothing is written if one value can't be stored."""
        self._namespace.check_open()
        encoded = yield from encoded_many(self._namespace.values.encode, values)
        turns = Turns()
        for part in parts(zip(*encoded, strict=True)):
            for key, value, payload in part:
                self._put(key, value, payload, ttl, absent=False, tags=tags)
            yield from turns.give(len(part))

    @_flow
    def invalidate_tags(self, tags: Sequence[str]) -> None:
        """Expire every entry that carries any of `tags`."""
        self._namespace.check_open()
        self._namespace.end_tags(tags, NO_OP)

    def delete_many(self, keys: Iterable[str], *, kept: bool = False) -> Flow[int]:
        """Remove `keys`; return how many existed. With `kept`, expire them: entries with a stale window stay."""
        self._namespace.check_open()
        store, wanted = self._namespace.store, (yield from checked_in_turns(keys))
        turns, there = Turns(), 0
        for part in parts(wanted):
            if kept:
                there += sum(key in store for key in part)
                store.demote(part, NO_OP)
            else:
                there += sum(map(store.discard, part))
            yield from turns.give(len(part))
        return there

    @_flow
    def touch(self, key: str, ttl: int) -> bool:
        """Set a new expiry for `key`; return True if it exists."""
        self._namespace.check_open()
        if ttl == 0:
            return self._namespace.store.discard(key)
        return holds(self._namespace.store, key) and self._namespace.store.touch(
            key, expires=self._expiry(ttl), stale=self._stale
        )

    @_flow
    def incr(self, key: str, delta: int, ttl: int, *, create: bool) -> int | None:
        """Add `delta` to the integer under `key`; if there is none, start from 0, or (not `create`) return None."""
        self._namespace.check_open()
        store = self._namespace.store
        with self._counting:
            while True:
                token = store.token(key)
                value = store.suspect(key, MISSING) if key in store else MISSING
                if value is MISSING:
                    if not create:
                        return None
                    value, expires, tagged = 0, self._expiry(ttl), False
                else:
                    expires = store.expires(key) or self._expiry(ttl)
                    tagged = bool(self._namespace.tags.tags_of(key))
                if type(value) is not int or value not in INT64 or tagged:
                    raise TypeError(f"the value of {key!r} is no integer of 64 bits, or has tags")
                if value + delta not in INT64:
                    raise OverflowError(f"the sum of {key!r} and {delta} doesn't fit into 64 bits")
                with self._namespace.tags.holding((key,), ()) as hold:
                    # A write in between voids the token: the next round then counts from the written value.
                    added = store.install(key, value + delta, token, expires=expires, stale=self._stale)
                    if added or store.stands(key, token):
                        hold.written()
                        return value + delta

    @_flow
    def fetch_many(self, missed: list[str], found: dict[str, Any], *, keep: bool = False) -> None:  # noqa: ARG002 - nowhere to look
        """Add nothing to `found`: there is no other tier to read."""
        self._namespace.check_open()
        self._namespace.counters.misses += len(missed)

    @_flow
    def look(self, key: str) -> Any:  # noqa: ARG002 - nowhere to look
        """Return MISSING: there is no other tier to read."""
        return MISSING

    def load(
        self,
        keys: Sequence[str],
        load: LoadKeys,
        tell: Callable[[Mapping[str, LoaderResult]], None],
        terms: CallPolicy,
        admission: Admission,
        *,
        others: Others = "wait",  # noqa: ARG002 - there are no other processes
        anew: bool = False,
    ) -> Flow[None]:
        """Load keys, and pass the results to `tell`; each is stored unless its key was written meanwhile."""
        namespace = self._namespace
        namespace.check_open()
        if not admission.enter():
            keys = yield from admission.queue(keys)
            if not keys:
                return
        with namespace.tags.holding(keys, terms.noted) as hold:
            tokens = yield from tokens_of(namespace.store, keys)
            made = yield from load(keys, self.held)
            if terms.may_add_tags and isinstance(hold, Hold):
                hold.add(tuple({tag for each in made.values() for tag in each.tags}))
            turns, kept = Turns(), True
            for part in parts(made.items()):
                for key, each in part:
                    kept &= self._keep(key, each, tokens[key], anew=anew)
                yield from turns.give(len(part))
            if kept:
                hold.written()
        yield from told_in_turns(tell, made)

    def _keep(self, key: str, made: LoaderResult, token: int, *, anew: bool) -> bool:
        """Store a loaded result if `token` is valid; return True if the value was stored."""
        namespace, store, expires = self._namespace, self._namespace.store, self._expiry(made.ttl)
        if made.ttl and made.payload:
            stale = self._stale_ttl if made.keeps_stale else self._stale
            return store.install(key, made.value, token, expires=expires, stale=stale, encoded=made.payload)
        if store.stands(key, token):
            if anew:
                store.discard(key)
            if made.ttl:
                namespace.absences.remember(key, store.token(key), expires, made.tags)
        return False

    def spare(self, key: str) -> Any:
        """Return the stale copy of `key` to a caller that would have to wait for a load; MISSING if there is none."""
        value = self.held(key)
        if value is not MISSING:
            self._namespace.served_stale()
        return value

    def held(self, key: str) -> Any:
        """Return the value that is still kept under `key`, without counting a hit or miss."""
        return self._namespace.store.suspect(key, MISSING)

    def lapsed(self, key: str, window: int) -> Any:
        """Return the value under `key` that expired at most `window` ns ago; MISSING if there is none."""
        return self._namespace.store.lapsed(key, window, MISSING)

    @_flow
    def clear(self) -> None:
        """Remove every entry."""
        self._namespace.check_open()
        self._namespace.store.clear()

    def _put(self, key: str, value: Any, payload: bytes, ttl: int, *, absent: bool, tags: tuple[str, ...] = ()) -> bool:
        store = self._namespace.store
        there = absent and holds(store, key)  # an unusable entry is dropped here
        if ttl == 0:
            if not absent:
                store.discard(key)
            return not there
        with self._namespace.tags.holding((key,), tags) as hold:
            if absent and not store.add(key, value, expires=self._expiry(ttl), stale=self._stale, encoded=payload):
                return False
            if not absent:
                store.put(key, value, expires=self._expiry(ttl), stale=self._stale, encoded=payload)
            hold.written()
            return True

    def _expiry(self, ttl: int) -> int:
        return after(self._namespace.clock.now(), ttl)
