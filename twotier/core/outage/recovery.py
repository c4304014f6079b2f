"""Recovery: brings the remote tier back into use after an outage, and replays the journal (DESIGN steps 8 and 9).

Recovery is a worker, whose thread lives only while there is work: the circuit breaker isn't closed,
keys wait in the journal, late writes must be checked, or abandoned locks must be released. It
probes, so that no caller has to; replays, since journaled keys may be stale on the server; and only
then closes the breaker. A replayed key is unlinked and its invalidation published, which is harmless
when repeated.

The link and recovery notice separately that the server is back, and each tells the other, so that
neither sits out a pause when the other has had a reply.
"""

import logging
import random
from typing import TYPE_CHECKING, Final

from twotier.clock import SECOND
from twotier.core.flow.batch import Part
from twotier.core.flow.drive import drive
from twotier.core.outage.late_check import LateCheck
from twotier.core.outage.replay import BATCH, ProbingExecutor, Replay
from twotier.errors import RemoteError, RemoteTimeout, RemoteUnavailable
from twotier.remote.commands.base import Fetched, FetchMany, Ping
from twotier.remote.commands.load_locks import SettleLoadLocks
from twotier.worker import Worker

if TYPE_CHECKING:
    from twotier.core.namespace.namespace import TwoTierNamespace

FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 0.5
"""Seconds between probes; doubled from the first to the longest, each cut by up to half at random."""
REFUSED_PAUSE: Final = 1.0
"""Least seconds until the next attempt after the server refused a command (no permission, no memory)."""

_log = logging.getLogger("twotier")


class Recovery:
    """The background recovery of one namespace."""

    def __init__(self, namespace: "TwoTierNamespace") -> None:
        self._namespace = namespace
        self._worker = Worker(self._step, "twotier-recovery")
        self._under_way = False
        self._pause = FIRST_PAUSE

    def wake(self) -> None:
        """Start recovery if it isn't under way. Raises nothing."""
        self._worker.start()

    def hurry(self) -> None:
        """Probe now if recovery is under way: the server is known to be usable."""
        if self._under_way:
            self._worker.wake()

    def close(self) -> None:
        """Stop, and wait for the thread to end."""
        self._worker.close(2 * self._namespace.options.timeout + LONGEST_PAUSE)

    def _step(self, woken: bool) -> float | None:
        """Attempt recovery, the first time after a pause; return the seconds until the next attempt."""
        first, self._under_way = not self._under_way, True
        if first or woken:
            self._pause = FIRST_PAUSE
        if first and not woken:
            return self._next()
        try:
            self._attempt()
        except (RemoteTimeout, RemoteUnavailable):
            self._namespace.breaker.probe_failed()
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        except RemoteError:  # a refusal: the executor has logged it
            self._namespace.breaker.probe_failed()
            self._pause = FIRST_PAUSE
            return REFUSED_PAUSE * random.uniform(1.0, 1.25)  # noqa: S311 - spreads load, guards nothing
        except Exception:  # noqa: BLE001 - logged whole, on a thread that must go on
            # After any error, giving up would leave the cache without its remote tier for ever.
            _log.exception("recovery failed; it will be tried again")
            self._namespace.breaker.probe_failed()
            self._pause = LONGEST_PAUSE
        else:
            self._pause = FIRST_PAUSE
            namespace = self._namespace
            waiting = namespace.journal or namespace.claims or namespace.late.suspects
            if namespace.breaker.state == "closed" and not waiting:
                self._under_way = False
                return None
        return self._next()

    def _next(self) -> float:
        return self._pause * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing

    def _attempt(self) -> None:
        """Probe, replay, and close the breaker; raises RemoteError if the remote tier fails again."""
        namespace = self._namespace
        probing = namespace.breaker.begin_probe()
        due = namespace.journal or namespace.late.suspects or namespace.claims.due()
        if not probing and (namespace.breaker.state != "closed" or not due):
            return
        if (
            not namespace.topology.slotted
        ):  # in a cluster each node is probed separately, and a lost one delays no other
            namespace.executor.run(Ping(), probing=probing)
        if probing:
            namespace.hurry_link()
        self._replay(probing)
        self._give_back_leases(probing)
        if probing:
            namespace.breaker.close()
        else:
            namespace.hurry_link()  # a refused command was accepted now: e.g. a replica has become a primary

    def _replay(self, probing: bool) -> None:
        """Replay as much as possible; the rest stays in the journal, and its error is raised."""
        failure = self._check_late_writes(probing) if self._namespace.late.suspects else None
        Replay(self._namespace, probing).run()
        if failure is not None:
            raise failure

    def _check_late_writes(self, probing: bool) -> RemoteError | None:
        """Check for values of late writes, and journal those that are there; return an error of a failed check."""
        namespace = self._namespace
        executor = ProbingExecutor(namespace.executor, probing)

        def read(keys: list[str]) -> list[Part[list[Fetched]]]:
            flow = namespace.generations.each(keys, lambda _, places: FetchMany(places), reads=True)
            return drive(flow, executor, namespace.background)

        slowest = round(namespace.options.max_staleness * SECOND)
        return LateCheck(namespace.late, namespace.journal, namespace.undo, slowest).run(read)

    def _give_back_leases(self, probing: bool) -> None:
        """Release the abandoned locks that are on the server."""
        claims = self._namespace.claims
        for claim in claims.due():
            leases = list(claim.leases)
            for start in range(0, len(leases), BATCH):
                chunk = leases[start : start + BATCH]
                release = SettleLoadLocks(chunk, claim.token, [None] * len(chunk), None)
                held = self._namespace.executor.run(release, probing=probing) or [False] * len(chunk)
                for lease, was_held in zip(chunk, held, strict=True):
                    if was_held:
                        claims.settled(lease, claim.token)
            claims.looked(claim)
