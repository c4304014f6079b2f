"""Appending: a write lands in both tiers and in the stream, in one transaction.

It is fenced like every write: done under a generation that is over, it is done again in the one that stands, and
appends again. That does no harm: the stream has the writes of a key in the order in which the cache took them, the last
one of both being the same, and the source is written at least once.

Loads read a source that lags behind the cache. So a write takes the lease on its key for as long as a lease may last:
loads that miss the key wait for the source meanwhile. And it leaves a mark (`remote/marks.py`), by which the drainer
tells what is to go once the source has been written.

Nothing is journaled when the outcome is unknown: either the cache and the stream have the write, or neither has.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from twotier.clock import SECOND
from twotier.core.behind.entries import Entries, marks_on
from twotier.core.behind.reports import DeadLetter, DrainCounters
from twotier.core.behind.settings import WriteBehindOptions
from twotier.core.commands import Pause
from twotier.core.drive import Flow
from twotier.core.journal import Doubt
from twotier.core.keys import checked, checked_many
from twotier.core.lifetimes import milliseconds
from twotier.core.namespace import TwoTierNamespace
from twotier.core.reads import CHUNK
from twotier.core.writes import Writes
from twotier.errors import BacklogFull, RemoteError, RemoteTimeout, RemoteUnavailable
from twotier.opid import op_tag
from twotier.remote.stream import Append, Appended, Backlog, Discard, LookAtBacklog, Range

MARK_MS: Final = 24 * 3600 * 1000
"""Life of a mark: longer than any lag that goes unnoticed."""
FIRST_LOOK: Final = 0.005
LAST_LOOK: Final = 0.1
"""Seconds between two looks at the backlog: doubled from the first to the last."""


class WriteQueue(Writes):
    """The flows that write to the stream and look at it. Keys are checked here; ttl in ns."""

    def __init__(self, namespace: TwoTierNamespace, options: WriteBehindOptions, entries: Entries) -> None:
        super().__init__(namespace)
        self._options: Final = options
        self._entries: Final = entries
        self._chunk = min(CHUNK, options.max_backlog)
        self._depth = 0
        """The backlog when it was last heard of."""
        self.counters = DrainCounters()

    def put(self, values: Mapping[str, Any], ttl: int, tags: tuple[str, ...] = ()) -> Flow[None]:
        """Put every value; all are refused when one can't be stored."""
        namespace = self._open()
        encoded = [(checked(key), value, namespace.values.encode(value)) for key, value in values.items()]
        for start in range(0, len(encoded), self._chunk):
            yield from self._put_chunk(encoded[start : start + self._chunk], ttl, tags)

    def remove(self, keys: Iterable[str]) -> Flow[int]:
        """Remove keys; return how many the cache had."""
        self._open()
        wanted, removed = checked_many(keys), 0
        for start in range(0, len(wanted), self._chunk):
            chunk = wanted[start : start + self._chunk]
            op_id = self._namespace.op_ids.next()
            entries = [self._entries.remove(key, op_id) for key in chunk]
            appended, _ = yield from self._append(chunk, op_id, entries)
            self._namespace.store.apply(chunk, op_tag(op_id))
            removed += appended.removed
        return removed

    def flush(self, timeout: float | None) -> Flow[None]:
        """Wait until what was appended before is at the source, or a dead letter; TimeoutError past `timeout` (s)."""
        namespace = self._open()
        deadline = None if timeout is None else namespace.clock.now() + round(timeout * SECOND)
        newest = yield Range(self._entries.stream, newest=True)
        if not newest:
            return
        last, pause = _order(newest[0].id), FIRST_LOOK
        while True:
            backlog = yield from self.look()
            if backlog.oldest is None or _order(backlog.oldest) > last:
                return
            if deadline is not None and namespace.clock.now() >= deadline:
                raise TimeoutError(f"{backlog.depth} writes were not at the source within {timeout} s")
            yield Pause(pause)
            pause = min(2 * pause, LAST_LOOK)

    def look(self) -> Flow[Backlog]:
        """Return how much is waiting."""
        backlog: Backlog = yield LookAtBacklog(self._entries.stream, self._entries.dead)
        self._depth = backlog.depth + backlog.dead
        return backlog

    def dead_letters(self, count: int) -> Flow[list[DeadLetter]]:
        """Return the oldest dead letters."""
        self._open()
        letters = yield Range(self._entries.dead, count=count)
        return [self._entries.letter(letter) for letter in letters]

    def retry_dead_letters(self) -> Flow[None]:
        """Have the drainer try the dead letters again, once, after everything appended before.

        It is asked by an entry of the stream: were a letter appended anew, it would come after later writes of its key.
        """
        namespace = self._open()
        op_id = namespace.op_ids.next()
        yield Append((), (), self._entries.stream, self._entries.dead, [self._entries.retry(op_id)], op_id, (), None)

    def discard_dead_letters(self, letters: Iterable[DeadLetter]) -> Flow[int]:
        """Remove dead letters; return how many were there."""
        self._open()
        ids = [_checked_letter(letter).id.encode() for letter in letters]
        removed = 0
        for start in range(0, len(ids), CHUNK):
            removed += yield Discard(self._entries.dead, ids[start : start + CHUNK])
        return removed

    def _put_chunk(self, encoded: list[tuple[str, Any, bytes]], ttl: int, tags: tuple[str, ...]) -> Flow[None]:
        namespace = self._namespace
        op_id = namespace.op_ids.next()
        keys = [key for key, _, _ in encoded]
        entries = [self._entries.put(key, op_id, payload) for key, _, payload in encoded]
        if not ttl:
            yield from self._append(keys, op_id, entries)
            namespace.store.apply(keys, op_tag(op_id))
            return
        now = namespace.clock.now()
        payloads = {key: payload for key, _, payload in encoded}
        with namespace.tags.holding(keys, tags) as hold:
            _, tokens = yield from self._append(keys, op_id, entries, payloads, ttl, tags)
            for (key, value, payload), token in zip(encoded, tokens, strict=True):
                self._install(key, value, payload, token, op_id, ttl, now)
            hold.written()

    def _append(
        self,
        keys: list[str],
        op_id: bytes,
        entries: list[list[bytes]],
        payloads: Mapping[str, bytes] = MappingProxyType({}),
        ttl: int = 0,
        tags: tuple[str, ...] = (),
    ) -> Flow[tuple[Appended, list[int]]]:
        """Append entries about `keys`: those that have a payload are put for `ttl`, with `tags`, the others removed.

        Returns what came of it, and the tokens that were taken for the local tier.
        """
        namespace, names = self._namespace, self._entries
        yield from self._room(len(keys))
        namespace.breaker.check()  # while it is known to be away, nothing is begun, and the local entries may stay
        noted = namespace.journal.noted(keys)
        tokens = [namespace.store.begin_write(key) for key in keys]
        publication = namespace.publication("set" if payloads else "delete", op_id, keys)
        hold = max(1, round(namespace.options.load_lease * 1000))
        life, stamps = milliseconds(ttl), b""

        def make(keys: list[str], places: list[bytes]) -> Append:
            items, removed = [], []
            for key, place in zip(keys, places, strict=True):
                if key in payloads:
                    items.append((place, namespace.values.seal(place, op_id, payloads[key], stamps), life))
                else:
                    removed.append(place)
            marks = [(mark, MARK_MS) for mark in marks_on(places)]
            leases = [(lease, hold) for lease in namespace.generations.leases(places)]
            return Append(items, removed, names.stream, names.dead, entries, op_id, marks + leases, publication)

        try:
            stamps = yield from self._stamps(tags, ttl)
            (part,) = yield from namespace.generations.write_each(keys, make)  # one server: all or none
            appended = part.outcome
            if isinstance(appended, RemoteError):
                raise appended
        except RemoteError as error:
            namespace.counters.remote_errors += 1
            if not isinstance(error, RemoteTimeout | RemoteUnavailable):
                # A step of the transaction may have been refused and the others not.
                namespace.doubt(dict.fromkeys(keys, Doubt(op_id)))
            raise
        namespace.journal.settle(noted)
        self._depth = appended.depth
        self.counters.appended += len(keys)
        return appended, tokens

    def _room(self, count: int) -> Flow[None]:
        """Wait until `count` more entries fit; BacklogFull past `max_wait`."""
        most, clock = self._options.max_backlog, self._namespace.clock
        deadline = clock.now() + round(self._options.max_wait * SECOND)
        pause = FIRST_LOOK
        while self._depth + count > most:
            backlog = yield from self.look()
            if self._depth + count <= most:
                return
            if clock.now() >= deadline:
                raise BacklogFull(
                    f"{backlog.depth} writes and {backlog.dead} dead letters wait for the source, and max_backlog is "
                    f"{most}: nothing was written within max_wait ({self._options.max_wait} s)"
                )
            yield Pause(pause)
            pause = min(2 * pause, LAST_LOOK)


def _order(entry_id: bytes) -> tuple[int, int]:
    """Return an entry's id as what it is ordered by."""
    time, _, number = entry_id.partition(b"-")
    return int(time), int(number)


def _checked_letter(letter: DeadLetter) -> DeadLetter:
    if not isinstance(letter, DeadLetter):
        raise TypeError(f"letters must be an iterable of DeadLetter, got {type(letter).__name__}: {letter!r:.100}")
    return letter
