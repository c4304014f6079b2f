"""Comparison of places that sentinels spell differently: a host's name, and its address.

Each sentinel announces the spelling that it was configured with, so one may name `localhost:6379` and
another `127.0.0.1:6379`. Places are compared by the addresses of their hosts. Address literals need no
look-up: `::ffff:10.0.0.1` is `10.0.0.1`, and `::1` is `127.0.0.1`, as both are this machine. Names are
looked up only when spellings differ, each on a thread of its own, as a look-up has no deadline. No caller
waits for a look-up: until it succeeds, a place equals its own spelling alone.

A name that has several addresses of one family may be several servers, so it equals its own spelling alone, too. An
address is looked up again after `RENEWED`, and counts for `KEPT`.

Only the watch's thread may call `look_up`; any thread may call the others.
"""

import contextlib
import ipaddress
import queue
import socket
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from twotier.clock import SECOND, Clock
from twotier.remote.sentinel.votes import Place
from twotier.worker import start_thread

RENEWED: Final = 5 * SECOND
KEPT: Final = 15 * SECOND
"""Times after which a name is looked up again, and after which the old addresses no longer count (ns)."""
MOST_AT_ONCE: Final = 8
"""Most look-ups under way: one that never ends keeps its thread."""

Resolve = Callable[[str], Iterable[str]]


def addresses_of(host: str) -> set[str]:
    """Return the addresses of `host`, as the system looks them up; OSError."""
    return {str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}


@dataclass(frozen=True, slots=True)
class _Answer:
    """Outcome of a look-up."""

    at: int
    addresses: frozenset[str]
    why: str
    """Reason why there are no addresses to compare; empty if there are."""


class Spellings:
    """Compares places; `wake` is called, on another thread, when a look-up is over."""

    def __init__(self, clock: Clock, patience: int, wake: Callable[[], None], resolve: Resolve = addresses_of) -> None:
        """Begin without look-ups. `patience` is the time (ns) after which a look-up counts as failed."""
        self._clock = clock
        self._patience = patience
        self._wake = wake
        self._resolve = resolve
        self._answers: dict[str, _Answer] = {}
        self._under_way: dict[str, int] = {}
        """Instant at which each look-up began (ns)."""
        self._came: queue.SimpleQueue[tuple[str, frozenset[str], str]] = queue.SimpleQueue()

    def same(self, one: Place, other: Place) -> bool:
        """Return True if both places are known to be one server."""
        if one == other:
            return True
        return one.port == other.port and not self._addresses(one.host).isdisjoint(self._addresses(other.host))

    def look_up(self, places: Iterable[Place]) -> bool:
        """Look up the hosts of `places` if they differ; return True while a result may still come in time."""
        now = self._clock.now()
        self._take(now)
        hosts = {place.host for place in places}
        self._answers = {host: answer for host, answer in self._answers.items() if host in hosts}
        if len(hosts) == 1:
            return False
        for host in hosts:
            answer = self._answers.get(host)
            due = answer is None or now - answer.at >= RENEWED
            if _literal(host) is None and due and host not in self._under_way and len(self._under_way) < MOST_AT_ONCE:
                self._under_way[host] = now
                if start_thread(self._run, "twotier-resolve", host) is None:
                    self._came.put((host, frozenset(), "no thread can be started to look it up on"))
                    self._take(now)
        return any(
            host not in self._answers and now - self._under_way.get(host, now - self._patience) < self._patience
            for host in hosts
            if _literal(host) is None
        )

    def wake_at(self) -> int | None:
        """Return the instant at which the next look-up under way counts as failed (ns)."""
        ends = [began + self._patience for began in self._under_way.values()]
        now = self._clock.now()
        return min((end for end in ends if end > now), default=None)

    def advice(self, places: Iterable[Place]) -> str:
        """Return a text on how `places` differ, with advice; empty if all have one spelling."""
        distinct = list(dict.fromkeys(places))
        if len(distinct) <= 1:
            return ""
        hosts = dict.fromkeys(each.host for each in distinct)
        trouble = "; ".join(f"{host}: {why}" for host in hosts if (why := self._why(host)))
        return (
            f"they name {' and '.join(map(str, distinct))}" + (f" ({trouble})" if trouble else "") + "; if that is one "
            "server, set `sentinel resolve-hostnames yes` and `sentinel announce-hostnames yes` on all sentinels, or "
            "`no` on all, and name it alike in `sentinel monitor`"
        )

    def _why(self, host: str) -> str:
        if _literal(host) is not None:
            return ""
        answer = self._answers.get(host)
        return "its look-up hasn't ended" if answer is None else answer.why

    def _addresses(self, host: str) -> frozenset[str]:
        literal = _literal(host)
        if literal is not None:
            return frozenset((literal,))
        answer = self._answers.get(host)
        return answer.addresses if answer is not None and self._clock.now() - answer.at < KEPT else frozenset()

    def _take(self, now: int) -> None:
        """Record the outcomes of look-ups."""
        with contextlib.suppress(queue.Empty):
            while True:
                host, addresses, why = self._came.get_nowait()
                self._under_way.pop(host, None)
                self._answers = {**self._answers, host: _Answer(now, addresses, why)}

    def _run(self, host: str) -> None:
        """Look `host` up, on a thread of its own."""
        addresses: frozenset[str] = frozenset()
        why = ""
        try:
            found = {literal for each in self._resolve(host) if (literal := _literal(each)) is not None}
            if max(Counter(":" in each for each in found).values(), default=0) > 1:
                why = "it has several addresses"
            else:
                addresses = frozenset(found)
        except OSError as error:
            why = f"it can't be looked up: {error.strerror or type(error).__name__}"
        except UnicodeError:  # a label that is too long, say
            why = "it is no host name"
        self._came.put((host, addresses, why))
        self._wake()


def _literal(host: str) -> str | None:
    """Return the address that `host` spells, in one form; None for a name.

    >>> _literal("::ffff:10.0.0.1"), _literal("::1"), _literal("localhost")
    ('10.0.0.1', '127.0.0.1', None)
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    return "127.0.0.1" if str(address) == "::1" else str(address)
