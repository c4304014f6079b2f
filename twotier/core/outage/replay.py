"""The replay of a journal (DESIGN step 9): group by group, so that a lost node delays only its own groups.

Groups to clear come first, then keys and tags, a batch at a time. A failure leaves its key, and all
other keys of its group, for the next replay. The first failure, if any, is raised in the end.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from twotier.clock import NEVER
from twotier.coherence.message import Kind
from twotier.core.access.missing import MISSING
from twotier.core.access.ttl import milliseconds
from twotier.core.flow.batch import run_batch
from twotier.core.flow.drive import Flow, drive
from twotier.core.outage.journal import Doubt
from twotier.core.outage.late_writes import Abandoned
from twotier.core.tags.tag_index import ANY_TAG, Tag
from twotier.errors import RemoteError
from twotier.opid import NO_OP, op_tag
from twotier.remote.commands.base import Put, Remove
from twotier.remote.commands.conditional import PutUnchanged, RemoveLateWrite
from twotier.remote.commands.direct_removal import RemoveDirectly
from twotier.remote.execute.executor import AnyExecutor
from twotier.remote.io.errors import NoMemoryError

if TYPE_CHECKING:
    from twotier.core.namespace.namespace import TwoTierNamespace

BATCH: Final = 256
"""Keys replayed in one batch."""

R = TypeVar("R")


class Replay:
    """One attempt at replaying a namespace's journal."""

    def __init__(self, namespace: "TwoTierNamespace", probing: bool) -> None:
        self._namespace = namespace
        self._executor = ProbingExecutor(namespace.executor, probing)
        self._failed: dict[int, RemoteError] = {}
        """Groups that failed, with their errors."""
        self._failure: RemoteError | None = None
        """The error of ending tags."""

    def run(self) -> None:
        """Replay as much as possible; raise the error of the rest."""
        self._clear()
        for batch in self._namespace.journal.batches(BATCH):
            if len(self._failed) == len(self._namespace.generations.keys):
                break
            self._end_tags({key.name: doubt for key, doubt in batch.items() if isinstance(key, Tag)})
            self._make_good({key: doubt for key, doubt in batch.items() if not isinstance(key, Tag)})
        for failure in (*self._failed.values(), self._failure):
            if failure is not None:
                raise failure

    def _run(self, flow: Flow[R]) -> R:
        return drive(flow, self._executor, self._namespace.background)

    def _clear(self) -> None:
        """Clear the groups whose clear was requested."""
        namespace = self._namespace
        if not (asked := namespace.journal.clears()):
            return
        clear = namespace.publication("clear", namespace.op_ids.next())
        self._failed.update(self._run(namespace.generations.clear(asked, clear)))
        done = {group: count for group, count in asked.items() if group not in self._failed}
        if done:
            namespace.store.bump_epoch()  # the old generation ends here now, not when the message arrives
            namespace.journal.settle_clears(done)
            namespace.sweep.wake()

    def _make_good(self, doubts: dict[str, Doubt]) -> None:
        """Remove keys, or put their values again, except in groups that failed."""
        namespace = self._namespace
        groups = {
            group: keys for group, keys in namespace.generations.split(doubts).items() if group not in self._failed
        }
        if not groups:
            return
        prefixes: dict[int, bytes] = {}
        for group, prefix in self._run(namespace.generations.ask(list(groups))).items():
            if isinstance(prefix, RemoteError):
                self._failed[group] = prefix
            else:
                prefixes[group] = prefix
        removed: dict[Kind, list[tuple[int, list[str]]]] = {"delete": [], "expire": []}
        for group, prefix in prefixes.items():
            try:
                late = [key for key in groups[group] if doubts[key].late]
                for key in late:
                    self._undo(prefix, key, doubts[key].late)
                rest = [key for key in groups[group] if not doubts[key].late]
                keys = [key for key in rest if not self._put_again(prefix, key, doubts[key])]
            except RemoteError as error:
                self._failed[group] = error
            else:
                removed["delete"].append((group, [key for key in keys if not doubts[key].kept]))
                removed["expire"].append((group, [key for key in keys if doubts[key].kept]))
        for kind, parts in removed.items():
            self._remove(kind, prefixes, [(group, keys) for group, keys in parts if keys])
        gone = [key for parts in removed.values() for group, keys in parts if group not in self._failed for key in keys]
        if namespace.late:
            namespace.overtake(gone, counters=False)
        good = [key for group, keys in groups.items() if group not in self._failed for key in keys]
        namespace.journal.settle({key: doubts[key] for key in good})

    def _remove(self, kind: Kind, prefixes: dict[int, bytes], parts: Sequence[tuple[int, list[str]]]) -> None:
        """Remove keys, group by group, and their locks."""
        generations = self._namespace.generations
        removals = []
        for group, keys in parts:
            places = generations.places_under(prefixes[group], keys)
            removals.append(self._removal(kind, keys, places, self._namespace.voids(places)))
        for (group, _), outcome in zip(parts, self._unlink(removals), strict=True):
            if isinstance(outcome, RemoteError):
                self._failed[group] = outcome

    def _end_tags(self, doubts: dict[str, Doubt]) -> None:
        """End tags: a tag has ended once its own version and the one of ANY_TAG are removed."""
        if not doubts:
            return
        namespace = self._namespace
        tags = list(doubts)
        if namespace.topology.slotted:
            removals = [self._removal("tag", (), [namespace.versions.place(tag)]) for tag in (ANY_TAG, *tags)]
            any_tag, *outcomes = self._unlink(removals)
            if isinstance(any_tag, RemoteError):
                outcomes = [any_tag] * len(tags)
        else:
            places = [namespace.versions.place(tag) for tag in (ANY_TAG, *tags)]
            outcomes = self._unlink([self._removal("tag", tags, places)]) * len(tags)
            if isinstance(outcomes[0], RemoteError):
                self._failed[0] = outcomes[0]
        for outcome in outcomes:
            if isinstance(outcome, RemoteError):
                self._failure = outcome
        good = [tag for tag, outcome in zip(tags, outcomes, strict=True) if not isinstance(outcome, RemoteError)]
        if good:
            namespace.end_tags(good, NO_OP)  # entries installed meanwhile carry the versions that ended only now
            namespace.journal.settle({Tag(tag): doubts[tag] for tag in good})

    def _removal(
        self, kind: Kind, names: Sequence[str], places: Sequence[bytes], leases: Sequence[bytes] = ()
    ) -> Remove:
        """Return the removal of `places`, with the invalidation of its kind for the keys or tags `names`."""
        return Remove(places, self._namespace.publication(kind, self._namespace.op_ids.next(), names), leases)

    def _unlink(self, removals: list[Remove]) -> list[Any]:
        """Run removals; return the outcome of each."""
        outcomes: list[Any] = self._run(run_batch(removals))
        full = [at for at, outcome in enumerate(outcomes) if isinstance(outcome, NoMemoryError)]
        withdrawals = [
            RemoveDirectly([*removals[at].keys, *removals[at].voids], removals[at].publication) for at in full
        ]
        for at, outcome in zip(full, self._run(run_batch(withdrawals)), strict=True):
            outcomes[at] = outcome
        return outcomes

    def _undo(self, prefix: bytes, key: str, late: Sequence[Abandoned]) -> None:
        """Remove the value of a late write if the server still has it."""
        namespace = self._namespace
        (place,) = namespace.generations.places_under(prefix, (key,))
        removal = self._removal("delete", (key,), (place,), namespace.voids((place,)))
        op_ids, raws = frozenset(each.op_id for each in late), frozenset(each.payload for each in late)
        self._executor.run(RemoveLateWrite(place, op_ids, raws, removal))
        for each in late:
            namespace.late.undone(each.op_id, key)

    def _put_again(self, prefix: bytes, key: str, doubt: Doubt) -> bool:
        """Put the value written during the outage if so set, and the key is unchanged; return True if it was put.

        The value is the local tier's suspect, if that is still there and has the op id of the write.
        """
        namespace = self._namespace
        if namespace.options.replay != "set" or namespace.store.op(key) != op_tag(doubt.op_id):
            return False
        left = NEVER if doubt.expires == NEVER else doubt.expires - namespace.clock.now()
        value = namespace.store.suspect(key, MISSING)
        if left <= 0 or value is MISSING:
            return False
        (place,) = namespace.generations.places_under(prefix, (key,))
        data = namespace.values.seal(place, doubt.op_id, namespace.values.encode(value))
        publication = namespace.publication("set", doubt.op_id, (key,))
        voids = namespace.voids((place,))
        put = Put(place, data, milliseconds(left), absent=False, publication=publication, voids=voids)
        namespace.late.put_again(doubt.op_id, key)  # first: its message may come before the reply
        return bool(self._executor.run(PutUnchanged(place, doubt.seen, put)))


class ProbingExecutor:
    """Runs commands for recovery, which may pass a breaker that is half-open."""

    def __init__(self, executor: AnyExecutor, probing: bool) -> None:
        self._run = executor.run
        self._probing = probing

    def run(self, command: Any, *, probing: bool = False) -> Any:  # noqa: ARG002 - an executor's signature
        """Run `command`."""
        return self._run(command, probing=self._probing)
