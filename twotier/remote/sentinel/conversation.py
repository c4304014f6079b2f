"""The conversation with one sentinel: connect, ask, listen, give up and connect again. For the watch's thread only.

Connecting blocks, so a thread of its own connects, puts the outcome into a queue and wakes the watch.
"""

import contextlib
import queue
from collections.abc import Callable
from typing import Final

from twotier.backoff import Backoff
from twotier.clock import SECOND, Clock
from twotier.options import Options
from twotier.remote.deploy.address import Address
from twotier.remote.io.connect_errors import connect_failure, mode_of
from twotier.remote.io.transport import Transport, abandon
from twotier.remote.sentinel.votes import Announcement, NotASentinelError, Place, SentinelView
from twotier.resp import ProtocolError
from twotier.worker import start_thread

FIRST_PAUSE: Final = SECOND // 10
LAST_PAUSE: Final = SECOND
"""Pauses before the next attempt to connect to a sentinel; doubled from the first to the last."""
REPLICAS_EVERY: Final = 5 * SECOND
"""Interval between questions for the replicas, if reads go to replicas."""
_FAR: Final = 3600 * SECOND
_RESP3: Final = 3
_NO_SENTINELS: Final = (b"standalone", b"cluster")
"""Modes of data servers in the reply to HELLO."""


class Conversation:
    """The conversation with the sentinel at `address` about `service`; `wake` ends the watch's wait."""

    def __init__(
        self, address: Address, service: str, options: Options, clock: Clock, wake: Callable[[], None]
    ) -> None:
        self.address = address
        self._service = service
        self._options = options
        self._clock = clock
        self._wake = wake
        self._patience: Final = round(options.timeout * SECOND)
        self._opened: queue.SimpleQueue[Transport | str] = queue.SimpleQueue()
        self._opening = False
        self._transport: Transport | None = None
        self._ear: SentinelView | None = None
        self._next = 0
        """Instant of the next question or attempt to connect (ns)."""
        self._backoff = Backoff(FIRST_PAUSE, LAST_PAUSE)
        self._replicas_at = 0
        self._ended = False
        self.heard_from = False
        """Whether the sentinel has answered, or failed to, since the watch began."""
        self.state = "not asked yet"
        """The sentinel's last answer, or the reason for its silence, for people."""

    @property
    def interest(self) -> list[tuple[int, int]]:
        """The descriptor and poll events to wait for, if there is a connection."""
        return [] if self._transport is None else [self._transport.interest]

    def wake_at(self) -> int:
        """Return the instant of the next work for `proceed` (ns)."""
        if self._opening:
            return self._clock.now() + _FAR
        asked_at = None if self._ear is None else self._ear.asked_at()
        return self._next if asked_at is None else asked_at + self._patience

    def hurry(self, now: int) -> None:
        """Make `proceed` ask the next question at once."""
        if self._ear is not None:
            self._next = now

    def proceed(self, now: int, pace: int) -> None:
        """Do the work that is due: connect, ask (and again after `pace` ns), or give up."""
        self._greet()
        ear, transport = self._ear, self._transport
        if ear is None or transport is None:
            if now >= self._next and not self._opening:
                self._opening = start_thread(self._open, "twotier-connect") is not None
                if not self._opening:
                    self._lose("no thread can be started to connect on")
            return
        asked_at = ear.asked_at()
        if asked_at is not None and now >= asked_at + self._patience:
            self._lose(f"no answer within {self._options.timeout} s")
        elif asked_at is None and now >= self._next:
            replicas = self._options.replica_fallback and now >= self._replicas_at
            if replicas:
                self._replicas_at = now + REPLICAS_EVERY
            ear.ask(now, replicas=replicas)
            self._next = now + pace
            try:
                transport.send(ear.outgoing())
            except OSError as error:
                self._break(error)

    def take(self) -> list[Announcement]:
        """Process the bytes that the sentinel has sent; return its announcements."""
        ear, transport = self._ear, self._transport
        heard: list[Announcement] = []
        if ear is None or transport is None:
            return heard
        try:
            transport.send(b"")
            for chunk in transport.chunks():
                if not chunk:
                    self._lose("it closed the connection")
                    break
                heard.append(ear.receive(chunk))
        except NotASentinelError:
            self._lose(self._no_sentinel(None))
        except ProtocolError:
            self._lose("it doesn't speak as sentinels do")
        except OSError as error:
            self._break(error)
        for vote in (vote for each in heard for vote in each.votes):
            self.heard_from = True
            self._backoff.reset()
            self.state = (
                f"it names {vote.place}" if vote.place else "it names none: it knows no such service, or refuses"
            )
        return heard

    def close(self) -> None:
        """End the conversation for good."""
        self._ended = True
        if self._transport is not None:
            self._transport.close()
        self._close_opened()

    def abandon(self) -> None:
        """In a forked child: drop the parent's connection."""
        self._ended = True
        if self._transport is not None:
            abandon(self._transport.connection)

    def _open(self) -> None:
        """Connect, on a thread of its own."""
        connection = None
        came: Transport | str
        try:
            connection = self.address.connection(self._options)
            came = Transport(connection)
        except Exception as error:  # noqa: BLE001 - a source of credentials may raise anything
            came = str(connect_failure("it", error, connection))
            if connection is not None:
                connection.disconnect()  # type: ignore[no-untyped-call]
        self._opened.put(came)
        if self._ended:
            self._close_opened()
        self._wake()

    def _close_opened(self) -> None:
        """Close an opened but unwanted connection; the opener and `close` both call this, as either may be last."""
        with contextlib.suppress(queue.Empty):
            while isinstance(came := self._opened.get_nowait(), Transport):
                came.close()

    def _greet(self) -> None:
        """Take over the outcome of connecting."""
        try:
            came = self._opened.get_nowait()
        except queue.Empty:
            return
        self._opening = False
        if isinstance(came, str):
            self._lose(came)
            return
        if (mode := mode_of(came.connection)) in _NO_SENTINELS:
            came.close()
            self._lose(self._no_sentinel(mode))
            return
        self._transport, self._ear = came, SentinelView(self._service, hears=self._options.protocol == _RESP3)
        self._next = 0

    def _no_sentinel(self, mode: bytes | None) -> str:
        """Return advice on the URL for a server that is no sentinel; `mode` is None if its kind is unknown."""
        scheme = self.address.label.partition("://")[0]
        place = Place(self.address.arguments["host"], self.address.arguments["port"])
        alone, cluster = f"{scheme}://{place}", f"{scheme}+cluster://{place}"
        if mode == b"cluster":
            return f"it is a node of a cluster, not a sentinel: write {cluster}"
        return f"it is no sentinel: write {alone}" + ("" if mode else f", or {cluster} if it is a node of a cluster")

    def _break(self, error: OSError) -> None:
        self._lose(f"the connection broke: {error.strerror or type(error).__name__}")

    def _lose(self, why: str) -> None:
        self.state, self.heard_from = why, True
        if self._transport is not None:
            self._transport.close()
        self._transport = self._ear = None
        self._next = self._clock.now() + self._backoff.next()
