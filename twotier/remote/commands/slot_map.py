"""The map of a cluster: the primary of each slot, as reported by one node."""

from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple

from twotier.errors import RemoteError
from twotier.remote.hash_slots import SLOTS
from twotier.remote.io.errors import OutOfStepError, check
from twotier.remote.io.host_and_port import host_in, port_in
from twotier.resp import ErrorReply

MOST_NODES: Final = 1024
"""Nodes of one cluster; each primary has connections and a link. (The specification: up to 1,000.)"""

_NO_NODE: Final = ("cluster support disabled", "unknown command")
"""Parts of the error messages of servers and sentinels that belong to no cluster."""


class Node(NamedTuple):
    """Address of a cluster node."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class NotANodeError(RemoteError):
    """The server that was named as a cluster node isn't one."""

    def __init__(self, asked: Node) -> None:
        super().__init__(
            f"{asked} isn't a node of a cluster: write redis://{asked} in place of redis+cluster://, or "
            "redis+sentinel://host:port/service if it is a sentinel"
        )


@dataclass(frozen=True, slots=True, eq=False)
class SlotMap:
    """The primaries and replicas of all slots at one moment. A slot without a primary has None."""

    owners: tuple[Node | None, ...]
    """The primary of each slot."""
    replicas: dict[Node, tuple[Node, ...]]
    """The replicas of each primary that serves a slot."""

    @property
    def primaries(self) -> frozenset[Node]:
        """The primaries that serve at least one slot."""
        return frozenset(self.replicas)

    def a_slot_of(self, node: Node) -> int | None:
        """Return the lowest slot that `node` serves; None if there is none."""
        return next((slot for slot, owner in enumerate(self.owners) if owner == node), None)


@dataclass(frozen=True, slots=True)
class AskSlots:
    """Read the map from the node `asked`; a node that doesn't know its own address leaves it out of the reply."""

    asked: Node
    replies: ClassVar[int] = 1

    @property
    def wire(self) -> bytes:
        """CLUSTER SLOTS."""
        return b"*2\r\n$7\r\nCLUSTER\r\n$5\r\nSLOTS\r\n"

    def parse(self, replies: list[Any]) -> SlotMap:
        """Return the map; raise NotANodeError if the server belongs to no cluster."""
        answer = replies[0]
        if type(answer) is ErrorReply and any(sign in answer.text.lower() for sign in _NO_NODE):
            raise NotANodeError(self.asked)
        try:
            return self._map(check(answer))
        except (TypeError, ValueError, LookupError):
            raise OutOfStepError("CLUSTER SLOTS") from None

    def _map(self, ranges: Any) -> SlotMap:
        if type(ranges) is not list:
            raise TypeError("not a list of ranges")
        owners: list[Node | None] = [None] * SLOTS
        replicas: dict[Node, tuple[Node, ...]] = {}
        nodes: set[Node] = set()
        free = SLOTS
        for first, last, *members in ranges:
            free -= last + 1 - first  # each slot is named once, so the number of slots bounds the loop's work
            if not (type(first) is type(last) is int and 0 <= first <= last < SLOTS and free >= 0):
                raise ValueError("not a range of slots")
            primary, *others = (self._node(member) for member in members)
            owners[first : last + 1] = [primary] * (last + 1 - first)
            replicas[primary] = tuple(others)
            nodes |= {primary, *others}
            if len(nodes) > MOST_NODES:
                raise ValueError("not a cluster")
        return SlotMap(tuple(owners), replicas)

    def _node(self, member: list[Any]) -> Node:
        host, port = member[0], member[1]
        known = self.asked.host if host in (None, b"", b"?") else host_in(host)
        return Node(known, self.asked.port if port == 0 else port_in(port))
