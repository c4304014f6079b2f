"""Watches the primary of a Sentinel deployment: one thread for each process and deployment.

The watch keeps a connection to every sentinel, asks each for the primary `ASKS` times within
`max_staleness`, and subscribes to announcements of a new primary (`+switch-master`), upon which it asks
all sentinels at once. Each connection is opened on a thread of its own, so a sentinel that is dead, or a
black hole, delays no other.

The *primary* is a place that a majority names (see `votes`), with a `term` that grows at every change. A
change goes in this order, so that no value read from the new primary counts as fresh under the old one's
link: the old term ends (its links and connections prove nothing from here on); the listed callbacks run
and make every entry suspect; only then `primary` returns the new primary. If no majority agrees any more,
the primary stays in use, but `vouched_at` no longer advances, nor do the leases. A server that is named
but isn't a primary by its own reply (ROLE) is never used. A server with another run id than the term's
first connection found counts as a new primary at an old place.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from twotier.clock import SECOND, Clock
from twotier.errors import RemoteTimeout, RemoteUnavailable
from twotier.options import Options
from twotier.rate_limited_log import RateLimitedLog
from twotier.remote.deploy.address import Address
from twotier.remote.io.transport import Waker, wait
from twotier.remote.sentinel.conversation import Conversation
from twotier.remote.sentinel.spellings import Spellings
from twotier.remote.sentinel.votes import VALID, Announcement, Place, Votes
from twotier.worker import start_thread

ASKS: Final = 5
"""Number of questions to each sentinel within `max_staleness`."""
LONGEST_INTERVAL: Final = 5 * SECOND
FIRST_HURRY: Final = SECOND // 20
LAST_HURRY: Final = SECOND // 2
"""Bounds of the interval between questions while the votes differ or the primary is in doubt; the interval is a
quarter of the time for which this has lasted."""
DOUBTED: Final = 5 * SECOND
"""Time for which a doubt about the primary makes the questions frequent."""

_log = logging.getLogger("twotier")


class Primary(NamedTuple):
    """A primary in its term of office."""

    place: Place
    term: int


class PrimaryWatch:
    """The watch of one deployment; any thread may call all methods but those under "The thread"."""

    def __init__(self, service: str, sentinels: Sequence[Address], options: Options, clock: Clock, label: str) -> None:
        self._service = service
        self._addresses = sentinels
        self._options = options
        self._clock = clock
        self._label = label
        self.allowed_hosts = options.allowed_hosts
        self._interval: Final = min(LONGEST_INTERVAL, round(options.max_staleness * SECOND) // ASKS)
        self._concerned: list[Callable[[], None]] = []
        self._term = 0
        self._begin()

    def _begin(self) -> None:
        """Make the state that belongs to one process."""
        self._pid = os.getpid()
        self._changed = threading.Condition()
        """Guards the primary, its term and its run id, and the start of the thread."""
        self._thread: threading.Thread | None = None
        self._waker: Waker | None = None
        self._closing = False
        self._primary: Primary | None = None
        self._run_id: bytes | None = None
        self._restarted: Primary | None = None
        # So that a hanging look-up is noticed and reported before its callers' deadline.
        patience = round(min(self._options.timeout, self._options.connect_timeout) * SECOND / 2)
        self._spellings = Spellings(self._clock, patience, self.wake)
        self._votes = Votes(len(self._addresses), self._spellings.same)
        self._talks = [
            Conversation(address, self._service, self._options, self._clock, self.wake) for address in self._addresses
        ]
        self._doubted_at = -DOUBTED
        self._occasional = RateLimitedLog(self._clock)
        self._unsettled_since: int | None = 0
        """Instant since which the questions are frequent; None while all is well."""
        self._nobody = False
        """Whether every sentinel has answered or failed, and none names a primary."""
        self._agreed = True
        self.replicas: Sequence[Place] = ()
        """Replicas of the primary, by the latest answer of a sentinel."""

    # Called by anyone

    def primary(self) -> Primary:
        """Return the primary, after waiting up to `connect_timeout` for the first one.

        Raises RemoteTimeout after that time, RemoteUnavailable once all sentinels have been asked and name none.
        """
        self.ensure_started()
        deadline = time.monotonic() + self._options.connect_timeout
        with self._changed:
            while (found := self._primary) is None:
                left = deadline - time.monotonic()
                if self._closing or self._nobody:
                    raise RemoteUnavailable(self._why_none())
                if left <= 0:
                    raise RemoteTimeout(self._why_none())
                self._changed.wait(left)
            return found

    def vouched_at(self, primary: Primary) -> int:
        """Return the latest instant (ns) at which a majority still named `primary`; 0 once its term is over."""
        current = self._primary
        return self._votes.agreed_at(primary.place) if current == primary else 0

    def verified(self, primary: Primary, run_id: bytes | None) -> bool:
        """Note the run id of the server at `primary`; return False if the term is over or has another run id."""
        with self._changed:
            if self._primary != primary:
                return False
            if run_id is None or run_id == self._run_id:
                return True
            if self._run_id is None:
                self._run_id = run_id
                return True
            self._restarted = primary
        self.wake()
        return False

    def distrust(self) -> None:
        """Ask the sentinels anew, and often for a while: the server doesn't behave like a primary."""
        self._doubted_at = self._clock.now()
        self.wake()

    def tell(self, concerned: Callable[[], None]) -> None:
        """Call `concerned` at each change of the primary, on the thread, before `primary` returns the new one."""
        with self._changed:
            self._concerned = [*self._concerned, concerned]

    def forget(self, concerned: Callable[[], None]) -> None:
        """Stop calling `concerned`."""
        with self._changed:
            self._concerned = [each for each in self._concerned if each != concerned]

    def ensure_started(self) -> None:
        """Start the thread unless it runs."""
        if self._thread is not None and self._thread.is_alive():
            return
        with self._changed:
            if self._closing or (self._thread is not None and self._thread.is_alive()):
                return
            # Before the thread starts: a connection that it begins may end, and call `wake`, before the next line here.
            self._waker = waker = Waker()
            thread = start_thread(self._run, "twotier-sentinels", waker)
            if thread is None:  # no primary is named until a later call can start a thread
                self._waker = None
                waker.close()
                return
            self._thread = thread

    def wake(self) -> None:
        """Make the thread check its state at once."""
        if self._waker is not None:
            self._waker.wake()

    def close(self) -> None:
        """Stop watching for good."""
        with self._changed:
            self._closing = True
            thread = self._thread
            self._changed.notify_all()
        self.wake()
        if thread is not None and thread is not threading.current_thread():
            thread.join(2.0)

    def after_fork(self) -> None:
        """In a forked child: drop the parent's connections; the watch begins anew on first use."""
        if self._pid == os.getpid():
            return
        inherited, waker, closing = self._talks, self._waker, self._closing
        self._term += 1
        self._begin()
        self._closing = closing
        for talk in inherited:
            talk.abandon()
        if waker is not None:
            waker.close()

    def _why_none(self) -> str:
        trouble = "; ".join(f"{talk.address.label}: {talk.state}" for talk in self._talks)
        advice = self._spellings.advice(self._votes.spelled(self._clock.now()))
        return f"the sentinels name no primary of {self._service!r} ({trouble})" + (f"; {advice}" if advice else "")

    # The thread

    def _run(self, waker: Waker) -> None:
        born = os.getpid()
        try:
            while not self._closing and os.getpid() == born:
                try:
                    self._round(waker)
                except Exception:  # noqa: BLE001 - logged whole, on a thread that must go on
                    if os.getpid() != born:
                        return  # a greenlet that goes on in a forked child, where its sockets are closed
                    self._occasional.log(
                        logging.ERROR, "failed", "the watch of the sentinels failed; it goes on", trace=True
                    )
                    time.sleep(1.0)
        finally:
            if os.getpid() == born:
                for talk in self._talks:
                    talk.close()
            waker.close()

    def _round(self, waker: Waker) -> None:
        """Do the work that is due, decide, wait, and process the input."""
        now = self._clock.now()
        for talk in self._talks:
            talk.proceed(now, self._pace(now))
        self._decide()
        until = min(talk.wake_at() for talk in self._talks)
        if (ends := self._spellings.wake_at()) is not None:
            until = min(until, ends)
        watched = [interest for talk in self._talks for interest in talk.interest]
        wait(*watched, waker=waker, seconds=max(0, until - self._clock.now()) / SECOND)
        for sentinel, talk in enumerate(self._talks):
            for heard in talk.take():
                self._heard(sentinel, heard)

    def _pace(self, now: int) -> int:
        """Return the time until the next question."""
        if self._unsettled_since is None:
            return self._interval
        return min(self._interval, LAST_HURRY, max(FIRST_HURRY, (now - self._unsettled_since) // 4))

    def _heard(self, sentinel: int, heard: Announcement) -> None:
        for vote in heard.votes:
            self._votes.cast(sentinel, vote)
        if heard.replicas is not None:
            self.replicas = heard.replicas
        if heard.switched:
            self._unsettle(self._clock.now())

    def _unsettle(self, now: int) -> None:
        """Ask all sentinels in the next round, and often for a while."""
        self._unsettled_since = now
        for each in self._talks:
            each.hurry(now)

    def _decide(self) -> None:
        """Follow the majority, and keep the questions frequent while there is doubt."""
        now = self._clock.now()
        current = self._primary
        unsure = self._spellings.look_up(self._votes.spelled(now))
        named = self._votes.named(now)
        everyone = all(talk.heard_from for talk in self._talks) and not unsure
        if named is None and current is None and everyone:
            named = self._votes.unopposed(now)  # good enough to begin with, but no majority vouches for this place
        if named is None and current is not None and self._restarted == current:
            named = current.place
        if named is not None and current is not None and self._spellings.same(named, current.place):
            named = current.place  # in the spelling that is in use
        if named is not None and (current is None or named != current.place or self._restarted == current):
            self._change(named)
        elif current is None and everyone and not self._nobody:
            with self._changed:
                self._nobody = True
                self._changed.notify_all()
            self._occasional.log(logging.ERROR, "nobody", "%s: %s", self._label, self._why_none())
        self._tell_agreement(now)
        doubted = now - self._doubted_at < DOUBTED
        if doubted or self._primary is None or self._votes.contested(self._primary.place, now):
            if self._unsettled_since is None:
                self._unsettle(now)
        else:
            self._unsettled_since = None

    def _change(self, place: Place) -> None:
        """Let one term end and the next begin."""
        with self._changed:
            before, self._primary, self._run_id, self._restarted = self._primary, None, None, None
            self._term += 1
        for concerned in self._concerned:
            try:
                concerned()
            except Exception:  # noqa: BLE001 - logged whole; the other callbacks must run
                _log.exception("a cache could not be told of a new primary")
        with self._changed:
            self._primary, self._nobody = Primary(place, self._term), False
            self._changed.notify_all()
        if before is not None:
            _log.warning("%s: the primary is now %s (it was %s)", self._label, place, before.place)

    def _tell_agreement(self, now: int) -> None:
        """Log the loss of the majority, and its return."""
        current = self._primary
        if current is None:
            return
        agreed = now - self._votes.agreed_at(current.place) <= VALID
        if agreed != self._agreed:
            self._agreed = agreed
            if agreed:
                _log.warning("%s: a majority of the sentinels vouches for %s again", self._label, current.place)
            else:
                advice = self._spellings.advice(self._votes.spelled(now))
                _log.warning(
                    "%s: no majority of the sentinels vouches for %s; nothing is fresh meanwhile%s",
                    self._label,
                    current.place,
                    f"; {advice}" if advice else "",
                )
