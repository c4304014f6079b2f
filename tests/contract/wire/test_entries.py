"""The bytes of a write-behind's entries and of its record, pinned; what the version before wrote is read."""

import pytest

from twotier import Options
from twotier.codec.values import Values
from twotier.core.write_behind.entries import Change, Entries, Retry
from twotier.core.write_behind.high_water import HighWater, Origin
from twotier.remote.commands.streams import Entry

OP_ID = bytes(range(16))
ORIGIN = Origin(b"writer-1", 7, 1_700_000_000_000_000)
WHENCE = b"writer-1" + bytes(7) + b"\x07" + (1_700_000_000_000_000).to_bytes(8, "big")
SECRET = "a key of 16 bytes"


def entries(secret=None):
    """Return the entries of a namespace, and what seals them."""
    values = Values(Options(namespace="shop", secret=secret))
    return Entries("shop", values), values


@pytest.mark.parametrize("secret", [None, SECRET], ids=["unsigned", "signed"])
def test_entries_have_the_bytes_that_other_processes_expect(secret):
    """One byte says what is to be done, the origin follows, and then the value."""
    ours, values = entries(secret)
    for fields, key, expected in (
        (ours.put("key", OP_ID, ORIGIN, b"42"), b"key", b"p" + WHENCE + b"42"),
        (ours.remove("key", OP_ID, ORIGIN), b"key", b"r" + WHENCE),
        (ours.retry(OP_ID, ORIGIN), b"", b"a" + WHENCE),
    ):
        assert fields[:3] == [b"k", key, b"d"]
        sealed = values.unwrap(b"shop:wb\0" + key, fields[3])
        assert (sealed.op_id, sealed.payload) == (OP_ID, expected)
    put = ours.open(Entry(b"1-0", ours.put("key", OP_ID, ORIGIN, b"42")))
    assert isinstance(put, Change)
    assert (put.key, put.value, put.removes, put.origin) == ("key", 42, False, ORIGIN)
    assert ours.open(Entry(b"1-0", ours.remove("key", OP_ID, ORIGIN))).removes
    assert ours.open(Entry(b"1-0", ours.retry(OP_ID, ORIGIN))) == Retry(ORIGIN)


@pytest.mark.parametrize("secret", [None, SECRET], ids=["unsigned", "signed"])
def test_entries_of_the_version_before(secret):
    """Without a secret they are read; with one they are foreign, as nobody can say whether the source has had them."""
    ours, values = entries(secret)

    def opened(key, payload):
        return ours.open(Entry(b"1-0", [b"k", key, b"d", values.wrap(b"shop:wb\0" + key, OP_ID, payload)]))

    found = [opened(b"key", b"P42"), opened(b"key", b"R"), opened(b"", b"A")]
    if secret is not None:
        assert found == [None, None, None]
        return
    put, remove, retry = found
    assert (put.key, put.value, put.origin) == ("key", 42, None)
    assert (remove.removes, remove.origin, retry) == (True, None, Retry(None))


def test_the_record_has_the_bytes_that_other_processes_expect():
    """Format, floor, and for each writer its numbers: the highest, then spans of open and dead ones."""
    record = HighWater()
    record.had([ORIGIN])
    record.died(ORIGIN._replace(number=3))
    time = (1_700_000_000_000_000).to_bytes(8, "big").hex()
    spans = "".join(number.to_bytes(8, "big").hex() for number in (1, 2, 4, 6, 3, 3))
    assert (
        record.pack().hex()
        == f"01{'00' * 8}00000001{b'writer-1'.hex()}{'00' * 8}{time}{'00' * 7}07{'00' * 3}02{'00' * 3}01{spans}"
    )
