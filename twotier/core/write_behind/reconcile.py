"""Reconciling: before a write that the source has is acknowledged, values that contradict it leave the cache.

Loads read a source that lags. A value that a load stored before the source had the write is
removed, unless a later write, which is reconciled in its turn, has already overwritten the value;
and a load that is under way can no longer store its value. The value of a write that was given up
is removed in the same way.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from twotier.codec.envelope import op_id_of
from twotier.core.flow.batch import Part, failed_keys, run_batch
from twotier.core.flow.drive import Flow
from twotier.core.namespace.generations import ATTEMPTS
from twotier.core.namespace.namespace import TwoTierNamespace
from twotier.core.write_behind.cluster_append import LINGER_MS
from twotier.core.write_behind.entries import Change, Entries, markers_on
from twotier.errors import RemoteError
from twotier.opid import op_tag
from twotier.remote.commands.cluster_write_markers import (
    EndMarkedLoad,
    RemoveStale,
    entry_id_in,
    is_later,
    marker_of,
    op_id_in,
)
from twotier.remote.commands.generations import WithGeneration
from twotier.remote.commands.streams import Entry, Extend, Range, Settle
from twotier.remote.commands.write_markers import EndLoads, MarkedValue, RemoveContradiction
from twotier.remote.io.errors import NoMemoryError


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The generation's prefix, the write markers that are no longer needed, and the keys that must wait."""

    prefix: bytes | None = None
    ended: Sequence[bytes] = ()
    left: frozenset[str] = frozenset()
    """Keys on a lost node."""


class Reconciliation:
    """Reconciliation on one server, where the acknowledgement removes the write markers."""

    def __init__(self, namespace: TwoTierNamespace) -> None:
        self._namespace: Final = namespace

    def put_right(self, changes: Iterable[Change]) -> Flow[Reconciled]:
        """Remove cached values that contradict changes which the source has taken or refused for good."""
        changes = list(changes)
        namespace = self._namespace
        prefix = yield from namespace.generations.prefix()
        keys = [change.key for change in changes]
        places = namespace.generations.places_under(prefix, keys)
        marks, leases = markers_on(places), namespace.generations.leases(places)
        found = yield EndLoads(leases, marks, places)
        ended = []
        for change, mark, place, lease, seen in zip(changes, marks, places, leases, found, strict=True):
            if seen.mark == change.written.op_id:
                ended.append(mark)
            if seen.contradicts(change.written):
                op_id = namespace.op_ids.next()
                publication = namespace.publication("delete", op_id, (change.key,))
                for _ in range(ATTEMPTS):
                    if (yield RemoveContradiction(mark, place, lease, change.written, publication)):
                        break
                namespace.store.apply((change.key,), op_tag(op_id))
        return Reconciled(prefix, ended)

    def acknowledge(self, settle: Settle, right: Reconciled) -> Flow[bool]:
        """Acknowledge reconciled changes; return False after a clear, so that both steps must be repeated."""
        generations = self._namespace.generations
        try:
            done = yield WithGeneration(settle, generations.keys[0])
        except NoMemoryError:  # acknowledging frees memory; a later acknowledgement stores the record
            done = yield WithGeneration(replace(settle, record=None), generations.keys[0])
        name = yield from generations.name_after(0, done.generation)
        if name is not None and generations.prefix_of(name) == right.prefix:
            return True
        self._namespace.store.bump_epoch()  # cleared meanwhile: later loads are under another name
        return False

    def bury(self, settle: Settle) -> Flow[list[bytes]]:
        """Add dead letters, and acknowledge the entries that became them; return the letters' ids."""
        try:
            made: list[bytes] = yield settle
        except NoMemoryError:
            if settle.buried:
                raise
            made = yield replace(settle, record=None)
        return made


class ClusterReconciliation(Reconciliation):
    """Reconciliation in a cluster, where the node of a key may be lost, and write markers stay for a while.

    A later write's marker counts if its entry is in the stream. If the entry is missing, the stream has
    lost it in a failover, and the stream's ids may have gone back.
    """

    def __init__(self, namespace: TwoTierNamespace, entries: Entries) -> None:
        super().__init__(namespace)
        self._entries: Final = entries

    def put_right(self, changes: Iterable[Change]) -> Flow[Reconciled]:
        """Remove cached values that contradict finished changes; write the markers of changes that lack theirs."""
        changes = list(changes)
        generations = self._namespace.generations
        looks: dict[str, EndMarkedLoad] = {}

        def make(keys: list[str], places: list[bytes]) -> EndLoads:
            leases, marks = generations.leases(places), markers_on(places)
            looks.update(zip(keys, map(EndMarkedLoad, leases, marks, places), strict=True))
            return EndLoads(leases, marks, places)

        keys = [change.key for change in changes]
        try:
            # Loads under a generation that begins after this check read a source that has the changes.
            parts = yield from generations.write_each(keys, make)
        except RemoteError as error:
            parts = [Part(keys, error)]
        lost = frozenset(failed_keys(parts))
        self._namespace.counters.remote_errors += bool(lost)
        seen: dict[str, MarkedValue] = {}
        for members, outcome in parts:
            if not isinstance(outcome, RemoteError):
                seen.update(zip(members, outcome, strict=True))
        lingering: list[Extend] = []
        rest: list[_KeyCheck] = []
        for each in [
            _KeyCheck(change, looks[change.key], seen[change.key]) for change in changes if change.key in seen
        ]:
            written = each.change.written
            if written.taken and each.seen.mark == _mark(each.change):
                lingering.append(Extend(each.look.mark, LINGER_MS))
                if not each.seen.differs(written):
                    continue
            rest.append(each)
        if lingering:
            yield from run_batch(lingering)  # a marker whose command fails stays for longer
        return Reconciled(left=lost | (yield from self._rectify(rest)))

    def acknowledge(self, settle: Settle, right: Reconciled) -> Flow[bool]:  # noqa: ARG002 - as on one server
        """Acknowledge reconciled changes."""
        yield from self.bury(settle)
        return True

    def bury(self, settle: Settle) -> Flow[list[bytes]]:
        """Store the record first, then change the dead letters, then the stream.

        While their slot is being moved, each of these keys may be on another node. An entry that is in the
        stream and has reached the source, by the record, is acknowledged by the next drainer.
        """
        made: list[bytes] = []
        if settle.record is not None:
            try:
                yield Settle(settle.stream, settle.dead, (), record=settle.record)
            except NoMemoryError:
                if settle.buried:
                    raise
        if settle.buried or settle.revived:
            made = yield Settle(settle.stream, settle.dead, (), settle.revived, buried=settle.buried)
        if settle.done:
            yield Settle(settle.stream, settle.dead, settle.done)
        return made

    def _rectify(self, rest: "list[_KeyCheck]") -> Flow[frozenset[str]]:
        """Reconcile the keys that contradict their changes; return the keys for which that failed."""
        left: list[_KeyCheck] = []
        for _ in range(ATTEMPTS):
            rest = yield from self._without_later(rest, left)
            if not rest:
                break
            done = yield from run_batch([each.rectification() for each in rest])
            left += [each for each, result in zip(rest, done, strict=True) if isinstance(result, RemoteError)]
            for each, result in zip(rest, done, strict=True):
                if result is True:
                    self._namespace.store.apply((each.change.key,), op_tag(self._namespace.op_ids.next()))
            rest = [each for each, result in zip(rest, done, strict=True) if result is False]
            found = yield from run_batch([each.look for each in rest])
            rest = [_KeyCheck(each.change, each.look, seen) for each, seen in zip(rest, found, strict=True)]
            left += [each for each in rest if not isinstance(each.seen, MarkedValue)]
            rest = [each for each in rest if isinstance(each.seen, MarkedValue)]
        self._namespace.counters.remote_errors += bool(left)
        return frozenset(each.change.key for each in (*left, *rest))

    def _without_later(self, rest: "list[_KeyCheck]", left: "list[_KeyCheck]") -> Flow["list[_KeyCheck]"]:
        """Return the checks of keys without a later write; checks that can't be decided go to `left`."""
        later = [each for each in rest if each.has_later]
        if not later:
            return rest
        ranges = [Range(self._entries.stream, entry_id_in(each.seen.mark)) for each in later]
        gone = []
        for each, entries in zip(later, (yield from run_batch(ranges)), strict=True):
            if isinstance(entries, RemoteError):
                left.append(each)
            elif not _is_among(entries, each.seen.mark):
                gone.append(each)
        return [each for each in rest if not each.has_later or each in gone]


@dataclass(frozen=True, slots=True, eq=False)
class _KeyCheck:
    """A finished change, and the last check of its key: a `MarkedValue`, or the RemoteError of the check."""

    change: Change
    look: EndMarkedLoad
    seen: Any

    @property
    def has_later(self) -> bool:
        """Whether the write marker is of a later write."""
        return is_later(self.seen.mark, than=_mark(self.change))

    def rectification(self) -> RemoveStale:
        """Return the command that reconciles the key; a later marker that was seen has no entry in the stream."""
        look = self.look
        return RemoveStale(look.mark, look.place, look.lease, self.change.written, LINGER_MS, self.seen.mark)


def _mark(change: Change) -> bytes:
    return marker_of(change.written.op_id, change.written.entry_id)


def _is_among(entries: list[Entry], mark: bytes) -> bool:
    """Return True if `entries` has the entry of a write marker."""
    return any(
        entry.id == entry_id_in(mark) and entry.fields is not None and op_id_of(entry.fields[-1]) == op_id_in(mark)
        for entry in entries
    )
