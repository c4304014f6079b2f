"""`get_or_set` and `refresh`: one key, loaded by one of the callers that miss it."""

import logging
from collections.abc import Callable
from typing import Any

from twotier.core.access.missing import MISSING
from twotier.core.flow.drive import Flow
from twotier.core.flow.stop_iteration import as_raised
from twotier.core.loading.call_policy import CallPolicy
from twotier.core.loading.flight_followers import WaitRounds, is_in_vain
from twotier.core.loading.flight_leader import FlightLeader
from twotier.core.loading.loader_call import LoaderCall, SingleLoaderCall
from twotier.core.loading.single_flight import ABANDONED
from twotier.errors import LoadShed, TwoTierError
from twotier.load_policy import LoadPolicy
from twotier.notfound import NOT_FOUND
from twotier.options import ttl_ns


class SingleLoads(FlightLeader):
    """Loads of single keys."""

    def get_or_set(self, key: str, loader: Callable[..., Any], terms: CallPolicy) -> Flow[Any]:
        """Return the value under `key`, which the local tier missed; load it if there is none."""
        namespace, policy = self._namespace, terms.policy
        namespace.check_open()
        if namespace.absences.holds(key):
            namespace.found_absent()
            return NOT_FOUND
        source = SingleLoaderCall(namespace, loader, terms)
        if policy.stale_while_revalidate is not None:
            value = yield from self._lapsed(key, source, ttl_ns(policy.stale_while_revalidate))
            if value is not MISSING:
                return value
        found = yield from self._tiers.get(key, keep=True)
        if found is not MISSING:
            return found
        if policy.stale_on_error and namespace.attempts.is_backing_off(key):
            value = self._tiers.spare(key)
            if value is not MISSING:
                namespace.counters.stale_on_error += 1
                return value
        try:
            return (yield from self._load(key, source, policy, anew=False))
        except Exception as error:
            value = self._excused(key, error, policy)
            if value is MISSING:
                raise
            return value

    def _lapsed(self, key: str, source: LoaderCall, window: int) -> Flow[Any]:
        """Return a value that expired by time alone, and reload it in the background; or the caller's new value."""
        value = self._tiers.lapsed(key, window)
        if value is MISSING:
            return MISSING
        begun = yield from self._start_in_background([key], source, anew=False)
        if key in begun.made:
            return begun.made[key].value
        self._namespace.counters.stale_while_revalidating += 1
        self._namespace.served_stale()
        return value

    def refresh(self, key: str, loader: Callable[..., Any], terms: CallPolicy) -> Flow[Any]:
        """Load `key` now, even if it exists, and return the loaded value."""
        self._namespace.check_open()
        return self._load(key, SingleLoaderCall(self._namespace, loader, terms), terms.policy, anew=True)

    def refresh_ahead(self, key: str, loader: Callable[..., Any], terms: CallPolicy) -> Flow[None]:
        """Load `key` in the background, to replace its present value."""
        begun = yield from self._start_in_background([key], SingleLoaderCall(self._namespace, loader, terms), anew=True)
        self._namespace.counters.early_refreshes += begun.keys

    def _load(self, key: str, source: LoaderCall, policy: LoadPolicy, *, anew: bool) -> Flow[Any]:
        namespace, flights, rounds = self._namespace, self._namespace.flights, WaitRounds(self._patience())
        while True:
            mine = flights.flight(key)
            led = {key: mine}  # the caller must end it until it is spawned
            try:
                try:
                    apart = key in rounds.apart
                    flight, leads = flights.lead_beside(mine) if apart else flights.join(key, mine)
                    overtime = leads and policy.is_timed and namespace.attempts.take_overtime(key)
                    if leads:
                        values = yield from self._launch(led, source, policy, rounds.patience, anew=anew, apart=apart)
                        if key in values:
                            return values[key]
                    if overtime:
                        value = yield from self._follow_in_overtime(flight, policy, rounds.patience)
                    else:
                        value = yield from self._follow(flight, policy, rounds.patience, stale=not anew, own=leads)
                finally:
                    self._abandon(led)
            finally:
                self._abandon(led)
            if not is_in_vain(value):
                return value
            if leads and value is ABANDONED:
                raise TwoTierError(f"the load of {key!r} was stopped")
            rounds.another({key: value})

    def _excused(self, key: str, error: Exception, policy: LoadPolicy) -> Any:
        """Return the stale copy to serve instead of a loader's error; MISSING if there is none, or it is unwanted."""
        if not policy.stale_on_error or isinstance(error, LoadShed):
            return MISSING
        value = self._tiers.spare(key)
        if value is not MISSING:
            namespace = self._namespace
            namespace.attempts.failed(key)
            namespace.counters.stale_on_error += 1
            namespace.log.log(
                logging.WARNING, "stale_on_error", "a loader failed, and stale copies are served: %r", as_raised(error)
            )
        return value
