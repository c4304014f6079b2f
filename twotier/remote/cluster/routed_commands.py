"""A command on its way through a cluster: its parts, their results, and the generation check afterwards.

The generation check must come after the write's effect. If all that is left of a write goes to the node
that has the generation, the check goes with it, behind it on the same connection; otherwise the check goes
alone, once all parts are done. A check that went along counts only if every part of that round trip has
taken place: a redirected part takes place after the check.

While a slot is moved, its keys are on two nodes, and a key that the new node doesn't have yet isn't gone.
So a check (and `Generation`, which makes a missing key) goes to the new node only after the old node has
reported that it no longer has *that key*: never along with a part that was redirected there.
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
    """The known primaries of the slots."""

    def owner(self, slot: int) -> Node | None:
        """Return the primary of `slot`; None if there is none."""
        ...

    def primaries(self) -> list[Node]:
        """Return the primaries."""
        ...

    def moved(self, slot: int, node: Node) -> None:
        """Note that `node` serves `slot`, by another node's redirect."""
        ...


class Sent(NamedTuple):
    """A part on its way: its command, its index among the parts, and the node that an ASK redirect named."""

    job: "RoutedCommand"
    number: int
    part: Part
    asked: Node | None = None

    @property
    def waits(self) -> bool:
        """Whether the part waits for replicas."""
        return isinstance(self.part.command, Replicated)


_LOOK: Final = -1
"""Number of the generation check, in place of a part's index."""
_LOOKING: Final = (IncrementFrom, WithGeneration, PutLocked)


class RoutedCommand:
    """One command, its parts and their results."""

    __slots__ = ("_errors", "_failure", "_fence", "_generation", "_join", "_left", "_look", "_looked", "_results")

    def __init__(self, command: Any) -> None:
        self._errors: dict[int, RemoteError] | None = None
        """Errors of the parts that may fail alone, by index; None if one failure fails the whole command."""
        if isinstance(command, PerKey):
            self._errors, command = {}, command.command
        parts, self._join = plan(command)
        self._results: list[Any] = [None] * len(parts)
        self._left = [Sent(self, number, part) for number, part in enumerate(parts)]
        self._failure: RemoteError | None = None
        self._fence = _fence(command)
        self._look = None if self._fence is None else Sent(self, _LOOK, _check_generation(self._fence))
        """The generation check that is still to be made."""
        self._looked = False
        """Whether the check has been sent alone."""
        self._generation: bytes | None = None

    def due(self, atlas: SlotOwners, *, late: bool) -> Iterator[tuple[Node, Sent]]:
        """Yield the parts to send next, by node; past the deadline (`late`), only a check not yet sent alone."""
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
        """Process the result of a part at `node`; return True if its keys are being moved, and a pause will help."""
        looks = sent.number == _LOOK
        again: Sent | None = None
        if isinstance(result, RedirectionError):
            target = Node(result.host or node.host, result.port)  # without a host: the node that sent the redirect
            if not result.asking:
                atlas.moved(result.slot, target)
            again = sent._replace(asked=target if result.asking else None)
        elif isinstance(result, MovingError):
            again = sent
        if looks and (self._left or self._failure is not None):
            pass  # the check was made before the write took place
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
                self._failure = error  # prefer it to "wasn't begun" if another part was begun, and may take place late
        else:
            self._errors[number] = error

    def give_up(self) -> None:
        """Count the parts that are still to be done as failed."""
        moving = RemoteUnavailable("the cluster is moving the keys, and sent us from node to node")
        for sent in self._left:
            self._fail(sent.number, moving)
        if self._look is not None:
            self._fail(_LOOK, moving)
        self._left, self._look = [], None

    def outcome(self) -> Any:
        """Return the result, or the RemoteError of the command."""
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
    """Return the key of the generation to check after `command`; None if there is none."""
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
        """Return the generation; None if there is none."""
        return generation_in(replies[0])


@lru_cache(maxsize=4096)
def _check_generation(key: bytes) -> Part:
    return Part(slot_of(key), _GenerationCheck(pack(b"GET", key)))
