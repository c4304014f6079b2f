"""The calls that write to the streams of a namespace, and read them; the topology decides how a write is appended.

A cluster has several streams: a write to more than one goes from stream to stream, and a query of
all streams is one batch.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from twotier.clock import SECOND
from twotier.core.access.keys import checked_in_turns, encoded_many
from twotier.core.access.reads import CHUNK
from twotier.core.flow.batch import run_batch
from twotier.core.flow.drive import Flow
from twotier.core.flow.requests import Pause
from twotier.core.namespace.namespace import TwoTierNamespace
from twotier.core.write_behind.append import ServerAppend, WriteBatch
from twotier.core.write_behind.cluster_append import ClusterAppend
from twotier.core.write_behind.high_water import HighWater
from twotier.core.write_behind.numbers import Numbers
from twotier.core.write_behind.reports import DeadLetter, DrainCounters
from twotier.core.write_behind.settings import WriteBehindOptions
from twotier.core.write_behind.streams import Streams
from twotier.errors import BacklogFull, RemoteError, WritesLost
from twotier.remote.commands.base import Fetch, Fetched
from twotier.remote.commands.streams import Append, Backlog, Discard, Entry, Range, ReadBacklog

FIRST_LOOK: Final = 0.005
LAST_LOOK: Final = 0.1
"""Seconds between two queries of the backlog: doubled from the first to the last."""
LOOK_AGAIN: Final = 1.0
"""Seconds for which the known depths of several streams are trusted: other processes append to them, too."""


class WriteQueue:
    """The flows that write to the streams and read them. Keys are checked here; ttl in ns.

    `appended` is called with the number of each stream that an entry was appended to.
    """

    def __init__(
        self,
        namespace: TwoTierNamespace,
        options: WriteBehindOptions,
        streams: Streams,
        appended: Callable[[int], None],
    ) -> None:
        self._namespace: Final = namespace
        self._options: Final = options
        self._streams: Final = streams
        self._appended: Final = appended
        self._writes: Final = (ClusterAppend if namespace.topology.slotted else ServerAppend)(namespace)
        self._chunk = min(CHUNK, options.max_backlog)
        self._numbers = [Numbers() for _ in streams.all]
        self._depths = [0] * len(streams.all)
        """The last known backlog of each stream."""
        self._look_again = 0
        """When to query the depths again for other processes' entries (ns)."""
        self.counters = DrainCounters()

    def put(self, values: Mapping[str, Any], ttl: int, tags: tuple[str, ...] = ()) -> Flow[None]:
        """Put every value; nothing is written if one value can't be stored."""
        namespace = self._open()
        encoded = yield from encoded_many(namespace.values.encode, values)
        entries = {key: (key, value, payload) for key, value, payload in zip(*encoded, strict=True)}
        yield from self._write(list(entries.values()), ttl, tags)

    def remove(self, keys: Iterable[str]) -> Flow[int]:
        """Remove keys; return how many the cache had."""
        self._open()
        wanted = yield from checked_in_turns(keys)
        return (yield from self._write([(key, None, None) for key in wanted]))

    def flush(self, timeout: float | None) -> Flow[None]:
        """Wait until each earlier entry is at the source or a dead letter; TimeoutError after `timeout` (s).

        Raises WritesLost if the server has lost entries that it had acknowledged to this process.
        """
        namespace = self._open()
        deadline = None if timeout is None else namespace.clock.now() + round(timeout * SECOND)
        latest = [numbers.latest for numbers in self._numbers]
        asked = [Range(each.stream, newest=True) for each in self._streams.all]
        newest: list[list[Entry]] = yield from self._of_all(asked)
        lasts = {number: order(found[0].id) for number, found in enumerate(newest) if found}
        pause = FIRST_LOOK
        while lasts:
            backlogs = yield from self._looks()
            for number, last in list(lasts.items()):
                oldest = backlogs[number].oldest
                if oldest is None or order(oldest) > last:
                    del lasts[number]
            if not lasts:
                break
            if deadline is not None and namespace.clock.now() >= deadline:
                depth = sum(backlog.depth for backlog in backlogs)
                raise TimeoutError(f"{depth} writes were not at the source within {timeout} s")
            yield Pause(pause)
            pause = min(2 * pause, LAST_LOOK)
        yield from self._account_for(latest)

    def _account_for(self, latest: list[int]) -> Flow[None]:
        """Raise WritesLost if the server has lost entries, of the drained streams, that it had acknowledged here."""
        records: dict[int, HighWater | None] = {}
        for number, last in enumerate(latest):
            if last:
                entries = self._streams.all[number]
                fetched: Fetched = yield Fetch(entries.record)
                records[number] = None if fetched.data is None else entries.open_record(fetched.data)
        lost = sum(
            self._numbers[number].settle(each or HighWater(), latest[number]) for number, each in records.items()
        )
        if lost:
            self.counters.lost += lost
            name = self._namespace.options.namespace
            said = (
                f"the server has lost {lost} writes of write-behind {name!r} that it had acknowledged to this process: "
                "they are neither in the stream nor known to be at the source"
            )
            self._namespace.log.log(logging.ERROR, "write-behind lost", "%s", said)
            raise WritesLost(said)

    def look(self) -> Flow[Backlog]:
        """Return the backlog of all streams together."""
        backlogs = yield from self._looks()
        oldest = min((each.oldest for each in backlogs if each.oldest is not None), key=order, default=None)
        return Backlog(sum(each.depth for each in backlogs), sum(each.dead for each in backlogs), oldest)

    def dead_letters(self, count: int) -> Flow[list[DeadLetter]]:
        """Return the oldest dead letters."""
        self._open()
        streams = self._streams.all
        found = yield from self._of_all([Range(each.dead, count=count) for each in streams])
        letters = [(letter, stream) for stream, some in zip(streams, found, strict=True) for letter in some]
        letters.sort(key=lambda each: order(each[0].id))
        return [stream.letter(letter) for letter, stream in letters[:count]]

    def retry_dead_letters(self) -> Flow[None]:
        """Ask the drainer to retry the dead letters once, after all earlier entries.

        The request is an entry of the stream: a letter that was appended anew would follow later writes of its key.
        """
        namespace = self._open()
        slotted = namespace.topology.slotted
        for number, each in enumerate(self._streams.all):
            op_id = namespace.op_ids.next()
            dead = None if slotted else each.dead
            origins = self._numbers[number].take(1)
            yield Append((), (), each.stream, dead, [each.retry(op_id, origins[0])], op_id, (), None)
            self._numbers[number].acknowledged(origins)
            self._appended(number)

    def discard_dead_letters(self, letters: Iterable[DeadLetter]) -> Flow[int]:
        """Remove dead letters; return how many were there."""
        self._open()
        located: dict[int, list[bytes]] = {}
        for letter in letters:
            number, letter_id = self._streams.locate(_checked_letter(letter).id)
            located.setdefault(number, []).append(letter_id)
        removed = 0
        for number, ids in located.items():
            for start in range(0, len(ids), CHUNK):
                removed += yield Discard(self._streams.all[number].dead, ids[start : start + CHUNK])
        return removed

    def _open(self) -> TwoTierNamespace:
        namespace = self._namespace
        namespace.check_open()
        namespace.ensure_listening()
        return namespace

    def _write(self, items: list[tuple[str, Any, bytes | None]], ttl: int = 0, tags: tuple[str, ...] = ()) -> Flow[int]:
        """Append `items`, and make the same writes in the cache; return how many keys these removed there."""
        parted: dict[int, list[tuple[str, Any, bytes | None]]] = {}
        for item in items:
            parted.setdefault(self._streams.of(item[0]), []).append(item)
        removed = 0
        for number, own in parted.items():
            for start in range(0, len(own), self._chunk):
                chunk = own[start : start + self._chunk]
                yield from self._room(len(chunk))
                op_id = self._namespace.op_ids.next()
                batch = WriteBatch(self._streams.all[number], self._numbers[number], op_id, chunk, ttl, tags)
                appended = yield from self._writes.write(batch)
                self._depths[number] = appended.depth
                self.counters.appended += len(chunk)
                self._appended(number)
                removed += appended.removed
        return removed

    def _room(self, count: int) -> Flow[None]:
        """Wait until `count` more entries fit; BacklogFull after `max_wait`."""
        most, clock = self._options.max_backlog, self._namespace.clock
        now = clock.now()
        deadline, pause = now + round(self._options.max_wait * SECOND), FIRST_LOOK
        if len(self._depths) > 1 and now >= self._look_again:
            yield from self._try_to_look()
        while sum(self._depths) + count > most:
            found = [each for each in (yield from self._try_to_look()) if isinstance(each, Backlog)]
            if sum(self._depths) + count <= most:
                return
            if clock.now() >= deadline:
                depth, dead = sum(each.depth for each in found), sum(each.dead for each in found)
                raise BacklogFull(
                    f"{depth} writes and {dead} dead letters wait for the source, and max_backlog is "
                    f"{most}: nothing was written within max_wait ({self._options.max_wait} s)"
                )
            yield Pause(pause)
            pause = min(2 * pause, LAST_LOOK)

    def _looks(self) -> Flow[list[Backlog]]:
        """Return the backlog of each stream."""
        return _all_of((yield from self._try_to_look()))

    def _try_to_look(self) -> Flow[list[Any]]:
        """Return the backlog of each stream; where there are several, a stream that failed has its RemoteError."""
        found = yield from self._asked([ReadBacklog(each.stream, each.dead) for each in self._streams.all])
        self._look_again = self._namespace.clock.now() + round(LOOK_AGAIN * SECOND)
        for number, backlog in enumerate(found):
            if isinstance(backlog, Backlog):
                self._depths[number] = backlog.depth + backlog.dead
        return found

    def _of_all(self, commands: list[Any]) -> Flow[list[Any]]:
        return _all_of((yield from self._asked(commands)))

    def _asked(self, commands: list[Any]) -> Flow[list[Any]]:
        """Run one command for each stream, all in one batch."""
        if len(commands) == 1:
            return [(yield commands[0])]
        return (yield from run_batch(commands))


def _all_of(results: list[Any]) -> list[Any]:
    for each in results:
        if isinstance(each, RemoteError):
            raise each
    return results


def order(entry_id: bytes) -> tuple[int, int]:
    """Return the sort key of an entry's id."""
    time, _, number = entry_id.partition(b"-")
    return int(time), int(number)


def _checked_letter(letter: DeadLetter) -> DeadLetter:
    if not isinstance(letter, DeadLetter):
        raise TypeError(f"letters must be an iterable of DeadLetter, got {type(letter).__name__}: {letter!r:.100}")
    return letter
