"""The namespace's generation: a random name in every key on the server, so that `clear` is one write.

A new generation makes every older key unreachable at once; those leave the server by their expiry. A process caches the
generation for one epoch: whatever could have changed it unseen (link loss, reconnect, a clear) bumps the epoch. While
the link isn't live it is asked for before every command. Without a link (`coherence="none"`) it is taken to hold for as
long as the bound on staleness says. It lives under a key of its own without expiry; when that key
is gone (FLUSHALL, a server that came back empty), whoever needs it next makes a new one, and live processes notice the
difference at their next lease exchange.
"""

import secrets
from collections.abc import Callable, Generator, Iterable
from typing import Any, Final, TypeVar

from twotier.clock import NEVER, Clock
from twotier.core.keys import as_bytes
from twotier.core.lifetimes import after
from twotier.errors import RemoteError
from twotier.local import Store
from twotier.remote.cluster.slots import slot_of, tag_of
from twotier.remote.commands import Generation, Write
from twotier.remote.fenced import Done, Fenced

NAME_BYTES = 6
ATTEMPTS: Final = 8
"""How often a write is done again when one clear after the other overtakes it."""

R = TypeVar("R")


class Generations:
    """What this process knows of its namespace's generation."""

    __slots__ = ("_clock", "_known", "_lasts", "_slotted", "_store", "key", "stem")

    def __init__(self, namespace: str, store: Store, clock: Clock, lasts: int, *, slotted: bool = False) -> None:
        self._slotted = slotted
        """Whether a lease is to share its key's slot, in a cluster."""
        self.stem = namespace.encode() + b":"
        """What every key of the namespace begins with."""
        self.key = self.stem + b"gen"
        """The server key that holds the generation."""
        self._store = store
        self._clock = clock
        self._lasts = lasts
        """How long an answer of the server holds (ns); NEVER where the link would tell of a change."""
        self._known: tuple[int, bytes, int] | None = None  # epoch, prefix of every key, instant until which it holds

    def prefix(self) -> Generator[Any, Any, bytes]:
        """Return the prefix of the namespace's keys, asking the server when it isn't known for certain."""
        known = self._known
        if known is not None and known[0] == self._store.epoch and self._store.live and self._holds(known[2]):
            return known[1]
        epoch, now = self._store.epoch, self._clock.now()
        name: bytes = yield Generation(self.key, new_name())
        prefix = self.prefix_of(name)
        known = self._known  # what another caller was told meanwhile
        if known is not None and known[0] == epoch and known[1] != prefix:
            # One of two answers is out of date, and nobody knows which; what was filled under it is in doubt.
            self._store.bump_epoch()
            self._known = None
        elif known is None or known[0] <= epoch:
            self._known = (epoch, prefix, after(now, self._lasts))
        return prefix

    def write(self, make: Callable[[bytes], Write[R]]) -> Generator[Any, Any, R]:
        """Do the write that `make` makes for a prefix of keys; again, if that prefix was a dead generation's.

        Otherwise a write that begins after a clear elsewhere, and before its message, would be lost, while what was
        written under the new generation before it stays.
        """
        for _ in range(ATTEMPTS):
            prefix = yield from self.prefix()
            done: Done[R] = yield Fenced(make(prefix), self.key)
            if done.generation is not None and self.prefix_of(done.generation) == prefix:
                return done.result
            self._store.bump_epoch()
        raise RemoteError(f"the namespace was cleared {ATTEMPTS} times during one write")

    def prefix_to_read(self) -> Generator[Any, Any, bytes]:
        """Return the prefix as `prefix` does; in a cluster the last one known, if the node that has it is lost.

        So the other nodes' values go on being read. Nothing is installed meanwhile: no lease holds without that node.
        """
        try:
            return (yield from self.prefix())
        except RemoteError:
            if self._slotted and self._known is not None:
                return self._known[1]
            raise

    def place(self, key: str) -> Generator[Any, Any, bytes]:
        """Return the name of `key` on the server, to read it."""
        prefix = yield from self.prefix_to_read()
        return prefix + as_bytes(key)

    def contradicts(self, name: bytes | None) -> bool:
        """Tell whether the generation that a lease exchange found (None: the key is gone) is another than is known.

        It isn't taken over: it was read before the reply was handled, and a clear may have come in between.
        """
        known = self._known
        if known is None or known[0] != self._store.epoch:
            return False
        return name is None or known[1] != self.prefix_of(name)

    def _holds(self, until: int) -> bool:
        return until == NEVER or self._clock.now() < until

    def prefix_of(self, name: bytes) -> bytes:
        """Return the prefix that keys have under generation `name`."""
        return self.stem + name + b":"

    def lease(self, prefix: bytes, key: str) -> bytes:
        """Return the name of the lease on `key`, whose prefix is `prefix`; no key's own name begins like that."""
        name = as_bytes(key)
        return b"%b!%b%b" % (prefix[:-1], tag_of(slot_of(prefix + name)) if self._slotted else b"", name)

    def leases(self, prefix: bytes, keys: Iterable[str]) -> list[bytes]:
        """Return the names of the leases on `keys`."""
        return [self.lease(prefix, key) for key in keys]

    def key_in(self, place: bytes) -> str | None:
        """Return the key whose name on the server is `place`, in whatever generation; None for leases and the like."""
        generation, colon, key = place[len(self.stem) :].partition(b":")
        if not colon or b"!" in generation or b"#" in generation:
            return None
        try:
            return key.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return None  # nobody's who uses this namespace through twotier


def new_name() -> bytes:
    """Return a generation name that no other has had."""
    return secrets.token_urlsafe(NAME_BYTES).encode()
