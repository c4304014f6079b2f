"""The link's state machine, without I/O: bytes and time in; bytes and events out. DESIGN steps 5 to 7.

One connection carries the channels of many subscribers. Its life:

    DOWN --connected()--> ROLE asked --master--> SUBSCRIBE, one command a channel --confirmed--> exchanges --> DOWN

An *exchange* proves that the link hears everything: on RESP3, ROLE and the generation of each subscriber; on RESP2,
where a subscribed connection may not ask for those, PING with a nonce. A connection is first in, first out: when the
answer arrives, so has every message published before the question was asked. Therefore

- a lease runs from the time of *asking*, never of the answer (`Renewed.lease_until`);
- an answer belongs to the oldest question without one, as the server answers in order (`_awaited`);
- only a subscriber that was confirmed when the question was asked is renewed by the answer.

A subscriber is confirmed with the first exchange after its channel's confirmation, so `Confirmed` always comes before
`Renewed`. Questions that aren't answered in time, a server that is no master, and whatever isn't understood end the
connection: every confirmed subscriber is lost in the same instant. An error that concerns one subscriber (no permission
for its channel, a generation key of another type) costs that one its lease alone, and is tried again a second later.

With `tracking` a channel is a prefix of keys, and the server says which of them changed (CLIENT TRACKING, broadcast
mode). It refuses a prefix that it tracks already and can't end one: hence `_tracked`. What a round of its event loop
changed it sends at the round's end, maybe after an answer: so generations are asked for when ROLE has been answered,
in a later round, and it is their answers that renew, from the asking of ROLE on.

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
    """The connection proves nothing any more; the text says why."""


class Link:
    """The state machine of one listener; see the head of this file. Only the listener's thread may use it.

    Times are ns on `clock`; `max_staleness` is in seconds. `vouched_at` gives the latest instant at which the server
    was known to be the right one: no lease runs from later, and past `max_staleness` the connection ends.
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
        """The server has said that it is a master."""
        self.up = False
        """Whether there is a connection."""
        self.reason = "not connected yet"
        """Why there is none."""

    # Subscribers

    def attach(self, subscriber: Subscriber) -> None:
        """Begin to serve `subscriber`, up or down."""
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
        """Stop serving `subscriber`, without another event for it; the last one of a channel ends the subscription."""
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
        """Return who is attached."""
        return list(self._members)

    def distrust(self, subscriber: Subscriber, reason: str) -> list[Event]:
        """End the lease of `subscriber` alone, which may have missed something; the next exchange confirms it anew."""
        member = self._members.get(subscriber)
        return [] if member is None else self._lose(member, reason)

    def state(self, subscriber: Subscriber) -> State:
        """Return how `subscriber` fares: "live" inside of a lease, "sync" while connected, "down" otherwise."""
        member = self._members.get(subscriber)
        if not self.up or member is None:
            return "down"
        return "live" if self._clock.now() < member.lease_until else "sync"

    # The connection

    def connected(self) -> None:
        """Begin on a new connection, over which the handshake is done."""
        self._reader = Reader()
        self.up = True
        self._ask(b"ROLE")

    def receive(self, data: bytes) -> list[Event]:
        """Take what has arrived; nothing means that the server closed the connection."""
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
        """Do what is due; call it after `receive`, `attach`, and at `wake_at`."""
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
        """Take the bytes that are to be sent."""
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data

    def wake_at(self) -> int | None:
        """Return the instant (ns) at which `tick` has something to do; None while there is no connection."""
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
        """Ask for the proof that all confirmed subscribers have heard everything, and try again what was refused."""
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
        """Tell a push from an answer. RESP2 has no type for it, but answers no question after ROLE with an array."""
        return type(reply) is Push or (self._protocol == RESP2 and self._checked and type(reply) is list)

    def _pushed(self, push: list[Any]) -> list[Event]:
        """Take a push other than a message."""
        match push:
            case [b"pong", bytes(nonce)] if self._protocol == RESP2:
                return self._answered(nonce)
            case [b"subscribe" | b"unsubscribe" as kind, bytes(name), int()]:
                self._subscription(kind, name)
        return []

    def _sort(self, keys: list[bytes] | None, payloads: dict[bytes, list[bytes]]) -> None:
        """Add keys that were changed to what each prefix, which ends with the first colon, has received."""
        if keys is None:
            for prefix in self._channels:
                payloads.setdefault(prefix, []).append(EVERYTHING)
        for key in keys or ():
            if type(key) is not bytes:
                raise _BrokenError("the server named an invalid key")
            payloads.setdefault(key[: key.find(b":") + 1], []).append(key)

    def _answered(self, reply: Any) -> list[Event]:
        """Take the answer to the oldest question."""
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
        """Take the confirmation that a subscription has begun or ended."""
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
        """Take the refusal of a subscription: an exchange a second later tries it again."""
        channel = self._channels.get(question.name)
        if channel is None or not (self._tracking or channel is question.channel):
            return []
        channel.asked = False
        channel.retry_at = question.asked_at + SECOND
        return [Refused(member.subscriber, f"the subscription was refused: {refused}") for member in channel.members]

    def _renew(self, question: PendingReply, generation: bytes | NotAsked | None) -> list[Event]:
        """Extend the lease of those who asked `question`."""
        lease_until = min(question.asked_at, self._vouched_at()) + self._staleness
        events: list[Event] = []
        for member in self._current(question):
            member.lease_until = lease_until
            events.append(Renewed(member.subscriber, lease_until, generation))
        return events

    def _current(self, question: PendingReply) -> list[Attached]:
        """Return those who asked `question`, are still there, and haven't been lost since."""
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
