"""A real cluster on loopback: nodes to kill and to stop, and slots to move between them."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from typing import Any, Final, Self

import redis

from twotier.remote.deploy.embedded import EmbeddedServer, _held_port, _port_of
from twotier.remote.hash_slots import SLOTS

NODE_TIMEOUT: Final = 1_000
"""Milliseconds after which a silent node counts as failed."""
PATIENCE: Final = 30.0
"""Seconds that a state may take to come about on a busy machine."""


class EmbeddedCluster:
    """A cluster of private servers, `primaries` of them, each with a replica; a context starts and stops it.

    Args:
        primaries: How many primaries; each slot belongs to one of them.
        binary: Path of the server; None takes the one that the extra `twotier[embedded]` brings.

    `servers` holds the primaries first, then their replicas in the same order; a server may be killed and started
    again. Methods that wait raise TimeoutError after 30 s.

    >>> from twotier import Cache
    >>> with EmbeddedCluster() as cluster, Cache(cluster.url) as cache:
    ...     cache.set("key", 1)
    ...     cluster.owner(0) is cluster.servers[0]
    True

    """

    def __init__(self, *, primaries: int = 3, binary: str | None = None) -> None:
        self._binary = binary
        self._primaries = primaries
        self.servers: list[EmbeddedServer] = []
        self._buses: dict[EmbeddedServer, int] = {}
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Self:
        for _ in range(2 * self._primaries):
            self.add()
        first = self.servers[0]
        for server in self.servers[1:]:
            self.meet(first, server)
        share = -(-SLOTS // self._primaries)
        for number in range(self._primaries):
            last = min((number + 1) * share, SLOTS) - 1
            _ask(self.client(self.servers[number]), "CLUSTER", "ADDSLOTSRANGE", number * share, last)
        _until(lambda: all(self._knows(server) == len(self.servers) for server in self.servers), "all have met")
        for number in range(self._primaries):
            replica = self.client(self.servers[self._primaries + number])
            _ask(replica, "CLUSTER", "REPLICATE", self.id(self.servers[number]))
        self.settled()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.close()
        self._held.close()

    @property
    def url(self) -> str:
        """URL for a cache: it names three of the nodes."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.servers[:3])

    def add(self) -> EmbeddedServer:
        """Start another node, which belongs to no cluster yet."""
        bus = _port_of(self._held.enter_context(_held_port()))
        settings = {
            "cluster-enabled": "yes",
            "cluster-config-file": "nodes.conf",
            "cluster-node-timeout": str(NODE_TIMEOUT),
            "cluster-port": str(bus),
            "cluster-replica-validity-factor": "0",
            "repl-diskless-sync-delay": "0",
            "cluster-allow-replica-migration": "no",
            "enable-debug-command": "local",
        }
        server = EmbeddedServer(tcp=True, binary=self._binary, settings=settings)
        self.servers.append(server)
        self._buses[server] = bus
        return server.start()

    def meet(self, known: EmbeddedServer, fresh: EmbeddedServer) -> None:
        """Make a node join the cluster of another."""
        _ask(self.client(known), "CLUSTER", "MEET", "127.0.0.1", fresh.port, self._buses[fresh])

    def client(self, server: EmbeddedServer) -> redis.Redis:
        """Return a client of one node."""
        return redis.Redis(unix_socket_path=server.socket_path, decode_responses=True, socket_timeout=2)

    def id(self, server: EmbeddedServer) -> str:
        """Return the node's id."""
        return str(_ask(self.client(server), "CLUSTER", "MYID"))

    def primaries(self, asked: EmbeddedServer | None = None) -> dict[tuple[int, int], EmbeddedServer]:
        """Return the server of each range of slots, according to `asked` or the first node that answers."""
        by_port = {server.port: server for server in self.servers}
        for server in [asked] if asked else self.servers:
            with contextlib.suppress(redis.RedisError, OSError):
                ranges = _ask(self.client(server), "CLUSTER", "SHARDS")
                return {
                    (shard["slots"][at], shard["slots"][at + 1]): by_port[node["port"]]
                    for shard in map(_as_dict, ranges)
                    for node in map(_as_dict, shard["nodes"])
                    if node["role"] == "master" and node["health"] == "online"
                    for at in range(0, len(shard["slots"]), 2)
                }
        raise AssertionError("no node answers")

    def owner(self, slot: int, asked: EmbeddedServer | None = None) -> EmbeddedServer | None:
        """Return the primary of `slot`, according to `asked` or the first node that answers; None while it has none."""
        found = self.primaries(asked).items()
        return next((server for (first, last), server in found if first <= slot <= last), None)

    def settled(self) -> None:
        """Wait until every running node reports a healthy cluster in which each primary has its replica."""
        _until(lambda: all(self._well(server) for server in self.servers if server.running), "the cluster is well")

    def wait_for_failover(self, lost: EmbeddedServer) -> None:
        """Wait until, according to another node, every slot is served and none by `lost`."""

        def over() -> bool:
            asked = next(server for server in self.servers if server is not lost and server.running)
            serving = self.primaries(asked)
            slots = sum(last + 1 - first for first, last in serving)
            return slots == SLOTS and lost not in serving.values()

        _until(over, "a replica has taken over")

    def replicated(self) -> None:
        """Wait until every replica has all current writes of its primary."""
        for server in self.primaries().values():
            client = self.client(server)
            _ask(client, "PUBLISH", "nothing", "")
            offset = _ask(client, "ROLE")[1]

            def has_it(client: redis.Redis = client, offset: int = offset) -> bool:
                return all(int(replica[2]) >= offset for replica in _ask(client, "ROLE")[2])

            _until(has_it, "the replica has it")

    def let_others_serve(self) -> None:
        """Let the other nodes keep serving after a node is lost, until its replica takes over."""
        for server in self.servers:
            self.client(server).config_set("cluster-require-full-coverage", "no")

    def replica_of(self, primary: EmbeddedServer) -> EmbeddedServer:
        """Return the node that was made the replica of one of the first primaries."""
        return self.servers[self.servers.index(primary) + self._primaries]

    def hold_failover(self, primary: EmbeddedServer, *, held: bool = True) -> None:
        """Keep the replica of one of the first primaries from taking over, or let it again."""
        self.client(self.replica_of(primary)).config_set("cluster-replica-no-failover", "yes" if held else "no")

    def heal(self) -> None:
        """Bring back every killed or stopped node, as a replica."""
        for server in self.servers:
            if server.running:
                self.resume(server)
            else:
                server.start()
        self.settled()

    def stop(self, server: EmbeddedServer) -> None:
        """Freeze a node's process (SIGSTOP)."""
        self._signal(server, signal.SIGSTOP)

    def resume(self, server: EmbeddedServer) -> None:
        """Resume a frozen node."""
        self._signal(server, signal.SIGCONT)

    @property
    def can_isolate(self) -> bool:
        """Whether servers can drop all messages of the cluster's bus: Valkey can, Redis (8.2) can't."""
        return "valkey_version" in self.client(self.servers[0]).info("server")

    def isolate(self, server: EmbeddedServer) -> None:
        """Cut a node off from the other nodes; clients still reach it."""
        _ask(self.client(server), "DEBUG", "DROP-CLUSTER-PACKET-FILTER", -2)

    def move(self, slot: int, target: EmbeddedServer) -> None:
        """Move a slot to `target`, key by key, as `redis-cli --cluster reshard` does."""
        source = self.owner(slot)
        if source is None:
            raise LookupError(f"no primary serves slot {slot}")
        self.begin_move(slot, source, target)
        while keys := _ask(self.client(source), "CLUSTER", "GETKEYSINSLOT", slot, 10):
            self.carry(source, target, *keys)
        self.end_move(slot, source, target)

    def begin_move(self, slot: int, source: EmbeddedServer, target: EmbeddedServer) -> None:
        """Begin to move a slot: `source` redirects clients to `target` for keys that have already moved."""
        _ask(self.client(target), "CLUSTER", "SETSLOT", slot, "IMPORTING", self.id(source))
        _ask(self.client(source), "CLUSTER", "SETSLOT", slot, "MIGRATING", self.id(target))

    def carry(self, source: EmbeddedServer, target: EmbeddedServer, *keys: str) -> None:
        """Move keys, all of one slot that is being moved."""
        _ask(self.client(source), "MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "REPLACE", "KEYS", *keys)

    def end_move(self, slot: int, source: EmbeddedServer, target: EmbeddedServer) -> None:
        """Assign a slot to its target after all its keys have moved."""
        for each in (target, source):
            _ask(self.client(each), "CLUSTER", "SETSLOT", slot, "NODE", self.id(target))

    @staticmethod
    def _signal(server: EmbeddedServer, number: signal.Signals) -> None:
        if server.pid is not None:
            os.kill(server.pid, number)

    def _knows(self, server: EmbeddedServer) -> int | str:
        return self._info(server, "cluster_known_nodes")

    def _info(self, server: EmbeddedServer, field: str) -> int | str:
        told = _ask(self.client(server), "CLUSTER", "INFO")
        lines = told if isinstance(told, dict) else dict(line.split(":") for line in told.split("\r\n") if line)
        return int(lines[field]) if lines[field].isdigit() else lines[field]

    def _well(self, server: EmbeddedServer) -> bool:
        client = self.client(server)
        role = _ask(client, "ROLE")
        linked = role[0] == "master" or role[3] == "connected"
        return (
            linked and self._info(server, "cluster_state") == "ok" and self._info(server, "cluster_slots_ok") == SLOTS
        )


def _until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not in time: {what}")
        time.sleep(0.02)


def _ask(client: redis.Redis, *words: str | int) -> Any:
    return client.execute_command(*words)  # type: ignore[no-untyped-call]


def _as_dict(told: Any) -> Any:
    return told if isinstance(told, dict) else dict(zip(told[::2], told[1::2], strict=True))
