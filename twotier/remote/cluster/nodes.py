"""A cluster's nodes as this process knows them: the map of slots, and a pool and a circuit breaker for each node.

A worker keeps the map up to date. Its thread lives only while there is work: at the start, after a
redirect, and after a node didn't reply. The worker asks one node after the other until one returns the map,
and probes the nodes whose breaker is open. A node that serves no slot any more, and is no replica, is closed.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Final

from twotier.backoff import Backoff
from twotier.clock import SystemClock
from twotier.errors import RemoteError, RemoteUnavailable
from twotier.options import Options
from twotier.rate_limited_log import RateLimitedLog
from twotier.remote.commands.base import Ping
from twotier.remote.commands.slot_map import AskSlots, Node, NotANodeError, SlotMap
from twotier.remote.deploy.single import SingleServer
from twotier.remote.execute.round_trip import Endpoint
from twotier.remote.execute.tasks import AsyncExecutor
from twotier.remote.execute.threads import Executor
from twotier.remote.io.breaker import Breaker, State
from twotier.remote.io.connect_errors import NotADataServerError
from twotier.worker import Worker

FIRST_PAUSE: Final = 0.02
LONGEST_PAUSE: Final = 0.5
"""Seconds between two surveys while something is wrong; doubled from the first to the longest, cut by up to half."""


class ClusterNode:
    """One node: its connections, its breaker, and its executors."""

    def __init__(self, node: Node, server: SingleServer, options: Options, on_open: Callable[[], None]) -> None:
        self.node = node
        self.server = server
        label = f"namespace {options.namespace} on {server.label}"
        self.breaker = Breaker(options.clock or SystemClock(), label=label)
        self.breaker.on_open = on_open
        self._edge = edge = Endpoint(server, options, self.breaker)
        self.executor = Executor(edge)
        self.async_executor = AsyncExecutor(edge)

    @property
    def rests(self) -> bool:
        """Whether replica reads from the node are in their back-off after a failure."""
        return self._edge.of_replicas().breaker.state != "closed"


class ClusterNodes:
    """The nodes and the map. Threads and event loops share it.

    `make` returns the server at a node, unconnected; `seeds` are the nodes that the user has configured.
    """

    def __init__(self, seeds: Iterable[Node], make: Callable[[Node], SingleServer], options: Options) -> None:
        self._seeds = tuple(seeds)
        self._make = make
        self._options = options
        self._closed = False
        self._worker = Worker(self._step, "twotier-cluster")
        self._concerned: list[Callable[[], None]] = []
        self._begin()

    def _begin(self) -> None:
        """Make the state that belongs to one process."""
        self._lock = threading.RLock()
        self._map: SlotMap | None = None
        self._owners: list[Node | None] = []
        self._members: dict[Node, ClusterNode] = {}
        self._backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        self._looked_at = -LONGEST_PAUSE
        """Instant of `time.monotonic` at which the last survey ended."""
        self._occasional = RateLimitedLog(SystemClock())
        self.known: Future[None] = Future()
        """Done once there is a map."""
        self.silent = False
        """Whether no node returned the map in the last survey."""
        self.hint = ""
        """Advice on the URL, if the last survey has met a server that belongs to no cluster."""

    # The map

    @property
    def map(self) -> SlotMap | None:
        """The latest map from a node; None before the first."""
        return self._map

    def owner(self, slot: int) -> Node | None:
        """Return the primary of `slot`; None if there is none."""
        return self._owners[slot] if self._owners else None

    def primaries(self) -> list[Node]:
        """Return the primaries that serve a slot; none before the first map."""
        return sorted(self._map.primaries) if self._map is not None else []

    def replicas(self, primary: Node) -> tuple[Node, ...]:
        """Return the known replicas of `primary`."""
        return self._map.replicas.get(primary, ()) if self._map is not None else ()

    def moved(self, slot: int, node: Node) -> None:
        """Note that `node` serves `slot`, by another node's redirect, and request a survey."""
        with self._lock:
            if self._owners:
                self._owners[slot] = node
        self.look()

    def on_change(self, concerned: Callable[[], None]) -> None:
        """Call `concerned` whenever a survey has found other primaries."""
        self._concerned.append(concerned)

    # The nodes

    def member(self, node: Node) -> ClusterNode:
        """Return the `ClusterNode` of `node`, made on first use."""
        member = self._members.get(node)
        if member is None:
            with self._lock:
                member = self._members.get(node)
                if member is None:
                    if self._closed:
                        raise RemoteUnavailable("the connections to the cluster are closed")
                    member = ClusterNode(node, self._make(node), self._options, self.look)
                    self._members[node] = member
        return member

    def worst(self) -> State:
        """Return the state of the breaker that is farthest from closed; "open" while no node returns the map."""
        states = {member.breaker.state for member in list(self._members.values())}
        if self.silent:
            return "open"
        return next((state for state in ("open", "half-open") if state in states), "closed")

    def openings(self) -> int:
        """Return the number of openings of the nodes' breakers."""
        return sum(member.breaker.openings for member in list(self._members.values()))

    def after_fork(self) -> None:
        """In a forked child: drop the parent's connections, and begin anew."""
        inherited = list(self._members.values())
        self._begin()
        for member in inherited:
            member.server.after_fork()

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            self._closed = True
            members = list(self._members.values())
            if not self.known.done():
                self.known.set_exception(RemoteUnavailable("the connections to the cluster are closed"))
        for member in members:
            member.server.close()
        self._worker.close(2 * self._options.timeout)

    # The surveys

    def look(self) -> None:
        """Request a survey soon. Raises nothing; there is no survey while no thread can be started."""
        self._worker.wake()
        if self._worker.thread is None and not self.known.done():
            self.silent = True

    def _step(self, woken: bool) -> float | None:
        # Also after a successful survey: redirects come by the hundred while slots are being moved.
        early = self._looked_at + FIRST_PAUSE - time.monotonic()
        if woken and early > 0:
            time.sleep(early)
        try:
            well = self.survey() and self._probe()
        except Exception:  # noqa: BLE001 - logged whole; without the map the cluster would be lost for good
            message = "looking at the cluster failed; it will be tried again (logged once a minute)"
            self._occasional.log(logging.ERROR, "look", message, trace=True)
            well = False
        self._looked_at = time.monotonic()
        if well:
            self._backoff.reset()
            return None
        return FIRST_PAUSE + self._backoff.next() * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing

    def survey(self) -> bool:
        """Ask one node after the other for the map, nodes with a closed breaker first; return True if one replied."""
        known = list(self._members)
        random.shuffle(known)
        known.sort(key=lambda node: self._members[node].breaker.state != "closed")
        hint = ""
        for node in dict.fromkeys([*known, *self._seeds]):
            if self._closed:
                return False
            try:
                told: SlotMap = self.member(node).executor.run(AskSlots(node), probing=True)
            except (NotANodeError, NotADataServerError) as error:
                hint = self.hint = str(error)
                continue
            except RemoteError:
                continue
            if told.primaries:
                self._take(told)
                self.silent = False
                return True
        self.hint = hint
        self.silent = True
        return False

    def _take(self, told: SlotMap) -> None:
        before = self._map
        if before is None or before.primaries != told.primaries:
            for concerned in self._concerned:  # before anything is read from a new primary
                concerned()
        with self._lock:
            self._map, self._owners = told, list(told.owners)
            gone = [node for node in self._members if node not in told.primaries and node not in self._replicas(told)]
            dropped = [self._members.pop(node) for node in gone]
            if not self.known.done():
                self.known.set_result(None)
        for member in dropped:
            member.server.close()

    def _replicas(self, told: SlotMap) -> set[Node]:
        return {replica for replicas in told.replicas.values() for replica in replicas}

    def _probe(self) -> bool:
        """Probe the nodes whose breaker is open; return True if all breakers are closed now."""
        well = True
        for member in list(self._members.values()):
            if member.breaker.begin_probe():
                try:
                    member.executor.run(Ping(), probing=True)
                except RemoteError:
                    member.breaker.probe_failed()
                else:
                    member.breaker.close()
            well = well and member.breaker.state == "closed"
        return well
