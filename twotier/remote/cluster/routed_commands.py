"""A command on its way through a cluster: its parts, what has come of them, and the look at the generation afterwards.

The look must come after the write's effect. Where all that is left of a write goes to the node that has the
generation, the look goes with it, behind it on the same connection; else it goes by itself, once all parts are done. A
look that went along counts only if every part of that trip has taken place: what is sent on to another node is done
after it.

While a slot is moved, its keys are on two nodes, and one that the new node doesn't have yet isn't gone. So a look (and
a question that makes what it doesn't find, `Generation`) goes to the new node only when the old one has said that it
hasn't got *that key* any more: never along with a part that was sent there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Final, NamedTuple, Protocol

from twotier.errors import RemoteError, RemoteUnavailable
from twotier.remote.cluster.split import Part, plan
from twotier.remote.commands.batch import PartialResult, PerKey
from twotier.remote.commands.conditional import Conditional
from twotier.remote.commands.counters import IncrementFrom
from twotier.remote.commands.generations import UnderGeneration, WithGeneration, generation_in
from twotier.remote.commands.replicas import Acknowledged, Replicated
from twotier.remote.commands.slot_map import Node
from twotier.remote.commands.write_through_locks import PutLocked
from twotier.remote.hash_slots import slot_of
from twotier.remote.io.breaker import BreakerOpenError
from twotier.remote.io.errors import MovingError, RedirectionError
from twotier.resp import pack


class SlotOwners(Protocol):
    """Who serves what, as far as is known."""

    def owner(self, slot: int) -> Node | None:
        """Return the primary of `slot`; None where there is none."""
        ...

    def primaries(self) -> list[Node]:
        """Return the primaries."""
        ...

    def moved(self, slot: int, node: Node) -> None:
        """Note that `node` serves `slot`, as another node has said."""
        ...


class Sent(NamedTuple):
    """A part on its way: whose, its place among the parts, and a node that its slot's owner has sent it on to."""

    job: "RoutedCommand"
    number: int
    part: Part
    asked: Node | None = None

    @property
    def waits(self) -> bool:
        """Whether it waits for replicas."""
        return isinstance(self.part.command, Replicated)


_LOOK: Final = -1
"""In place of a part's number."""
_LOOKING: Final = (IncrementFrom, WithGeneration, PutLocked)


class RoutedCommand:
    """One command."""

    __slots__ = ("_errors", "_failure", "_fence", "_generation", "_join", "_left", "_look", "_looked", "_results")

    def __init__(self, command: Any) -> None:
        self._errors: dict[int, RemoteError] | None = None
        """Those of parts that fail each for itself, by their place; None where one failure is the command's."""
        if isinstance(command, PerKey):
            self._errors, command = {}, command.command
        parts, self._join = plan(command)
        self._results: list[Any] = [None] * len(parts)
        self._left = [Sent(self, number, part) for number, part in enumerate(parts)]
        self._failure: RemoteError | None = None
        self._fence = _fence(command)
        self._look = None if self._fence is None else Sent(self, _LOOK, _check_generation(self._fence))
        """The look that is still to be made."""
        self._looked = False
        """Whether it has been sent by itself."""
        self._generation: bytes | None = None

    def due(self, atlas: SlotOwners, *, late: bool) -> Iterator[tuple[Node, Sent]]:
        """Yield what is to be sent next, and where to. Past the deadline (`late`) only a look that has had no try."""
        if late and self._left:
            self.give_up()
        sending = []
        for sent in self._left:
            node = sent.asked or atlas.owner(sent.part.slot)
            if node is None:
                self._fail(sent.number, _nobody())
            else:
                sending.append((node, sent))
        self._left = []
        yield from sending
        if (look := self._look) is None or self._failure is not None:
            return
        there = look.asked or atlas.owner(look.part.slot)
        if sending:
            alone = any(node != there or isinstance(sent.part.command, Conditional) for node, sent in sending)
            if look.asked is None and not alone:
                yield sending[0][0], look
        elif late and self._looked:
            self.give_up()
        elif there is None:
            self._fail(_LOOK, _nobody())
        else:
            self._looked = True
            yield there, look

    def take(self, atlas: SlotOwners, node: Node, sent: Sent, result: Any) -> bool:
        """Take what a part has come to at `node`; return True if its keys are being moved, and a pause will help."""
        looks = sent.number == _LOOK
        again: Sent | None = None
        if isinstance(result, RedirectionError):
            target = Node(result.host or node.host, result.port)  # without a host: the one that said so
            if not result.asking:
                atlas.moved(result.slot, target)
            again = sent._replace(asked=target if result.asking else None)
        elif isinstance(result, MovingError):
            again = sent
        if looks and (self._left or self._failure is not None):
            pass  # it was made before the write has taken place
        elif again is not None:
            if looks:
                self._look = again
            else:
                self._left.append(again)
        elif isinstance(result, RemoteError):
            self._fail(sent.number, result)
        elif looks:
            self._look, self._generation = None, result
        else:
            self._results[sent.number] = result
        return isinstance(result, MovingError)

    def _fail(self, number: int, error: RemoteError) -> None:
        if self._errors is None:
            if self._failure is None or isinstance(self._failure, BreakerOpenError):
                self._failure = error  # not "wasn't begun" where another part was: it may take place late
        else:
            self._errors[number] = error

    def give_up(self) -> None:
        """Take what is still to be done for failed."""
        moving = RemoteUnavailable("the cluster is moving the keys, and sent us from node to node")
        for sent in self._left:
            self._fail(sent.number, moving)
        if self._look is not None:
            self._fail(_LOOK, moving)
        self._left, self._look = [], None

    def outcome(self) -> Any:
        """Return the result, or the RemoteError that it has come to."""
        if self._failure is not None:
            return self._failure
        if self._errors is not None:
            good = [result for at, result in enumerate(self._results) if at not in self._errors]
            return PartialResult(self._join(good) if good else None, self._errors)
        result = self._join(self._results)
        if self._fence is None:
            return result
        if isinstance(result, Acknowledged):
            return Acknowledged(UnderGeneration(result.result, self._generation), result.replicas)
        return UnderGeneration(result, self._generation)


def _fence(command: Any) -> bytes | None:
    """Return the key of the generation that is to be looked at after `command`, if one is."""
    write = command.write if isinstance(command, Replicated) else command
    return write.generation_key if isinstance(write, _LOOKING) else None


def _nobody() -> RemoteError:
    return RemoteUnavailable("no node of the cluster serves the slot")


@dataclass(frozen=True, slots=True)
class _GenerationCheck:
    """Read a generation."""

    wire: bytes
    """GET."""
    replies: ClassVar[int] = 1

    def parse(self, replies: list[Any]) -> bytes | None:
        """Return the generation, None without one."""
        return generation_in(replies[0])


@lru_cache(maxsize=4096)
def _check_generation(key: bytes) -> Part:
    return Part(slot_of(key), _GenerationCheck(pack(b"GET", key)))
