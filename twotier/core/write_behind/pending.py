"""Entries read from the stream that haven't reached the source: the last change of each key, and its next attempt.

A failed call of the writer doesn't say which key was at fault. The keys of the call are therefore
retried in groups half as large, down to single keys: keys that the source takes are separated from
keys that it refuses after log2(batch_size) rounds. From then on the pauses of a key double, and
after `max_attempts` its change is given up. Order holds for each key: a later change replaces the
waiting one, and keeps its turn.
"""

import itertools
import random
from dataclasses import dataclass, field
from typing import Final

from twotier.clock import SECOND
from twotier.core.write_behind.entries import Change
from twotier.core.write_behind.high_water import Origin
from twotier.core.write_behind.settings import WriteBehindOptions

ROUNDS_AT_HAND: Final = 4
"""Batches that may wait before reading stops: keys that fail must not hold up the others at once."""
KILLED: Final = "the writer never returned: its process was killed, or lost the server, each time"
"""The error of a change whose failed attempts were all made by earlier processes."""


@dataclass(slots=True)
class Item:
    """One key that waits."""

    change: Change
    ids: list[bytes] = field(default_factory=list)
    """Ids of the change's entry and of all entries that the change replaces."""
    origins: list[Origin] = field(default_factory=list)
    """Origins of these entries."""
    parted: int = 0
    """How often the key failed in a group with others: its next group is halved as often."""
    alone: int = 0
    """How often the key failed alone."""
    due: int = 0
    """Instant of the next attempt (ns)."""
    error: str = KILLED
    taken: bool = False
    """Whether the source has the change, while its reconciliation waits for a lost node."""


class Pending:
    """The keys that wait in one process.

    >>> from twotier.remote.commands.write_markers import FinishedWrite
    >>> waiting = Pending(WriteBehindOptions())
    >>> for number, value in enumerate("abc"):
    ...     waiting.add(Change(b"%d-0" % number, "key", value, FinishedWrite(bytes(16), b""), []))
    >>> [(item.change.value, item.ids) for item in waiting.group(now=0)]
    [('c', [b'0-0', b'1-0', b'2-0'])]
    """

    def __init__(self, options: WriteBehindOptions) -> None:
        self._options = options
        self._rounds = (options.batch_size - 1).bit_length()
        """Halvings until each group is a single key."""
        self._items: dict[str, Item] = {}
        self._taken = 0
        """How many of the items the source has."""

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: str) -> bool:
        return key in self._items

    @property
    def room(self) -> int:
        """How many more entries may be read now; changes that wait for a lost node don't count."""
        return ROUNDS_AT_HAND * self._options.batch_size - len(self._items) + self._taken

    def add(self, change: Change, failures: int = 0) -> None:
        """Queue a change; `failures` is the number of earlier attempts, by the server's count of deliveries."""
        item = self._items.get(change.key)
        if item is None:
            parted = min(failures, self._rounds)
            self._items[change.key] = item = Item(change, parted=parted, alone=failures - parted)
        item.change = change
        item.ids.append(change.id)
        if change.origin is not None:
            item.origins.append(change.origin)
        if item.taken:
            item.taken = False
            item.due = 0
            self._taken -= 1

    def add_taken(self, change: Change, now: int) -> None:
        """Queue a change that the source has, and whose entry isn't acknowledged yet."""
        self.add(change)
        self.taken([self._items[change.key]], now)

    def ids(self) -> list[bytes]:
        """Return the ids of all waiting entries."""
        return [entry for item in self._items.values() for entry in item.ids]

    def group(self, now: int) -> list[Item]:
        """Return the next group for the writer: keys that are due, all to be put or all to be deleted."""
        first = next((item for item in self._items.values() if item.due <= now and not item.taken), None)
        if first is None:
            return []
        size = max(1, self._options.batch_size >> first.parted)
        group = []
        for item in self._items.values():
            alike = item.parted == first.parted and item.change.removes == first.change.removes
            if alike and item.due <= now and not item.taken:
                group.append(item)
                if len(group) == size:
                    break
        return group

    def unsettled(self, now: int) -> list[Item]:
        """Return the changes that the source has and that are due to be settled: one batch at most."""
        if not self._taken:
            return []
        ready = (item for item in self._items.values() if item.taken and item.due <= now)
        return list(itertools.islice(ready, self._options.batch_size))

    def taken(self, group: list[Item], due: int) -> None:
        """Note that the source has `group`; settling it is next tried at `due` (ns)."""
        for item in group:
            self._taken += not item.taken
            item.taken, item.due = True, due

    def failed(self, group: list[Item], error: str, now: int) -> None:
        """Note that the writer failed on `group`, and schedule the next attempt."""
        options = self._options
        cut = random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
        for item in group:
            if len(group) > 1:
                item.parted = min(item.parted + 1, self._rounds)
            else:
                item.parted = self._rounds
                item.alone += 1
            item.error = error
            pause = min(options.max_backoff, options.first_backoff * 2.0 ** min(max(item.alone - 1, 0), 60))
            item.due = now + round(cut * pause * SECOND)

    def hopeless(self, group: list[Item]) -> bool:
        """Return True if `group` is a single key that has failed `max_attempts` times alone."""
        return len(group) == 1 and group[0].alone >= self._options.max_attempts

    def pardon(self) -> None:
        """Forget the failures in earlier processes: one key killed those processes while the others waited."""
        for item in self._items.values():
            if item.error == KILLED:
                item.alone = 0

    def done(self, group: list[Item]) -> None:
        """Remove keys that wait no longer."""
        for item in group:
            self._taken -= item.taken
            del self._items[item.change.key]

    def next_due(self) -> int | None:
        """Return the instant at which the next key is to be tried; None if none waits."""
        return min((item.due for item in self._items.values()), default=None)
