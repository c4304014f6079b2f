"""The listener: the thread that owns the link's connection, drives the `Link`, and calls the subscribers.

A process has one listener for each deployment, for synchronous and asynchronous callers alike. Only `close`
ends the thread. A failure of the connection becomes `lost` for the subscribers and a new attempt after a
pause, which doubles up to a second; a failure inside a subscriber ends the lease of that subscriber alone.

Other threads never change the link. They set the subscribers to serve (`_subscribers`) and wake the
thread, which attaches and detaches subscribers accordingly.
"""

import logging
import os
import random
import threading
import time
from collections.abc import Callable
from typing import Final, Literal

from redis.connection import AbstractConnection

from twotier.backoff import Backoff
from twotier.clock import NEVER, SECOND, Clock
from twotier.coherence.events import Confirmed, Event, Lost, Received, Refused, Renewed
from twotier.coherence.link import Link, State
from twotier.coherence.subscriber import NOT_ASKED, NotAsked, Subscriber
from twotier.errors import RemoteTimeout, RemoteUnavailable
from twotier.options import Options
from twotier.rate_limited_log import RateLimitedLog
from twotier.remote.io.connect_errors import connect_failure
from twotier.remote.io.transport import Transport, Waker, abandon, wait
from twotier.worker import start_thread

__all__ = ["NOT_ASKED", "Listener", "NotAsked", "State", "Subscriber"]

FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 1.0
"""Pauses between attempts to connect (s); up to a quarter is added at random, so that processes don't act in step."""
SETTLE: Final = 0.0005
"""Pause after messages (s). The first message is applied at once; messages that arrive during the pause are taken
together, so that the thread doesn't contend with the callers for the interpreter at every single message."""


class Listener:
    """Listens for the invalidations of many subscribers over one connection, which `connect` returns unconnected.

    `vouched_at` returns the latest instant (ns) at which the server of a connection was known to be the right
    one. `chance` returns numbers in [0, 1). Any thread may call every method, the listener's own included.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractConnection],
        clock: Clock,
        options: Options,
        *,
        vouched_at: Callable[[AbstractConnection], int] = lambda _: NEVER,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._connect = connect
        self._vouched_at = vouched_at
        self._clock = clock
        self._max_staleness = options.max_staleness
        self._protocol: Literal[2, 3] = options.protocol
        self._tracking = options.coherence == "tracking"
        self._chance = chance
        self._subscribers: dict[Subscriber, None] = {}
        """Subscribers to serve; the dict is replaced, never changed."""
        self._closing = False
        self._begin()

    def _begin(self) -> None:
        """Make the state that belongs to one process."""
        self._pid = os.getpid()
        self._lock = threading.Lock()
        """Guards the choice of subscribers, and the start of the thread."""
        self._thread: threading.Thread | None = None
        self._waker: Waker | None = None
        self._connection: AbstractConnection | None = None
        self._link = Link(
            self._clock,
            max_staleness=self._max_staleness,
            protocol=self._protocol,
            tracking=self._tracking,
            vouched_at=self._vouched,
        )
        self._served: dict[Subscriber, None] = {}
        """Subscribers that the link serves."""
        self._log = RateLimitedLog(self._clock)
        self._backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        self._hurried = False

    # Called by anyone

    def attach(self, subscriber: Subscriber) -> None:
        """Serve `subscriber` from now on, and start listening unless the thread runs."""
        with self._own_lock():
            self._subscribers = {**self._subscribers, subscriber: None}
        self.ensure_started()
        self.wake()

    def detach(self, subscriber: Subscriber) -> None:
        """Stop serving `subscriber`; a call of one of its methods that is under way may still finish."""
        with self._own_lock():
            self._subscribers = {each: None for each in self._subscribers if each is not subscriber}
        self.wake()

    def state(self, subscriber: Subscriber) -> State:
        """Return "live" while `subscriber` has a lease, "sync" while connected without one, else "down"."""
        return self._link.state(subscriber)

    def ensure_started(self) -> None:
        """Start the thread unless it runs; cheap if it does. Does nothing once the listener is closed."""
        thread = self._thread
        if thread is not None and thread.is_alive():
            return
        with self._own_lock():
            if self._closing or (self._thread is not None and self._thread.is_alive()):
                return
            waker = Waker()
            thread = start_thread(self._run, "twotier-link", waker)
            if thread is None:  # there are no leases until a later call can start a thread
                waker.close()
                return
            self._thread, self._waker = thread, waker

    def wake(self) -> None:
        """Make the thread check its clock and its subscribers now."""
        if self._waker is not None:
            self._waker.wake()

    def hurry(self) -> None:
        """Try to connect now rather than after the pause: the server is known to be usable."""
        self._backoff.reset()
        self._hurried = True
        self.wake()

    def close(self, timeout: float = 2.0) -> None:
        """Stop listening for good; waits for the thread for up to `timeout` s, unless it is the caller."""
        with self._own_lock():
            self._closing = True
            thread = self._thread
        self.wake()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def after_fork(self) -> None:
        """In a forked child: drop the parent's connection. The next `ensure_started` begins a new link."""
        if self._pid == os.getpid():
            return
        connection, waker = self._connection, self._waker
        self._begin()
        if connection is not None:
            abandon(connection)
        if waker is not None:
            waker.close()

    def _own_lock(self) -> threading.Lock:
        """Return this process's lock: the parent's may have been held at the fork, for ever."""
        self.after_fork()
        return self._lock

    # The thread

    def _vouched(self) -> int:
        """Return the latest instant at which the server was known to be the right one."""
        return 0 if self._connection is None else self._vouched_at(self._connection)

    def _run(self, waker: Waker) -> None:
        born = os.getpid()
        try:
            while not self._closing and os.getpid() == born:
                try:
                    self._session(waker, born)
                except Exception:
                    if os.getpid() != born:
                        raise
                    self._log.log(logging.ERROR, "session", "the link's thread failed; it goes on", trace=True)
                self._rest(waker)
        except Exception:
            if os.getpid() == born:  # else a greenlet that goes on in a forked child, where its sockets are closed
                raise
        finally:
            waker.close()

    def _session(self, waker: Waker, born: int) -> None:
        """Connect, and serve until the connection or the listener ends."""
        link = self._link
        transport = self._open()
        if transport is None:
            return
        reason = "the listener failed"
        try:
            link.connected()
            while link.up and not self._closing:
                self._serve(link, transport, waker)
            reason = "the listener was closed" if self._closing else link.reason
        except OSError as error:
            reason = f"the connection broke: {error}"
        finally:
            if os.getpid() == born:
                self._dispatch(link.disconnect(reason))
                transport.close()
                self._connection = None
                self._hurried = False  # the hurry concerned an earlier connection
        if not self._closing and os.getpid() == born:
            self._log.log(logging.WARNING, "lost", "the link was lost: %s", reason)

    def _open(self) -> Transport | None:
        try:
            self._connection = self._connect()
            return Transport(self._connection)
        except Exception as error:  # noqa: BLE001 - a credential provider's, say
            failure = connect_failure("the server", error, self._connection)
            if not isinstance(failure, RemoteTimeout | RemoteUnavailable):
                self._backoff.hold()  # a refusal, not an outage: an immediate retry doesn't help
        if self._connection is not None:
            self._connection.disconnect()  # type: ignore[no-untyped-call]
            self._connection = None
        self._log.log(logging.WARNING, "connect", "the link can't connect: %s", failure)
        return None

    def _serve(self, link: Link, transport: Transport, waker: Waker) -> None:
        """Do one round: attach and detach subscribers, do the work that is due, wait, and process the input."""
        wanted = self._subscribers
        if wanted is not self._served:
            for subscriber in link.subscribers():
                if subscriber not in wanted:
                    link.detach(subscriber)
            for subscriber in wanted:
                link.attach(subscriber)
            self._served = wanted
        due = link.wake_at()
        if due is not None and self._clock.now() >= due:
            self._take(link, transport)  # a reply that has arrived already isn't late, however late this thread is
        self._dispatch(link.tick())
        transport.send(link.outgoing())
        wake_at = link.wake_at()
        if wake_at is None:
            return
        transport.wait(waker, (wake_at - self._clock.now()) / SECOND)
        if self._take(link, transport):
            time.sleep(SETTLE)

    def _take(self, link: Link, transport: Transport) -> bool:
        """Process the bytes that have arrived; return True if messages were among them."""
        heard = False
        for chunk in transport.chunks():
            events = link.receive(chunk)
            heard = heard or any(isinstance(event, Received) for event in events)
            self._dispatch(events)
        return heard

    def _rest(self, waker: Waker) -> None:
        """Pause before the next attempt, longer each time until an attempt succeeds or `hurry` is called."""
        until = time.monotonic() + self._backoff.next() * (1.0 + self._chance() / 4)
        while not (self._closing or self._hurried) and (left := until - time.monotonic()) > 0:
            wait(waker=waker, seconds=left)
        self._hurried = False

    # Calls of the subscribers

    def _dispatch(self, events: list[Event]) -> None:
        failed: set[Subscriber] = set()
        for event in events:
            subscriber = event.subscriber
            if subscriber in failed or subscriber not in self._subscribers:
                continue
            if not self._call(event):
                failed.add(subscriber)
                for lost in self._link.distrust(subscriber, "the subscriber failed"):
                    self._call(lost)

    def _call(self, event: Event) -> bool:
        """Pass the event to its subscriber; return False if the subscriber raised an exception."""
        try:
            match event:
                case Received(subscriber, payloads):
                    subscriber.received(payloads)
                case Confirmed(subscriber):
                    subscriber.confirmed()
                case Renewed(subscriber, lease_until, generation):
                    self._backoff.reset()
                    subscriber.renewed(lease_until, generation)
                case Lost(subscriber, reason):
                    subscriber.lost(reason)
                case Refused(_, reason):
                    self._log.log(logging.WARNING, "refused", "the link refuses a namespace: %s", reason)
        except Exception:  # noqa: BLE001 - the subscriber's own failure: the others go on
            self._log.log(logging.ERROR, "subscriber", "a namespace failed to take news from the link", trace=True)
            return False
        return True
