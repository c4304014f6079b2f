"""Conditional writes: writes that depend on whether a key has a valid value.

A value is invalid if it can't be used (foreign, cut short, signed with another secret, of a class
that is gone, or no string at all), or if one of its tags has ended.

Reads notice that, as they have the value. A conditional write reads the value in the round trip that
writes, and replaces an invalid value, unless it has changed since: then another writer has
written, and the write begins anew.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from twotier.codec.values import Loaded
from twotier.core.access.reads import Reads
from twotier.core.flow.drive import Flow
from twotier.errors import RemoteError
from twotier.remote.commands.base import Fetch, Fetched, Put, Write
from twotier.remote.commands.conditional import Replace
from twotier.remote.commands.conditional_writes import Add, ExpireIfLive, WithPrevious

ATTEMPTS: Final = 8
"""Attempts at such a write while others write the key in between."""

PutAt = Callable[[bytes], Put]
"""Returns the write of a value under a name."""
WriteAt = Callable[[bytes], Write[Any]]
"""Returns a write under a name."""


class CurrentValue(NamedTuple):
    """The data under a key (None: nothing, or no string), and its value if that is valid."""

    data: bytes | None
    valid: Loaded | None


class ConditionalWrites(Reads):
    """The reading flows, and the writes that depend on whether a key has a valid value."""

    def _add(self, key: str, put_at: PutAt) -> Flow[bool]:
        """Put a value unless `key` has a valid one; return True if it was put."""
        place = b""

        def make(at: bytes) -> Add:
            nonlocal place
            place = at
            put = put_at(at)
            return Add(put.key, put.data, put.ttl_ms, put.publication, put.voids)

        for _ in range(ATTEMPTS):
            looked: WithPrevious = yield from self._namespace.generations.write(key, make)
            if looked.done:
                return True
            if looked.stood is not None and (yield from self._valid(place, looked.stood)) is not None:
                return False
            if (yield from self._replace(key, looked.stood, put_at)):
                return True
        raise contended(key)

    def _touch(self, key: str, ttl: int, make: Callable[[bytes], ExpireIfLive]) -> Flow[bool]:
        """Set a new ttl for the value of `key`, and let its tags live as long; return True if the value is valid."""
        place = b""

        def made(at: bytes) -> ExpireIfLive:
            nonlocal place
            place = at
            return make(at)

        looked: WithPrevious = yield from self._namespace.generations.write(key, made)
        loaded = None if looked.stood is None else (yield from self._valid(place, looked.stood))
        if loaded is None:
            return False
        if loaded.stamps:
            yield from self._namespace.versions.stamps(loaded.stamps, ttl)
        return True

    def _standing(self, key: str) -> Flow[CurrentValue]:
        """Return the current value of `key`."""
        place = yield from self._namespace.generations.place(key)
        fetched: Fetched = yield Fetch(place)
        if fetched.data is None:
            return CurrentValue(None, None)
        return CurrentValue(fetched.data, (yield from self._valid(place, fetched.data)))

    def _replace(self, key: str, seen: bytes | None, put_at: WriteAt) -> Flow[bool]:
        """Replace the data `seen`; return True if it was replaced, False if the key has other data by now.

        Returns False, too, if the namespace was cleared meanwhile, so that no reader will find the new value.
        """
        generations, place = self._namespace.generations, b""

        def make(_: list[str], places: list[bytes]) -> Replace:
            nonlocal place
            (place,) = places
            return Replace(place, seen, put_at(place))

        (part,) = yield from generations.each([key], make)
        if isinstance(part.outcome, RemoteError):
            raise part.outcome
        if not part.outcome:
            return False
        (prefix,) = (yield from generations.ask(list(generations.split([key])))).values()
        if isinstance(prefix, RemoteError):
            raise prefix
        return generations.places_under(prefix, [key]) == [place]


def contended(key: str) -> RemoteError:
    """Return the error of a write that other writes have overtaken."""
    return RemoteError(f"{key!r} was written by others {ATTEMPTS} times during one write")
