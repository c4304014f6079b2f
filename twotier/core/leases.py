"""Loading across processes: the lease on a key, which every write of the key ends.

A loader reads the source at some moment and its result is stored at a later one; a write in between makes the result
stale. So the loading process takes a lease on the server before the loader runs; every write removes the key's lease in
the same transaction as its change; and the result is written only where the lease still stands. What was overtaken is
returned to those who asked for it and reaches neither tier. The same lease makes one process load while others wait:
they look again until the value is there, or the lease is gone (its holder failed, or was killed), or it has been held
for as long as a lease may last; then they load for themselves.
"""

import random
from collections.abc import Callable
from typing import Any, Final

from twotier.clock import SECOND
from twotier.core.commands import Load, Pause
from twotier.core.drive import Flow
from twotier.core.keys import as_bytes
from twotier.core.lifetimes import milliseconds
from twotier.core.missing import MISSING
from twotier.core.writes import Writes
from twotier.errors import RemoteError
from twotier.remote.commands import Put
from twotier.remote.conditional import EndLease, PutLeased, TakeLease, Taken

FIRST_LOOK: Final = 0.002
LAST_LOOK: Final = 0.05
"""Seconds between two looks of a process that waits for another's load: doubled from the first to the last."""


class TwoTier(Writes):
    """All flows of a namespace with a remote tier. Keys are checked by the caller; ttl in ns, NEVER for none."""

    def load(self, key: str, loader: Callable[[], Any], ttl: int, *, wait: bool) -> Flow[tuple[Any, bytes]]:
        """Return what `loader` makes, or (with `wait`) another process has made meanwhile, and its encoding."""
        namespace = self._namespace
        patience = round(namespace.options.load_lease * SECOND)
        give_up = namespace.clock.now() + patience
        lease = namespace.op_ids.next()
        pause = FIRST_LOOK
        away = False
        while True:
            token, now = namespace.store.token(key), namespace.clock.now()
            if self._in_doubt(key):
                away = True
                break
            try:
                prefix = yield from namespace.generations.prefix()
                place, lease_place = prefix + as_bytes(key), namespace.generations.lease(prefix, key)
                held: Taken = yield TakeLease(place, lease_place, lease, patience // 1_000_000)
            except RemoteError:
                namespace.counters.remote_errors += 1
                away = True
                break
            if held.fetched.data is not None:
                value = yield from self._let_in(key, place, held.fetched, token, now)
                if value is not MISSING:
                    if held.taken:
                        yield from self._end(lease_place, lease)
                    return value, namespace.values.encode(value)
            if held.taken:
                return (yield from self._load_leased(key, loader, ttl, token, place, lease_place, lease))
            if not wait or now >= give_up:
                break
            yield Pause(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, guards nothing
            pause = min(2 * pause, LAST_LOOK)
        # Another thread may have loaded the key between our look and now: without the server, that is a suspect.
        if away and (value := self.spare(key)) is not MISSING:
            return value, namespace.values.encode(value)
        return (yield from self._load_alone(key, loader, ttl))

    def spare(self, key: str) -> Any:
        """Return the suspect under `key`, for a caller who would have to queue for a load; MISSING without one."""
        namespace = self._namespace
        value = MISSING
        if namespace.options.on_outage == "serve":
            value = namespace.store.suspect(key, MISSING)
        if value is not MISSING:
            namespace.served_stale()
        return value

    def _load_leased(
        self,
        key: str,
        loader: Callable[[], Any],
        ttl: int,
        token: int,
        place: bytes,
        lease_place: bytes,
        lease: bytes,
    ) -> Flow[tuple[Any, bytes]]:
        namespace = self._namespace
        try:
            namespace.counters.loads += 1
            value = yield Load(loader)
            payload = namespace.values.encode(value)
        except GeneratorExit:
            raise  # the flow was thrown away, and can ask for nothing more
        except BaseException:
            yield from self._end(lease_place, lease)
            raise
        if ttl == 0:
            yield from self._end(lease_place, lease)
            return value, payload
        op_id, now = namespace.op_ids.next(), namespace.clock.now()
        publication = namespace.publication("set", op_id, (key,))
        data = namespace.values.seal(place, op_id, payload)
        put = Put(place, data, milliseconds(ttl), absent=False, publication=publication, voids=(lease_place,))
        try:
            stored: bool = yield PutLeased(lease_place, lease, put)
        except RemoteError:
            namespace.counters.remote_errors += 1
            if namespace.store.token(key) == token:
                self._keep_suspect(key, value, payload, op_id, ttl, now)
        else:
            if stored:
                self._install(key, value, payload, token, op_id, ttl, now)
        return value, payload

    def _load_alone(self, key: str, loader: Callable[[], Any], ttl: int) -> Flow[tuple[Any, bytes]]:
        """Load without a lease: the value is kept here as a suspect, and not stored remotely."""
        namespace = self._namespace
        token = namespace.store.token(key)
        namespace.counters.loads += 1
        value = yield Load(loader)
        payload = namespace.values.encode(value)
        if ttl and namespace.store.token(key) == token:
            op_id, now = namespace.op_ids.next(), namespace.clock.now()
            self._keep_suspect(key, value, payload, op_id, ttl, now)
        return value, payload

    def _end(self, lease_place: bytes, lease: bytes) -> Flow[None]:
        """Give the lease back, so that others needn't wait for its end; if that fails, it ends by itself."""
        try:
            yield EndLease(lease_place, lease)
        except RemoteError:
            self._namespace.counters.remote_errors += 1
