"""Access to a deployment, one server or a cluster: its executors, its listener, its breaker, and access checks."""

import contextlib
import queue
from collections.abc import Iterator

from twotier.clock import Clock
from twotier.coherence.any_listener import AnyListener
from twotier.coherence.cluster_listener import ClusterListener
from twotier.coherence.listener import Listener
from twotier.errors import RemoteTimeout, RemoteUnavailable
from twotier.options import Options
from twotier.remote.cluster.topology import ClusterTopology
from twotier.remote.commands.base import Command, Ping
from twotier.remote.commands.conditional import Conditional
from twotier.remote.commands.permissions import CheckAccess, CheckRole, wanted
from twotier.remote.deploy.factory import Topology
from twotier.remote.execute.executor import AnyAsyncExecutor, AnyExecutor
from twotier.remote.execute.round_trip import Endpoint
from twotier.remote.execute.tasks import AsyncExecutor
from twotier.remote.execute.threads import Executor
from twotier.remote.io.breaker import Breaker
from twotier.remote.io.breaker import State as BreakerState
from twotier.remote.io.errors import CrossSlotError, RedirectionError
from twotier.remote.io.transport_probe import ask_transport
from twotier.resp import ProtocolError
from twotier.worker import start_thread


def executors(topology: Topology, options: Options, breaker: Breaker) -> tuple[AnyExecutor, AnyAsyncExecutor]:
    """Return the executors for threads and for event loops. The nodes of a cluster have breakers of their own."""
    if isinstance(topology, ClusterTopology):
        return topology.executors()
    edge = Endpoint(topology, options, breaker)
    return Executor(edge), AsyncExecutor(edge)


def servers(topology: Topology, executor: AnyExecutor) -> list[AnyExecutor]:
    """Return the executor of each server that has keys: of a cluster, those of its primaries; else `executor`."""
    if isinstance(topology, ClusterTopology):
        return [topology.members.member(node).executor for node in topology.members.primaries()]
    return [executor]


def check_access(topology: Topology, executor: AnyExecutor, options: Options) -> None:
    """Raise RemoteError unless the servers answer, and permit the commands that a cache with these options needs.

    Each check may take `timeout`: there are three for one server, and two more for each primary of a cluster.
    """
    try:
        _check(topology, executor, options)
    except (RemoteTimeout, RemoteUnavailable) as error:
        # Connecting may be under way, or (RESP2) have sent nothing; where it failed, `error` says why already.
        late = isinstance(error, RemoteTimeout) or (topology.slotted and "write redis" not in str(error))
        lost = isinstance(error.__context__, OSError | ProtocolError)
        if (late or lost) and (hint := _transport_hint(topology, options)):
            raise RemoteUnavailable(hint) from error
        raise


def _transport_hint(topology: Topology, options: Options) -> str:
    """Return a hint which scheme the URL needs if TLS is why a deployment can't be reached, else ""."""
    hints: queue.SimpleQueue[str] = queue.SimpleQueue()

    def ask() -> None:
        found = (ask_transport(address.connection(options)) for address in topology.named())
        hints.put(next(filter(None, found), ""))

    if start_thread(ask, "twotier-connect") is not None:  # looking up a host's name has no deadline
        with contextlib.suppress(queue.Empty):
            return hints.get(timeout=options.timeout + options.connect_timeout)
    return ""


def _check(topology: Topology, executor: AnyExecutor, options: Options) -> None:
    """Do as `check_access`, without hints."""
    if topology.slotted:
        executor.run(Ping(), probing=True)
    for each in servers(topology, executor):
        for question in _questions(topology, options):
            if topology.slotted:
                with contextlib.suppress(RedirectionError, CrossSlotError):  # nodes check permissions first
                    each.run(question, probing=True)
            else:
                each.run(question, probing=True)


def _questions(topology: Topology, options: Options) -> Iterator[Command[None] | Conditional[None]]:
    yield CheckRole(options.namespace, primary=not topology.slotted, linked=options.coherence != "none")
    yield CheckAccess(options.namespace, wanted(options))


def breaker_state(topology: Topology, breaker: Breaker) -> BreakerState:
    """Return the state of the circuit breaker; of a cluster, the worst of its nodes' states."""
    return topology.members.worst() if isinstance(topology, ClusterTopology) else breaker.state


def outages(topology: Topology, breaker: Breaker) -> int:
    """Return how often the circuit breaker has opened; of a cluster, the sum over its nodes."""
    return topology.members.openings() if isinstance(topology, ClusterTopology) else breaker.openings


def listener(topology: Topology, clock: Clock, options: Options) -> AnyListener:
    """Return the listener for invalidations, not yet started."""
    if isinstance(topology, ClusterTopology):
        return ClusterListener(topology.members, clock, options)
    return Listener(topology.link_connection, clock, options, vouched_at=topology.vouched_at)
