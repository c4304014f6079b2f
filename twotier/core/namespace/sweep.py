"""The sweep: removes keys of ended generations from the server, so that entries without an expiry don't stay for ever.

`clear` only gives the namespace another generation. Keys of the old one that have an expiry leave by
it; the others would stay. Each generation's name is therefore recorded on the server
(`remote/commands/sweep.py`): by the clear that makes it and the one that ends it, and by each process
that finds one in force that isn't recorded. Some time after a name has ended, one process scans the
server's keys, removes those of recorded names that aren't in force, and then drops these names from
the record.

Invariants. A key is removed only if its name has the form of our keys, its generation is in the
record, and another generation was in force right before, read on the same connection (in a cluster:
in the same step). Names never come into force twice, and without a name in force nothing is removed.
No process reads or waits for any key of an ended generation: values, warrants, locks, absences, write
markers. Keys that outlive generations (tags, streams, profiles) have other names. A scan begins
`GRACE` after a name was seen to have ended: until then a process that has not heard of the clear may
still write under it, and repeat the write.

Costs: at most `PER_STEP` keys scanned each `PAUSE` seconds, and as many removed, by the one process
that has the sweep's lock; after a failure the sweep begins anew. It changes nothing that anybody
reads, so if two processes sweep at once, only the rate doubles. Every process reads the record when
its link comes up, and after each clear.
"""

import logging
import random
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from twotier.clock import SECOND, Clock
from twotier.core.flow.background import Background
from twotier.core.flow.batch import run_batch
from twotier.core.flow.drive import drive
from twotier.core.namespace.counters import Counters
from twotier.core.namespace.deployment import servers
from twotier.core.namespace.generation_names import has_form
from twotier.core.namespace.generation_records import name_in, record_of
from twotier.core.namespace.generations import Generations
from twotier.errors import RemoteError, RemoteTimeout, RemoteUnavailable
from twotier.options import Options
from twotier.remote.commands.base import Fetched, FetchMany
from twotier.remote.commands.conditional import IfEqual, Removal
from twotier.remote.commands.streams import RenewDrainLock, TakeDrainLock
from twotier.remote.commands.sweep import (
    AddNames,
    FindDenied,
    KeepNames,
    ReadRecord,
    Record,
    RemoveEach,
    RemoveEnded,
    Scan,
    Scanned,
    needed,
)
from twotier.remote.deploy.factory import Topology
from twotier.remote.execute.executor import AnyExecutor
from twotier.worker import Worker

PER_STEP: Final = 1000
"""Keys of the server that are scanned in one step."""
PAUSE: Final = 0.1
"""Seconds between two steps."""
BATCH: Final = 256
"""Keys that are removed in one round trip."""
LEASE: Final = 30.0
"""Life of the sweep's lock (s), after which another process takes over from one that was killed."""
GRACE: Final = 2.0
"""How long a name must have ended before its keys are removed, as a multiple of `max_staleness`."""
LOOK: Final = 1.0
"""Most seconds between two checks for names that have ended for long enough, and until the first check."""
AWAY: Final = 1.0
"""Seconds until the next attempt after the server was unavailable."""
REFUSED: Final = 10.0
"""Seconds until the next attempt after the server refused a command."""
_RENEWED: Final = 3
"""The sweep's lock is renewed when one part in so many of its life is over."""

_log = logging.getLogger("twotier")


class Namespace(Protocol):
    """The parts of its namespace that the sweep needs."""

    @property
    def options(self) -> Options:
        """Its options."""

    @property
    def generations(self) -> Generations:
        """Its generations, as this process knows them."""

    @property
    def topology(self) -> Topology:
        """The servers that have its keys."""

    @property
    def executor(self) -> AnyExecutor:
        """Runs commands on all of its servers."""

    @property
    def background(self) -> Background:
        """Runs flows in the background."""

    @property
    def counters(self) -> Counters:
        """Counts the removed keys."""

    @property
    def clock(self) -> Clock:
        """The source of time."""

    @property
    def label(self) -> str:
        """The server's name in logs."""

    @property
    def closed(self) -> bool:
        """Whether it is closed."""


Names = Mapping[int, frozenset[bytes]]
"""Names of generations, by group."""


class Sweep:
    """The sweep of one namespace in one process: a worker, whose thread lives only while names have ended."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._worker = Worker(self._step, "twotier-sweep")
        self._token = secrets.token_bytes(16)
        self._grace = round(GRACE * namespace.options.max_staleness * SECOND)
        self._lease = namespace.generations.stem + b"sweep!lease"
        self._renew_at = 0.0
        """When to renew the sweep's lock (`time.monotonic`); 0: this process doesn't have it."""
        self._under_way = False
        self._anew = False
        self._permitted: bool | None = None
        """Whether the server permits our user to sweep; None: unknown."""
        self._ended_at: dict[tuple[int, bytes], int] = {}
        """When each name of a group was first seen to have ended (ns)."""
        self._swept: dict[int, frozenset[bytes]] = {}
        """Names that were swept, and are still in the record."""
        self._look_through: _LookThrough | None = None

    def wake(self, *, anew: bool = False) -> None:
        """Start sweeping ended generations; begin `anew` if the server may be another. Raises nothing."""
        if self._permitted is not False:
            self._anew = self._anew or anew
            self._worker.start()

    def restart(self) -> None:
        """Let a sweep that is under way begin anew: the server may be another."""
        self._anew = True

    def close(self) -> None:
        """Stop, and wait for the thread to end."""
        self._worker.close(2 * self._namespace.options.timeout)

    def _step(self, woken: bool) -> float | None:  # noqa: ARG002 - only `close` wakes it
        namespace = self._namespace
        if namespace.closed or self._permitted is False:
            return None
        if not self._under_way:
            self._under_way = True
            return LOOK * random.random()  # noqa: S311 - spreads load, guards nothing
        if self._anew:
            self._anew, self._look_through = False, None
        try:
            return self._begin() if self._look_through is None else self._go_on(self._look_through)
        except (RemoteTimeout, RemoteUnavailable):
            self._look_through = None
            return AWAY
        except RemoteError:  # the executor has logged it
            self._look_through = None
            return REFUSED
        except BaseException:
            self._look_through = None
            if namespace.closed:
                return None
            raise

    # Beginning

    def _begin(self) -> float | None:
        """Find names that have ended, and begin to scan the keys once they have ended for long enough."""
        servers = self._servers()
        if not servers:
            return AWAY
        if self._permitted is None and not self._may_sweep(servers[0]):
            return None
        self._forget_swept()
        ended = self._find_ended()
        self._ended_at = {each: at for each, at in self._ended_at.items() if each[1] in ended.get(each[0], ())}
        if not ended:
            self._release()
            self._under_way = False
            return None
        now = self._namespace.clock.now()
        for group, names in ended.items():
            for name in names:
                self._ended_at.setdefault((group, name), now)
        wait = (min(self._ended_at.values()) + self._grace - now) / SECOND
        if wait > 0:
            return min(wait, LOOK)
        if not self._hold():
            return LEASE * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
        ripe: dict[int, set[bytes]] = {}
        for (group, name), at in self._ended_at.items():
            if now >= at + self._grace:
                ripe.setdefault(group, set()).add(name)
        self._look_through = _LookThrough({group: frozenset(names) for group, names in ripe.items()}, servers)
        return 0.0

    def _may_sweep(self, server: AnyExecutor) -> bool:
        """Return True if the server permits our user to sweep; log once if it doesn't."""
        namespace = self._namespace
        name = namespace.options.namespace
        denied: str = server.run(FindDenied(name, needed(name)))
        if denied:
            message = "entries without a ttl that clear() leaves in namespace %s on %s aren't removed: %s"
            _log.warning(message, name, namespace.label, denied)
        self._permitted = not denied
        return self._permitted

    def _find_ended(self) -> Names:
        """Return recorded names that aren't in force; record names in force that are missing."""
        generations = self._namespace.generations
        reads = [ReadRecord(record_of(key), key) for key in generations.keys]
        faulty: list[KeepNames] = []
        missing: list[AddNames] = []
        ended: dict[int, frozenset[bytes]] = {}
        for group, found in enumerate(self._run(reads)):
            record: Record = found
            key = record_of(generations.keys[group])
            if not record.is_sound:
                faulty.append(KeepNames(key, generations.is_ours))
            stands = record.generation
            if stands is None or not generations.is_ours(stands):
                continue
            if stands not in record.names:
                missing.append(AddNames(key, (stands,)))
            names = frozenset(name for name in record.names if name != stands and generations.is_ours(name))
            if names := names - self._swept.get(group, frozenset()):
                ended[group] = names
        self._run(faulty)
        self._run(missing)
        return ended

    def _forget_swept(self) -> None:
        """Drop from the records the names that were swept."""
        generations = self._namespace.generations
        swept = list(self._swept.items())
        drops = [KeepNames(record_of(generations.keys[group]), _Without(names)) for group, names in swept]
        for (group, _), done in zip(swept, self._run(drops), strict=True):
            if done:
                del self._swept[group]

    # Going on

    def _go_on(self, look: "_LookThrough") -> float:
        """Take one step of the scan of the keys."""
        if not self._hold():
            self._look_through = None
            return LEASE / 2
        namespace = self._namespace
        scanned: Scanned = look.servers[0].run(Scan(look.cursor, namespace.generations.stem, PER_STEP))
        for batch in self._batches(look, scanned.keys):
            removed = self._remove(look, batch)
            if namespace.closed or removed is None:
                self._look_through = None
                return PAUSE
            namespace.counters.swept += removed
        look.cursor = scanned.cursor
        if look.cursor == b"0":
            look.servers.pop(0)
            if not look.servers:
                self._finish(look)
        return PAUSE

    def _batches(self, look: "_LookThrough", keys: list[bytes]) -> Iterator[list[tuple[int, bytes]]]:
        """Yield batches of the `keys` that are to be removed, with their groups."""
        generations = self._namespace.generations
        batch: list[tuple[int, bytes]] = []
        for key in keys:
            name = name_in(key, generations.stem)
            if name is None or name not in look.all_names:
                continue
            group = generations.group_at(key)
            if name in look.names.get(group, ()):
                batch.append((group, key))
            if len(batch) == BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    def _remove(self, look: "_LookThrough", batch: list[tuple[int, bytes]]) -> int | None:
        """Remove keys; return how many existed, or None, removing nothing, if their generation may be in force."""
        namespace, server = self._namespace, look.servers[0]
        keys = [key for _, key in batch]
        if not namespace.topology.slotted:
            removed: int | None = server.run(RemoveEnded(namespace.generations.keys[0], look.names[0], keys))
            return removed
        groups = sorted({group for group, _ in batch})
        standing: list[Fetched] = namespace.executor.run(
            FetchMany([namespace.generations.keys[group] for group in groups])
        )
        for group, name in zip(groups, standing, strict=True):
            if name.data is None or name.data in look.names[group]:
                return None
        count: int = server.run(RemoveEach([(key,) for key in keys]))
        return count

    def _finish(self, look: "_LookThrough") -> None:
        """Mark the names as swept, unless keys may have moved to another server meanwhile."""
        self._look_through = None
        if len(look.servers_at_first) == len(now := self._servers()) and all(
            one is other for one, other in zip(look.servers_at_first, now, strict=True)
        ):
            for group, names in look.names.items():
                self._swept[group] = self._swept.get(group, frozenset()) | names

    # The server

    def _servers(self) -> list[AnyExecutor]:
        return servers(self._namespace.topology, self._namespace.executor)

    def _run(self, commands: Sequence[Any]) -> list[Any]:
        """Run commands in one batch; raise the first RemoteError of a command."""
        namespace = self._namespace
        outcomes = drive(run_batch(commands), namespace.executor, namespace.background)
        for outcome in outcomes:
            if isinstance(outcome, RemoteError):
                raise outcome
        return outcomes

    def _hold(self) -> bool:
        """Take or renew the sweep's lock; return False if another process has it."""
        asked = time.monotonic()
        if asked < self._renew_at:
            return True
        life = round(LEASE * 1000)
        run = self._namespace.executor.run
        held: bool = run(RenewDrainLock(self._lease, self._token, life)) or run(
            TakeDrainLock(self._lease, self._token, life)
        )
        self._renew_at = asked + LEASE / _RENEWED if held else 0.0
        return held

    def _release(self) -> None:
        """Release the sweep's lock if this process has it."""
        if self._renew_at:
            self._renew_at = 0.0
            self._namespace.executor.run(IfEqual(self._lease, self._token, Removal((self._lease,))))


class _LookThrough:
    """One scan of all keys: its names, its servers, and its progress."""

    __slots__ = ("all_names", "cursor", "names", "servers", "servers_at_first")

    def __init__(self, names: Names, servers: list[AnyExecutor]) -> None:
        self.names = names
        self.all_names: frozenset[bytes] = frozenset().union(*names.values())
        self.servers_at_first = list(servers)
        self.servers = servers
        """The servers that are left; the first is being scanned."""
        self.cursor = b"0"


class _Without:
    """Returns True for names that stay in a record: those of the right length that weren't swept."""

    __slots__ = ("_swept",)

    def __init__(self, swept: frozenset[bytes]) -> None:
        self._swept = swept

    def __call__(self, name: bytes) -> bool:
        return name not in self._swept and has_form(name)
