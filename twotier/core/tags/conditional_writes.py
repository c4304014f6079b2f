"""Writes that depend on whether something stands under a key, where what stands may not count.

It doesn't if it can't be used (foreign, cut short, signed with another secret, of a class that is gone, or no string at
all), or if it has ended with one of its tags.

Reads see that, as they have the value. These writes read what stands in the trip that writes, and where it doesn't
count, they replace it, unless it has changed since: then somebody else has written, and they begin anew.
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
"""How often such a write is begun, while others write the key in between."""

PutAt = Callable[[bytes], Put]
"""Makes the write of a value under a name."""
WriteAt = Callable[[bytes], Write[Any]]
"""Makes a write under a name."""


class CurrentValue(NamedTuple):
    """What stands under a key (None: nothing, or what is no string), and what of it counts."""

    data: bytes | None
    valid: Loaded | None


class ConditionalWrites(Reads):
    """The reading flows, and the writing ones that see whether what stands counts."""

    def _add(self, key: str, put_at: PutAt) -> Flow[bool]:
        """Put where there is nothing that counts; return True if it was put."""
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
        """Give what stands under `key` a new life; return True if it counts. Its tags live as long."""
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
        """Return what stands under `key`."""
        place = yield from self._namespace.generations.place(key)
        fetched: Fetched = yield Fetch(place)
        if fetched.data is None:
            return CurrentValue(None, None)
        return CurrentValue(fetched.data, (yield from self._valid(place, fetched.data)))

    def _replace(self, key: str, seen: bytes | None, put_at: WriteAt) -> Flow[bool]:
        """Put in place of what was `seen`; return True if it was put: not if something else stands there by now.

        Nor if the namespace was cleared meanwhile, so that nobody will find it.
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
    """Return the error of a write that writes of others have overtaken."""
    return RemoteError(f"{key!r} was written by others {ATTEMPTS} times during one write")
