"""A loopback proxy between a cache and its server, which injects the faults of networks.

It tells the link from the data path by the first command that only one of them sends, so that faults can hit one of
them alone. The handshake before that goes through unless both kinds have the same faults.
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Self
from urllib.parse import urlsplit

from twotier.replies import Reader
from twotier.resp import ProtocolError
from twotier.testing.faults import Direction, Faults, Kind

_CHUNK: Final = 1 << 16
_LINE: Final = 64
"""Most chunks under way in one direction; a sender that goes on waits, as on a full TCP window."""
_TICK: Final = 0.002
"""Seconds between two checks whether a silence has ended."""
_HANDSHAKE: Final = frozenset({b"HELLO", b"AUTH", b"CLIENT", b"SELECT", b"READONLY"})
_LINK: Final = frozenset({b"ROLE", b"SUBSCRIBE", b"PSUBSCRIBE"})
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER that makes closing a reset."""


class FaultProxy:
    """Forwards `url` to the server at `target`, a redis:// or unix:// URL, with the faults of `link` and `data`.

    >>> from twotier import Cache
    >>> from twotier.testing import EmbeddedServer, FaultProxy
    >>> with EmbeddedServer() as server, FaultProxy(server.url) as proxy, Cache(proxy.url) as cache:
    ...     cache.set("key", 1)
    ...     proxy.data.silent = {"to_client"}
    ...     cache.get("another", "no answer")
    'no answer'
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target: str | tuple[str, int]
        if parts.scheme == "unix":
            self._target = parts.path
        elif parts.scheme == "redis" and parts.hostname:
            self._target = (parts.hostname, parts.port or 6379)
        else:
            raise ValueError(f"target must be a redis:// or unix:// URL, got one of scheme {parts.scheme!r}")
        self.link = Faults()
        """Faults of links."""
        self.data = Faults()
        """Faults of connections of the data path."""
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url: Final = f"redis://127.0.0.1:{self._listening.getsockname()[1]}/0"
        """Where clients connect."""
        self.accepted: dict[Kind, int] = {"link": 0, "data": 0}
        """Connections so far, by kind."""
        self._loop = asyncio.new_event_loop()
        self._pairs: set[_Pair] = set()
        self._tasks: set[asyncio.Task[None] | None] = set()
        """Connections being served; asyncio itself would forget them."""
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="twotier-fault-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cut every connection, and stop the proxy."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
        self._listening.close()

    def faults(self, kind: Kind) -> Faults:
        """Return the faults of one kind of connection."""
        return self.link if kind == "link" else self.data

    def heal(self) -> None:
        """End every fault. Connections that were cut off stay cut off, and clients may connect again."""
        self.link.heal()
        self.data.heal()

    def reset(self, only: Kind | None = None) -> int:
        """Reset the existing connections (TCP RST), of one kind or all; return how many."""
        return self._each(only, _Pair.reset)

    def sever(self, only: Kind | None = None) -> int:
        """Make the existing connections half-open: no data arrives any more, and neither end is notified."""
        return self._each(only, _Pair.sever)

    def open(self, only: Kind | None = None) -> int:
        """Return the number of connections, of one kind or all."""
        return sum(only in {None, pair.kind} for pair in list(self._pairs))

    def _each(self, only: Kind | None, what: Callable[["_Pair"], None]) -> int:
        async def act() -> int:
            hit = [pair for pair in self._pairs if only in {None, pair.kind}]
            for pair in hit:
                what(pair)
            return len(hit)

        return asyncio.run_coroutine_threadsafe(act(), self._loop).result()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._accept, sock=self._listening)
        await self._stopping.wait()
        server.close()
        for pair in list(self._pairs):
            pair.reset()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if isinstance(self._target, str):
                far_reader, far_writer = await asyncio.open_unix_connection(self._target)
            else:
                far_reader, far_writer = await asyncio.open_connection(*self._target)
        except (OSError, asyncio.CancelledError):  # the server is away, or the proxy is closing
            _reset(writer)
            return
        pair, task = _Pair(self, writer, far_writer), asyncio.current_task()
        self._pairs.add(pair)
        self._tasks.add(task)
        try:
            with suppress(asyncio.CancelledError):  # the proxy is closing; asyncio would log it
                await asyncio.gather(pair.forward(reader, "to_server"), pair.forward(far_reader, "to_client"))
        finally:
            pair.reset()
            self._pairs.discard(pair)
            self._tasks.discard(task)


class _Pair:
    """One client's connection, and the matching connection to the server."""

    def __init__(self, proxy: FaultProxy, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._writers: dict[Direction, asyncio.StreamWriter] = {"to_client": near, "to_server": far}
        self._commands: Reader | None = Reader()
        """Reads the client's commands until they tell its kind."""
        self.kind: Kind | None = None
        self._verifies = False
        self._severed = False
        self._passed = 0
        """Bytes that have gone to the client since its kind was known."""

    def reset(self) -> None:
        """Cut both ends."""
        for writer in self._writers.values():
            _reset(writer)

    def sever(self) -> None:
        """Forward no more data, and notify neither end."""
        self._severed = True

    async def forward(self, reader: asyncio.StreamReader, direction: Direction) -> None:
        """Carry one direction to its end; arriving data waits in a queue, so that latency doesn't cost bandwidth."""
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_LINE)
        delivery = asyncio.create_task(self._deliver(line, direction))
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    data = await reader.read(_CHUNK)
                except OSError:
                    self.reset()
                    return
                if direction == "to_server":
                    self._recognise(data)
                latency = self._faults().latency
                await line.put((loop.time() + latency, data))
                if not data:
                    if self._severed:
                        self.reset()
                    else:
                        await delivery
                    return
        finally:
            delivery.cancel()

    async def _deliver(self, line: "asyncio.Queue[tuple[float, bytes]]", direction: Direction) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                due, data = await line.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                while not self._severed and direction in self._faults().silent:  # noqa: ASYNC110 - set by any thread
                    await asyncio.sleep(_TICK)
                if self._severed:
                    continue
                if self._faults().refuse and self.kind is not None:
                    self.reset()
                    return
                if not data:
                    self._writers[direction].close()
                    return
                await self._write(data, direction)
        except OSError:
            self.reset()
        finally:
            while not line.empty():  # releases a reader that waits for room
                line.get_nowait()

    async def _write(self, data: bytes, direction: Direction) -> None:
        writer, faults = self._writers[direction], self._faults()
        limit = faults.reset_after if direction == "to_client" and self.kind is not None else None
        if limit is not None and self._passed + len(data) > limit:
            writer.write(data[: max(0, limit - self._passed)])
            with suppress(OSError):
                await writer.drain()
            await asyncio.sleep(_TICK)  # lets the written bytes arrive before the reset
            self.reset()
            return
        if self.kind is not None and direction == "to_client":
            self._passed += len(data)
        size = faults.slice_bytes or (max(1, faults.bandwidth // 100) if faults.bandwidth else len(data))
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            writer.write(piece)
            await writer.drain()
            if faults.bandwidth:
                await asyncio.sleep(len(piece) / faults.bandwidth)
            elif faults.slice_bytes:
                await asyncio.sleep(0)

    def _faults(self) -> Faults:
        """Return this connection's faults; before its kind is known, the faults of both kinds if they are equal."""
        if self.kind is not None:
            return self._proxy.faults(self.kind)
        return self._proxy.link if self._proxy.link == self._proxy.data else _NONE

    def _recognise(self, data: bytes) -> None:
        if self._commands is None:
            return
        try:
            commands = self._commands.feed(data)
        except ProtocolError:
            commands = [[b"PING"]]
        for command in commands:
            words = [word.upper() for word in command[:2]]
            tracking = words == [b"CLIENT", b"TRACKING"]
            if words[0] == b"INFO":  # both kinds verify the server behind sentinels: INFO, then ROLE
                self._verifies = True
                continue
            if words[0] == b"ROLE" and self._verifies:
                self._verifies = False
                continue
            if words[0] in _HANDSHAKE and not tracking:
                continue
            self.kind = "link" if tracking or words[0] in _LINK else "data"
            self._proxy.accepted[self.kind] += 1
            self._commands = None
            return


_NONE: Final = Faults()


def _reset(writer: asyncio.StreamWriter) -> None:
    taken = writer.get_extra_info("socket")
    if taken is not None and taken.family != socket.AF_UNIX:
        with suppress(OSError):
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
