"""A subscriber that writes down what it hears."""

from twotier.clock import SystemClock
from twotier.coherence.subscriber import NotAsked


class RecordingSubscriber:
    """Records the calls of the listener in `heard`, as tuples; `fails` names the calls that raise instead."""

    def __init__(self, namespace: str = "shop") -> None:
        self.channel = f"{namespace}:inv:v1".encode()
        self.generation_key = f"{namespace}:gen".encode()
        self.heard: list[tuple[object, ...]] = []
        self.payloads: list[bytes] = []
        self.lease_until = 0
        self.fails: set[str] = set()

    def received(self, payloads: list[bytes]) -> None:
        self._hear("received", *payloads)
        self.payloads += payloads

    def confirmed(self) -> None:
        self._hear("confirmed")

    def renewed(self, lease_until: int, generation: bytes | NotAsked | None) -> None:
        self._hear("renewed", lease_until, generation)
        self.lease_until = lease_until

    def lost(self, reason: str) -> None:
        self.lease_until = 0
        self._hear("lost", reason)

    def _hear(self, kind: str, *rest: object) -> None:
        self.heard.append((kind, *rest))
        if kind in self.fails:
            raise RuntimeError(f"{kind} was told to fail")

    @property
    def kinds(self) -> list[object]:
        """The names of the calls, without the messages."""
        return [kind for kind, *_ in self.heard if kind != "received"]

    @property
    def live(self) -> bool:
        """Whether the lease holds on the machine's clock."""
        return SystemClock().now() < self.lease_until

    def count(self, kind: str) -> int:
        """Return how often `kind` was called."""
        return self.kinds.count(kind)
