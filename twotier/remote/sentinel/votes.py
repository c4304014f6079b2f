"""Election of the primary by the votes of its sentinels; without I/O.

A sentinel's *vote* is its answer to "where is the primary of this service?", and counts from the time of
the *question*: at that moment, or later, the sentinel named that place. A place is *named* when a majority
of all configured sentinels name it, in votes of the last `VALID` nanoseconds. So at most one side of a
partitioned network can name a primary. `agreed_at` is the latest known instant at which a majority still
named a place: staleness leases run from that instant.
"""

import contextlib
import operator
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from twotier.clock import SECOND
from twotier.remote.io.host_and_port import host_in, port_in
from twotier.replies import Reader
from twotier.resp import ErrorReply, ProtocolError, Push, is_key, pack

LONGEST: Final = 64 << 10
LARGEST: Final = 1 << 20
"""Most bytes of a string, and of an answer, from a sentinel."""
ELEMENTS: Final = 64 << 10
MOST_REPLICAS: Final = 256
"""Most replicas that are taken from a sentinel's answer."""
VALID: Final = 5 * SECOND
"""Time for which a vote counts (ns)."""


class Place(NamedTuple):
    """Address of a server."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Vote(NamedTuple):
    """A sentinel's answer (None: it names no primary), and the instant of the question."""

    place: Place | None
    asked_at: int


class Votes:
    """The latest vote of each of `count` sentinels.

    >>> votes = Votes(3)
    >>> votes.cast(0, Vote(Place("a", 1), 10)), votes.named(20), votes.agreed_at(Place("a", 1))
    (None, None, 0)
    >>> votes.cast(2, Vote(Place("a", 1), 15)), votes.named(20), votes.agreed_at(Place("a", 1))
    (None, Place(host='a', port=1), 10)
    """

    def __init__(self, count: int, same: Callable[[Place, Place], bool] = operator.eq) -> None:
        """Begin without votes. `same` returns True if two places are one server, which may be spelled differently."""
        self._latest: list[Vote | None] = [None] * count
        self._majority: Final = count // 2 + 1
        self._same = same

    def cast(self, sentinel: int, vote: Vote) -> None:
        """Record a vote in place of the same sentinel's last."""
        self._latest[sentinel] = vote

    def named(self, now: int) -> Place | None:
        """Return the place that a majority names, in its most frequent spelling; None if there is none."""
        places = self._valid(now)
        backed = [place for place in places if place and self._count(place, places) >= self._majority]
        return max(backed, key=places.count, default=None)

    def unopposed(self, now: int) -> Place | None:
        """Return the place that all sentinels with a vote name, however few they are; None if they differ."""
        places = self._valid(now)
        first = places[0] if places else None
        return first if first is not None and self._count(first, places) == len(places) else None

    def contested(self, place: Place, now: int) -> bool:
        """Return True if any vote names another place than `place`."""
        places = self._valid(now)
        return self._count(place, places) < len(places)

    def agreed_at(self, place: Place) -> int:
        """Return the latest instant (ns) at which a majority named `place`; 0 if none did."""
        votes = [vote for vote in self._latest if vote and vote.place and self._same(vote.place, place)]
        instants = sorted((vote.asked_at for vote in votes), reverse=True)
        return instants[self._majority - 1] if len(instants) >= self._majority else 0

    def spelled(self, now: int) -> list[Place]:
        """Return each spelling of a place in the votes, once."""
        return list(dict.fromkeys(place for place in self._valid(now) if place))

    def _count(self, place: Place, places: Sequence[Place | None]) -> int:
        return sum(other is not None and self._same(other, place) for other in places)

    def _valid(self, now: int) -> list[Place | None]:
        return [vote.place for vote in self._latest if vote and now - vote.asked_at <= VALID]


class Announcement(NamedTuple):
    """A sentinel's news since the last announcement."""

    votes: Sequence[Vote]
    replicas: Sequence[Place] | None
    """Replicas that can be read from; None without an answer about them."""
    switched: bool
    """Whether the sentinel announces a new primary."""


class NotASentinelError(ProtocolError):
    """The server that was named as a sentinel doesn't know the commands of sentinels."""


class SentinelView:
    """The protocol of one sentinel's conversation: bytes in, announcements out. ProtocolError ends it."""

    def __init__(self, service: str, *, hears: bool) -> None:
        """Begin on a fresh connection; `hears`: it speaks RESP3, so that it carries questions and a subscription."""
        self._service = service.encode()
        self._reader = Reader(longest=LONGEST, largest=LARGEST, elements=ELEMENTS)
        self._asked: list[tuple[bytes, int]] = []
        self._outgoing = pack(b"SUBSCRIBE", b"+switch-master") if hears else b""
        self._refusals = int(hears)
        """Number of errors that may still be replies to SUBSCRIBE, whose success is a push."""

    def ask(self, now: int, *, replicas: bool = False) -> None:
        """Ask for the primary, and with `replicas` for its replicas."""
        questions = (b"GET-MASTER-ADDR-BY-NAME", b"REPLICAS") if replicas else (b"GET-MASTER-ADDR-BY-NAME",)
        for question in questions:
            self._asked.append((question, now))
            self._outgoing += pack(b"SENTINEL", question, self._service)

    def asked_at(self) -> int | None:
        """Return the instant of the oldest question that has no answer yet."""
        return self._asked[0][1] if self._asked else None

    def outgoing(self) -> bytes:
        """Return the bytes to send, and forget them."""
        data, self._outgoing = self._outgoing, b""
        return data

    def receive(self, data: bytes) -> Announcement:
        """Process the bytes that have arrived."""
        votes: list[Vote] = []
        replicas: Sequence[Place] | None = None
        switched = False
        for reply in self._reader.feed(data):
            match reply:
                case Push():
                    match list(reply):
                        case [b"subscribe", *_]:
                            self._refusals = 0
                        case [b"message", _, bytes(text)] if text.split(b" ")[0] == self._service:
                            switched = True
                case ErrorReply() if self._refusals and "permission" in reply.text:
                    self._refusals = 0  # our user may not subscribe: the questions must do
                case ErrorReply() if self._asked and "unknown command" in reply.text.lower():
                    raise NotASentinelError(reply.text)
                case _ if not self._asked:
                    raise ProtocolError("a sentinel sent an answer without a question")
                case _:
                    question, asked_at = self._asked.pop(0)
                    if question == b"REPLICAS":
                        replicas = _readable(reply)
                    else:
                        votes.append(Vote(_place(reply), asked_at))
        return Announcement(votes, replicas, switched)


def _place(reply: Any) -> Place | None:
    """Return the place in an answer; None if the sentinel doesn't know the service, or the place isn't valid."""
    match reply:
        case [bytes(host), bytes(port)]:
            with contextlib.suppress(ValueError):
                return Place(host_in(host), port_in(port))
    return None


def _readable(reply: Any) -> Sequence[Place]:
    """Return the places of the replicas that aren't known to be down."""
    found = []
    for each in reply if isinstance(reply, list) else ():
        fields = _fields(each)
        place, flags = _place([fields.get(b"ip"), fields.get(b"port")]), fields.get(b"flags", b"")
        if place is not None and b"down" not in flags and b"disconnected" not in flags:
            found.append(place)
    return found[:MOST_REPLICAS]


def _fields(replica: Any) -> dict[bytes, bytes]:
    """Return the fields of a replica: a map on RESP3, else names and values in turn."""
    if isinstance(replica, list):
        replica = dict(zip(filter(is_key, replica[::2]), replica[1::2], strict=False))
    found = replica if isinstance(replica, dict) else {}
    return {name: value for name, value in found.items() if type(name) is type(value) is bytes}
