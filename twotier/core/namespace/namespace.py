"""One namespace in one process: builds and connects its parts, and closes and forks them together."""

import contextlib
import logging
import math
import random
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

from twotier.clock import NEVER, SECOND, SystemClock, wall_clock
from twotier.codec.values import Values
from twotier.coherence.any_listener import AnyListener
from twotier.coherence.listener_registry import release_listener, shared_listener
from twotier.coherence.message import Kind, Message, MessageCodec
from twotier.core.flow.async_drive import Tasks
from twotier.core.flow.background import Background, Surroundings
from twotier.core.loading.absences import Absences
from twotier.core.loading.back_off import BackgroundLoads
from twotier.core.loading.claims import Claims
from twotier.core.loading.early_refresh import LoadDurations
from twotier.core.loading.load_gate import LoadGate
from twotier.core.loading.single_flight import SingleFlight
from twotier.core.namespace.audit import Audit
from twotier.core.namespace.cluster_generations import GroupedGenerations
from twotier.core.namespace.counters import Counters
from twotier.core.namespace.deployment import breaker_state, check_access, executors, listener, outages
from twotier.core.namespace.generation_names import GenerationNames
from twotier.core.namespace.generations import Generations
from twotier.core.namespace.profiles import Profiles
from twotier.core.namespace.subscriber import UNVERIFIED, NamespaceSubscriber, TrackingSubscriber
from twotier.core.namespace.sweep import Sweep
from twotier.core.outage.journal import Doubt, Journal
from twotier.core.outage.late_writes import Abandoned, LateWrites
from twotier.core.outage.recovery import Recovery
from twotier.core.outage.replica_reads import ReplicaReads
from twotier.core.tags.tag_index import ANY_TAG, Tag, TagIndex
from twotier.core.tags.tag_versions import TagVersions
from twotier.errors import RemoteError, RemoteUnavailable, TwoTierError
from twotier.fork import reset_on_fork
from twotier.local import COMPILED, Store
from twotier.local.sweeper import sweeper
from twotier.opid import NO_OP, OpIds
from twotier.options import Options
from twotier.rate_limited_log import RateLimitedLog
from twotier.remote.commands.base import Publication
from twotier.remote.deploy.factory import Topology
from twotier.remote.execute.executor import AnyAsyncExecutor, AnyExecutor
from twotier.remote.io.breaker import Breaker
from twotier.stats import Health, Stats
from twotier.worker import start_pending

_AT_ONCE: Final = 1000
"""Entries expired in one call of the store, during which other threads wait."""


class Namespace:
    """A namespace without a remote tier: the local tier, the encoding of values, and the counters. Times are ns."""

    executor: AnyExecutor | None = None
    async_executor: AnyAsyncExecutor | None = None
    label = "the local tier alone"

    def __init__(self, options: Options) -> None:
        self.options = options
        self.clock = options.clock or SystemClock()
        self.values = Values(options)
        self.counters = Counters()
        self.log = RateLimitedLog(self.clock)
        self.closed = False
        self.store = Store(
            options.maxsize,
            policy=options.policy,
            clock=options.clock,
            copy=options.copy,
            encode=self.values.encode,
            decode=self.values.decode,
            max_bytes=options.max_bytes,
            weigher=options.weigher,
            on_removal=options.on_removal,
        )
        self.tags = TagIndex(self.store)
        self._around: Surroundings = contextlib.nullcontext
        self._make_loading_parts()
        self._swept = False
        self.store.renew(NEVER)
        reset_on_fork(self)

    def check_open(self) -> None:
        """Raise TwoTierError once the namespace is closed; start the sweep of expired local entries."""
        if self.closed:
            raise TwoTierError("the cache is closed; make a new one")
        start_pending()
        if not self._swept:
            self._swept = True
            for store in self._stores():
                sweeper.watch(store)

    def _stores(self) -> tuple[Store, ...]:
        return (self.store,)

    def end_tags(self, tags: Sequence[str], op: int) -> None:  # noqa: ARG002 - for subclasses with tag versions
        """Expire local entries with any of `tags`, which write `op` has ended, and void their fills under way."""
        keys = self.tags.keys_of((ANY_TAG, *tags))
        for start in range(0, len(keys), _AT_ONCE):
            self.store.demote(keys[start : start + _AT_ONCE], NO_OP)
        self.absences.end_tags(tags)

    def after_fork(self) -> None:
        """Reset the parts of one process in a forked child, where no load is under way and nothing is swept yet."""
        self._swept = False
        self.tags.after_fork()
        self._make_loading_parts()

    def _make_loading_parts(self) -> None:
        self.flights = SingleFlight(self.store, self.clock, round(self.options.load_lease * SECOND))
        """Loads under way."""
        self.load_gate = LoadGate(self.options.max_concurrent_loads)
        self.background = Background(self.options.max_concurrent_loads, self._around)
        self.tasks = Tasks()
        self.attempts = BackgroundLoads(self.clock)
        self.absences = Absences(self.store, self.clock)
        self.durations = LoadDurations(self.store, capped=self.options.local_ttl is not None)

    def surround_background(self, around: Surroundings) -> None:
        """Enter `around()` around all work on background threads, in forked children too."""
        self._around = self.background.around = around

    def close(self) -> None:
        """Release all resources; later calls do nothing."""
        self.closed = True
        self.background.close()
        self.tasks.close()
        self.store.lose()
        self.store.clear()
        for store in self._stores():
            sweeper.forget(store)

    def served_stale(self) -> None:
        """Count a stale copy that is served."""
        self.counters.stale_served += 1

    def found_absent(self) -> None:
        """Count a read of a key that is known to be absent."""
        self.counters.misses += 1
        self.counters.negative_hits += 1

    def _outages(self) -> int:
        return 0

    def health(self) -> Health:
        """Return the present state."""
        return Health(
            link="local", staleness=0.0, breaker="closed", journal=0, compiled=COMPILED, epoch=self.store.epoch
        )

    def stats(self) -> Stats:
        """Return the present counters."""
        local, ours = self.store.counters(), self.counters
        remote_hits, stale = ours.remote_hits, ours.stale_served
        return Stats(
            hits=local["hits"] + remote_hits + stale,
            misses=ours.misses,
            local_hits=local["hits"],
            remote_hits=remote_hits,
            loads=ours.loads,
            load_errors=ours.load_errors,
            stale_served=stale,
            stale_while_revalidating=ours.stale_while_revalidating,
            stale_on_error=ours.stale_on_error,
            early_refreshes=ours.early_refreshes,
            negative_hits=ours.negative_hits,
            loads_shed=ours.loads_shed,
            load_timeouts=ours.load_timeouts,
            evictions=local["evictions"],
            expirations=local["expirations"],
            invalidations_sent=ours.invalidations_sent,
            invalidations_received=ours.invalidations_received,
            remote_errors=ours.remote_errors,
            corrupt=ours.corrupt,
            unverified=ours.unverified,
            few_replicas=ours.few_replicas,
            outages=self._outages(),
            journal_overflows=ours.journal_overflows,
            late_writes=ours.late_writes,
            replica_reads=ours.replica_reads,
            audited=ours.audited,
            audit_mismatches=ours.audit_mismatches,
            swept=ours.swept,
            entries=local["entries"],
            lag=ours.lag.histogram(),
            stale_age=ours.stale_age.histogram(),
            bytes=local["bytes"],
            removal_errors=local["removal_errors"],
        )


class TwoTierNamespace(Namespace):
    """A namespace with the remote tier at `topology`, and a link that brings the invalidations of other writers."""

    executor: AnyExecutor
    async_executor: AnyAsyncExecutor

    def __init__(self, topology: Topology, options: Options) -> None:
        options = topology.suited(options)
        super().__init__(options)
        self._linked: Final = options.coherence != "none"
        self._publishes: Final = options.coherence == "pubsub"
        if self._linked:
            self.store.lose()
        self.topology = topology
        self.label = topology.label
        self.stale_ttl: Final = round(options.stale_ttl * SECOND)
        self.local_ttl: Final = NEVER if options.local_ttl is None else round(options.local_ttl * SECOND)
        self.channel: Final = f"{options.namespace}:inv:v1".encode()
        self.messages = MessageCodec(options.secrets, options.namespace)
        lasts = NEVER if self._linked else round(options.max_staleness * SECOND)
        ours = (options.namespace, self.store, self.clock, lasts)
        names = GenerationNames(options.secrets, options.namespace)
        self.generations = (
            GroupedGenerations(*ours, topology.owner, names=names)
            if topology.slotted
            else Generations(*ours, names=names, announcement=lambda: self.publication("clear", self.op_ids.next()))
        )
        self.versions = TagVersions(self.generations.stem, options, self.clock, lasts)
        if not self._linked:
            self.versions.store.renew(NEVER)
        ear = TrackingSubscriber if options.coherence == "tracking" else NamespaceSubscriber
        self.subscriber = ear(self)
        self._starting = threading.Lock()
        self._listener: AnyListener | None = None
        self._audit: Audit | None = None
        falls_back = options.replica_fallback and options.on_outage == "serve"
        self.fallback = ReplicaReads(self) if falls_back else None
        """Reads replicas while the primary is away."""
        self._make_process_parts()
        topology.on_change(self._primary_changed)

    def end_tags(self, tags: Sequence[str], op: int) -> None:
        """Forget the versions of `tags`, which write `op` has ended, and expire the local entries that carry them."""
        self.versions.forget((ANY_TAG, *tags), op)  # first: keys noted under a tag from now on see its end
        super().end_tags(tags, op)

    def lose(self) -> None:
        """End the staleness lease, and put everything in doubt."""
        self.versions.store.lose()
        self.store.lose()

    def bump_epoch(self) -> None:
        """Put everything in doubt: tag versions first, so that no entry is installed under an outdated version."""
        self.versions.store.bump_epoch()
        self.store.bump_epoch()

    def renew(self, lease_until: int) -> None:
        """Extend the staleness lease until `lease_until`."""
        self.store.renew(lease_until)
        self.versions.store.renew(lease_until)

    def _stores(self) -> tuple[Store, ...]:
        return (self.store, self.versions.store)

    def _make_process_parts(self) -> None:
        """Create the objects of one process, which a forked child creates anew."""
        self.op_ids = OpIds()
        self.fetches = SingleFlight(self.store, self.clock, round(self.options.timeout * SECOND))
        """Revalidations of suspects under way."""
        self.claims = Claims(self.clock, round(self.options.load_lease * SECOND), self._give_back_leases)
        """Locks that loads and write-throughs may have left on the server."""
        self.journal = Journal(self.options.max_journal, len(self.generations.keys), self.generations.group_of)
        self.late = LateWrites(self.clock, self.options.max_journal if self._linked else 0, heard=self._publishes)
        self.breaker = Breaker(self.clock, label=f"namespace {self.options.namespace} on {self.label}")
        self.executor, self.async_executor = executors(self.topology, self.options, self.breaker)
        self.fleet = Profiles(self)
        """The settings of the other processes that share the namespace."""
        self._announced = False
        self.recovery = Recovery(self)
        self.breaker.on_open = self.recovery.wake
        self.sweep = Sweep(self)

    def _give_back_leases(self) -> None:
        """Wake recovery to release abandoned locks."""
        self.recovery.wake()

    def reach(self) -> None:
        """Close the namespace and raise RemoteUnavailable unless the remote tier answers, and permits our commands."""
        try:
            check_access(self.topology, self.executor, self.options)
        except RemoteError as error:
            self.close()
            raise RemoteUnavailable(f"the remote tier isn't usable: {error}") from error

    def ensure_listening(self) -> None:
        """Start listening for invalidations if the options say so and it hasn't begun; cheap otherwise."""
        if not self._announced:
            self._announced = True
            self.fleet.watch()
            self.sweep.wake()
        if not self._linked:
            return
        listener = self._listener
        if listener is None:
            with self._starting:
                self.check_open()
                if self._listener is None:
                    options = self.options
                    ours = (options.coherence, options.max_staleness, options.protocol, options.clock)
                    shared = (self.topology.identity, ours)
                    listener = shared_listener(shared, self._make_listener)
                    listener.attach(self.subscriber)
                    self._listener = listener
                    if options.audit_interval is not None:
                        self._audit = Audit(self, options.audit_interval)
            return
        listener.ensure_started()

    def hurry_link(self) -> None:
        """Let the link connect at once if it is down: the server was seen to be usable."""
        if self._listener is not None:
            self._listener.hurry()

    def _primary_changed(self) -> None:
        """Put everything in doubt before the first read from the new primary, and use the primary at once."""
        if self._linked:
            self.lose()
        else:
            self.bump_epoch()
        if self._listener is not None:
            self._listener.wake()
        self.recovery.hurry()
        self.sweep.restart()

    def _make_listener(self) -> AnyListener:
        return listener(self.topology, self.clock, self.options)

    def after_fork(self) -> None:
        """Give a forked child a new identity, no link, its own connections, and an empty journal (DESIGN step 10)."""
        super().after_fork()
        if self._linked:
            self.lose()
        self._starting = threading.Lock()
        self._listener = self._audit = None
        self.topology.after_fork()
        self._make_process_parts()

    def close(self) -> None:
        """Stop listening, close the connections, and stop the server if it is our own; journaled keys are dropped."""
        if self.closed:
            return
        super().close()
        self.fleet.close()
        self.recovery.close()
        self.sweep.close()
        with self._starting:
            listener, self._listener = self._listener, None
        if self._audit is not None:
            self._audit.close()
        if listener is not None:
            listener.detach(self.subscriber)
            release_listener(listener)
        self.topology.close()

    def local_expiry(self, now: int, ttl: int) -> int:
        """Return the local expiry of an entry that lives `ttl` from `now` on: capped, and early by a random jitter."""
        life = min(ttl, self.local_ttl)
        if life >= NEVER - now:
            return NEVER
        return now + life - int(life * self.options.jitter * random.random())  # noqa: S311 - spreads load, guards nothing

    def publication(self, kind: Kind, op_id: bytes, keys: Iterable[str] = ()) -> Publication | None:
        """Return the invalidation of write `op_id` of `keys`; None unless writers publish."""
        if not self._publishes:
            return None
        message = Message(kind, op_id, tuple(keys), wall_clock())
        self.counters.invalidations_sent += len(message.keys)
        return Publication(self.channel, self.messages.encode(message))

    def voids(self, places: Sequence[bytes]) -> list[bytes]:
        """Return the names that a write of the keys at `places` removes: their locks, and counters' warrants."""
        leases = self.generations.leases(places)
        if not self.values.signs:
            return leases
        return [name for pair in zip(leases, self.generations.warrants(places), strict=True) for name in pair]

    def served_stale(self) -> None:
        """Count a stale copy that is served, and its age."""
        super().served_stale()
        age = self.subscriber.staleness(self.clock.now())
        if math.isfinite(age):
            self.counters.stale_age.add(round(age * 1_000_000))

    def doubt(self, doubts: Mapping[str, Doubt] | Mapping[Tag, Doubt]) -> None:
        """Journal writes that may not have reached the remote tier, and wake recovery to replay them."""
        if self.journal.add(doubts):
            self.counters.journal_overflows += 1
            message = (
                "namespace %s on %s: more keys are in doubt than the journal takes; "
                "what they belong to is cleared instead"
            )
            self.log.log(logging.WARNING, "journal overflow", message, self.options.namespace, self.label)
        self.recovery.wake()

    def undo(self, key: str, late: Sequence[Abandoned]) -> None:
        """Journal the removal of late writes' values from `key`, and count it."""
        self.counters.late_writes += 1
        self.doubt({key: Doubt(self.op_ids.next(), late=tuple(late))})

    def overtake(self, keys: Iterable[str], *, counters: bool = True) -> None:
        """Note that keys were set or deleted: their late values, and with `counters` their late increments, must go."""
        if self.late.overtake(keys, counters=counters):
            self.recovery.wake()

    def _link_state(self) -> Literal["live", "sync", "down", "none"]:
        """Return the link's state as the local tier sees it: changes reach the local tier a moment later."""
        if not self._linked:
            return "none"
        if self.store.live:
            return "live"
        state = "down" if self._listener is None else self._listener.state(self.subscriber)
        return "sync" if state == "live" else state

    def _outages(self) -> int:
        return outages(self.topology, self.breaker)

    def doubt_clear(self, groups: Iterable[int]) -> None:
        """Journal groups of keys to clear once the remote tier, or their node, is back."""
        self.journal.add_clear(groups)
        self.recovery.wake()

    def health(self) -> Health:
        """Return the state now."""
        subscriber = self.subscriber
        return Health(
            link=self._link_state(),
            staleness=subscriber.staleness(self.clock.now()),
            breaker=breaker_state(self.topology, self.breaker),
            journal=len(self.journal),
            compiled=COMPILED,
            epoch=self.store.epoch,
            conflicts=self._conflicts(),
        )

    def _conflicts(self) -> tuple[str, ...]:
        found = self.fleet.conflicts
        return (*found, UNVERIFIED) if self.subscriber.unverified.recent else found
