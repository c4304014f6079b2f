"""A primary, its replicas and their sentinels on loopback: servers to kill, to stop, and to fail over."""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

import redis

from twotier.remote.deploy.embedded import EmbeddedServer, _free_port

SERVICE: Final = "orders"
"""The name under which the sentinels watch the primary."""
USER: Final = "app"
"""A user of every node, and its password; sentinels and replicas connect as the default user."""
DOWN_AFTER: Final = 500
"""Milliseconds without an answer after which a sentinel takes a server for dead."""
_QUICK: Final = {
    "info-period": 200,
    "publish-period": 300,
    "ask-period": 100,
    "election-timeout": 1000,
    "tilt-trigger": 30_000,
}
"""Periods of the sentinels (ms): their usual ones are made for machines that fail seldom. They are stopped at times,
upon which they would be cautious for half a minute."""
_NODE: Final = {"repl-diskless-sync-delay": "0", "repl-ping-replica-period": "1"}
_PATIENCE: Final = 60.0


class SentinelProcess:
    """One sentinel."""

    def __init__(self, binary: str, folder: Path, primary_port: int, quorum: int, extra: str = "") -> None:
        self.port = _free_port()
        self._config = folder / f"sentinel-{self.port}.conf"
        self._config.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary_port} {quorum}\n"
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER}\n"
            f"sentinel failover-timeout {SERVICE} 1500\nsentinel parallel-syncs {SERVICE} 2\n{extra}"
        )
        self._command = [binary, str(self._config), "--sentinel"]
        self._log = folder / f"sentinel-{self.port}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the sentinel, with its former state."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, start_new_session=True)  # noqa: S603 - our own binary

    def client(self) -> redis.Redis:
        """Return a client of the sentinel."""
        return redis.Redis(port=self.port, socket_timeout=2.0, decode_responses=True)

    def signal(self, number: signal.Signals) -> None:
        """Send the sentinel's process a signal."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """Kill the sentinel."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class EmbeddedSentinels:
    """A primary, `replicas` of it, and `sentinels` that watch them as `SERVICE`; a context starts and stops them.

    Args:
        replicas: How many replicas the primary has at first.
        sentinels: How many sentinels there are; a majority decides on a failover.
        binary: Path of the server; None takes the one that the extra `twotier[embedded]` brings.
        settings: Further settings of the nodes, as in their configuration file.
        sentinel_settings: Further lines of the sentinels' configuration files.

    `nodes` holds the servers; the first one begins as the primary. Methods that wait raise TimeoutError after 60 s.

    >>> from twotier import Cache
    >>> with EmbeddedSentinels(replicas=1, sentinels=1) as deployment, Cache(deployment.url) as cache:
    ...     cache.set("key", 1)
    ...     deployment.primary()
    0

    """

    def __init__(
        self,
        *,
        replicas: int = 2,
        sentinels: int = 3,
        binary: str | None = None,
        settings: dict[str, str] | None = None,
        sentinel_settings: str = "",
    ) -> None:
        self._stack = contextlib.ExitStack()
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="twotier-")))
        users = folder / "users.conf"
        users.write_text(f"user {USER} on >{USER} ~* &* +@all\n")
        self.nodes: list[EmbeddedServer] = []
        for _ in range(1 + replicas):
            node = EmbeddedServer(
                tcp=True, binary=binary, settings={**_NODE, "include": str(users), **(settings or {})}
            )
            self.nodes.append(node)
            self._stack.callback(node.close)
        self.sentinels = [
            SentinelProcess(self.nodes[0]._binary, folder, self.nodes[0].port, sentinels // 2 + 1, sentinel_settings)  # noqa: SLF001 - ours
            for _ in range(sentinels)
        ]

    @property
    def url(self) -> str:
        """URL for a cache: it names every sentinel."""
        return f"redis+sentinel://{','.join(f'127.0.0.1:{each.port}' for each in self.sentinels)}/{SERVICE}/0"

    def __enter__(self) -> Self:
        with self._stack.pop_all() as stack:
            for number in range(len(self.nodes)):
                self.restart(number, replica_of=None if number == 0 else self.nodes[0].port)
            for each in self.sentinels:
                each.start()
                stack.callback(each.kill)
            self._settle(self._quicken)
            self._settle(self.whole)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _quicken(self) -> bool:
        for each in self.sentinels:
            with each.client() as client:
                client.execute_command("SENTINEL", "DEBUG", *(word for pair in _QUICK.items() for word in pair))
        return True

    def whole(self) -> bool:
        """Return True if every sentinel knows every node, reports all healthy, and names the same primary."""
        primaries = set()
        for each in self.sentinels:
            with each.client() as client:
                state = client.sentinel_master(SERVICE)
                replicas = client.sentinel_slaves(SERVICE)
            primaries.add(int(state["port"]))
            if state["flags"] != "master":
                return False
            if state["num-other-sentinels"] != len(self.sentinels) - 1 or len(replicas) != len(self.nodes) - 1:
                return False
            if any((each["flags"], each["master-link-status"]) != ("slave", "ok") for each in replicas):
                return False
        return len(primaries) == 1

    def views(self) -> list[str]:
        """Return a readable description of each sentinel's view of the nodes."""
        seen = []
        for each in self.sentinels:
            try:
                with each.client() as client:
                    state, replicas = client.sentinel_master(SERVICE), client.sentinel_slaves(SERVICE)
            except redis.RedisError as error:
                seen.append(str(error))
                continue
            parts = [f"{one['port']} {one['flags']} {one.get('master-link-status')}" for one in (state, *replicas)]
            seen.append(f"{each.port}: {', '.join(parts)}; {state['num-other-sentinels']} others")
        return seen

    def primary(self) -> int:
        """Return the number of the node that most sentinels name."""
        named: list[int] = []
        for each in self.sentinels:
            with contextlib.suppress(redis.RedisError), each.client() as client:
                named.append(int(client.sentinel_get_master_addr_by_name(SERVICE)[1]))
        port = max(set(named), key=named.count)
        return next(number for number, node in enumerate(self.nodes) if node.port == port)

    def client(self, number: int) -> redis.Redis:
        """Return a client that connects to a node directly, past any proxy."""
        return redis.Redis(port=self.nodes[number].port, socket_timeout=2.0)

    def kill(self, number: int) -> None:
        """Kill a node."""
        self.nodes[number].kill()

    def hang(self, number: int) -> None:
        """Freeze a node's process."""
        self._signal(number, signal.SIGSTOP)

    def go_on(self, number: int) -> None:
        """Resume a frozen node."""
        self._signal(number, signal.SIGCONT)

    def restart(self, number: int, *, replica_of: int | None) -> None:
        """Start a node that is down, empty, as a replica of the node known by a port, or as a primary."""
        node = self.nodes[number]
        node._settings.pop("replicaof", None)  # noqa: SLF001 - ours
        if replica_of is not None:
            node._settings["replicaof"] = f"127.0.0.1 {replica_of}"  # noqa: SLF001 - ours
        node.start()

    def wait_for_failover(self, old: int) -> int:
        """Wait until most sentinels name another primary than `old`, and it says so too; return its number."""

        def over() -> bool:
            new = self.primary()
            if new == old:
                return False
            with self.client(new) as client:
                return bool(client.execute_command("ROLE")[0] == b"master")

        self._settle(over)
        return self.primary()

    def heal(self) -> None:
        """Restart dead nodes as replicas, resume frozen ones, and wait until the deployment is healthy."""
        for each in self.sentinels:
            each.signal(signal.SIGCONT)
        for number, node in enumerate(self.nodes):
            self.go_on(number)
            if not node.running:
                self.restart(number, replica_of=self.nodes[self.primary()].port)
        self._settle(self.whole)

    def _signal(self, number: int, which: signal.Signals) -> None:
        pid = self.nodes[number].pid
        if pid is not None:
            os.kill(pid, which)

    def _settle(self, condition: Callable[[], Any]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                if condition():
                    return
            except redis.RedisError:
                pass
            if time.monotonic() > deadline:
                raise TimeoutError(f"the deployment doesn't come to rest: {self.views()}")
            time.sleep(0.01)
