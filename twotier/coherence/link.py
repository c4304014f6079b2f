"""The link's state machine, without I/O: bytes and time in; bytes and events out. DESIGN steps 5 to 7.

One connection carries the channels of many subscribers. The life of a connection:

    DOWN --connected()--> ROLE asked --master--> SUBSCRIBE, one command a channel --confirmed--> exchanges --> DOWN

An *exchange* proves that the link receives every message. On RESP3 it reads ROLE and the generation of each
subscriber; on RESP2, where a subscribed connection may not read those, it sends PING with a nonce. A
connection is first in, first out: when the reply arrives, every message published before the request has
arrived, too. Therefore

- a lease runs from the time of the *request*, never of the reply (`Renewed.lease_until`);
- a reply belongs to the oldest request without one, as the server replies in order (`_awaited`);
- a reply renews only those subscribers that were confirmed when the request was made.

A subscriber is confirmed with the first exchange after its channel's confirmation, so `Confirmed` always
comes before `Renewed`. A late reply, a server that is no master, and any input that isn't understood end
the connection: every confirmed subscriber is lost at the same instant. An error that concerns one
subscriber (no permission for its channel, a generation key of another type) ends the lease of that
subscriber alone; a refused subscription is tried again a second later.

With `tracking` a channel is a prefix of keys, and the server reports the changed keys (CLIENT TRACKING,
broadcast mode). The server refuses a prefix that it tracks already, and can't stop tracking one: hence
`_tracked`. It sends the changes of one round of its event loop at the round's end, possibly after a reply.
So generations are read once the reply to ROLE has arrived, in a later round; the replies with the
generations renew the leases, which run from the time of the request for ROLE.

Within one chunk messages come before other events: an invalidation may be applied early, never late.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Literal

from twotier.clock import NEVER, SECOND, Clock
from twotier.coherence.events import Confirmed, Event, Lost, Received, Refused, Renewed
from twotier.coherence.link_types import Attached, Channel, Command, PendingReply
from twotier.coherence.subscriber import EVERYTHING, NOT_ASKED, NotAsked, Subscriber
from twotier.remote.io.errors import shown
from twotier.replies import Reader
from twotier.resp import ErrorReply, ProtocolError, Push, pack

State = Literal["down", "sync", "live"]

RESP2: Final = 2


class _BrokenError(Exception):
    """The connection proves nothing any more; the message states the reason."""


class Link:
    """The state machine of one listener; see the head of this file. Only the listener's thread may use it.

    Times are ns on `clock`; `max_staleness` is in seconds. `vouched_at` returns the latest instant at which
    the server was known to be the right one: no lease runs from a later instant, and the connection ends
    when that instant is `max_staleness` ago.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        max_staleness: float,
        protocol: Literal[2, 3] = 3,
        tracking: bool = False,
        vouched_at: Callable[[], int] = lambda: NEVER,
    ) -> None:
        self._clock = clock
        self._vouched_at = vouched_at
        self._protocol: Final = protocol
        self._tracking: Final = tracking
        self._staleness: Final = round(max_staleness * SECOND)
        self._interval: Final = self._staleness * 2 // 5
        self._patience: Final = min(SECOND, self._staleness // 2)
        self._members: dict[Subscriber, Attached] = {}
        self._channels: dict[bytes, Channel] = {}
        self._reader = Reader()
        self._awaited: deque[PendingReply] = deque()
        self._outgoing = bytearray()
        self._tracked: set[bytes] = set()
        """Prefixes that the server tracks for this connection."""
        self._nonce = 0
        self._next_exchange = 0
        self._checked = False
        """Whether the server has reported that it is a master."""
        self.up = False
        """Whether there is a connection."""
        self.reason = "not connected yet"
        """Reason why there is no connection."""

    # Subscribers

    def attach(self, subscriber: Subscriber) -> None:
        """Begin to serve `subscriber`, with or without a connection."""
        if subscriber in self._members:
            return
        member = self._members[subscriber] = Attached(subscriber)
        channel = self._channels.setdefault(subscriber.channel, Channel())
        channel.members.append(member)
        if channel.subscribed:
            self._next_exchange = self._clock.now()
        elif self._checked and not channel.asked:
            self._subscribe(subscriber.channel, channel)

    def detach(self, subscriber: Subscriber) -> None:
        """Stop serving `subscriber`, without another event; the last subscriber of a channel ends its subscription."""
        member = self._members.pop(subscriber, None)
        if member is None:
            return
        name = subscriber.channel
        channel = self._channels[name]
        channel.members.remove(member)
        if not channel.members:
            del self._channels[name]
            if (channel.asked or channel.subscribed) and not self._tracking:
                self._ask(b"UNSUBSCRIBE", name)

    def subscribers(self) -> list[Subscriber]:
        """Return the attached subscribers."""
        return list(self._members)

    def distrust(self, subscriber: Subscriber, reason: str) -> list[Event]:
        """End the lease of `subscriber` alone, as it may miss messages; the next exchange confirms it anew."""
        member = self._members.get(subscriber)
        return [] if member is None else self._lose(member, reason)

    def state(self, subscriber: Subscriber) -> State:
        """Return the state of `subscriber`: "live" within a lease, "sync" while connected, "down" otherwise."""
        member = self._members.get(subscriber)
        if not self.up or member is None:
            return "down"
        return "live" if self._clock.now() < member.lease_until else "sync"

    # The connection

    def connected(self) -> None:
        """Begin on a new connection, whose handshake is done."""
        self._reader = Reader()
        self.up = True
        self._ask(b"ROLE")

    def receive(self, data: bytes) -> list[Event]:
        """Process `data` from the server; an empty one means that the server closed the connection."""
        if not self.up:
            return []
        if not data:
            return self.disconnect("the server closed the connection")
        payloads: dict[bytes, list[bytes]] = {}
        events: list[Event] = []
        try:
            for reply in self._reader.feed(data):
                if not self._is_push(reply):
                    events += self._answered(reply)
                    continue
                match reply:
                    case [b"message", bytes(name), bytes(payload)]:
                        payloads.setdefault(name, []).append(payload)
                    case [b"invalidate", list() | None as keys] if self._tracking:
                        self._sort(keys, payloads)
                    case _:
                        events += self._pushed(reply)
        except ProtocolError as error:
            return self.disconnect(f"protocol error: {error}")
        except _BrokenError as error:
            return self.disconnect(str(error))
        messages: list[Event] = [
            Received(member.subscriber, together)
            for name, together in payloads.items()
            if name in self._channels
            for member in self._channels[name].members
        ]
        return messages + events

    def tick(self) -> list[Event]:
        """Do the work that is due; call this after `receive`, `attach`, and at `wake_at`."""
        now = self._clock.now()
        if self.up and self._vouched_at() <= now - self._staleness:
            return self.disconnect("nobody vouches for the server any more")
        if self._awaited and now >= self._awaited[0].asked_at + self._patience:
            command = self._awaited[0].command.decode()
            return self.disconnect(f"no answer to {command} within {self._patience / SECOND:g} s")
        return self._exchange(now) if self._checked and now >= self._next_exchange else []

    def disconnect(self, reason: str) -> list[Event]:
        """End the connection: every confirmed subscriber is lost."""
        if not self.up:
            return []
        self.up = self._checked = False
        self.reason = reason
        self._awaited.clear()
        self._tracked.clear()
        self._outgoing.clear()
        for channel in self._channels.values():
            channel.asked = channel.subscribed = False
        return [event for member in self._members.values() for event in self._lose(member, reason)]

    def outgoing(self) -> bytes:
        """Return the bytes to send, and forget them."""
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data

    def wake_at(self) -> int | None:
        """Return the instant (ns) of the next work for `tick`; None while there is no connection."""
        if not self.up:
            return None
        instants = [self._next_exchange] if self._checked else []
        if self._awaited:
            instants.append(self._awaited[0].asked_at + self._patience)
        return min(instants)

    # Questions

    def _ask(
        self,
        command: Command,
        name: bytes = b"",
        members: list[Attached] | None = None,
        channel: Channel | None = None,
        asked_at: int = 0,
    ) -> None:
        words = (b"CLIENT", b"TRACKING", b"ON", b"BCAST", b"PREFIX") if command == b"TRACKING" else (command,)
        self._outgoing += pack(*words, name) if name else pack(*words)
        self._awaited.append(PendingReply(command, name, asked_at or self._clock.now(), members or [], channel))

    def _subscribe(self, name: bytes, channel: Channel) -> None:
        channel.asked = True
        if not self._tracking:
            self._ask(b"SUBSCRIBE", name, channel=channel)
        elif name in self._tracked:
            self._subscribed(channel)
        elif not any(question.command == b"TRACKING" and question.name == name for question in self._awaited):
            self._ask(b"TRACKING", name)

    def _subscribed(self, channel: Channel) -> None:
        channel.asked, channel.subscribed, self._next_exchange = False, True, self._clock.now()

    def _exchange(self, now: int) -> list[Event]:
        """Begin an exchange for all subscribers whose channel is confirmed, and try refused subscriptions again."""
        self._next_exchange = now + self._interval
        events: list[Event] = []
        everyone: list[Attached] = []
        for name, channel in self._channels.items():
            if not channel.subscribed:
                if not channel.asked and now >= channel.retry_at:
                    self._subscribe(name, channel)
                continue
            for member in channel.members:
                if member.confirmed_at is None:
                    member.confirmed_at = now
                    events.append(Confirmed(member.subscriber))
                everyone.append(member)
        if self._protocol == RESP2:
            self._nonce += 1
            self._ask(b"PING", b"%d" % self._nonce, everyone)
        elif self._tracking:
            self._ask(b"ROLE", members=everyone)
        else:
            self._ask(b"ROLE")
            self._ask_generations(everyone, now)
        return events

    def _ask_generations(self, members: list[Attached], asked_at: int) -> None:
        by_key: dict[bytes, list[Attached]] = {}
        for member in members:
            by_key.setdefault(member.subscriber.generation_key, []).append(member)
        for key, together in by_key.items():
            self._ask(b"GET", key, together, asked_at=asked_at)

    # Answers

    def _is_push(self, reply: Any) -> bool:
        """Return True for a push. RESP2 has no type for pushes, but no reply after that to ROLE is an array."""
        return type(reply) is Push or (self._protocol == RESP2 and self._checked and type(reply) is list)

    def _pushed(self, push: list[Any]) -> list[Event]:
        """Process a push other than a message."""
        match push:
            case [b"pong", bytes(nonce)] if self._protocol == RESP2:
                return self._answered(nonce)
            case [b"subscribe" | b"unsubscribe" as kind, bytes(name), int()]:
                self._subscription(kind, name)
        return []

    def _sort(self, keys: list[bytes] | None, payloads: dict[bytes, list[bytes]]) -> None:
        """Add changed keys to `payloads`, by their prefix, which ends with the first colon."""
        if keys is None:
            for prefix in self._channels:
                payloads.setdefault(prefix, []).append(EVERYTHING)
        for key in keys or ():
            if type(key) is not bytes:
                raise _BrokenError("the server named an invalid key")
            payloads.setdefault(key[: key.find(b":") + 1], []).append(key)

    def _answered(self, reply: Any) -> list[Event]:
        """Process the reply to the oldest request."""
        refused = shown(reply) if isinstance(reply, ErrorReply) else ""
        if not self._awaited:
            raise _BrokenError(f"the server sent an answer without a question: {refused or type(reply).__name__}")
        question = self._awaited.popleft()
        match question.command:
            case b"ROLE":
                self._role(reply, refused)
                self._ask_generations(question.members, question.asked_at)
            case b"SUBSCRIBE" | b"UNSUBSCRIBE" | b"TRACKING" if refused:
                return self._not_subscribed(question, refused)
            case b"TRACKING" if reply == b"OK":
                self._tracked.add(question.name)
                if question.name in self._channels:
                    self._subscribed(self._channels[question.name])
            case b"GET" if refused:
                reason = f"the generation can't be read: {refused}"
                return [event for member in self._current(question) for event in self._lose(member, reason)]
            case b"GET" if reply is None or isinstance(reply, bytes):
                return self._renew(question, reply)
            case b"PING" if reply == question.name:
                return self._renew(question, NOT_ASKED)
            case _:
                command = question.command.decode()
                raise _BrokenError(f"{command} was answered with {refused or type(reply).__name__}")
        return []

    def _role(self, reply: Any, refused: str) -> None:
        """Go on if the server is a master; the first time, subscribe."""
        match reply:
            case [b"master", *_]:
                pass
            case [b"slave", *_]:
                raise _BrokenError("the server is no master: its role is slave")
            case [b"sentinel", *_]:
                raise _BrokenError("the server is a sentinel: write redis+sentinel://host:port/service")
            case _:
                raise _BrokenError(f"ROLE was answered with {refused or type(reply).__name__}")
        if not self._checked:
            self._checked = True
            self._next_exchange = self._clock.now() + self._interval
            for name, channel in self._channels.items():
                self._subscribe(name, channel)

    def _subscription(self, kind: bytes, name: bytes) -> None:
        """Process the confirmation that a subscription has begun or ended."""
        command = kind.upper()
        question = next((each for each in self._awaited if each.command == command and each.name == name), None)
        if question is not None:
            self._awaited.remove(question)
        channel = self._channels.get(name)
        if channel is None:
            return
        if question is None:
            if command == b"UNSUBSCRIBE":
                raise _BrokenError("the server ended a subscription")
        elif question.channel is channel:
            self._subscribed(channel)

    def _not_subscribed(self, question: PendingReply, refused: str) -> list[Event]:
        """Process the refusal of a subscription; an exchange at least a second later tries again."""
        channel = self._channels.get(question.name)
        if channel is None or not (self._tracking or channel is question.channel):
            return []
        channel.asked = False
        channel.retry_at = question.asked_at + SECOND
        return [Refused(member.subscriber, f"the subscription was refused: {refused}") for member in channel.members]

    def _renew(self, question: PendingReply, generation: bytes | NotAsked | None) -> list[Event]:
        """Extend the leases of the subscribers that `question` was asked for."""
        lease_until = min(question.asked_at, self._vouched_at()) + self._staleness
        events: list[Event] = []
        for member in self._current(question):
            member.lease_until = lease_until
            events.append(Renewed(member.subscriber, lease_until, generation))
        return events

    def _current(self, question: PendingReply) -> list[Attached]:
        """Return the subscribers of `question` that are still attached and haven't been lost since."""
        return [
            member
            for member in question.members
            if self._members.get(member.subscriber) is member
            and member.confirmed_at is not None
            and member.confirmed_at <= question.asked_at
        ]

    def _lose(self, member: Attached, reason: str) -> list[Event]:
        confirmed, member.confirmed_at, member.lease_until = member.confirmed_at, None, 0
        return [] if confirmed is None else [Lost(member.subscriber, reason)]
