"""The namespace's generation: a random name in every key on the server, so that `clear` is one write.

A new generation makes every older key unreachable at once; older keys leave the server by their expiry. A process
caches the generation for one epoch: any event that could have changed it unseen (link loss, reconnect, a clear) bumps
the epoch. While the link isn't live, the generation is read before every command. Without a link (`coherence="none"`)
it is cached for as long as the bound on staleness. The generation has a key of its own without expiry. When a server
evicts that key, the next process that needs it restores the name from its copies (`remote/commands/name_copies.py`).
Without copies (FLUSHALL, an empty restart) it makes a new name, and live processes notice the difference at their next
lease exchange. A write that finds the name gone counts, without a repetition, if its own name is restored.

Only names of our own form are accepted (`generation_names.py`), and with a secret only signed ones, none of them
earlier than a name that this process has seen. Any other name is replaced, which is a clear: only if it is still there,
so that of several processes one replaces it. A writer replaces a name that another secret has signed (ours may be the
newer secret), but less and less often: two processes with different secrets would clear the namespace in turn.

On one server there is one generation, group 0; in a cluster one for each group of slots (`cluster_generations.py`).
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
"""Attempts at a write that one clear after the other overtakes."""
LONGEST_TRUCE: Final = 60 * SECOND
"""Longest time until a generation of another secret is replaced again (ns): 1 s at first, then doubled."""

R = TypeVar("R")
MakeMany = Callable[[list[str], list[bytes]], Command[R] | Conditional[R]]
MakeWrites = Callable[[list[str], list[bytes]], Command[R]]
"""Returns a command for keys and their names on the server."""


class Generations:
    """The namespace's generation, as this process knows it."""

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
        """The beginning of every key of the namespace."""
        self.keys: tuple[bytes, ...] = self._generation_keys()
        """The server key that holds the generation, of each group."""
        self._store = store
        self._clock = clock
        self._lasts = lasts
        """How long the server's reply is valid (ns); NEVER if the link reports changes."""
        self._known: list[tuple[int, bytes, int] | None] = [None] * len(self.keys)
        """Of each group: epoch, prefix of its keys, instant until which the prefix is valid."""
        self._names = GenerationNames((), namespace) if names is None else names
        self._announcement = announcement
        """Returns the invalidation of a clear."""
        self._newest = [FIRST] * len(self.keys)
        """Of each group: the rank of the latest name accepted or made here; earlier names aren't accepted."""
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
        """Return `keys` by group, in the order given."""
        return {0: list(keys)}

    # Names

    def places_under(self, prefix: bytes, keys: Iterable[str]) -> list[bytes]:
        """Return the names on the server of one group's keys, whose generation has `prefix`."""
        return [prefix + as_bytes(key) for key in keys]

    def prefix_of(self, name: bytes) -> bytes:
        """Return the prefix that keys have under generation `name`."""
        return self.stem + name + b":"

    def leases(self, places: Iterable[bytes]) -> list[bytes]:
        """Return the names of the load locks of the keys at `places`; no key's own name has this form."""
        return [name_beside(place, b"!") for place in places]

    def warrants(self, places: Iterable[bytes]) -> list[bytes]:
        """Return the names of the warrants of counters at `places`; no generation's own name has this form."""
        return [name_beside(place, b"#") for place in places]

    def is_under(self, place: bytes, name: bytes | None) -> bool:
        """Return True if the key at `place` is of generation `name`."""
        return name is not None and place.startswith(self.prefix_of(name))

    def group_at(self, place: bytes) -> int:  # noqa: ARG002 - as `group_of`
        """Return the group of the key `place` on the server."""
        return 0

    def is_ours(self, name: bytes) -> bool:
        """Return True if `name` is of a present or earlier generation of this namespace."""
        return self._names.rank(name) is not None

    def key_in(self, place: bytes) -> str | None:
        """Return the key whose name on the server is `place`, in any generation; None for locks and the like."""
        generation, colon, key = place[len(self.stem) :].partition(b":")
        if not colon or b"!" in generation or b"#" in generation:
            return None
        try:
            return key.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return None  # not written by twotier

    # What is known

    def prefix(self, group: int = 0, *, reads: bool = False) -> Flow[bytes]:
        """Return the prefix of a group's keys; ask the server if the prefix isn't known for certain."""
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

    # Reading names, and restoring evicted ones

    def _look(self, groups: Sequence[int]) -> Flow[dict[int, bytes | RemoteError | None]]:
        """Return the name of each group (None: it has changed meanwhile); restore or make missing names."""
        names = dict(zip(groups, (yield from run_batch([ReadName(self.keys[at]) for at in groups])), strict=True))
        return names | (yield from self._restore([group for group, name in names.items() if name is None]))

    def _restore(self, groups: Sequence[int]) -> Flow[dict[int, bytes | RemoteError | None]]:
        """Write missing names and copies; return the name of each group (None: it has changed meanwhile)."""
        new = self._new_name(groups)
        answers = yield from run_batch(
            [RestoreName(self.keys[group], new, partial(self.is_acceptable, group)) for group in groups]
        )
        return dict(zip(groups, answers, strict=True))

    def keep_copies(self) -> Flow[None]:
        """Restore the name, or copies of it, if they were evicted."""
        yield from self._restore((0,))

    def _set_name(self, group: int, name: bytes, publication: Publication | None) -> SetGeneration:
        return SetGeneration(self.keys[group], name, publication, copies_of(self.keys[group]))

    def name_after(self, group: int, found: bytes | None) -> Flow[bytes | None]:
        """Return the name that a write `found` after its change; restore the name first if it was evicted (None)."""
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
        """Return True if `name` is ours, and not earlier than the names that this process has seen of the group."""
        rank = self._names.rank(name)
        return rank is not None and rank >= self._newest[group]

    def _accepts(self, group: int, name: bytes) -> bool:
        """Return True if `name` is acceptable; it counts as seen then."""
        rank = self._names.rank(name)
        if rank is None or rank < self._newest[group]:
            return False
        self._newest[group] = rank
        return True

    def _replace(self, refused: Mapping[int, bytes], *, reads: bool = False) -> Flow[None]:
        """Replace each refused name, by group, with a new one, unless the server has another by now.

        A caller that only `reads` leaves a name of another secret: a wrong secret must not clear the namespace.
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
        self._store.bump_epoch()  # local entries may be of an old generation
        for outcome in outcomes:
            if isinstance(outcome, RemoteError):
                raise outcome

    def _break_truce(self, *, reads: bool) -> None:
        """Allow replacing a name of another secret; raise RemoteError if `reads`, or if one was replaced lately."""
        now = self._clock.now()
        if reads or now < self._truce_ends:
            reason = "is signed with another secret: all processes of a namespace need the same secret"
            self._log.log(logging.ERROR, "foreign", "the generation of namespace %s %s", self.namespace, reason)
            raise RemoteError(f"the generation of namespace {self.namespace} {reason}")
        lately = now < self._truce_ends + 10 * LONGEST_TRUCE
        self._truce = min(2 * self._truce, LONGEST_TRUCE) if self._truce and lately else SECOND
        self._truce_ends = now + self._truce

    def _learn(self, group: int, epoch: int, now: int, name: bytes) -> bytes:
        """Store the reply to a read begun at an epoch and instant; return the reply's prefix."""
        prefix = self.prefix_of(name)
        known = self._known[group]  # another caller's reply
        if known is not None and known[0] == epoch and known[1] != prefix:
            # One of two replies is out of date, and it is unknown which; entries filled under it are in doubt.
            self._store.bump_epoch()
            self._known[group] = None
        elif known is None or known[0] <= epoch:
            self._known[group] = (epoch, prefix, after(now, self._lasts))
        return prefix

    def _standing(self, group: int) -> bytes | None:
        """Return the prefix of a group if it is known for certain, else None."""
        known, store = self._known[group], self._store
        if known is not None and known[0] == store.epoch and store.live:
            until = known[2]
            if until == NEVER or self._clock.now() < until:
                return known[1]
        return None

    def contradicts(self, name: bytes | None, group: int = 0) -> bool:
        """Return True if the generation that a lease exchange found (None: the key is gone) differs from the known one.

        The found one isn't stored: it was read before the reply was handled, and a clear may have come in between.
        """
        known = self._known[group]
        if known is None or known[0] != self._store.epoch:
            return False
        return name is None or known[1] != self.prefix_of(name)

    # What flows ask for

    def known_place(self, key: str) -> bytes | None:
        """Return the same as `place` if that takes no round trip, else None."""
        prefix = self._standing(0)
        return None if prefix is None else prefix + as_bytes(key)

    def place(self, key: str) -> Flow[bytes]:
        """Return the name of `key` on the server, to read it."""
        prefix = yield from self.prefix(reads=True)
        return prefix + as_bytes(key)

    def write(self, key: str, make: Callable[[bytes], Write[R]]) -> Flow[R]:
        """Run the write that `make` returns for the name of `key`; repeat it if the generation has ended.

        Without the repetition, a write that begins after a clear elsewhere, but before the clear's invalidation
        arrives, would be lost, while an earlier write under the new generation would stay.
        """
        name = as_bytes(key)
        return self._fenced(lambda prefix: make(prefix + name))

    def prefixes(self, groups: Iterable[int]) -> Flow[dict[int, bytes | RemoteError]]:
        """Return the prefix of each of `groups`, or the error of reading it."""
        found: dict[int, bytes | RemoteError] = {}
        for group in groups:
            try:
                found[group] = yield from self.prefix(group)
            except RemoteError as error:
                found[group] = error
        return found

    def each(self, keys: list[str], make: MakeMany[R], *, reads: bool = False) -> Flow[list[Part[R]]]:
        """Run the command that `make` returns for keys, a pure read if `reads`; return the result of each part."""
        try:
            prefix = yield from self.prefix(reads=reads)
            outcome = yield make(keys, self.places_under(prefix, keys))
        except RemoteError as error:
            outcome = error
        return [Part(keys, outcome)]

    def write_if(self, key: str, make: Callable[[bytes, bytes], Conditional[UnderGeneration[R]]]) -> Flow[R]:
        """Run the conditional write that `make` returns for the key's and generation's names; repeat like `write`."""
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
        """Run the write that `make` returns for keys as `write` does; return the result of each part."""
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
        """Read the prefixes of groups from the server; a difference from a known one puts everything in doubt."""
        prefixes: dict[int, bytes | RemoteError] = {}
        for group, name in (yield from self._named(groups)).items():
            if not isinstance(name, RemoteError) and self.contradicts(name, group):
                self._store.bump_epoch()
            prefixes[group] = name if isinstance(name, RemoteError) else self.prefix_of(name)
        return prefixes

    def _named(self, groups: Sequence[int], *, reads: bool = False) -> Flow[dict[int, bytes | RemoteError]]:
        """Read the names of groups, or the errors; replace names that aren't accepted, and read them again."""
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
        """Give groups a new generation; return the groups that may not have it, with their errors."""
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
    """Return the error of a write whose attempts were all overtaken by clears."""
    return RemoteError(f"the namespace was cleared {ATTEMPTS} times during one write")
