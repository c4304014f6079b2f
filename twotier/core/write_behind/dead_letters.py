"""The dead letters of one stream by key, as known to the process that drains the stream."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from twotier.core.flow.drive import Flow
from twotier.core.write_behind.admission import Admission
from twotier.core.write_behind.entries import Entries
from twotier.core.write_behind.high_water import Origin
from twotier.remote.commands.streams import Entry, Range, Settle


class Letter(NamedTuple):
    """A dead letter: its id, and the origin of the entry that became it."""

    id: bytes
    origin: Origin | None


class DeadLetters(dict[str, list[Letter]]):
    """Dead letters by key; the letters of a key are in the order of their ids."""

    def __init__(self, entries: Entries, admission: Admission) -> None:
        super().__init__()
        self._entries = entries
        self._admission = admission

    def learn(self, read: Callable[[Range], Flow[list[Entry]]], count: Callable[[], int]) -> Flow[None]:
        """Read all dead letters of the stream, `count` in each round trip."""
        start = b"-"
        origins: list[Origin | None] = []
        while letters := (yield from read(Range(self._entries.dead, start, count()))):
            for letter in letters:
                change, origin = self._entries.exhume(letter), self._entries.origin_of(letter)
                origins.append(origin)
                if change is not None:
                    self.add(change.key, [letter.id], origin)
            start = b"(" + letters[-1].id
        self._admission.keep_dead(origins)

    def add(self, key: str, ids: Iterable[bytes], origin: Origin | None) -> None:
        """Note new dead letters of a key."""
        self.setdefault(key, []).extend(Letter(each, origin) for each in ids)

    def of(self, keys: Iterable[str]) -> list[Letter]:
        """Return the dead letters of some keys."""
        return [letter for key in keys for letter in self.get(key, ())]

    def prune(self, key: str) -> Flow[bool]:
        """Remove the latest letters of a key while they have reached the source; return True if a letter is left."""
        letters = self[key]
        while letters:
            verdict = self._admission.judge(letters[-1].origin)
            if verdict in ("new", "dead"):
                return True
            self._admission.refuse(verdict)
            yield Settle(self._entries.stream, self._entries.dead, (), [letters.pop().id])
        del self[key]
        return False
