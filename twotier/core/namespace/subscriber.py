"""A namespace's subscriber to the link: applies invalidations to the local tier (DESIGN steps 4 to 7)."""

import logging
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from twotier.clock import SECOND, wall_clock
from twotier.coherence.listener import NOT_ASKED, NotAsked
from twotier.coherence.message import LATER, Message
from twotier.coherence.subscriber import EVERYTHING
from twotier.core.namespace.signed_clears import HeardClears, Verdict
from twotier.core.namespace.unverified import UnverifiedMessages
from twotier.opid import NO_OP, op_tag

if TYPE_CHECKING:
    from twotier.core.namespace.namespace import TwoTierNamespace

UNVERIFIED: Final = "messages arrive that can't be verified here: of a process with another secret, or forged"


class NamespaceSubscriber:
    """Called by the listener, on its thread only."""

    def __init__(self, namespace: "TwoTierNamespace") -> None:
        self.channel = namespace.channel
        self.generation_keys = namespace.generations.keys
        self.generation_key = self.generation_keys[0]
        self._namespace = namespace
        self.proven_at: int | None = None
        """Instant (ns) up to which every message published is known to have arrived; None before the first proof."""
        self._came_live = False
        self._clears = HeardClears()
        interval = namespace.options.max_staleness / 2.5
        self.unverified = UnverifiedMessages(namespace.bump_epoch, namespace.clock, interval)

    def received(self, payloads: list[bytes]) -> None:
        """Drop the entries that other writes have superseded."""
        namespace = self._namespace
        for payload in payloads:
            message = namespace.messages.decode(payload)
            if message is None:
                self._unverified()
            elif message is LATER:
                namespace.bump_epoch()  # of a process that was upgraded already
            elif message.kind == "clear":
                self._clear(message)
            else:
                if namespace.late:
                    self._late(message)
                op = op_tag(message.op_id)
                if message.kind == "tag":
                    namespace.end_tags(message.keys, op)
                elif message.kind == "expire":
                    namespace.store.demote(message.keys, op)
                else:
                    # A raw number has no op id: the write of another process may be the one that made it.
                    keep = message.kind == "set" and not namespace.op_ids.made(message.op_id)
                    namespace.store.apply(self._superseded(message), op, keep=keep)
                if message.sent_at:
                    namespace.counters.lag.add(wall_clock() - message.sent_at)
                namespace.counters.invalidations_received += len(message.keys)

    def _unverified(self) -> None:
        """Put everything in doubt: the unverified message may have named any key."""
        namespace = self._namespace
        namespace.counters.unverified += 1
        namespace.log.log(
            logging.ERROR, "unverified", "namespace %s on %s: %s; nothing is fresh until it has been asked for again",
            namespace.options.namespace, namespace.label, UNVERIFIED,
        )  # fmt: skip
        self.unverified.heard()

    def _clear(self, message: Message) -> None:
        """Empty the local tier unless the clear is known or late; without a secret, anybody can make a new clear."""
        namespace = self._namespace
        verdict = self._clears.judge(message.op_id, message.sent_at) if namespace.values.signs else Verdict.NEW
        if verdict is Verdict.NEW:
            # Removed, not only in doubt: an outage must not revive cleared entries.
            namespace.store.clear()
        elif verdict is Verdict.LATE:
            namespace.bump_epoch()
        namespace.sweep.wake()

    def _superseded(self, message: Message) -> Iterable[str]:
        """Return the keys whose entries a write has superseded.

        The suspect of a failed write of this process is later than any write that the process began before.
        """
        journal = self._namespace.journal
        if not journal:
            return message.keys
        return [key for key in message.keys if not journal.knows_better(key, message.op_id)]

    def _late(self, message: Message) -> None:
        """Undo late writes of this process that have taken place."""
        namespace = self._namespace
        for key, late in namespace.late.take_place(message.op_id, message.keys).items():
            outcome = namespace.journal.took_place(key, late.op_id)
            if outcome == "settled":
                namespace.late.forget(late.op_id, key)
                namespace.overtake((key,), counters=False)
                continue
            if outcome == "unknown":
                namespace.undo(key, (late,))
            else:
                namespace.counters.late_writes += 1

    def confirmed(self) -> None:
        """Put everything in doubt: invalidations published before this moment may have been missed."""
        self._namespace.bump_epoch()
        self._namespace.sweep.wake(anew=True)
        self._came_live = True

    def renewed(self, lease_until: int, generation: bytes | NotAsked | None, group: int = 0) -> None:
        """Extend the staleness lease; another generation than the one in use means an unheard clear."""
        namespace = self._namespace
        if generation is not NOT_ASKED and namespace.generations.contradicts(generation, group):
            namespace.bump_epoch()
        if namespace.fleet.unheard:
            namespace.bump_epoch()  # a process may write whose writes aren't heard
        self.unverified.settle()
        self.proven_at = lease_until - round(namespace.options.max_staleness * SECOND)
        namespace.renew(lease_until)
        if self._came_live:
            self._came_live = False
            namespace.recovery.hurry()
            if namespace.late.suspect_all():  # they may have taken place unheard
                namespace.recovery.wake()

    def lost(self, reason: str) -> None:  # noqa: ARG002 - the listener has logged it
        """Put everything in doubt, at once."""
        self._namespace.lose()

    def staleness(self, now: int) -> float:
        """Return the seconds since the last proof that every invalidation had arrived; inf before the first."""
        return math.inf if self.proven_at is None else max(0.0, (now - self.proven_at) / SECOND)


class TrackingSubscriber(NamespaceSubscriber):
    """Receives from the server itself the changed keys of the namespace, without op ids.

    A process's own writes thus leave its local tier too, when their echo arrives.
    """

    def __init__(self, namespace: "TwoTierNamespace") -> None:
        super().__init__(namespace)
        self.channel = namespace.generations.stem
        self._generations = frozenset(self.generation_keys)
        self._emptied = False
        """Whether one server has no generation: the next one is a first use, not a clear. False in a cluster."""

    def received(self, payloads: list[bytes]) -> None:
        """Drop the entries of changed keys."""
        namespace = self._namespace
        keys: list[str] = []
        tags: list[str] = []
        cleared = False
        for changed in payloads:
            if changed == EVERYTHING:
                self._note_emptied(True)
                namespace.versions.store.clear()
                namespace.store.clear()
            elif changed in self._generations:
                if self._emptied:
                    namespace.store.bump_epoch()
                elif not cleared:  # one names all groups
                    namespace.store.clear()
                    namespace.sweep.wake()
                    cleared = True
                self._emptied = False
            elif (key := namespace.generations.key_in(changed)) is not None:
                keys.append(key)
            elif (tag := namespace.versions.tag_in(changed)) is not None:
                tags.append(tag)
        if tags:
            namespace.end_tags(tags, NO_OP)
        namespace.counters.invalidations_received += namespace.store.apply(keys, NO_OP)
        if namespace.late and namespace.late.suspect(keys):
            namespace.recovery.wake()

    def renewed(self, lease_until: int, generation: bytes | NotAsked | None, group: int = 0) -> None:
        """Extend the staleness lease, and note whether the server is empty."""
        self._note_emptied(generation is None)
        super().renewed(lease_until, generation, group)

    def _note_emptied(self, emptied: bool) -> None:
        self._emptied = emptied and len(self._generations) == 1
