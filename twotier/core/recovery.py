"""Recovery: brings the remote tier back into use after an outage, and replays the journal (DESIGN steps 8 and 9).

A thread that lives only while there is something to do: the circuit breaker isn't closed, keys are waiting in the
journal, or leases that loads have left on the server are to be given back. It probes, so that no caller has to;
replays, since what the journal names may be stale on the server; and only then closes the breaker. A replayed key is
unlinked and its invalidation published, which does no harm when repeated.

The link and recovery find out on their own that the server is back, and each tells the other, so that neither sits out
a pause when the other has had an answer.
"""

import logging
import random
import threading
from typing import TYPE_CHECKING, Final

from twotier.core.replay import BATCH, Replay
from twotier.errors import RemoteError, RemoteTimeout, RemoteUnavailable
from twotier.remote.commands import Ping
from twotier.remote.leasing import SettleLeases

if TYPE_CHECKING:
    from twotier.core.namespace import TwoTierNamespace

FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 0.5
"""Seconds between probes; doubled from the first to the longest, each cut by up to half at random."""
REFUSED_PAUSE: Final = 1.0
"""Least seconds until a server that refuses (no permission, no memory) is asked again."""

_log = logging.getLogger("twotier")


class Recovery:
    """The background recovery of one namespace."""

    def __init__(self, namespace: "TwoTierNamespace") -> None:
        self._namespace = namespace
        self._lock = threading.RLock()  # as the journal's
        self._thread: threading.Thread | None = None
        self._closing = False
        self._woken = threading.Event()
        """Ends a pause early."""

    def wake(self) -> None:
        """See to it that recovery is under way."""
        with self._lock:
            if self._thread is None and not self._closing:
                self._woken.clear()
                self._thread = threading.Thread(target=self._run, name="twotier-recovery", daemon=True)
                self._thread.start()

    def hurry(self) -> None:
        """Probe now if recovery is under way: the server is known to be usable."""
        self._woken.set()

    def close(self) -> None:
        """Stop, and wait for the thread to end."""
        with self._lock:
            self._closing = True
            thread = self._thread
        self._woken.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(2 * self._namespace.options.timeout + LONGEST_PAUSE)

    def _run(self) -> None:
        pause, least = FIRST_PAUSE, 0.0
        while True:
            if self._woken.wait(max(least, pause * random.uniform(0.5, 1.0))):  # noqa: S311 - spreads load, guards nothing
                self._woken.clear()
                pause = FIRST_PAUSE
            least = 0.0
            if self._closing:
                return
            try:
                self._attempt()
            except (RemoteTimeout, RemoteUnavailable):
                self._namespace.breaker.probe_failed()
                pause = min(2 * pause, LONGEST_PAUSE)
            except RemoteError:  # a refusal: the executor has logged it
                self._namespace.breaker.probe_failed()
                pause, least = FIRST_PAUSE, REFUSED_PAUSE * random.uniform(1.0, 1.25)  # noqa: S311 - as above
            except Exception:  # noqa: BLE001 - logged whole, on a thread that must go on
                # Whatever it was, giving up would leave the cache without its remote tier for good.
                _log.exception("recovery failed; it will be tried again")
                self._namespace.breaker.probe_failed()
                pause = LONGEST_PAUSE
            else:
                pause = FIRST_PAUSE
                if self._done():
                    return

    def _done(self) -> bool:
        """Let the thread go if nothing is left to do; a `wake` after that starts another."""
        with self._lock:
            namespace = self._namespace
            if namespace.breaker.state == "closed" and not namespace.journal and not namespace.claims:
                self._thread = None
                return True
        return False

    def _attempt(self) -> None:
        """Probe, replay, and close the breaker; raises RemoteError where the remote tier fails again."""
        namespace = self._namespace
        probing = namespace.breaker.begin_probe()
        if not probing and (namespace.breaker.state != "closed" or not (namespace.journal or namespace.claims.due())):
            return
        if not namespace.topology.slotted:  # in a cluster nodes are probed each by itself, and a lost one holds up none
            namespace.executor.run(Ping(), probing=probing)
        if probing:
            namespace.hurry_link()
        self._replay(probing)
        self._give_back_leases(probing)
        if probing:
            namespace.breaker.close()
        else:
            namespace.hurry_link()  # what was refused was taken: a replica has become a primary, say

    def _replay(self, probing: bool) -> None:
        """Make good what can be; what can't stays in the journal, and what stood in the way is raised."""
        Replay(self._namespace, probing).run()

    def _give_back_leases(self, probing: bool) -> None:
        """Give back what loads have left on the server, as far as it is there."""
        claims = self._namespace.claims
        for claim in claims.due():
            leases = list(claim.leases)
            for start in range(0, len(leases), BATCH):
                chunk = leases[start : start + BATCH]
                release = SettleLeases(chunk, claim.token, [None] * len(chunk), None)
                held = self._namespace.executor.run(release, probing=probing) or [False] * len(chunk)
                for lease, was_held in zip(chunk, held, strict=True):
                    if was_held:
                        claims.settled(lease, claim.token)
            claims.looked(claim)
