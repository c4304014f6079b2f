"""The names of generations: their form, their order, and the check of the server's names.

Without a secret a name is 8 random characters. With one it is 32 characters that hold a time (ms), 6
random bytes, and 12 bytes of a keyed BLAKE2b of both and the namespace. An attacker that can only
write to the server therefore can't make a name; and as names are ordered, by time and then by their
random bytes, can't put an old name back where a newer one has been seen.

The order is a logical one: a new name is later than all that its maker has seen, whatever the
maker's clock says. A wrong clock thus costs at most one clear too many. Nothing else is accepted:
names have a fixed length, and no character that separates parts of a key's name on the server (`:`,
`!`, `~`, `#`, braces). A process without a secret accepts signed names too, as plain names, like
processes of the previous release.

Costs: where there is a secret, 24 bytes more in the name of each key; about 3 us to make or check a
name.
"""

import hmac
import os
import re
import secrets
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

from twotier.clock import wall_clock

FIRST: Final = 0
"""The rank of a name without a time, and of no name."""

_RANDOM_BYTES: Final = 6
_TIME_BYTES: Final = 6
_RANKED_BYTES: Final = _TIME_BYTES + _RANDOM_BYTES
_MAC_BYTES: Final = 12
_UNSIGNED: Final = re.compile(rb"[A-Za-z0-9_-]{8}")
_SIGNED: Final = re.compile(rb"[A-Za-z0-9_-]{32}")
_LATEST: Final = (1 << 47) - 1
"""The latest time that is accepted from a clock (ms); later times are left for the names after it."""


class GenerationNames:
    """Makes and checks the names of one namespace's generations; the first of `secrets` signs, all verify.

    >>> names = GenerationNames((b"a key of 16 bytes",), "shop")
    >>> one = names.make(after=FIRST)
    >>> two = names.make(after=names.rank(one))
    >>> names.rank(one) < names.rank(two)
    True
    >>> names.rank(b"AbCd-_12") is None
    True
    """

    __slots__ = ("_macs", "_now")

    def __init__(self, secrets: tuple[bytes, ...], namespace: str, now: Callable[[], int] = wall_clock) -> None:
        self._macs = [_keyed(secret, namespace) for secret in secrets]
        self._now = now
        """The wall clock (us)."""

    def make(self, *, after: int) -> bytes:
        """Return a name that no other generation has had, later than the one ranked `after`."""
        if not self._macs:
            return new_name()
        time = max(min(max(self._now() // 1000, 0), _LATEST), (after >> 8 * _RANDOM_BYTES) + 1)
        body = time.to_bytes(_TIME_BYTES, "big") + os.urandom(_RANDOM_BYTES)
        return urlsafe_b64encode(body + _mac(self._macs[0], body))

    def rank(self, name: bytes) -> int | None:
        """Return the rank of `name` in the order of names; None if it must not be accepted."""
        if not self._macs:
            return FIRST if _UNSIGNED.fullmatch(name) or _SIGNED.fullmatch(name) else None
        if not _SIGNED.fullmatch(name):
            return None
        data = urlsafe_b64decode(name)
        body, mac = data[:_RANKED_BYTES], data[_RANKED_BYTES:]
        if not any(hmac.compare_digest(_mac(keyed, body), mac) for keyed in self._macs):
            return None
        return int.from_bytes(body, "big")

    def is_of_another_secret(self, name: bytes) -> bool:
        """Return True if `name` has a signed name's form, but is signed with another secret, or forged."""
        return bool(self._macs) and _SIGNED.fullmatch(name) is not None and self.rank(name) is None


def has_form(name: bytes) -> bool:
    """Return True if `name` has the form of a generation's name, signed or not."""
    return _UNSIGNED.fullmatch(name) is not None or _SIGNED.fullmatch(name) is not None


def new_name() -> bytes:
    """Return an unsigned name that no other generation has had."""
    return secrets.token_urlsafe(_RANDOM_BYTES).encode()


def _keyed(secret: bytes, namespace: str) -> blake2b:
    name = namespace.encode()
    key = blake2b(secret, digest_size=32, person=b"twotier-generatn").digest()
    return blake2b(struct.pack(">I", len(name)) + name, key=key, digest_size=_MAC_BYTES)


def _mac(keyed: blake2b, body: bytes) -> bytes:
    mac = keyed.copy()
    mac.update(body)
    return mac.digest()
