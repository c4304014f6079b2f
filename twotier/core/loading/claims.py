"""Claims: load and write-through locks that this process has, or may have; none with an uncertain outcome is forgotten.

A call (a load, or a write-through) claims locks before it takes them, and drops a claim once the
server has said that the call doesn't hold the lock. Claims that are left when the call ends are
abandoned: the server may have granted the lock, or may grant it when a delayed request arrives, and
the lock would block every load of its key until it expires. The process therefore remembers the
claim, and recovery releases the lock: at once, and again after growing pauses, since a delayed
request may arrive after the first attempt. Until then this process treats its own abandoned lock as
free.

Abandoned locks are bounded by `MOST`, separately for calls for one key and for bulk calls (the oldest
are forgotten: they expire by themselves), and by twice the life of a lock. Costs: about 300 bytes a
call, and 100 a lock.
"""

from collections.abc import Callable, Iterable
from typing import Final

from twotier.clock import SECOND, Clock
from twotier.core.flow.blocking import running_loop

MOST: Final = 10_000
"""Abandoned locks that are remembered."""
LOOKS: Final = 6
"""How often recovery tries to release a lock that isn't there, before it leaves the lock to the key's next load."""
FIRST_PAUSE: Final = SECOND // 20
"""Pause (ns) between the first and the second of these attempts; doubled from one to the next."""


class Claim:
    """The locks that one call has, or may have, under one token. End the claim with `close`, whatever happens."""

    __slots__ = ("_claims", "expires", "leases", "looks", "loop", "next_look", "token")

    def __init__(self, claims: "Claims", token: bytes) -> None:
        self._claims = claims
        self.loop = running_loop()
        """The event loop of the task that makes the call, if a task does."""
        self.token = token
        self.leases: dict[bytes, None] = {}
        """The names of the locks."""
        self.expires = self.next_look = self.looks = 0

    def add(self, leases: Iterable[bytes]) -> None:
        """Claim locks that are about to be requested."""
        self._claims.under_way[self.token] = self
        self.leases.update(dict.fromkeys(leases))

    def drop(self, leases: Iterable[bytes]) -> None:
        """Drop the claims on locks that the call doesn't hold, or no longer holds, as the server has said."""
        for lease in leases:
            self.leases.pop(lease, None)

    def close(self) -> None:
        """End the call, and abandon its remaining claims; another call does nothing."""
        self._claims.under_way.pop(self.token, None)
        if self.leases:
            self._claims.abandon(self)


class Claims:
    """The abandoned claims of one process in one namespace. Threads may share it."""

    __slots__ = ("_abandoned", "_clock", "_life", "_most", "_when_abandoned", "under_way")

    def __init__(self, clock: Clock, lease: int, when_abandoned: Callable[[], object], most: int = MOST) -> None:
        self._most = most
        self._clock = clock
        self._when_abandoned = when_abandoned
        self._life = 2 * lease
        self._abandoned: dict[bytes, Claim] = {}
        self.under_way: dict[bytes, Claim] = {}
        """Claims of calls under way, by token."""

    def __bool__(self) -> bool:
        """Return True if recovery has locks to release, now or soon."""
        return any(claim.looks for claim in list(self._abandoned.values()))

    def abandon(self, claim: Claim) -> None:
        """Remember a claim whose call has ended."""
        if self._abandoned.get(claim.token) is claim:
            return
        now = self._clock.now()
        claim.expires, claim.next_look, claim.looks = now + self._life, now, LOOKS
        self._abandoned[claim.token] = claim
        while len(self._abandoned) > self._most:
            self._abandoned.pop(next(iter(list(self._abandoned)), b""), None)
        if len(claim.leases) > 1:
            self._forget_excess()
        self._when_abandoned()

    def _forget_excess(self) -> None:
        """Forget the oldest locks beyond the bound."""
        claims = list(self._abandoned.values())
        excess = sum(len(claim.leases) for claim in claims) - self._most
        for claim in claims:
            if excess <= 0:
                return
            oldest = list(claim.leases)[:excess]
            excess -= len(oldest)
            claim.drop(oldest)
            if not claim.leases:
                self._abandoned.pop(claim.token, None)

    def is_abandoned(self, lease: bytes, holder: bytes | None) -> bool:
        """Return True if `holder`, the token found under `lease`, is of a claim that this process has abandoned."""
        if holder is None or (claim := self._abandoned.get(holder)) is None:
            return False
        return lease in claim.leases

    def settled(self, lease: bytes, token: bytes) -> None:
        """Forget a lock that was seen on the server and is now gone."""
        claim = self._abandoned.get(token)
        if claim is not None:
            claim.drop((lease,))
            if not claim.leases:
                self._abandoned.pop(token, None)

    def due(self) -> list[Claim]:
        """Return the claims whose locks are due to be released; forget claims whose locks must have expired."""
        now = self._clock.now()
        due = []
        for claim in list(self._abandoned.values()):
            if now >= claim.expires:
                self._abandoned.pop(claim.token, None)
            elif claim.looks and now >= claim.next_look:
                due.append(claim)
        return due

    def looked(self, claim: Claim) -> None:
        """Note an attempt to release the locks of `claim`: locks that weren't found may still be granted."""
        claim.looks -= 1
        claim.next_look = self._clock.now() + (FIRST_PAUSE << (LOOKS - claim.looks - 1))
