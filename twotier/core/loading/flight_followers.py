"""Following a flight that another caller leads: the length of the wait, and the checks meanwhile.

No caller follows a load for longer than `load_lease`: its loader may hang or need a lock that the
follower holds, or its event loop may be blocked. The follower that gives up first leads a new flight,
which the others follow once. Followers check both tiers now and then (one follower of a flight asks the
server each second). A follower notices at once when the leader's event loop is closed or stopped, and
when an executor has work for the thread on which the follower waits.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from twotier.clock import SECOND
from twotier.core.access.local_only import LocalOnly
from twotier.core.access.missing import MISSING
from twotier.core.flow.blocking import is_needed
from twotier.core.flow.drive import Flow
from twotier.core.flow.wait import FIRST_SPELL, LONGEST_SPELL, wait_for
from twotier.core.loading.load_locks import TwoTier
from twotier.core.loading.single_flight import ABANDONED, Flight
from twotier.core.loading.wait_budget import WaitBudget
from twotier.core.namespace.namespace import Namespace
from twotier.errors import LoadTimeout
from twotier.load_policy import LoadPolicy
from twotier.notfound import NOT_FOUND

APART: Final = object()
"""Result of following when the caller must not wait any longer: it runs the loader itself."""
OVERDUE: Final = object()
"""Result of following when the flight is older than a load may be: one of its followers takes over."""


def is_in_vain(value: object) -> bool:
    """Return True if following brought no value, so that the caller has to look the key up again."""
    return value is ABANDONED or value is OVERDUE or value is APART


class WaitRounds:
    """One call's rounds of joining and following, and the state that lasts from round to round."""

    __slots__ = ("_renewed", "apart", "patience")

    def __init__(self, patience: WaitBudget) -> None:
        self.patience = patience
        self.apart: set[str] = set()
        """Keys that the caller itself loads in the next round, even if others load them, too."""
        self._renewed = False

    def another(self, outcomes: Mapping[str, object]) -> None:
        """Prepare another round for keys that were followed in vain."""
        over = not self.patience.left
        overdue = [key for key, outcome in outcomes.items() if outcome is OVERDUE]
        if overdue and not self._renewed:
            self.patience.renew()  # for the caller that takes over
            self._renewed = True
        else:
            self.apart.update(overdue)
        self.apart.update(
            key for key, outcome in outcomes.items() if outcome is APART or (over and outcome is ABANDONED)
        )


class FlightFollower:
    """The following side of the flights of one namespace."""

    def __init__(self, tiers: TwoTier | LocalOnly, namespace: Namespace) -> None:
        self._tiers = tiers
        self._namespace = namespace

    def _follow_in_overtime(self, flight: Flight, policy: LoadPolicy, patience: WaitBudget) -> Flow[Any]:
        """Wait for a flight that the caller leads after a stopped attempt: longer, and without serving a stale copy."""
        lease = self._namespace.options.load_lease
        if policy.hard_timeout is not None:
            policy = replace(policy, hard_timeout=max(policy.hard_timeout, lease))
        try:
            return (yield from self._follow(flight, policy, patience, stale=False, own=True))
        except LoadTimeout:
            self._namespace.attempts.in_vain(flight.key, round(lease * SECOND))
            raise

    def _follow(
        self, flight: Flight, policy: LoadPolicy, patience: WaitBudget, *, stale: bool, own: bool = False
    ) -> Flow[Any]:
        """Wait for a flight; return its value, the stale copy after soft_timeout, or a result that `is_in_vain`.

        Raises LoadTimeout after hard_timeout (`patience` counts both), and the loader's error. `own`: the
        caller leads the flight, in the background, and gives up only while the loader hasn't been called.
        """
        namespace, soft, hard = self._namespace, policy.soft_timeout if stale else None, policy.hard_timeout

        def pointless() -> bool:
            return flight.is_lost or (not own and is_needed(for_loops=flight.loop is not None))

        spell = FIRST_SPELL
        while True:
            bound = not (own and flight.loading)
            limits = [patience.until(each) for each in (soft, hard) if each is not None]
            if bound:
                limits += [patience.left, self._age_left(flight)]
            seconds = min(spell, *limits) if limits else spell
            ended, payload = yield from wait_for(flight.future, seconds, pointless)
            if ended:
                return self._value(payload)
            patience.waited(seconds)
            outcome = self._given_up(flight, patience, pointless, bound=bound)
            if outcome is not None:
                return outcome
            if soft is not None and not patience.until(soft):
                soft = None
                value = self._tiers.spare(flight.key)
                namespace.counters.load_timeouts += value is not MISSING
            else:
                value = MISSING
            if value is MISSING and hard is not None and not patience.until(hard):
                namespace.counters.load_timeouts += 1
                raise LoadTimeout(f"the loader of {flight.key!r} took longer than hard_timeout ({hard} s); it goes on")
            if value is MISSING and stale:
                value = yield from self._seen(flight)
            if value is not MISSING:
                return value
            spell = min(2 * spell, LONGEST_SPELL)

    def _given_up(
        self, flight: Flight, patience: WaitBudget, pointless: Callable[[], bool], *, bound: bool
    ) -> object | None:
        """Return the outcome for a caller that stops waiting for `flight`; None if it goes on waiting."""
        if flight.is_lost:
            self._namespace.flights.lose(flight)
            return ABANDONED
        if pointless():
            return APART
        if bound and not self._age_left(flight):
            return OVERDUE
        return APART if bound and not patience.left else None

    def _seen(self, flight: Flight) -> Flow[Any]:
        """Return the value that either tier has by now of a key that is being loaded; MISSING if there is none."""
        value = self._namespace.store.get(flight.key, MISSING)
        if value is not MISSING:
            return value
        now = self._namespace.clock.now()
        if now - max(flight.looked, flight.began) < SECOND:
            return MISSING
        flight.looked = now
        return (yield from self._tiers.look(flight.key))

    def _age_left(self, flight: Flight) -> float:
        """Return the seconds for which a flight may still be followed."""
        flights = self._namespace.flights
        return max(0.0, (flight.began + flights.lasts - self._namespace.clock.now()) / SECOND)

    def _value(self, payload: Any) -> Any:
        if payload is ABANDONED:
            return ABANDONED
        return self._namespace.values.decode(payload) if payload else NOT_FOUND
