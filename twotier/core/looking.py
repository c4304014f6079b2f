"""Keys whose entry has ended with one of its tags: still on the server, and nothing to anybody.

Reads see that, as they look at the versions of its tags. Writes that depend on whether something is there have to
look as well: they read what stands in the trip that writes, and where that has ended, they replace it, unless it has
changed since.
"""

from collections.abc import Callable

from twotier.core.drive import Flow
from twotier.core.reads import Reads
from twotier.errors import RemoteError
from twotier.opid import NO_OP, op_tag
from twotier.remote.commands import Fetch, Fetched, Put
from twotier.remote.conditional import PutUnchanged
from twotier.remote.envelope import op_id_of
from twotier.remote.looking import Add, Looked
from twotier.remote.values import is_tagged

PutAt = Callable[[bytes], Put]
"""Makes the write of a value under a name."""


class Looking(Reads):
    """The reading flows, and those that see whether an entry has ended."""

    def _add(self, key: str, put_at: PutAt) -> Flow[bool]:
        """Put where there is nothing, or what has ended; tell whether it was put."""

        def make(place: bytes) -> Add:
            put = put_at(place)
            return Add(put.key, put.data, put.ttl_ms, put.publication, put.voids)

        looked: Looked = yield from self._namespace.generations.write(key, make)
        if looked.done or looked.stood is None or not (yield from self._has_ended(key, looked.stood)):
            return looked.done
        return (yield from self._replace(key, looked.stood, put_at))

    def _stays(self, key: str, stood: bytes, ttl: int) -> Flow[bool]:
        """Tell whether what stands under `key`, and is to live for `ttl` from now on, counts; its tags live as long."""
        if not is_tagged(stood):
            return True
        if (yield from self._has_ended(key, stood)):
            return False
        place = yield from self._namespace.generations.place(key)
        yield from self._namespace.versions.stamps(self._namespace.values.stamps(place, stood), ttl)
        return True

    def _ended(self, key: str) -> Flow[bytes | None]:
        """Return what stands under `key`, and has ended or left (b""); None if it counts."""
        place = yield from self._namespace.generations.place(key)
        fetched: Fetched = yield Fetch(place)
        if fetched.data is None:
            return b""
        return fetched.data if (yield from self._has_ended(key, fetched.data)) else None

    def _has_ended(self, key: str, stands: bytes) -> Flow[bool]:
        """Tell whether `stands`, which was read under `key`, has ended with one of its tags."""
        if not is_tagged(stands):
            return False
        place = yield from self._namespace.generations.place(key)
        return not (yield from self._is_valid(self._namespace.values.stamps(place, stands)))

    def _replace(self, key: str, ended: bytes, put_at: PutAt) -> Flow[bool]:
        """Put in place of what has ended; tell whether it was put: not if something else stands there by now."""
        op_id = op_id_of(ended)
        seen = NO_OP if op_id is None else op_tag(op_id)

        def make(_: list[str], places: list[bytes]) -> PutUnchanged:
            return PutUnchanged(places[0], seen, put_at(places[0]))

        (part,) = yield from self._namespace.generations.each([key], make)
        if isinstance(part.outcome, RemoteError):
            raise part.outcome
        return part.outcome
