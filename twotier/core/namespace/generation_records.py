"""The record of a generation key: the names of generations whose keys may be on the server, for the sweep (`sweep.py`).

Before a clear writes its new name, it adds the name that it ends and the new one to the record: no
later failure leaves an ended name unrecorded.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from twotier.core.flow.batch import run_batch
from twotier.core.flow.drive import Flow
from twotier.errors import RemoteError
from twotier.remote.commands.replicas import ReadGeneration
from twotier.remote.commands.sweep import AddNames

_GENERATION: Final = b"gen"
_PLACE: Final = re.compile(rb"([A-Za-z0-9_-]+)(?:[:{#!]|~!)")
"""The part of a key's name on the server between the namespace and the key."""


def record_of(generation_key: bytes) -> bytes:
    """Return the key of the record, in the slot of the generation's key.

    >>> record_of(b"shop:gen"), record_of(b"shop:gen{1a2}")
    (b'shop:sweep', b'shop:sweep{1a2}')
    """
    namespace, colon, rest = generation_key.partition(b":")
    return b"%b%bsweep%b" % (namespace, colon, rest.removeprefix(_GENERATION))


def name_in(place: bytes, stem: bytes) -> bytes | None:
    """Return the generation in the name of a key on the server, of any kind; None if the name has none.

    >>> name_in(b"shop:AbCd-_12:user:7", b"shop:"), name_in(b"shop:AbCd-_12~!user:7", b"shop:")
    (b'AbCd-_12', b'AbCd-_12')
    >>> name_in(b"shop:wb!lease", b"shop:"), name_in(b"shop:fleet.0", b"shop:")
    (b'wb', None)
    """
    found = _PLACE.match(place, len(stem)) if place.startswith(stem) else None
    return None if found is None else found[1]


def record_clear(
    keys: Mapping[int, bytes], known: Mapping[int, bytes], name: bytes, is_ours: Callable[[bytes], bool]
) -> Flow[dict[int, RemoteError]]:
    """Record, by group, the names that are about to end, and the new `name`; return the groups that failed.

    `keys` are the generations' keys, `known` the names that are known to be in force; the others are read.
    """
    names = dict(known)
    unknown = [group for group in keys if group not in names]
    lost: dict[int, RemoteError] = {}
    answers = yield from run_batch([ReadGeneration(keys[group]) for group in unknown])
    for group, answer in zip(unknown, answers, strict=True):
        if isinstance(answer, RemoteError):
            lost[group] = answer
        elif answer is not None and is_ours(answer):
            names[group] = answer
    left = [group for group in keys if group not in lost]
    ending = [(names[group], name) if group in names else (name,) for group in left]
    outcomes = yield from run_batch(
        [AddNames(record_of(keys[group]), both) for group, both in zip(left, ending, strict=True)]
    )
    added = zip(left, outcomes, strict=True)
    return lost | {group: outcome for group, outcome in added if isinstance(outcome, RemoteError)}
