"""The audit: now and then, compares a few fresh local entries with the remote tier, and counts differences.

The audit is off unless `audit_interval` is set. It checks the whole machinery in production. For a
moment, the invalidation of a superseded entry is under way. So a difference counts only if the same
entry is still fresh after the link has proven that every invalidation published before the check's
reply has arrived, and the remote tier still has the value of that reply; a different value means
another change, whose invalidation is under way. Values that the server has evicted, or that
somebody changed without twotier, show up here as well.

A round costs one round trip for each of `SAMPLE` entries, and a list of the local tier's keys. The
audit respects the breaker.
"""

import logging
import random
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from twotier.core.access.missing import MISSING
from twotier.core.flow.drive import Flow, drive
from twotier.errors import RemoteError
from twotier.opid import NO_OP, op_tag
from twotier.remote.commands.base import Fetch, Fetched
from twotier.remote.commands.tags import ReadVersions, Version
from twotier.worker import Worker

if TYPE_CHECKING:
    from twotier.core.namespace.namespace import TwoTierNamespace

SAMPLE: Final = 8
"""Entries compared in a round."""
_PAUSE: Final = 0.05

_log = logging.getLogger("twotier")


class Audit:
    """The audit of one namespace in one process: a worker."""

    def __init__(self, namespace: "TwoTierNamespace", interval: float) -> None:
        self._namespace = namespace
        self._interval = interval
        self._closing = threading.Event()
        self._begun = False
        self._worker = Worker(self._step, "twotier-audit")
        self._worker.start()

    def close(self) -> None:
        """Stop, and wait for the thread to end."""
        self._closing.set()
        self._worker.close(2 * self._namespace.options.timeout)

    def _step(self, woken: bool) -> float:  # noqa: ARG002 - only `close` wakes it
        if self._begun:
            try:
                self._round()
            except RemoteError:
                pass  # the breaker has counted it
            except Exception:  # noqa: BLE001 - logged whole; the audit must not end the process's other work
                _log.exception("a round of the audit failed")
        self._begun = True
        return self._interval

    def _round(self) -> None:
        namespace = self._namespace
        if namespace.breaker.state != "closed" or not namespace.store.live:
            return
        keys = namespace.store.keys()
        for key in random.sample(keys, min(SAMPLE, len(keys))):
            op = namespace.store.op(key)
            other = self._other(key, op)
            if other is not None:
                if not self._all_heard(namespace.clock.now()):
                    return
                if namespace.store.op(key) == op and key in namespace.store and self._other(key, op) == other:
                    namespace.counters.audit_mismatches += 1
                    _log.warning(
                        "a fresh local entry of namespace %s isn't what the server has", namespace.options.namespace
                    )
            namespace.counters.audited += 1

    def _other(self, key: str, op: int | None) -> bytes | None:
        return drive(self._compare(key, op), self._namespace.executor, self._namespace.background)

    def _compare(self, key: str, op: int | None) -> Flow[bytes | None]:
        """Return the remote tier's data (b"": nothing) if its value differs from the local one, else None.

        Values are compared by their op ids, or directly if one has none.
        """
        namespace = self._namespace
        place = yield from namespace.generations.place(key)
        fetched: Fetched = yield Fetch(place)
        held: Any = namespace.store.suspect(key, MISSING)
        if held is MISSING or op is None:
            return None
        if fetched.data is None:
            return b""
        loaded = namespace.values.load(place, fetched.data, counted=True)
        if loaded is None or not (yield from self._is_current(loaded.stamps)):
            return fetched.data
        theirs = op_tag(loaded.op_id)
        differs = held != loaded.value if NO_OP in (op, theirs) else op != theirs
        return fetched.data if differs else None

    def _is_current(self, stamps: Mapping[str, bytes]) -> Flow[bool]:
        """Return True if the server has these versions of an entry's tags; cached versions don't count."""
        if not stamps:
            return True
        versions: list[Version] = yield ReadVersions([self._namespace.versions.place(tag) for tag in stamps])
        return [version.name for version in versions] == list(stamps.values())

    def _all_heard(self, since: int) -> bool:
        """Wait for proof that everything published before `since` has arrived; return False if no proof comes."""
        namespace = self._namespace
        give_up = since + round(2e9 * namespace.options.max_staleness)
        while not self._closing.wait(_PAUSE):
            proven = namespace.subscriber.proven_at
            if proven is not None and proven > since:
                return True
            if namespace.clock.now() > give_up:
                return False
        return False
