"""A real cluster on loopback: six nodes, three of them primaries, to kill, stop, and move slots between.

The failover bench and the tests of clusters run on it.
"""

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from typing import Any, Self

import redis

from twotier.remote.cluster.slots import SLOTS
from twotier.remote.embedded import EmbeddedServer, _held_port, _port_of

NODE_TIMEOUT = 1_000
"""Milliseconds after which a silent node counts as failed."""


PATIENCE = 30.0
"""Seconds that a state may take to come about on a busy machine."""


class Cluster:
    """Three primaries, each with a replica; as a context, started and stopped."""

    def __init__(self, binary: str | None = None, primaries: int = 3) -> None:
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
            self.client(self.servers[number]).execute_command("CLUSTER", "ADDSLOTSRANGE", number * share, last)
        _until(lambda: all(self._knows(server) == len(self.servers) for server in self.servers), "all have met")
        for number in range(self._primaries):
            replica = self.client(self.servers[self._primaries + number])
            replica.execute_command("CLUSTER", "REPLICATE", self.id(self.servers[number]))
        self.settled()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.close()
        self._held.close()

    @property
    def url(self) -> str:
        """Names three of the nodes."""
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
        """Have a node join the cluster of another."""
        self.client(known).execute_command("CLUSTER", "MEET", "127.0.0.1", fresh.port, self._buses[fresh])

    def client(self, server: EmbeddedServer) -> redis.Redis:
        """Return a client of one node."""
        return redis.Redis(unix_socket_path=server.socket_path, decode_responses=True, socket_timeout=2)

    def id(self, server: EmbeddedServer) -> str:
        """Return the node's id."""
        return self.client(server).execute_command("CLUSTER", "MYID")

    def primaries(self, asked: EmbeddedServer | None = None) -> dict[tuple[int, int], EmbeddedServer]:
        """Return the server of each range of slots, as `asked`, or the first that answers, tells."""
        by_port = {server.port: server for server in self.servers}
        for server in [asked] if asked else self.servers:
            with contextlib.suppress(redis.RedisError, OSError):
                ranges = self.client(server).execute_command("CLUSTER", "SHARDS")
                return {
                    (shard["slots"][at], shard["slots"][at + 1]): by_port[node["port"]]
                    for shard in map(_as_dict, ranges)
                    for node in map(_as_dict, shard["nodes"])
                    if node["role"] == "master" and node["health"] == "online"
                    for at in range(0, len(shard["slots"]), 2)
                }
        raise AssertionError("no node answers")

    def owner(self, slot: int, asked: EmbeddedServer | None = None) -> EmbeddedServer | None:
        """Return the primary that serves `slot`, as `asked`, or whoever answers first, tells; None while none does."""
        found = self.primaries(asked).items()
        return next((server for (first, last), server in found if first <= slot <= last), None)

    def settled(self) -> None:
        """Wait until every running node says that the whole cluster is well, and each primary has its replica."""
        _until(lambda: all(self._well(server) for server in self.servers if server.running), "the cluster is well")

    def wait_for_failover(self, lost: EmbeddedServer) -> None:
        """Wait until every slot is served, and none by `lost`, as the others tell."""

        def over() -> bool:
            asked = next(server for server in self.servers if server is not lost and server.running)
            serving = self.primaries(asked)
            slots = sum(last + 1 - first for first, last in serving)
            return slots == SLOTS and lost not in serving.values()

        _until(over, "a replica has taken over")

    def replicated(self) -> None:
        """Wait until every replica has what its primary has now."""
        for server in self.primaries().values():
            client = self.client(server)
            client.execute_command("PUBLISH", "nothing", "")
            offset = client.execute_command("ROLE")[1]

            def has_it(client: redis.Redis = client, offset: int = offset) -> bool:
                return all(int(replica[2]) >= offset for replica in client.execute_command("ROLE")[2])

            _until(has_it, "the replica has it")

    def let_others_serve(self) -> None:
        """Have the nodes go on when one is lost, for as long as its replica doesn't take over."""
        for server in self.servers:
            self.client(server).config_set("cluster-require-full-coverage", "no")

    def replica_of(self, primary: EmbeddedServer) -> EmbeddedServer:
        """Return the node that was made the replica of one of the first primaries."""
        return self.servers[self.servers.index(primary) + self._primaries]

    def hold_failover(self, primary: EmbeddedServer, *, held: bool = True) -> None:
        """Keep the replica of one of the first primaries from taking over, or let it again."""
        self.client(self.replica_of(primary)).config_set("cluster-replica-no-failover", "yes" if held else "no")

    def strike(self, number: int) -> tuple[EmbeddedServer, str]:
        """Take a primary away, in turn by a kill and a hang; return it, and how."""
        primary = random.choice(list(self.primaries().values()))
        if number % 2:
            self.stop(primary)
            return primary, "hangs"
        primary.kill()
        return primary, "killed"

    def heal(self) -> None:
        """Bring back what was taken away: it becomes a replica."""
        for server in self.servers:
            if server.running:
                self.resume(server)
            else:
                server.start()
        self.settled()

    def stop(self, server: EmbeddedServer) -> None:
        """Have a node hang (SIGSTOP)."""
        os.kill(server.pid, signal.SIGSTOP)

    def resume(self, server: EmbeddedServer) -> None:
        """End a hang."""
        os.kill(server.pid, signal.SIGCONT)

    @property
    def can_isolate(self) -> bool:
        """Whether servers can be told to drop all that comes by the cluster's bus: Valkey can, Redis (8.2) can't."""
        return "valkey_version" in self.client(self.servers[0]).info("server")

    def isolate(self, server: EmbeddedServer) -> None:
        """Cut a node off from the other nodes; clients still reach it."""
        self.client(server).execute_command("DEBUG", "DROP-CLUSTER-PACKET-FILTER", -2)

    def move(self, slot: int, target: EmbeddedServer) -> None:
        """Move a slot to `target`, key by key, as `redis-cli --cluster reshard` does."""
        source = self.owner(slot)
        self.begin_move(slot, source, target)
        while keys := self.client(source).execute_command("CLUSTER", "GETKEYSINSLOT", slot, 10):
            self.carry(source, target, *keys)
        self.end_move(slot, source, target)

    def begin_move(self, slot: int, source: EmbeddedServer, target: EmbeddedServer) -> None:
        """Have a slot be moved: what isn't at `source` any more is asked for at `target`."""
        self.client(target).execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", self.id(source))
        self.client(source).execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", self.id(target))

    def carry(self, source: EmbeddedServer, target: EmbeddedServer, *keys: str) -> None:
        """Move keys, all of one slot that is being moved."""
        self.client(source).execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "REPLACE", "KEYS", *keys)

    def end_move(self, slot: int, source: EmbeddedServer, target: EmbeddedServer) -> None:
        """Give a slot over whose keys have all been moved."""
        for each in (target, source):
            self.client(each).execute_command("CLUSTER", "SETSLOT", slot, "NODE", self.id(target))

    def _knows(self, server: EmbeddedServer) -> int:
        return self._info(server, "cluster_known_nodes")

    def _info(self, server: EmbeddedServer, field: str) -> int:
        told = self.client(server).execute_command("CLUSTER", "INFO")
        lines = told if isinstance(told, dict) else dict(line.split(":") for line in told.split("\r\n") if line)
        return int(lines[field]) if lines[field].isdigit() else lines[field]

    def _well(self, server: EmbeddedServer) -> bool:
        client = self.client(server)
        role = client.execute_command("ROLE")
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


def _as_dict(told: Any) -> Any:
    return told if isinstance(told, dict) else dict(zip(told[::2], told[1::2], strict=True))
