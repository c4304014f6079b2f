"""The link to a cluster: a listener for each primary, and a subscriber that is live only while all of them are.

A cluster's nodes don't pass on their invalidations, so the process listens to each primary (CLIENT
TRACKING), and the lease ends with the earliest of the primaries' leases. Each primary proves its own slots
only: the link reads a key from it in a slot that it serves, the generation of one group if the primary
has any. A primary that has lost its cluster, or that slot, refuses the read, which ends the lease; a
primary that has lost its data has lost that generation, too.

A primary without a listener may change keys unheard. So the map of primaries is read twice as often as
leases are renewed, and bounds the leases like any other reply. When a new primary gets its listener, every
entry becomes suspect. A slot that moves takes its keys along: the old owner deletes them and sends
invalidations.
"""

import contextlib
import logging
import random
import threading
import time
from collections.abc import Sequence
from typing import Final, Protocol

from twotier.clock import Clock
from twotier.coherence.link import State
from twotier.coherence.listener import Listener
from twotier.coherence.subscriber import NOT_ASKED, NotAsked, ShardedSubscriber
from twotier.options import Options
from twotier.remote.commands.slot_map import Node, SlotMap
from twotier.remote.deploy.single import OneServer
from twotier.remote.hash_slots import slot_of, tag_of
from twotier.worker import Worker

SETTLE: Final = 0.02
"""Pause after a change before the map is read again (s): while slots are being moved, changes come in swarms."""

SPARE: Final = 8
"""Number of keys to choose from, for the reads from a primary without generations."""

_Probe = tuple[bytes, int | None]
"""A key that a primary serves, and the group whose generation the key holds, or None."""

_log = logging.getLogger("twotier")


class Reached(Protocol):
    """Access to a node."""

    @property
    def server(self) -> OneServer:
        """The node as a server."""
        ...


class NodeMap(Protocol):
    """The nodes of a cluster, as far as the listener needs to know them."""

    @property
    def map(self) -> SlotMap | None:
        """The latest slot map from a node; None before the first."""
        ...

    def survey(self) -> bool:
        """Read the slot map; return True if a node answered."""
        ...

    def member(self, node: Node) -> Reached:
        """Return the access to `node`."""
        ...


class _ShardSubscriber:
    """A subscriber of one primary's listener, on behalf of a subscriber of the whole cluster."""

    def __init__(self, shards: "_Shards", node: Node, probes: Sequence[_Probe]) -> None:
        self.channel: Final = shards.subscriber.channel
        self.shards: Final = shards
        self._node = node
        self._probes = probes
        self._choose()

    def _choose(self) -> None:
        """Choose another key to read from now on."""
        self.generation_key, self.group = random.choice(self._probes)  # noqa: S311 - any will do

    def received(self, payloads: list[bytes]) -> None:
        """Pass on the changed keys."""
        self.shards.received(payloads)

    def confirmed(self) -> None:
        """Pass on that no message of this primary is missed from now on."""
        self.shards.confirmed()

    def renewed(self, lease_until: int, generation: bytes | NotAsked | None) -> None:
        """Pass on the lease, and the generation if this primary has one."""
        self.shards.renewed(self._node, lease_until, NOT_ASKED if self.group is None else generation, self.group or 0)

    def lost(self, reason: str) -> None:
        """Pass on that the link to this primary is lost, or that the key to read is moving to another primary."""
        self._choose()
        self.shards.lost(self._node, reason)


class _Shards:
    """One subscriber of the cluster, and its shard subscribers at all primaries."""

    def __init__(self, subscriber: ShardedSubscriber) -> None:
        self.subscriber: Final = subscriber
        self.ears: dict[Node, _ShardSubscriber] = {}
        self._lock = threading.RLock()  # a user's callback may run under this lock, and find a new primary
        self._leases: dict[Node, int] = {}

    def received(self, payloads: list[bytes]) -> None:
        """Pass on the changed keys; one primary at a time, as a subscriber expects."""
        with self._lock:
            self.subscriber.received(payloads)

    def confirmed(self) -> None:
        """Make every entry suspect."""
        with self._lock:
            self.subscriber.confirmed()

    def renewed(self, node: Node, lease_until: int, generation: bytes | NotAsked | None, group: int) -> None:
        """Extend the lease to the earliest end of the primaries' leases."""
        with self._lock:
            if node not in self.ears:
                return
            self._leases[node] = lease_until
            if len(self._leases) == len(self.ears):
                self.subscriber.renewed(min(self._leases.values()), generation, group)

    def lost(self, node: Node, reason: str) -> None:
        """Make every entry suspect until all primaries are heard again; the link to `node` is lost."""
        with self._lock:
            self._leases.pop(node, None)
            self.subscriber.lost(reason)

    def listen(self, ears: dict[Node, _ShardSubscriber]) -> None:
        """Replace the shard subscribers."""
        with self._lock:
            self.ears = ears
            self._leases = {node: lease for node, lease in self._leases.items() if node in ears}


class ClusterListener:
    """Listens to every primary of a cluster, with the interface of `Listener`."""

    def __init__(self, members: NodeMap, clock: Clock, options: Options) -> None:
        self._members = members
        self._clock = clock
        self._options = options
        self._closing = False
        self._worker = Worker(self._step, "twotier-shards")
        self._begin()

    def _begin(self) -> None:
        """Make the state that belongs to one process."""
        self._lock = threading.Lock()
        self._shards: dict[ShardedSubscriber, _Shards] = {}
        """Subscribers to serve; the dict is replaced, never changed."""
        self._served: dict[ShardedSubscriber, _Shards] = {}
        """Subscribers whose shard subscribers are attached."""
        self._listeners: dict[Node, Listener] = {}
        """Listeners by primary. Only the worker thread adds to them."""
        self._mapped_at = 0
        """Latest instant (ns) at which `_listeners` is known to have covered all primaries."""

    # Called by anyone

    def attach(self, subscriber: ShardedSubscriber) -> None:
        """Serve `subscriber` from now on, and start listening unless the thread runs."""
        with self._lock:
            self._shards = {**self._shards, subscriber: _Shards(subscriber)}
        self.wake()

    def detach(self, subscriber: ShardedSubscriber) -> None:
        """Stop serving `subscriber`."""
        with self._lock:
            self._shards = {each: shards for each, shards in self._shards.items() if each is not subscriber}
        self.wake()

    def state(self, subscriber: ShardedSubscriber) -> State:
        """Return "live" while all primaries are heard, "down" while there is a link to none, else "sync"."""
        shards = self._shards.get(subscriber)
        listeners = self._listeners
        ears = {} if shards is None else shards.ears
        states = {listeners[node].state(ear) if node in listeners else "down" for node, ear in ears.items()}
        if not states - {"down"}:
            return "down"
        return "live" if states == {"live"} else "sync"

    def ensure_started(self) -> None:
        """Start the thread unless it runs; cheap if it does."""
        if self._worker.thread is None:
            self._worker.start()

    def wake(self) -> None:
        """Read the slot map now: the primaries may have changed."""
        self._worker.wake()

    def hurry(self) -> None:
        """Try to connect now: a node is known to be usable."""
        for listener in list(self._listeners.values()):
            listener.hurry()
        self.wake()

    def close(self, timeout: float = 2.0) -> None:
        """Stop listening for good; waits for the threads for up to `timeout` s."""
        with self._lock:
            self._closing = True
        self._worker.close(timeout)
        self._close_listeners()

    def _close_listeners(self) -> None:
        with contextlib.suppress(KeyError):
            while True:
                self._listeners.popitem()[1].close()

    def after_fork(self) -> None:
        """In a forked child: drop the parent's connections."""
        listeners = list(self._listeners.values())
        self._begin()
        for listener in listeners:
            listener.after_fork()

    # The thread

    def _step(self, woken: bool) -> float:
        if woken:
            time.sleep(SETTLE)
        try:
            asked_at = self._clock.now()
            if self._members.survey():
                self._align(asked_at)
        except Exception:  # noqa: BLE001 - whatever it is, the thread must go on
            _log.exception("bringing the cluster's links in line failed; it will be tried again")
        if self._closing:
            self._close_listeners()
        return self._options.max_staleness / 5

    def _align(self, mapped_at: int) -> None:
        """Make one listener for each primary, and attach one shard subscriber of each subscriber to it."""
        slots = self._members.map
        assert slots is not None  # noqa: S101 - a survey has just succeeded
        for node in slots.primaries - self._listeners.keys():
            connect = self._members.member(node).server.link_connection
            self._listeners[node] = Listener(connect, self._clock, self._options, vouched_at=lambda _: self._mapped_at)
        wanted = self._shards
        before = {shards: shards.ears for shards in wanted.values()}
        for shards in before:
            shards.listen({node: self._ear(shards, node, slots) for node in slots.primaries})
        self._mapped_at = mapped_at  # not before this line: from here on no lease holds without the new primaries
        self._move_ears(before)
        for subscriber in self._served.keys() - wanted.keys():
            for node, ear in self._served[subscriber].ears.items():
                self._listeners[node].detach(ear)
        self._served = wanted
        for node in self._listeners.keys() - slots.primaries:
            self._listeners.pop(node).close(0)

    def _move_ears(self, before: dict[_Shards, dict[Node, _ShardSubscriber]]) -> None:
        """Detach the shard subscribers that are no longer used, and attach the new ones."""
        for shards, ears in before.items():
            for node, ear in ears.items():
                if shards.ears.get(node) is not ear:
                    self._listeners[node].detach(ear)
            for node, ear in shards.ears.items():
                if ears.get(node) is not ear:
                    self._listeners[node].attach(ear)

    def _ear(self, shards: _Shards, node: Node, slots: SlotMap) -> _ShardSubscriber:
        """Return the shard subscriber at `node`: the present one if the node still serves its key, else a new one."""
        ear = shards.ears.get(node)
        keys = shards.subscriber.generation_keys
        if ear is not None and slots.owners[slot_of(ear.generation_key)] == node and ear.group is not None:
            return ear
        groups = [group for group, key in enumerate(keys) if slots.owners[slot_of(key)] == node]
        if groups:
            return _ShardSubscriber(shards, node, [(keys[group], group) for group in groups])
        if ear is not None and slots.owners[slot_of(ear.generation_key)] == node:
            return ear
        served = [slot for slot, owner in enumerate(slots.owners) if owner == node]
        chosen = random.sample(served, min(SPARE, len(served)))
        return _ShardSubscriber(
            shards, node, [(shards.subscriber.channel + b"!" + tag_of(slot), None) for slot in chosen]
        )
