"""The generations of a cluster: one for each group of neighbouring slots, on the node that has them.

Every write reads a generation. With one generation for all keys, all writes would depend on the node
that has its key; so each write depends on its own group's generation alone. Where nodes have
contiguous slots, the generation's key is on the node of the group's keys, except for groups through
which a border between two nodes runs. `clear` changes every group's generation.

The slot of a key must not depend on its generation's name. A key without a hash tag of its own
therefore gets one, which makes its name `{namespace}:{generation}{tag}:{key}`; no generation's name
has a brace. Load locks and write markers share their key's slot.

Costs: 256 names an epoch, read in one batch by the first caller that needs one while the link is live
(2 ms), and 40 KB.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Final, TypeVar

from twotier.clock import Clock
from twotier.core.access.keys import as_bytes
from twotier.core.flow.batch import Part, run_batch
from twotier.core.flow.drive import Flow
from twotier.core.namespace.generation_names import GenerationNames
from twotier.core.namespace.generations import ATTEMPTS, Generations, MakeMany, MakeWrites, overtaken
from twotier.errors import RemoteError
from twotier.local import Store
from twotier.remote.commands.base import Generation, Publication, SetGeneration, Write
from twotier.remote.commands.batch import PerKey
from twotier.remote.commands.generations import UnderGeneration, WithGeneration
from twotier.remote.hash_slots import SLOTS, hash_tag, slot_of, tag_of

GROUPS: Final = 256
GROUP_SLOTS: Final = SLOTS // GROUPS

R = TypeVar("R")


class GroupedGenerations(Generations):
    """The generations of the namespace's groups, as this process knows them."""

    __slots__ = ("_owner", "_surveyed")

    def __init__(
        self,
        namespace: str,
        store: Store,
        clock: Clock,
        lasts: int,
        owner: Callable[[int], Hashable],
        *,
        names: GenerationNames | None = None,
    ) -> None:
        super().__init__(namespace, store, clock, lasts, names=names)
        self._owner = owner
        """Returns the node that serves a slot, as far as is known."""
        self._surveyed = -1
        """The epoch in which the names of all groups were last read: once an epoch is enough."""

    def _generation_keys(self) -> tuple[bytes, ...]:
        return tuple(self.stem + b"gen" + tag_of(group * GROUP_SLOTS) for group in range(GROUPS))

    # Groups and names

    def group_of(self, key: str) -> int:
        """Return the group of `key`, by the slot of the key alone."""
        return slot_of(as_bytes(key)) // GROUP_SLOTS

    def group_at(self, place: bytes) -> int:
        """Return the group of the key `place` on the server."""
        return slot_of(place) // GROUP_SLOTS

    def split(self, keys: Iterable[str]) -> dict[int, list[str]]:
        """Return `keys` by group, in the order given."""
        groups: dict[int, list[str]] = {}
        for key in keys:
            groups.setdefault(self.group_of(key), []).append(key)
        return groups

    def places_under(self, prefix: bytes, keys: Iterable[str]) -> list[bytes]:
        """Return the names on the server of one group's keys, whose generation has `prefix`."""
        names = [as_bytes(key) for key in keys]
        return [_place(prefix, name, slot_of(name)) for name in names]

    def is_under(self, place: bytes, name: bytes | None) -> bool:
        """Return True if the key at `place` is of generation `name`."""
        return super().is_under(place, name) or (name is not None and place.startswith(self.stem + name + b"{"))

    # What flows ask for

    def known_place(self, key: str) -> bytes | None:
        """Return the same as `place` if that takes no round trip, else None."""
        name = as_bytes(key)
        slot = slot_of(name)
        prefix = self._standing(slot // GROUP_SLOTS)
        return None if prefix is None else _place(prefix, name, slot)

    def place(self, key: str) -> Flow[bytes]:
        """Return the name of `key` on the server, to read it."""
        name = as_bytes(key)
        slot = slot_of(name)
        group = slot // GROUP_SLOTS
        prefix: bytes | RemoteError | None = self._standing(group)
        if prefix is None:
            prefix = (yield from self.prefixes((group,), reads=True))[group]
        if isinstance(prefix, RemoteError):
            raise prefix
        return _place(prefix, name, slot)

    def write(self, key: str, make: Callable[[bytes], Write[R]]) -> Flow[R]:
        """Run the write that `make` returns for the name of `key`; repeat it if the generation has ended."""
        (part,) = yield from self.write_each([key], lambda _, places: make(places[0]))
        if isinstance(part.outcome, RemoteError):
            raise part.outcome
        return part.outcome

    def each(self, keys: list[str], make: MakeMany[R], *, reads: bool = False) -> Flow[list[Part[R]]]:
        """Run the command that `make` returns for all keys whose prefix is known; each key fails separately."""
        groups = self.split(keys)
        prefixes = yield from self.prefixes(groups, reads=reads)
        parts: list[Part[R]] = []
        asked: list[str] = []
        places: list[bytes] = []
        for group, members in groups.items():
            prefix = prefixes[group]
            if isinstance(prefix, RemoteError):
                parts.append(Part(members, prefix))
            else:
                asked += members
                places += self.places_under(prefix, members)
        if asked:
            result, failed = yield PerKey(make(asked, places))
            together: dict[int, Part[R]] = {}  # one failure may be that of many keys
            for at, error in failed.items():
                together.setdefault(id(error), Part([], error)).keys.append(asked[at])
            parts += together.values()
            if len(failed) < len(asked):
                parts.append(Part([key for at, key in enumerate(asked) if at not in failed], result))
        return parts

    def write_each(self, keys: list[str], make: MakeWrites[R]) -> Flow[list[Part[R]]]:
        """Run the writes that `make` returns for each group in one batch; repeat writes that a clear overtook."""
        parts: list[Part[R]] = []
        left = self.split(keys)
        for _ in range(ATTEMPTS):
            prefixes = yield from self.prefixes(left)
            fenced: dict[int, bytes] = {}
            for group, prefix in prefixes.items():
                if isinstance(prefix, RemoteError):
                    parts.append(Part(left.pop(group), prefix))
                else:
                    fenced[group] = prefix
            outcomes: list[UnderGeneration[R] | RemoteError] = yield from run_batch(
                [
                    WithGeneration(make(left[group], self.places_under(prefix, left[group])), self.keys[group])
                    for group, prefix in fenced.items()
                ]
            )
            for (group, prefix), outcome in zip(fenced.items(), outcomes, strict=True):
                if isinstance(outcome, RemoteError):
                    parts.append(Part(left.pop(group), outcome))
                elif outcome.generation is not None and self.prefix_of(outcome.generation) == prefix:
                    parts.append(Part(left.pop(group), outcome.result))
            if not left:
                return parts
            self._store.bump_epoch()
        return [*parts, *(Part(members, overtaken()) for members in left.values())]

    def prefixes(self, groups: Iterable[int], *, reads: bool = False) -> Flow[dict[int, bytes | RemoteError]]:
        """Return the prefix of each of `groups`, or the error; for reads it may be the `_last_known`."""
        epoch, now, live = self._store.epoch, self._clock.now(), self._store.live
        found: dict[int, bytes | RemoteError] = {}
        missing = []
        for group in groups:
            prefix = self._standing(group)
            if prefix is None:
                missing.append(group)
            else:
                found[group] = prefix
        if not missing:
            return found
        asked: Sequence[int] = missing
        if live and self._surveyed != epoch:
            self._surveyed, asked = epoch, range(GROUPS)
        wanted = set(missing)
        for group, answer in (yield from self._named(asked, reads=reads)).items():
            if isinstance(answer, RemoteError):
                told = self._last_known(group, answer) if reads else answer
            else:
                told = self._learn(group, epoch, now, answer)
            if group in wanted:
                found[group] = told
        return found

    def _look(self, groups: Sequence[int]) -> Flow[dict[int, bytes | RemoteError | None]]:
        """Return the name of each group; write a new one if there is none. A cluster keeps no copies."""
        name = self._new_name(groups)
        answers = yield from run_batch([Generation(self.keys[group], name) for group in groups])
        return dict(zip(groups, answers, strict=True))

    def keep_copies(self) -> Flow[None]:
        """Do nothing."""
        yield from ()

    def _set_name(self, group: int, name: bytes, publication: Publication | None) -> SetGeneration:
        return SetGeneration(self.keys[group], name, publication)

    def _last_known(self, group: int, error: RemoteError) -> bytes | RemoteError:
        """Return the last known prefix of a divided group while nothing is fresh, as its node is lost; else `error`.

        At a border the keys may be on a node that isn't lost. A value read there is returned, but not
        installed: the namespace may have been cleared since, and the reader took its token before the epoch
        that begins here.
        """
        known = self._known[group]
        if known is None or self._store.live or not self._is_divided(group):
            return error
        self._store.bump_epoch()
        return known[1]

    def _is_divided(self, group: int) -> bool:
        """Return True if a border between two nodes runs through the group, as far as is known."""
        slots = range(group * GROUP_SLOTS, (group + 1) * GROUP_SLOTS)
        return len({self._owner(slot) for slot in slots}) > 1


def _place(prefix: bytes, name: bytes, slot: int) -> bytes:
    """Return the name on the server of a key whose UTF-8 is `name`."""
    if b"{" in name and hash_tag(name):
        return prefix + name
    return b"%b%b:%b" % (prefix[:-1], tag_of(slot), name)
