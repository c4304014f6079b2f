"""The public calls of a write-behind: each checks its arguments and returns the flow that does the work."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from twotier.clock import SECOND, wall_clock
from twotier.core.access.calls import Calls
from twotier.core.access.keys import checked_mapping
from twotier.core.flow.drive import Flow
from twotier.core.namespace.namespace import TwoTierNamespace
from twotier.core.tags.tag_index import checked_tags
from twotier.core.write_behind.drainer import Drainer
from twotier.core.write_behind.drainers import Drainers
from twotier.core.write_behind.queue import WriteQueue
from twotier.core.write_behind.reports import DeadLetter, WriteBehindStats
from twotier.core.write_behind.settings import WriteBehindOptions, WriteBehindOptionsDict
from twotier.core.write_behind.streams import Streams
from twotier.errors import ConfigurationError, RemoteError
from twotier.options import Ttl
from twotier.writer import Writer, is_writer

_MILLISECONDS: Final = 1000


class WriteBehindCalls:
    """The calls of one write-behind, on the cache that `calls` belong to."""

    def __init__(
        self, calls: Calls, writer: Writer, options: WriteBehindOptions | None, settings: WriteBehindOptionsDict
    ) -> None:
        if options is not None and settings:
            raise TypeError(f"give either options or keyword settings, not both; got options and {sorted(settings)}")
        if options is not None and not isinstance(options, WriteBehindOptions):
            raise TypeError(f"options must be a WriteBehindOptions, got {type(options).__name__}: {options!r:.100}")
        if not is_writer(writer):
            raise ConfigurationError(
                f"writer must be an object with the methods write and delete (see Writer), got {writer!r}"
            )
        namespace = calls.namespace
        if not isinstance(namespace, TwoTierNamespace):
            raise ConfigurationError(
                f"cache must have a remote tier, where writes wait for the source; got one on {namespace.label}"
            )
        if calls.options.writer is not None:
            raise ConfigurationError("cache must have no writer of its own, got one that writes through to its source")
        self.options = options or WriteBehindOptions(**settings)
        if not (calls.options.secrets or self.options.trust_server):
            raise ConfigurationError(
                "the cache of a write-behind needs a `secret`, which signs what waits on the server: without one, "
                "whoever can write to the server can write to the source; where nobody else can, set trust_server=True"
            )
        self.namespace = namespace
        self._calls = calls
        self._writer = writer
        slotted = namespace.topology.slotted
        self._streams = Streams(calls.options.namespace, namespace.values, slotted=slotted)
        self.after_fork()

    def after_fork(self) -> None:
        """Create the objects that belong to one process."""
        self.queue = WriteQueue(self.namespace, self.options, self._streams, self._appended)
        self.drainers = self.new_drainers()

    def new_drainers(self) -> Drainers:
        """Return new drainers, for the thread or task that drains; stopped drainers may have left off at any point."""
        counters = self.queue.counters
        made = [Drainer(self.namespace, self._writer, self.options, each, counters) for each in self._streams.all]
        self.drainers = Drainers(made, self.namespace.clock)
        return self.drainers

    def _appended(self, number: int) -> None:
        self.drainers.hurry(number)

    def set(self, key: str, value: Any, ttl: Ttl, tags: Iterable[str]) -> Flow[None]:
        """Put `value`."""
        return self.set_many({key: value}, ttl, tags)

    def set_many(self, values: Mapping[str, Any], ttl: Ttl, tags: Iterable[str]) -> Flow[None]:
        """Put every value of a mapping."""
        put = self.queue.put(checked_mapping(values), self._calls.life(ttl), checked_tags(tags))
        return self._calls.acknowledged(put)

    def delete(self, key: str) -> Flow[bool]:
        """Remove `key`; return True if the cache had it."""
        return (yield from self.delete_many((key,))) == 1

    def delete_many(self, keys: Iterable[str]) -> Flow[int]:
        """Remove `keys`; return how many the cache had."""
        return self._calls.acknowledged(self.queue.remove(keys))

    def flush(self, timeout: float | None) -> Flow[None]:
        """Wait until every earlier write has reached the source."""
        if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout < 0):
            raise ValueError(f"timeout must be None or seconds >= 0, got {timeout!r}")
        return self.queue.flush(timeout)

    def dead_letters(self, count: int) -> Flow[list[DeadLetter]]:
        """Return the oldest dead letters."""
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ValueError(f"count must be an int >= 1, got {count!r}")
        return self.queue.dead_letters(count)

    def stats(self) -> Flow[WriteBehindStats]:
        """Return the source's lag, if the server can be asked, and the counters of this process."""
        counters = self.queue.counters
        depth = dead = lag = None
        try:
            depth, dead, oldest = yield from self.queue.look()
        except RemoteError:
            self.namespace.counters.remote_errors += 1
        else:
            lag = 0.0
            if oldest is not None:
                born = int(oldest.partition(b"-")[0]) * _MILLISECONDS
                lag = max(0.0, (wall_clock() - born) * _MILLISECONDS / SECOND)
        return WriteBehindStats(
            depth=depth,
            dead=dead,
            lag=lag,
            draining=self.drainers.draining,
            appended=counters.appended,
            written=counters.written,
            coalesced=counters.coalesced,
            retried=counters.retried,
            dead_lettered=counters.dead_lettered,
            replayed=counters.replayed,
            lost=counters.lost,
            streams_lost=counters.streams_lost,
        )
