"""Interface of the listeners for invalidations, for every kind of deployment."""

from typing import Protocol

from twotier.coherence.link import State
from twotier.coherence.subscriber import ShardedSubscriber


class AnyListener(Protocol):
    """Listens for the invalidations of many subscribers. Any thread may call every method."""

    def attach(self, subscriber: ShardedSubscriber) -> None:
        """Serve `subscriber` from now on, and start listening unless the thread runs."""
        ...

    def detach(self, subscriber: ShardedSubscriber) -> None:
        """Stop serving `subscriber`."""
        ...

    def state(self, subscriber: ShardedSubscriber) -> State:
        """Return "live" while `subscriber` has a lease, "sync" while connected without one, else "down"."""
        ...

    def ensure_started(self) -> None:
        """Start listening unless the thread runs."""
        ...

    def wake(self) -> None:
        """Do the work that is due at once: listen to another server, for example."""
        ...

    def hurry(self) -> None:
        """Try to connect now: the server is known to be usable."""
        ...

    def close(self) -> None:
        """Stop listening for good."""
        ...

    def after_fork(self) -> None:
        """In a forked child: drop the parent's connections."""
        ...
