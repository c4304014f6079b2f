"""Settings that must agree in a fleet: each process stores its own on the server, and checks the others'.

Processes that share a namespace receive each other's invalidations only if they use one mode of
coherence and can verify each other's messages and values. Each process therefore stores the settings
that decide this, its *profile*, in one of `SLOTS` keys. All processes of a profile share a key, which
one of them renews when half of the key's life is over. A process that finds a profile contradicting
its own logs the contradiction and names it in `health()`; as both sides check, both see it.

A secret is shown by an id alone: 8 bytes of a BLAKE2b keyed with a key that is derived from the secret,
over the namespace. Costs: a read of `SLOTS` short keys every `max_staleness`, on a thread that all
caches of a process share, and a write each `LIFE` / 2 for a profile. Profiles aren't signed, as the
other side's signature could not be verified: an attacker that can write to the server can plant
some, at the cost that `contradicts_hearing` states.
"""

import logging
import random
import re
import struct
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

from twotier.clock import SECOND
from twotier.core.flow.drive import drive
from twotier.errors import RemoteError
from twotier.options import Options
from twotier.periodic import Periodic
from twotier.remote.commands.base import Fetched, FetchMany, Put

if TYPE_CHECKING:
    from twotier.core.namespace.namespace import TwoTierNamespace

SLOTS: Final = 8
"""Profiles that a namespace has room for; with more, some are at times unseen."""
LIFE: Final = 60_000
"""Milliseconds after which the profile of processes that have ended is forgotten."""
FIRST_LOOK: Final = SECOND
"""Delay after a process's first call until it stores its profile (ns)."""
MOST_SECRETS: Final = 16
"""Most secrets that a profile lists; a process with more is taken to accept any."""
LONGEST: Final = 512
"""Most bytes of a profile; longer data isn't one."""

_ANY: Final = b"*"
_NONE: Final = b"-"
_PROFILE: Final = re.compile(
    rb"1 (?P<mode>pubsub|tracking|none) (?P<signs>-|[0-9a-f]{16}) (?P<accepts>\*|[0-9a-f]{16}(?:,[0-9a-f]{16}){0,15})"
)


class Profile(NamedTuple):
    """The settings of a process that must agree with others'."""

    mode: str
    signs: bytes
    """The id of the secret that the process signs with; `-` if it has none."""
    accepts: frozenset[bytes]
    """The ids of all secrets of the process; `*` if it accepts any."""

    def verifies(self, other: "Profile") -> bool:
        """Return True if this process accepts the signatures of `other`."""
        return _ANY in self.accepts or other.signs in self.accepts

    def contradicts_hearing(self, other: "Profile") -> bool:
        """Return True if this process listens to pub/sub and thus doesn't hear of the writes of `other`."""
        return self.mode == "pubsub" and other.mode != "pubsub"

    def conflicts(self, other: "Profile") -> list[str]:
        """Return the contradictions between the two profiles, as sentences for people."""
        found = []
        if self.mode != other.mode and "pubsub" in (self.mode, other.mode):
            found.append(f"coherence={self.mode!r} here, and {other.mode!r} in another process of this namespace")
        if not self.verifies(other):
            theirs = "has no secret" if other.signs == _NONE else f"signs with secret {other.signs.decode()} (an id)"
            found.append(f"a process of this namespace {theirs}, which isn't accepted here")
        if not other.verifies(self):
            found.append("a process of this namespace doesn't accept the secret that this one signs with")
        return found


def profile(options: Options) -> bytes:
    """Return the profile of a process with `options`, as stored on the server.

    >>> profile(Options())
    b'1 pubsub - *'
    """
    ids = [_secret_id(secret, options.namespace) for secret in options.secrets]
    signs = ids[0] if ids else _NONE
    accepts = b",".join(ids) if 0 < len(ids) <= MOST_SECRETS else _ANY
    return b"1 %b %b %b" % (options.coherence.encode(), signs, accepts)


def read_profile(data: bytes) -> Profile | None:
    """Return the profile in `data`; None if `data` has none.

    >>> read_profile(b"1 tracking - *").mode
    'tracking'
    >>> read_profile(b"something else") is None
    True
    """
    found = _PROFILE.fullmatch(data) if len(data) <= LONGEST else None
    if found is None:
        return None
    return Profile(found["mode"].decode(), found["signs"], frozenset(found["accepts"].split(b",")))


def _secret_id(secret: bytes, namespace: str) -> bytes:
    name = namespace.encode()
    key = blake2b(secret, digest_size=32, person=b"twotier:fleet:id").digest()
    return blake2b(struct.pack(">I", len(name)) + name, key=key, digest_size=8).hexdigest().encode()


def profile_keys(stem: bytes) -> list[bytes]:
    """Return the names of the keys that hold profiles, where every key of the namespace begins with `stem`."""
    return [stem + b"fleet.%d" % slot for slot in range(SLOTS)]


class Profiles:
    """The check of one process against the settings of the others that share its namespace."""

    def __init__(self, namespace: "TwoTierNamespace") -> None:
        self._namespace = namespace
        self._data = profile(namespace.options)
        ours = read_profile(self._data)
        assert ours is not None  # noqa: S101 - made one line above
        self._ours: Final = ours
        self._keys = profile_keys(namespace.generations.stem)
        self._due: int | None = None
        self.conflicts: tuple[str, ...] = ()
        """Contradictions to this process's settings, as of the last check."""
        self.unheard = False
        """Whether a process may write whose writes the link doesn't report."""

    def watch(self) -> None:
        """Check from now on."""
        self._due = self._namespace.clock.now() + FIRST_LOOK
        fleets.watch(self)

    def close(self) -> None:
        """Stop checking."""
        fleets.forget(self)

    def visit(self) -> bool:
        """Check, and restore the copies of the generation's name, if it is time; return False once closed."""
        namespace = self._namespace
        if namespace.closed:
            return False
        now = namespace.clock.now()
        if self._due is not None and now >= self._due and namespace.breaker.state == "closed" and namespace.store.live:
            self._due = now + round(namespace.options.max_staleness * SECOND)
            try:
                self.look()
                drive(namespace.generations.keep_copies(), namespace.executor, namespace.background)
            except RemoteError:
                pass  # the breaker has counted it
            except Exception:
                if not namespace.closed:
                    raise
        return True

    def look(self) -> None:
        """Read the other profiles, and store our own; raise RemoteError if the server can't be asked."""
        executor = self._namespace.executor
        slots = executor.run(FetchMany(self._keys))
        self._take(slots)
        ours = [at for at, slot in enumerate(slots) if slot.data == self._data]
        if any(slots[at].pttl > LIFE // 2 for at in ours):
            return
        free = ours or [at for at, slot in enumerate(slots) if slot.data is None] or range(SLOTS)
        chosen = free[0] if ours else random.choice(free)  # noqa: S311 - any will do
        executor.run(Put(self._keys[chosen], self._data, LIFE, absent=False, publication=None))

    def _take(self, slots: list[Fetched]) -> None:
        """Compare the profiles in the slots, and log a contradiction that wasn't there before."""
        others = [read_profile(slot.data) for slot in slots if slot.data is not None]
        found = {each: None for other in others if other is not None for each in self._ours.conflicts(other)}
        self.unheard = any(other is not None and self._ours.contradicts_hearing(other) for other in others)
        before, self.conflicts = self.conflicts, tuple(found)
        if set(self.conflicts) - set(before):
            namespace = self._namespace
            message = "settings of processes that share namespace %s on %s contradict each other: %s"
            arguments = (namespace.options.namespace, namespace.label, "; ".join(self.conflicts))
            namespace.log.log(logging.ERROR, "conflict", message, *arguments)


fleets: Final = Periodic(Profiles.visit, 0.5, "twotier-fleet")
"""Checks the profiles for all caches of this process."""
