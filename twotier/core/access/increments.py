"""The flow of `incr`: one round trip on one server and in a cluster, however many others count.

Where values are signed, the number is stored raw beside a signed warrant
(`remote/commands/counters.py`). The first `incr` turns a value that `set` has stored into a
counter, unless the value changes meanwhile. That costs two round trips, and one more to find the
value out where neither the local tier nor an earlier read has shown it.
"""

import enum
from typing import Any, Final

from twotier.core.access.keys import INT64
from twotier.core.access.ttl import milliseconds
from twotier.core.flow.drive import Flow
from twotier.core.namespace.namespace import TwoTierNamespace
from twotier.core.tags.conditional_writes import ATTEMPTS, ConditionalWrites, CurrentValue, contended
from twotier.errors import RemoteError
from twotier.opid import NO_OP, op_tag
from twotier.remote.commands.base import (
    KEY_MISSING,
    Fetch,
    Fetched,
    IntegerOverflow,
    NotAnInteger,
    OtherTypeError,
    Put,
    PutMany,
    TimeLeft,
    Write,
)
from twotier.remote.commands.counters import OVERFLOW, Increment, IncrementFrom, WarrantedIncrement, WarrantedNumber

_LONGER: Final = 1000
"""Milliseconds by which a warrant that is written after its number outlives the number."""


class Again(enum.Enum):
    """In place of an outcome: try again, since the key seems to have this kind of number."""

    COUNTER = "a counter's number"
    SIGNED = "a signed number"


class Increments(ConditionalWrites):
    """The conditional writes, and the flow that counts."""

    def incr(self, key: str, delta: int, ttl: int, *, create: bool) -> Flow[int | None]:
        """Add `delta` to the integer under `key`; if there is none, start from 0, or (not `create`) return None.

        Raises RemoteError while the remote tier doesn't answer, as a counter can't be guessed; TypeError
        if the value is no integer of 64 bits, or has tags; OverflowError if the sum doesn't fit into 64 bits.
        """
        namespace = self._open()
        op_id = namespace.op_ids.next()
        signed = yield from self._is_signed(key, looks=not create)
        if signed is None:
            return None
        outcome: int | Again | None = Again.COUNTER
        for _ in range(ATTEMPTS):
            try:
                if signed:
                    outcome = yield from self._count_from(key, delta, op_id)
                else:
                    outcome = yield from self._add_to(key, delta, ttl, op_id, create=create)
            except BaseException as error:
                namespace.late.abandon(op_id, {key: None}, error)
                raise
            if not isinstance(outcome, Again):
                namespace.store.apply((key,), op_tag(op_id))
                return outcome
            signed = outcome is Again.SIGNED
        raise contended(key)

    def _open(self) -> TwoTierNamespace:
        namespace = self._namespace
        namespace.check_open()
        namespace.ensure_listening()
        return namespace

    def _is_signed(self, key: str, *, looks: bool) -> Flow[bool | None]:
        """Return True if `key` seems to have a signed value, None if it has none; `looks`: ask the server."""
        namespace = self._namespace
        if not looks:
            return namespace.values.signs and namespace.store.op(key) not in (None, NO_OP)
        place = yield from namespace.generations.place(key)
        if not namespace.values.signs:
            left: int = yield TimeLeft(place)
            return None if left == KEY_MISSING else False
        fetched: Fetched = yield Fetch(place)
        if fetched.pttl == KEY_MISSING:
            return None
        return fetched.data is not None and not namespace.values.is_bare_number(fetched.data)

    def _add_to(self, key: str, delta: int, ttl: int, op_id: bytes, *, create: bool) -> Flow[int | Again | None]:
        """Add to a counter's number; if there is none, to 0, or (not `create`) return None.

        Returns Again if the key has changed meanwhile, or has a signed number.
        """
        try:
            if self._namespace.values.signs:
                return (yield from self._add_to_warranted(key, delta, ttl, op_id, create=create))
            return (yield from self._add_to_number(key, delta, ttl, op_id, create=create))
        except IntegerOverflow:
            raise _overflow(key, delta) from None
        except (NotAnInteger, OtherTypeError):
            standing = yield from self._standing(key)
        again = self._seems(key, standing)
        if again is not None:
            return again
        if not create:
            return None
        return delta if (yield from self._begin(key, standing.data, delta, ttl, op_id)) else Again.COUNTER

    def _seems(self, key: str, standing: CurrentValue) -> Again | None:
        """Return the kind of number that `key` has now, None if it has no valid value; TypeError for other values."""
        values, valid = self._namespace.values, standing.valid
        if valid is None:
            return Again.COUNTER if standing.data is not None and values.is_bare_number(standing.data) else None
        if valid.op_id is None:
            return Again.COUNTER
        if not valid.stamps and values.signs and values.is_number(valid.payload):
            return Again.SIGNED
        raise TypeError(f"the value of {key!r} is no integer of 64 bits, or has tags")

    def _add_to_number(self, key: str, delta: int, ttl: int, op_id: bytes, *, create: bool) -> Flow[int | None]:
        namespace, life = self._namespace, milliseconds(ttl)
        publication = namespace.publication("set", op_id, (key,))

        def make(place: bytes) -> Increment:
            return Increment(place, delta, life, create, publication, namespace.generations.leases((place,)))

        return (yield from namespace.generations.write(key, make))

    def _add_to_warranted(self, key: str, delta: int, ttl: int, op_id: bytes, *, create: bool) -> Flow[int | None]:
        namespace, life = self._namespace, milliseconds(ttl)
        publication = namespace.publication("set", op_id, (key,))
        names: list[bytes] = []

        def make(place: bytes) -> WarrantedIncrement:
            names[:] = namespace.generations.warrants((place,))
            warrant = namespace.values.warrant(names[0], op_id)
            leases = namespace.generations.leases((place,))
            return WarrantedIncrement(place, delta, life, create, names[0], warrant, publication, leases)

        counted: WarrantedNumber = yield from namespace.generations.write(key, make)
        if counted.value is not None:
            yield from self._warrant(names[0], op_id, counted)
        return counted.value

    def _warrant(self, name: bytes, op_id: bytes, counted: WarrantedNumber) -> Flow[None]:
        """Sign a counter's warrant, and let it live as long as the number; the next increment retries a failure."""
        values = self._namespace.values
        if (counted.settled and values.is_warrant(name, counted.warrant)) or counted.pttl == KEY_MISSING:
            return
        life = None if counted.pttl == -1 else counted.pttl + _LONGER
        try:
            yield Put(name, values.warrant(name, op_id), life, absent=False, publication=None)
        except RemoteError:
            self._namespace.counters.remote_errors += 1

    def _count_from(self, key: str, delta: int, op_id: bytes) -> Flow[int | Again]:
        """Turn a signed number into a counter, and add to it; return Again if there is none, or it has changed."""
        namespace, values = self._namespace, self._namespace.values
        publication = namespace.publication("set", op_id, (key,))

        def make(place: bytes, generation_key: bytes) -> IncrementFrom:
            (name,) = namespace.generations.warrants((place,))
            return IncrementFrom(
                place,
                delta,
                lambda data: values.signed_number(place, data),
                INT64,
                name,
                values.warrant(name, op_id),
                publication,
                namespace.generations.leases((place,)),
                generation_key,
            )

        counted: int | str | None = yield from namespace.generations.write_if(key, make)
        if counted == OVERFLOW:
            raise _overflow(key, delta)
        return counted if isinstance(counted, int) else Again.COUNTER

    def _begin(self, key: str, seen: bytes | None, delta: int, ttl: int, op_id: bytes) -> Flow[bool]:
        """Put a new counter in place of an ended value; return True if the counter was put."""
        namespace, life = self._namespace, milliseconds(ttl)
        publication = namespace.publication("set", op_id, (key,))

        def begin(place: bytes) -> Write[Any]:
            leases = namespace.generations.leases((place,))
            number = (place, b"%d" % delta, life)
            if not namespace.values.signs:
                return Put(*number, absent=False, publication=publication, voids=leases)
            (name,) = namespace.generations.warrants((place,))
            return PutMany([number, (name, namespace.values.warrant(name, op_id), life)], publication, leases)

        return (yield from self._replace(key, seen, begin))


def _overflow(key: str, delta: int) -> OverflowError:
    return OverflowError(f"the sum of {key!r} and {delta} doesn't fit into 64 bits")
