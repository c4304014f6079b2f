"""Draining: one process at a time writes the stream's entries to the source, in order for each key.

The holder of the drain lock drains. It renews the lock while its process lives, however long a call
of the writer takes; once the process is killed, the lock expires, and the next holder begins with
the entries that were read and not acknowledged. An entry is acknowledged after it has reached the
source, so each entry reaches the source at least once.

After any error of the server the drainer forgets the entries that it has read and reads them again,
since only the order of the stream is safe: a change whose acknowledgement failed must not be
written again after a later change of its key.

A retried dead letter is written in the retry's turn of the stream, unless a later change of its key
waits. The letters of a key are removed when a later change of the key is written.

An entry that has reached the source, by the record (`high_water.py`), isn't written again. The drainer drops, counts
and logs such an entry, as someone has appended it again, or the server was set back. If the entry was read before but
not acknowledged, the drainer acknowledges it: the record is stored no later than the acknowledgement.
"""

import logging
import secrets
from dataclasses import replace
from typing import Final

from twotier.clock import SECOND
from twotier.core.flow.drive import Flow
from twotier.core.flow.requests import Load
from twotier.core.flow.stop_iteration import as_raised
from twotier.core.namespace.generations import ATTEMPTS
from twotier.core.namespace.namespace import TwoTierNamespace
from twotier.core.write_behind.admission import Admission
from twotier.core.write_behind.dead_letters import DeadLetters, Letter
from twotier.core.write_behind.entries import Change, Entries, Retry
from twotier.core.write_behind.high_water import Origin
from twotier.core.write_behind.pending import Item, Pending
from twotier.core.write_behind.reconcile import ClusterReconciliation, Reconciliation
from twotier.core.write_behind.reports import DrainCounters
from twotier.core.write_behind.settings import WriteBehindOptions
from twotier.errors import RemoteError, RemoteTimeout, RemoteUnavailable
from twotier.rate_limited_log import RateLimitedLog
from twotier.remote.commands.conditional import IfEqual, Removal
from twotier.remote.commands.streams import (
    NEW,
    BeginDrain,
    Deliveries,
    DrainReply,
    Entry,
    Range,
    ReadGroup,
    RenewDrainLock,
    Settle,
)
from twotier.writer import Writer

FIRST_LOOK: Final = 0.005
LAST_LOOK: Final = 0.1
"""Seconds between two reads of an empty stream: doubled from the first to the last."""
STANDBY: Final = 1.0
"""Most seconds between two attempts to take the drain lock."""
AWAY: Final = 0.25
"""Seconds until the next attempt after the server was unavailable."""
REFUSED: Final = 1.0
"""Seconds until the next attempt after the server refused a command."""
_MARGIN: Final = 4
"""A call of the writer begins while at least one part in so many of the drain lock's life is left."""
_START: Final = b"0"
_FOREIGN: Final = "foreign, damaged, of a type that isn't allowed, or signed with another secret or by an older version"
_OLD: Final = "older than the remembered entries of its writer"


class Drainer:
    """The drainer of one namespace in one process: `step` again and again, `renew` meanwhile, `release` at the end."""

    def __init__(
        self,
        namespace: TwoTierNamespace,
        writer: Writer,
        options: WriteBehindOptions,
        entries: Entries,
        counters: DrainCounters,
    ) -> None:
        self._namespace, self._writer, self._options, self._entries = namespace, writer, options, entries
        self._counters = counters
        slotted = namespace.topology.slotted
        self._righting = ClusterReconciliation(namespace, entries) if slotted else Reconciliation(namespace)
        self._log = RateLimitedLog(namespace.clock)
        self._token = secrets.token_bytes(16)
        self._held_until = 0
        """Until when this drainer surely holds the drain lock (ns); 0: it may not hold the lock."""
        self._took = False
        """Whether the server may have given this drainer the drain lock."""
        self._ours = False
        """Whether all entries read so far were read under the drain lock that is held now."""
        self._count = options.batch_size
        """Entries to read at once: halved when they take too long, as values may be large."""
        self._admission = Admission(namespace, entries, counters)
        self._excused: dict[bytes, int] = {}
        """How often each entry was read here and dropped from memory although its write hadn't failed."""
        self._begin()

    def _begin(self) -> None:
        """Forget all entries that were read."""
        self._ours = False
        self._waiting = Pending(self._options)
        self._admission.begin()
        self._letters = DeadLetters(self._entries, self._admission)
        self._pending: bytes | None = _START
        """Id after which to read on among entries that were delivered and not acknowledged; None: none is left."""
        self._pause = FIRST_LOOK

    @property
    def draining(self) -> bool:
        """Whether this process drains the stream."""
        return self._ours and self._holds()

    def step(self) -> Flow[float]:
        """Do the next piece of work; return the seconds until the next step is due."""
        try:
            if not (yield from self._hold()):
                return min(STANDBY, self._options.drain_lease / 4)
            read = yield from self._read()
            if self._pending is not None and self._waiting.room > 0:
                return 0.0  # read all old deliveries first: a change the source may have must not follow a later one
            wrote = yield from self._write()
        except RemoteError as error:
            self._namespace.counters.remote_errors += 1
            self._excuse()
            self._begin()
            self._held_until = 0  # the group may be gone: taking the drain lock creates it
            return AWAY if isinstance(error, RemoteTimeout | RemoteUnavailable) else REFUSED
        except BaseException:
            self._begin()
            raise
        if read or wrote:
            self._pause = FIRST_LOOK
            return 0.0
        self._pause = min(2 * self._pause, LAST_LOOK)
        due = self._waiting.next_due()
        left = self._pause if due is None else (due - self._namespace.clock.now()) / SECOND
        return max(0.0, min(self._pause, left))

    def renew(self) -> Flow[None]:
        """Renew the drain lock if this drainer holds it; called at least every third of the lock's life."""
        if not self._held_until:
            return
        asked = self._namespace.clock.now()
        try:
            ours = yield RenewDrainLock(self._entries.lease, self._token, self._lease_ms)
        except RemoteError:
            return  # it may still be ours, until the end that we know of
        self._held_until = asked + self._options.lease_ns if ours else 0

    def release(self) -> Flow[None]:
        """Release the drain lock, so that another process needn't wait until the lock expires."""
        self._held_until = 0
        self._begin()
        if self._took:
            try:
                yield IfEqual(self._entries.lease, self._token, Removal((self._entries.lease,)))
            except RemoteError:
                self._namespace.counters.remote_errors += 1

    @property
    def _lease_ms(self) -> int:
        return max(1, self._options.lease_ns // 1_000_000)

    def _holds(self, spare: int = 0) -> bool:
        return self._namespace.clock.now() + spare < self._held_until

    def _hold(self) -> Flow[bool]:
        """Take the drain lock if needed, and read the record and dead letters; return True if the lock is held."""
        if self._ours and self._holds(self._options.lease_ns // _MARGIN):
            return True
        if not self._holds(self._options.lease_ns // _MARGIN):
            self._begin()
            asked = self._namespace.clock.now()
            names = self._entries
            self._held_until = 0
            drain: DrainReply = yield BeginDrain(names.lease, self._token, self._lease_ms, names.stream)
            yield from self._admission.learn(new=drain.new)
            if not drain.ours:
                return False
            self._took = True
            if not (yield RenewDrainLock(names.lease, self._token, self._lease_ms)):  # it may have been held for long
                return False
            self._held_until = asked + self._options.lease_ns
        yield from self._letters.learn(self._sized, lambda: self._count)
        self._ours = True
        return True

    def _excuse(self) -> None:
        """Exclude this process's reads from the attempts that count as made by processes that were killed."""
        for entry in self._waiting.ids():
            self._excused[entry] = self._excused.get(entry, 0) + 1

    def _sized(self, read: Range | ReadGroup) -> Flow[list[Entry]]:
        """Read entries; halve the number of the next read if this one fails."""
        try:
            entries: list[Entry] = yield read
        except RemoteError:
            self._count = max(1, self._count // 2)
            raise
        return entries

    def _read(self) -> Flow[bool]:
        """Read as many entries as there is room for; return True if the stream had any."""
        count = min(self._count, self._waiting.room)
        if count <= 0:
            return False
        stream = self._entries.stream
        times: dict[bytes, int] = {}
        if self._pending is None:
            entries = yield from self._sized(ReadGroup(stream, NEW, count))
        else:
            entries = yield from self._sized(ReadGroup(stream, self._pending, count))
            if entries:
                times = yield Deliveries(stream, entries[0].id, count)
                self._pending = entries[-1].id
            else:
                self._pending = None
                self._excused = {entry: self._excused[entry] for entry in self._waiting.ids() if entry in self._excused}
        dropped = []
        for entry in entries:
            # Its delivery to us is one that hasn't failed yet.
            failures = times.get(entry.id, 1) - 2 - self._excused.get(entry.id, 0) if times else 0
            if (yield from self._take(entry, max(0, failures), again=bool(times))):
                dropped.append(entry.id)
        if dropped:
            yield Settle(stream, self._entries.dead, dropped)
        return bool(entries)

    def _take(self, entry: Entry, failures: int, *, again: bool) -> Flow[bool]:
        """Queue a change, or handle another entry at once. Return True if the entry is to be dropped.

        `again`: the entry was delivered before, and not acknowledged.
        """
        if entry.fields is None:  # removed by another client
            return True
        found = self._entries.open(entry)
        if found is None:
            yield from self._bury_unread(entry.id, entry.fields, _FOREIGN)
            return False
        verdict = self._admission.judge(found.origin)
        if verdict == "old":
            yield from self._bury_unread(entry.id, entry.fields, _OLD)
        elif verdict == "new" or (verdict == "dead" and again):
            if isinstance(found, Retry):
                yield from self._retry_letters()
                self._admission.had([found.origin])
                yield from self._righting.bury(self._admission.settlement([entry.id]))
            else:
                self._admission.take(found.origin)
                self._waiting.add(found, failures)
        elif verdict == "had" and again:
            if isinstance(found, Retry):
                return True
            self._waiting.add_taken(found, self._namespace.clock.now())
        else:
            self._admission.refuse(verdict)
            return True
        return False

    def _bury_unread(self, entry_id: bytes, fields: list[bytes], reason: str) -> Flow[None]:
        self._say_dead(reason, 0)
        letter = self._entries.bury(entry_id, fields, reason, 0)
        self._counters.dead_lettered += 1
        settle = Settle(self._entries.stream, self._entries.dead, [entry_id], buried=[letter])
        yield from self._righting.bury(settle)

    def _write(self) -> Flow[bool]:
        """Settle the changes that are due, then hand the next group to the writer; return True if there was a group."""
        group = self._waiting.unsettled(self._namespace.clock.now())
        if group:
            yield from self._settle(group)
        group = self._waiting.group(self._namespace.clock.now())
        if not group:
            return False
        if self._waiting.hopeless(group):  # every process that tried it was killed
            if (yield from self._give_up(group[0])):
                self._waiting.pardon()
            return True
        error = yield from self._ask([item.change for item in group])
        if not self._holds():
            self._excuse()
            self._begin()  # another process may have taken over
            return True
        if error is None:
            self._counters.written += len(group)
            self._counters.coalesced += sum(len(item.ids) - 1 for item in group)
            yield from self._settle(group)
            return True
        self._counters.retried += 1
        self._waiting.failed(group, _said(error), self._namespace.clock.now())
        if self._waiting.hopeless(group):
            yield from self._give_up(group[0])
        return True

    def _ask(self, changes: list[Change]) -> Flow[Exception | None]:
        """Call the writer with `changes`; return the exception that the writer raised, or None."""
        writer = self._writer
        try:
            if changes[0].removes:
                keys = [change.key for change in changes]
                yield Load(lambda: writer.delete(keys))
            else:
                values = {change.key: change.value for change in changes}
                yield Load(lambda: writer.write(values))
        except Exception as error:  # noqa: BLE001 - after any error the change waits
            return as_raised(error)
        return None

    def _settle(self, group: list[Item]) -> Flow[None]:
        """Acknowledge changes that the source has; retry soon those whose key is on a lost node."""
        left = yield from self._written([(item.change, item.ids, item.origins) for item in group])
        waiting = [item for item in group if item.change.key in left]
        self._waiting.done([item for item in group if item.change.key not in left])
        self._waiting.taken(waiting, self._again())

    def _written(self, changes: list[tuple[Change, list[bytes], list[Origin]]]) -> Flow[frozenset[str]]:
        """Acknowledge changes that the source has, with their entries; return the keys that have to wait.

        Before the acknowledgement, values loaded before the source had the change are removed from the cache.
        """
        for _ in range(ATTEMPTS):
            right = yield from self._righting.put_right([change for change, _, _ in changes])
            settled = [each for each in changes if each[0].key not in right.left]
            letters = self._letters.of(change.key for change, _, _ in settled)
            self._admission.had(letter.origin for letter in letters)
            self._admission.had(origin for _, _, origins in settled for origin in origins)
            ids = [entry for _, each, _ in settled for entry in each]
            settle = self._admission.settlement(ids, [letter.id for letter in letters], right.ended)
            if (yield from self._righting.acknowledge(settle, right)):
                break
        for change, _, _ in settled:
            self._letters.pop(change.key, None)
        self._count = min(2 * self._count, self._options.batch_size)  # only once a write has been settled
        return right.left

    def _give_up(self, item: Item) -> Flow[bool]:
        """Turn a change into a dead letter, and remove from the cache the value that the source hasn't taken.

        Returns False if the node of the key is lost: the change is tried again soon.
        """
        change, names = item.change, self._entries
        right = yield from self._righting.put_right([replace(change, written=change.written._replace(taken=False))])
        if right.left:
            item.due = self._again()
            return False
        self._say_dead(item.error, item.alone)
        letter = names.bury(change.id, change.fields, item.error, item.alone)
        self._counters.dead_lettered += 1  # counted first, for callers that wait until the stream is empty
        self._admission.had(item.origins)
        self._admission.died(change.origin)
        made = yield from self._righting.bury(self._admission.settlement(item.ids, ended=right.ended, buried=[letter]))
        self._letters.add(change.key, made, change.origin)
        self._waiting.done([item])
        return True

    def _again(self) -> int:
        return self._namespace.clock.now() + round(AWAY * SECOND)

    def _say_dead(self, error: str, attempts: int) -> None:
        message = "write-behind of %s: a write is a dead letter now, after %d attempts: %s"
        self._log.log(logging.ERROR, "dead", message, self._namespace.options.namespace, attempts, error)

    def _retry_letters(self) -> Flow[None]:
        """Retry the dead letters key by key, except for keys of which a later change waits."""
        for key, letters in list(self._letters.items()):
            if key in self._waiting:
                continue
            if (yield from self._letters.prune(key)):
                yield from self._retry(key, letters)

    def _retry(self, key: str, letters: list[Letter]) -> Flow[None]:
        names = self._entries
        found = yield Range(names.dead, letters[-1].id)
        change = names.exhume(found[0]) if found and found[0].id == letters[-1].id else None
        if change is None:  # it was discarded
            del self._letters[key]
            return
        if not self._holds(self._options.lease_ns // _MARGIN):
            raise RemoteUnavailable("the lease on draining has ended")
        error = yield from self._ask([change])
        if error is None:
            if (yield from self._written([(change, [], [])])):
                raise RemoteUnavailable("the node of a dead letter's key is lost")
            self._counters.written += 1
            return
        self._counters.retried += 1
        attempts = names.letter(found[0]).attempts + 1
        letter = names.bury(change.written.entry_id, change.fields, _said(error), attempts)
        self._admission.had(each.origin for each in letters[:-1])
        buried = yield Settle(names.stream, names.dead, (), [each.id for each in letters], buried=[letter])
        del self._letters[key]
        self._letters.add(key, buried, change.origin)


def _said(error: Exception) -> str:
    return f"{type(error).__qualname__}: {error}"
