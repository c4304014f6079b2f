"""The versions of tags that this process knows: tagged entries are stamped with them, and checked against them.

A tag's version is a random name under `{namespace}:#{tag}` on the server; ending the tag removes that
key. A tagged entry carries the versions that its tags had *before* its value was made, and is valid
while these versions are current. So a write or a load that the end of a tag has overtaken makes an
entry that no reader accepts, and a key that the server loses (eviction, FLUSHALL) invalidates too
much, never too little.

Known versions are kept like entries: in a local tier of their own, under fill tokens, epochs and the
staleness lease, and an invalidation of the tag removes them. They are thus as fresh as a local hit.
They are read again after `LIFE`: no message reports that the server has evicted a tag's key, and
entries made until then would be of no use to others.

A tag's key outlives the entries stamped with it by an hour or more, so that it has to be extended only
now and then, in the round trip that reads its version. It expires by itself when nothing new is
stamped; a key lost early is a miss. Clearing the namespace leaves it. Costs: a round trip for the
tags that aren't known (one for all tags of a call), about 200 bytes a known tag.
"""

import secrets
from collections.abc import Iterable, Mapping
from typing import Final

from twotier.clock import NEVER, SECOND, Clock
from twotier.codec.tag_stamps import VERSION_BYTES, Stamps
from twotier.core.access.keys import as_bytes
from twotier.core.access.ttl import MILLISECOND, after, milliseconds
from twotier.core.flow.drive import Flow
from twotier.core.tags.tag_index import ANY_TAG
from twotier.local import Store
from twotier.options import Options
from twotier.remote.commands.tags import ExtendVersions, MakeVersions, ReadVersions, Version

LIFE: Final = 30 * SECOND
"""Longest that a known version is used without reading it again (ns)."""
SPARE_LIFE: Final = 3600 * SECOND
"""Least time by which a tag's key outlives the entries stamped with it (ns)."""
_CHUNK: Final = 500


class TagVersions:
    """The known versions of one namespace's tags. Threads may share it."""

    __slots__ = ("_clock", "_life", "_stem", "store")

    def __init__(self, stem: bytes, options: Options, clock: Clock, lasts: int) -> None:
        self._stem = stem + b"#"
        """The beginning of tags' keys; no generation, and so no entry's key, begins like that."""
        self._clock = clock
        self._life = min(LIFE, lasts)
        self.store = Store(options.maxsize, policy="lru", clock=options.clock)
        """Maps a tag to its version and the instant until which its key lives at least."""

    def place(self, tag: str) -> bytes:
        """Return the name of the tag's key on the server."""
        return self._stem + as_bytes(tag)

    def tag_in(self, place: bytes) -> str | None:
        """Return the tag whose key on the server is `place`; None for other keys."""
        if not place.startswith(self._stem):
            return None
        try:
            return place[len(self._stem) :].decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return None  # not written by twotier

    def current(self, stamps: Iterable[tuple[str, bytes]]) -> Flow[Stamps]:
        """Return the current versions of the tags of `stamps`, without tags that have none; for reading.

        A stamp that differs from the known version may be of a newer one: the server is asked then.
        """
        found: Stamps = {}
        asked = []
        for tag, stamped in stamps:
            known = self.store.get(tag)
            if known is not None and known[0] == stamped:
                found[tag] = stamped
            else:
                asked.append(tag)
        asked = list(dict.fromkeys(asked))
        for start in range(0, len(asked), _CHUNK):
            chunk = asked[start : start + _CHUNK]
            tokens, now = [self.store.token(tag) for tag in chunk], self._clock.now()
            replies: list[Version] = yield ReadVersions([self.place(tag) for tag in chunk])
            for tag, version, token in zip(chunk, replies, tokens, strict=True):
                if version.name is not None and len(version.name) == VERSION_BYTES:
                    found[tag] = version.name
                    self._learn(tag, version.name, token, now, _left(version))
        return found

    def stamps(self, tags: Iterable[str], ttl: int) -> Flow[Stamps]:
        """Return the versions for stamping an entry that is to live for `ttl` (ns); make missing ones.

        Call it before the value is made. From here on the tags' keys live at least as long as the entry.
        """
        until = after(self._clock.now(), ttl)
        found: Stamps = {}
        asked = []
        for tag in tags:
            known = self.store.get(tag)
            if known is not None and known[1] >= until:
                found[tag] = known[0]
            else:
                asked.append(tag)
        return found | (yield from self._made(asked, ttl)) if asked else found

    def late_stamps(self, early: Mapping[str, bytes], tags: Iterable[str], ttl: int) -> Flow[Stamps]:
        """Return stamps for an entry whose tags were known only after its value was made.

        `early` are stamps, from before the value was made, for some of the tags and for ANY_TAG. If any tag
        has ended since, the other tags get stamps that no reader accepts: one of them may have ended.
        """
        wanted = list(tags)
        if all(tag in early for tag in wanted):
            return {tag: early[tag] for tag in wanted}
        # Read together, and from the server: a known version may be older than one that was made meanwhile.
        found = yield from self._made([ANY_TAG, *wanted], ttl)
        if found[ANY_TAG] != early.get(ANY_TAG):
            found = {tag: _new_version() for tag in wanted}
        return {tag: early.get(tag, found[tag]) for tag in wanted}

    def forget(self, tags: Iterable[str], op: int) -> None:
        """Forget the versions of tags that write `op` has ended, and void reads of them that are under way."""
        self.store.apply(tags, op)

    def _made(self, tags: list[str], ttl: int) -> Flow[Stamps]:
        """Read the versions of tags, for an entry that lives for `ttl`; make missing ones."""
        lasting = after(ttl, max(ttl, SPARE_LIFE))
        places = [self.place(tag) for tag in tags]
        candidates = [_new_version() for _ in tags]
        tokens, now = [self.store.token(tag) for tag in tags], self._clock.now()
        replies: list[Version] = yield MakeVersions(places, candidates, milliseconds(lasting))
        short = [place for place, version in zip(places, replies, strict=True) if _left(version) < ttl]
        if short:
            yield ExtendVersions(short, milliseconds(lasting))
        found: Stamps = {}
        for tag, version, candidate, token in zip(tags, replies, candidates, tokens, strict=True):
            if version.name is None or len(version.name) != VERSION_BYTES:
                found[tag] = candidate  # ended again at that moment: no reader accepts this stamp
            else:
                found[tag] = version.name
                left = _left(version)
                self._learn(tag, version.name, token, now, lasting if left < ttl else left)
        return found

    def _learn(self, tag: str, version: bytes, token: int, now: int, left: int) -> None:
        until = after(now, left)
        self.store.install(tag, (version, until), token, expires=min(until, after(now, self._life)))


def _left(version: Version) -> int:
    """Return the remaining life of a version's key (ns)."""
    return NEVER if version.pttl == -1 else version.pttl * MILLISECOND


def _new_version() -> bytes:
    return secrets.token_bytes(VERSION_BYTES)
