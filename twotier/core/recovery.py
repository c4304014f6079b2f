"""Recovery: brings the remote tier back into use after an outage, and replays the journal (DESIGN steps 8 and 9).

A thread that lives only while there is something to do: the circuit breaker isn't closed, or keys are waiting in the
journal. It probes, so that no caller has to; replays, since what the journal names may be stale on the server; and only
then closes the breaker. A replayed key is unlinked and its invalidation published, which does no harm when repeated.

The link and recovery find out on their own that the server is back, and each tells the other, so that neither sits out
a pause when the other has had an answer.
"""

import logging
import random
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from twotier.clock import NEVER
from twotier.coherence.message import Kind
from twotier.core.generation import new_name
from twotier.core.journal import Doubt
from twotier.core.keys import as_bytes
from twotier.core.lifetimes import milliseconds
from twotier.core.missing import MISSING
from twotier.core.tags import ANY_TAG, Tag
from twotier.errors import RemoteError, RemoteTimeout, RemoteUnavailable
from twotier.opid import NO_OP, op_tag
from twotier.remote.commands import Generation, Ping, Put, Remove, SetGeneration
from twotier.remote.conditional import PutUnchanged
from twotier.remote.refusals import NoMemoryError
from twotier.remote.withdraw import Withdraw

if TYPE_CHECKING:
    from twotier.core.namespace import TwoTierNamespace

FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 0.5
"""Seconds between probes; doubled from the first to the longest, each cut by up to half at random."""
REFUSED_PAUSE: Final = 1.0
"""Least seconds until a server that refuses (no permission, no memory) is asked again."""
BATCH: Final = 256
"""Keys replayed in one trip."""

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
            if self._namespace.breaker.state == "closed" and not self._namespace.journal:
                self._thread = None
                return True
        return False

    def _attempt(self) -> None:
        """Probe, replay, and close the breaker; raises RemoteError where the remote tier fails again."""
        namespace = self._namespace
        probing = namespace.breaker.begin_probe()
        if not probing and namespace.breaker.state != "closed":
            return
        namespace.executor.run(Ping(), probing=probing)
        if probing:
            namespace.hurry_link()
        self._replay(probing)
        if probing:
            namespace.breaker.close()
        else:
            namespace.hurry_link()  # what was refused was taken: a replica has become a primary, say

    def _replay(self, probing: bool) -> None:
        namespace = self._namespace
        journal, run = namespace.journal, namespace.executor.run
        if overflows := journal.overflows:
            op_id = namespace.op_ids.next()
            clear = namespace.publication("clear", op_id)
            run(SetGeneration(namespace.generations.key, new_name(), clear), probing=probing)
            namespace.store.bump_epoch()  # here the old generation is over now, not when the message comes
            journal.settle_overflows(overflows)
        if not len(journal):
            return
        name = run(Generation(namespace.generations.key, new_name()), probing=probing)
        if namespace.generations.contradicts(name):
            namespace.store.bump_epoch()  # reads under the generation known here wouldn't see what is replayed
        prefix = namespace.generations.prefix_of(name)
        while batch := journal.peek(BATCH):
            self._end_tags([each.name for each in batch if isinstance(each, Tag)], probing)
            keys = {key: doubt for key, doubt in batch.items() if not isinstance(key, Tag)}
            removed = [key for key, doubt in keys.items() if not self._put_again(prefix, key, doubt, probing)]
            self._remove(prefix, "delete", [key for key in removed if not keys[key].kept], probing)
            self._remove(prefix, "expire", [key for key in removed if keys[key].kept], probing)
            journal.settle(batch)

    def _remove(self, prefix: bytes, kind: Kind, keys: list[str], probing: bool) -> None:
        if keys:
            places = [prefix + as_bytes(key) for key in keys]
            self._unlink(places, self._namespace.generations.leases(prefix, keys), kind, keys, probing)

    def _end_tags(self, tags: list[str], probing: bool) -> None:
        if tags:
            places = [self._namespace.versions.place(tag) for tag in (ANY_TAG, *tags)]
            self._unlink(places, (), "tag", tags, probing)
            self._namespace.end_tags(tags, NO_OP)  # what was let in meanwhile carries the versions that ended only now

    def _unlink(
        self, places: list[bytes], leases: Sequence[bytes], kind: Kind, names: list[str], probing: bool
    ) -> None:
        """Remove keys of the server and leases on them, and say of what kind that was, and which keys or tags."""
        run = self._namespace.executor.run
        removal = self._namespace.publication(kind, self._namespace.op_ids.next(), names)
        try:
            run(Remove(places, removal, leases), probing=probing)
        except NoMemoryError:
            run(Withdraw([*places, *leases], removal), probing=probing)

    def _put_again(self, prefix: bytes, key: str, doubt: Doubt, probing: bool) -> bool:
        """Put the value written in the outage, if that is asked for and nothing else was written there; tell whether.

        The value is the local tier's suspect, as long as it is held here; its op id says whether it is that write's.
        """
        namespace = self._namespace
        if namespace.options.replay != "set" or doubt.seen == NO_OP or namespace.store.op(key) != op_tag(doubt.op_id):
            return False
        left = NEVER if doubt.expires == NEVER else doubt.expires - namespace.clock.now()
        value = namespace.store.suspect(key, MISSING)
        if left <= 0 or value is MISSING:
            return False
        place = prefix + as_bytes(key)
        data = namespace.values.seal(place, doubt.op_id, namespace.values.encode(value))
        publication = namespace.publication("set", doubt.op_id, (key,))
        voids = namespace.generations.leases(prefix, (key,))
        put = Put(place, data, milliseconds(left), absent=False, publication=publication, voids=voids)
        return namespace.executor.run(PutUnchanged(place, doubt.seen, put), probing=probing)
