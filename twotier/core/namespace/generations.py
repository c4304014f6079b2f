"""The namespace's generation: a random name in every key on the server, so that `clear` is one write.

A new generation makes every older key unreachable at once; those leave the server by their expiry. A process caches the
generation for one epoch: whatever could have changed it unseen (link loss, reconnect, a clear) bumps the epoch. While
the link isn't live it is asked for before every command. Without a link (`coherence="none"`) it is taken to hold for as
long as the bound on staleness says. It lives under a key of its own without expiry. When a server evicts that key,
whoever needs it next restores the name from its copies (`remote/commands/name_copies.py`); without them (FLUSHALL, an
empty restart) it makes a new one, and live processes notice the difference at their next lease exchange. A write that
finds the name gone counts if its own name is restored: it is never done again in the same generation.

Only names of our own form are accepted (`generation_names.py`), and with a secret only signed ones, none of them
earlier than one that this process has seen. What else stands there is replaced, which is a clear: only if it still
stands, so that of several processes one does it. A name that another secret has signed is replaced by who writes (ours
may be the newer secret), but less and less often: two processes with other secrets would clear the namespace in turn.

On one server there is one, for all keys: group 0; in a cluster one a group of slots (`cluster_generations.py`).
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

from twotier.clock import NEVER, SECOND, Clock
from twotier.core.access.keys import as_bytes, name_beside
from twotier.core.access.ttl import after
from twotier.core.flow.batch import Part, run_batch
from twotier.core.flow.drive import Flow
from twotier.core.namespace.generation_names import FIRST, GenerationNames
from twotier.core.namespace.generation_records import record_clear
from twotier.errors import RemoteError
from twotier.local import Store
from twotier.rate_limited_log import RateLimitedLog
from twotier.remote.commands.base import Command, Publication, SetGeneration, Write
from twotier.remote.commands.conditional import Conditional, IfEqual
from twotier.remote.commands.generations import UnderGeneration, WithGeneration
from twotier.remote.commands.name_copies import ReadName, RestoreName, copies_of

ATTEMPTS: Final = 8
"""How often a write is done again when one clear after the other overtakes it."""
LONGEST_TRUCE: Final = 60 * SECOND
"""Longest that a generation of another secret stands before it is replaced again (ns): 1 s at first, then doubled."""

R = TypeVar("R")
MakeMany = Callable[[list[str], list[bytes]], Command[R] | Conditional[R]]
MakeWrites = Callable[[list[str], list[bytes]], Command[R]]
"""Makes a command of keys and of their names on the server."""


class Generations:
    """What this process knows of its namespace's generation."""

    __slots__ = (
        "_announcement", "_clock", "_known", "_lasts", "_log", "_names", "_newest", "_store", "_truce", "_truce_ends",
        "keys", "namespace", "stem",
    )  # fmt: skip

    def __init__(
        self,
        namespace: str,
        store: Store,
        clock: Clock,
        lasts: int,
        *,
        names: GenerationNames | None = None,
        announcement: Callable[[], Publication | None] = lambda: None,
    ) -> None:
        self.namespace = namespace
        self.stem = namespace.encode() + b":"
        """What every key of the namespace begins with."""
        self.keys: tuple[bytes, ...] = self._generation_keys()
        """The server key that holds the generation, of each group."""
        self._store = store
        self._clock = clock
        self._lasts = lasts
        """How long an answer of the server holds (ns); NEVER where the link would tell of a change."""
        self._known: list[tuple[int, bytes, int] | None] = [None] * len(self.keys)
        """Of each group: epoch, prefix of its keys, instant until which it holds."""
        self._names = GenerationNames((), namespace) if names is None else names
        self._announcement = announcement
        """Makes the message of a clear."""
        self._newest = [FIRST] * len(self.keys)
        """Of each group: the rank of the latest name that was accepted or made here; none before it is accepted."""
        self._log = RateLimitedLog(clock)
        self._truce = 0
        self._truce_ends = 0
        """Until when (ns) a name of another secret isn't replaced again."""

    def _generation_keys(self) -> tuple[bytes, ...]:
        return (self.stem + b"gen",)

    # Groups

    def group_of(self, key: str) -> int:  # noqa: ARG002 - of one group is every key
        """Return the group of `key`."""
        return 0

    def split(self, keys: Iterable[str]) -> dict[int, list[str]]:
        """Return `keys` by group, in their order."""
        return {0: list(keys)}

    # Names

    def places_under(self, prefix: bytes, keys: Iterable[str]) -> list[bytes]:
        """Return the names on the server of keys of one group, whose generation has `prefix`."""
        return [prefix + as_bytes(key) for key in keys]

    def prefix_of(self, name: bytes) -> bytes:
        """Return the prefix that keys have under generation `name`."""
        return self.stem + name + b":"

    def leases(self, places: Iterable[bytes]) -> list[bytes]:
        """Return the names of the leases on the keys at `places`; no key's own name is like that."""
        return [name_beside(place, b"!") for place in places]

    def warrants(self, places: Iterable[bytes]) -> list[bytes]:
        """Return the names of the warrants of counters at `places`; no generation's own name is like that."""
        return [name_beside(place, b"#") for place in places]

    def is_under(self, place: bytes, name: bytes | None) -> bool:
        """Return True if the key at `place` is of generation `name`."""
        return name is not None and place.startswith(self.prefix_of(name))

    def group_at(self, place: bytes) -> int:  # noqa: ARG002 - as `group_of`
        """Return the group of the key `place` on the server."""
        return 0

    def is_ours(self, name: bytes) -> bool:
        """Return True if `name` is one of a generation of this namespace, now or before."""
        return self._names.rank(name) is not None

    def key_in(self, place: bytes) -> str | None:
        """Return the key whose name on the server is `place`, in whatever generation; None for leases and the like."""
        generation, colon, key = place[len(self.stem) :].partition(b":")
        if not colon or b"!" in generation or b"#" in generation:
            return None
        try:
            return key.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return None  # nobody's who uses this namespace through twotier

    # What is known

    def prefix(self, group: int = 0, *, reads: bool = False) -> Flow[bytes]:
        """Return the prefix of a group's keys, asking the server when it isn't known for certain."""
        standing = self._standing(group)
        if standing is not None:
            return standing
        for _ in range(ATTEMPTS):
            epoch, now = self._store.epoch, self._clock.now()
            name = (yield from self._look((group,)))[group]
            if isinstance(name, RemoteError):
                raise name
            if name is None:
                continue
            if self._accepts(group, name):
                return self._learn(group, epoch, now, name)
            yield from self._replace({group: name}, reads=reads)
        raise overtaken()

    # Asking for names, and restoring what was evicted

    def _look(self, groups: Sequence[int]) -> Flow[dict[int, bytes | RemoteError | None]]:
        """Return the name of each group (None: it has changed meanwhile); restore or make what is gone."""
        names = dict(zip(groups, (yield from run_batch([ReadName(self.keys[at]) for at in groups])), strict=True))
        return names | (yield from self._restore([group for group, name in names.items() if name is None]))

    def _restore(self, groups: Sequence[int]) -> Flow[dict[int, bytes | RemoteError | None]]:
        """Write what is missing of names and copies; return the name of each group (None: it has changed meanwhile)."""
        new = self._new_name(groups)
        answers = yield from run_batch(
            [RestoreName(self.keys[group], new, partial(self.is_acceptable, group)) for group in groups]
        )
        return dict(zip(groups, answers, strict=True))

    def keep_copies(self) -> Flow[None]:
        """Write the copies again that were evicted, or the name."""
        yield from self._restore((0,))

    def _set_name(self, group: int, name: bytes, publication: Publication | None) -> SetGeneration:
        return SetGeneration(self.keys[group], name, publication, copies_of(self.keys[group]))

    def name_after(self, group: int, found: bytes | None) -> Flow[bytes | None]:
        """Return the name that a write has `found` after it; if it was evicted (None), restore it first."""
        if found is not None:
            return found
        name = (yield from self._named((group,)))[group]
        if isinstance(name, RemoteError):
            raise name
        return name

    # Which names are accepted

    def _new_name(self, groups: Iterable[int]) -> bytes:
        return self._names.make(after=max([self._newest[group] for group in groups], default=FIRST))

    def is_acceptable(self, group: int, name: bytes) -> bool:
        """Return True if `name` is one of ours, and no earlier one than this process has seen of the group."""
        rank = self._names.rank(name)
        return rank is not None and rank >= self._newest[group]

    def _accepts(self, group: int, name: bytes) -> bool:
        """Return True if `name` is acceptable; then it has been seen."""
        rank = self._names.rank(name)
        if rank is None or rank < self._newest[group]:
            return False
        self._newest[group] = rank
        return True

    def _replace(self, refused: Mapping[int, bytes], *, reads: bool = False) -> Flow[None]:
        """Put a new name in place of each one refused, by group, unless another stands there by now.

        Who `reads` alone leaves a name of another secret: one process with a wrong secret isn't to clear the namespace.
        """
        foreign = any(self._names.is_of_another_secret(name) for name in refused.values())
        if foreign:
            self._break_truce(reads=reads)
        self._log.log(
            logging.WARNING, "replaced", "the generation of namespace %s on the server is %s and is replaced: a clear",
            self.namespace, "signed with another secret, or forged," if foreign else "unsigned, foreign or outdated",
        )  # fmt: skip
        name, announcement = self._new_name(refused), self._announcement()
        writes = [
            IfEqual(self.keys[group], stands, self._set_name(group, name, announcement))
            for group, stands in refused.items()
        ]
        outcomes = yield from run_batch(writes)
        self._store.bump_epoch()  # what is held here may be of a generation that is over
        for outcome in outcomes:
            if isinstance(outcome, RemoteError):
                raise outcome

    def _break_truce(self, *, reads: bool) -> None:
        """Go on to replace a name of another secret; raise RemoteError to who `reads`, and if it was done lately."""
        now = self._clock.now()
        if reads or now < self._truce_ends:
            reason = "is signed with another secret: all processes of a namespace need the same secret"
            self._log.log(logging.ERROR, "foreign", "the generation of namespace %s %s", self.namespace, reason)
            raise RemoteError(f"the generation of namespace {self.namespace} {reason}")
        lately = now < self._truce_ends + 10 * LONGEST_TRUCE
        self._truce = min(2 * self._truce, LONGEST_TRUCE) if self._truce and lately else SECOND
        self._truce_ends = now + self._truce

    def _learn(self, group: int, epoch: int, now: int, name: bytes) -> bytes:
        """Take the answer to a question asked at an epoch and instant; return the prefix that it makes."""
        prefix = self.prefix_of(name)
        known = self._known[group]  # what another caller was told meanwhile
        if known is not None and known[0] == epoch and known[1] != prefix:
            # One of two answers is out of date, and nobody knows which; what was filled under it is in doubt.
            self._store.bump_epoch()
            self._known[group] = None
        elif known is None or known[0] <= epoch:
            self._known[group] = (epoch, prefix, after(now, self._lasts))
        return prefix

    def _standing(self, group: int) -> bytes | None:
        """Return the prefix of a group, if it is known for certain."""
        known, store = self._known[group], self._store
        if known is not None and known[0] == store.epoch and store.live:
            until = known[2]
            if until == NEVER or self._clock.now() < until:
                return known[1]
        return None

    def contradicts(self, name: bytes | None, group: int = 0) -> bool:
        """Return True if the generation that a lease exchange found (None: the key is gone) is another than is known.

        It isn't taken over: it was read before the reply was handled, and a clear may have come in between.
        """
        known = self._known[group]
        if known is None or known[0] != self._store.epoch:
            return False
        return name is None or known[1] != self.prefix_of(name)

    # What flows ask for

    def known_place(self, key: str) -> bytes | None:
        """Return what `place` gives, if that takes no trip."""
        prefix = self._standing(0)
        return None if prefix is None else prefix + as_bytes(key)

    def place(self, key: str) -> Flow[bytes]:
        """Return the name of `key` on the server, to read it."""
        prefix = yield from self.prefix(reads=True)
        return prefix + as_bytes(key)

    def write(self, key: str, make: Callable[[bytes], Write[R]]) -> Flow[R]:
        """Do the write of `key` that `make` makes for its name; again, if that was a dead generation's.

        Otherwise a write that begins after a clear elsewhere, and before its message, would be lost, while what was
        written under the new generation before it stays.
        """
        name = as_bytes(key)
        return self._fenced(lambda prefix: make(prefix + name))

    def prefixes(self, groups: Iterable[int]) -> Flow[dict[int, bytes | RemoteError]]:
        """Return the prefix of each of `groups`, or why it isn't known."""
        found: dict[int, bytes | RemoteError] = {}
        for group in groups:
            try:
                found[group] = yield from self.prefix(group)
            except RemoteError as error:
                found[group] = error
        return found

    def each(self, keys: list[str], make: MakeMany[R], *, reads: bool = False) -> Flow[list[Part[R]]]:
        """Do what `make` makes for keys, which reads alone if `reads`; return what came of each part of them."""
        try:
            prefix = yield from self.prefix(reads=reads)
            outcome = yield make(keys, self.places_under(prefix, keys))
        except RemoteError as error:
            outcome = error
        return [Part(keys, outcome)]

    def write_if(self, key: str, make: Callable[[bytes, bytes], Conditional[UnderGeneration[R]]]) -> Flow[R]:
        """Do the conditional write of `key` that `make` makes for its name and its generation's; again as `write`."""
        group = self.group_of(key)
        for _ in range(ATTEMPTS):
            prefix = (yield from self.prefixes((group,)))[group]
            if isinstance(prefix, RemoteError):
                raise prefix
            (place,) = self.places_under(prefix, (key,))
            done: UnderGeneration[R] = yield make(place, self.keys[group])
            name = yield from self.name_after(group, done.generation)
            if self.is_under(place, name):
                return done.result
            self._store.bump_epoch()
        raise overtaken()

    def write_each(self, keys: list[str], make: MakeWrites[R]) -> Flow[list[Part[R]]]:
        """Write as `write` does, what `make` makes for keys; return what came of each part of them."""
        try:
            outcome = yield from self._fenced(lambda prefix: make(keys, self.places_under(prefix, keys)))
        except RemoteError as error:
            return [Part(keys, error)]
        return [Part(keys, outcome)]

    def _fenced(self, make: Callable[[bytes], Command[R]]) -> Flow[R]:
        for _ in range(ATTEMPTS):
            prefix = yield from self.prefix()
            done: UnderGeneration[R] = yield WithGeneration(make(prefix), self.keys[0])
            name = yield from self.name_after(0, done.generation)
            if name is not None and self.prefix_of(name) == prefix:
                return done.result
            self._store.bump_epoch()
        raise overtaken()

    def ask(self, groups: Sequence[int]) -> Flow[dict[int, bytes | RemoteError]]:
        """Ask for the prefixes of groups, whatever is known; what is known and differs puts everything in doubt."""
        prefixes: dict[int, bytes | RemoteError] = {}
        for group, name in (yield from self._named(groups)).items():
            if not isinstance(name, RemoteError) and self.contradicts(name, group):
                self._store.bump_epoch()
            prefixes[group] = name if isinstance(name, RemoteError) else self.prefix_of(name)
        return prefixes

    def _named(self, groups: Sequence[int], *, reads: bool = False) -> Flow[dict[int, bytes | RemoteError]]:
        """Ask for the names of groups, or why they aren't known; what isn't accepted is replaced, and asked again."""
        found: dict[int, bytes | RemoteError] = {}
        left = groups
        for _ in range(ATTEMPTS):
            refused: dict[int, bytes] = {}
            for group, answer in (yield from self._look(left)).items():
                if answer is None:
                    continue
                if isinstance(answer, RemoteError) or self._accepts(group, answer):
                    found[group] = answer
                else:
                    refused[group] = answer
            left = [group for group in left if group not in found]
            if not left:
                return found
            if not refused:
                continue
            try:
                yield from self._replace(refused, reads=reads)
            except RemoteError as error:
                return found | dict.fromkeys(left, error)
        return found | dict.fromkeys(left, overtaken())

    def clear(self, groups: Iterable[int], publication: Publication | None) -> Flow[Mapping[int, RemoteError]]:
        """Give groups a new generation; return those that may not have it, and why."""
        asked = list(groups)
        name = self._new_name(asked)
        rank = self._names.rank(name) or FIRST
        standing = {each: known[len(self.stem) : -1] for each in asked if (known := self._standing(each)) is not None}
        failed = yield from record_clear({each: self.keys[each] for each in asked}, standing, name, self.is_ours)
        asked = [group for group in asked if group not in failed]
        outcomes = yield from run_batch([self._set_name(group, name, publication) for group in asked])
        for group, outcome in zip(asked, outcomes, strict=True):
            if isinstance(outcome, RemoteError):
                failed[group] = outcome
            else:
                self._newest[group] = max(self._newest[group], rank)
        return failed


def overtaken() -> RemoteError:
    """Return the error of a write that every clear has overtaken."""
    return RemoteError(f"the namespace was cleared {ATTEMPTS} times during one write")
