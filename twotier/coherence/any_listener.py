"""What listens for invalidations, whatever the deployment is."""

from typing import Protocol

from twotier.coherence.link import State
from twotier.coherence.subscriber import ShardedSubscriber


class AnyListener(Protocol):
    """Listens for the invalidations of many subscribers. Every method may be called from any thread."""

    def attach(self, subscriber: ShardedSubscriber) -> None:
        """Serve `subscriber` from now on, and start listening if nobody did yet."""
        ...

    def detach(self, subscriber: ShardedSubscriber) -> None:
        """Serve `subscriber` no more."""
        ...

    def state(self, subscriber: ShardedSubscriber) -> State:
        """Return "live" while `subscriber` has a lease, "sync" while connected without one, else "down"."""
        ...

    def ensure_started(self) -> None:
        """Start listening unless that is under way."""
        ...

    def wake(self) -> None:
        """Look at once at what is due: another server is to be listened to, say."""
        ...

    def hurry(self) -> None:
        """Try to connect now: the server is known to be usable."""
        ...

    def close(self) -> None:
        """Stop listening for good."""
        ...

    def after_fork(self) -> None:
        """In a forked child: let go of the parent's connections."""
        ...
