"""Values as they stand on the server: exact round trips, raw integers, limits, and None for what can't be used."""

import logging
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twotier.clock import ManualClock
from twotier.codec.envelope import Envelope
from twotier.codec.values import Loaded, Values
from twotier.errors import SerializationError
from twotier.options import Options

KEY, OP_ID = b"ns:gen:key", bytes(range(16))
RESTRICTED = Values(Options())
SIGNED = Values(Options(secret="a key of 16 bytes"))
BOTH = [pytest.param(RESTRICTED, id="restricted"), pytest.param(SIGNED, id="signed")]


class Anything:
    """A type that only unrestricted pickle takes."""

    def __eq__(self, other):
        return isinstance(other, Anything)

    __hash__ = None


@pytest.mark.parametrize("values", BOTH)
@given(
    number=st.integers(-(2**70), 2**70) | st.integers(-(2**63) - 2, -(2**63) + 2) | st.integers(2**63 - 2, 2**63 + 2)
)
def test_integers(values, number):
    """Unsigned integers of 64 bits are stored raw, without op id; others in an envelope; all come back as they were."""
    data = values.dump(KEY, OP_ID, number)
    raw = -(2**63) <= number < 2**63 and values is not SIGNED
    assert (data == b"%d" % number) is raw
    loaded = values.load(KEY, data)
    assert (loaded.value, type(loaded.value), loaded.op_id) == (number, int, None if raw else OP_ID)
    assert values.decode(loaded.payload) == number


@pytest.mark.parametrize("values", BOTH)
def test_booleans_are_no_integers(values):
    """True stays True, and 1 stays 1."""
    for value in (True, False, 1, 0, 1.0, None, "", b"", "1", b"1"):
        loaded = values.load(KEY, values.dump(KEY, OP_ID, value))
        assert (loaded.value, type(loaded.value)) == (value, type(value))


@pytest.mark.parametrize("values", BOTH)
@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"-", b"--1", b"+1", b"01", b"-0", b" 1", b"1 ", b"1\n", b"1_0", b"1.0", b"1e5", b"\xd9\xa1"),
        *(b"9223372036854775808", b"-9223372036854775809", b"1" * 30, b"\x80\x05K\x01.", b"hello", b"\xf2tt\x01"),
    ],
)
def test_what_is_neither_ours_nor_an_integer(values, data):
    """Foreign bytes are None, near misses of integers included."""
    assert values.load(KEY, data) is None


def test_payload_and_op_id_come_along():
    """A loaded value brings the bytes that decode to it and the write that made it."""
    loaded = RESTRICTED.load(KEY, RESTRICTED.dump(KEY, OP_ID, ["a"]))
    assert loaded == Loaded(["a"], OP_ID, RESTRICTED.encode(["a"]))
    assert RESTRICTED.decode(loaded.payload) == ["a"]


def test_another_key_is_none():
    """The value of another key, an envelope that a misdirected reply brings, is None."""
    assert RESTRICTED.load(b"ns:gen:kez", RESTRICTED.dump(KEY, OP_ID, "v")) is None


def test_any_type_behind_a_secret():
    """With a secret any picklable type is taken, without one it is refused by name."""
    loaded = SIGNED.load(KEY, SIGNED.dump(KEY, OP_ID, Anything()))
    assert loaded.value == Anything()
    with pytest.raises(SerializationError, match=r"Anything.*allow"):
        RESTRICTED.dump(KEY, OP_ID, Anything())


def test_allowed_types():
    """A type that is allowed is taken without a secret."""
    values = Values(Options(allow=[Anything]))
    assert values.load(KEY, values.dump(KEY, OP_ID, Anything())).value == Anything()


def test_only_signed_pickles_are_unpickled():
    """Unrestricted pickle is fed nothing that we didn't sign: neither plain values nor another secret's."""
    for other in (
        RESTRICTED,
        Values(Options(secret="another of 16 bytes")),
        Values(Options(secret="a key of 16 bytes", namespace="other")),
    ):
        assert SIGNED.load(KEY, other.dump(KEY, OP_ID, "v")) is None


def test_a_payload_of_the_other_codec_is_refused():
    """The envelope says which codec wrote a payload; no codec reads the other's."""
    envelope = Envelope((), Options().namespace)
    assert RESTRICTED.load(KEY, envelope.seal(KEY, OP_ID, pickle.dumps("v", 5), 2)) is None
    assert RESTRICTED.load(KEY, envelope.seal(KEY, OP_ID, pickle.dumps("v", 5), 1)).value == "v"


def test_largest_value():
    """A value over max_value_bytes is refused at dump with both figures, and at load it is None."""
    small, large = Values(Options(max_value_bytes=1000)), Values(Options())
    assert small.load(KEY, small.dump(KEY, OP_ID, "x" * 900)).value == "x" * 900
    with pytest.raises(SerializationError, match=r"10\d\d bytes.*1000"):
        small.dump(KEY, OP_ID, "x" * 1000)
    assert small.load(KEY, large.dump(KEY, OP_ID, "x" * 2000)) is None


def test_damaged_payloads_are_none():
    """A payload that was altered is None or another value, and raises nothing."""
    data = RESTRICTED.dump(KEY, OP_ID, {"a": [1, 2.5, ("x", b"y")]})
    for at in range(29, len(data)):
        for flip in (1, 0x40, 0xFF):
            RESTRICTED.load(KEY, data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :])
        assert RESTRICTED.load(KEY, data[:at]) is None


@pytest.mark.parametrize("values", BOTH)
def test_decode_refuses_what_is_no_payload(values):
    """Bytes that encode never gave raise SerializationError."""
    for payload in (b"", b"-", b"1x", b"\x80\x05", b"junk"):
        with pytest.raises(SerializationError):
            values.decode(payload)


def test_complaints_are_logged_once_a_minute(caplog):
    """Unusable values are logged, without key or content, and once a minute."""
    clock = ManualClock()
    values = Values(Options(clock=clock))
    with caplog.at_level(logging.WARNING, "twotier"):
        for _ in range(10):
            values.load(b"ns:hunter2", b"hunter2")
        clock.advance(59)
        values.load(b"ns:hunter2", b"hunter2")
        assert len(caplog.records) == 1
        clock.advance(1)
        values.load(b"ns:hunter2", b"hunter2")
        assert len(caplog.records) == 2
    assert "hunter2" not in caplog.text


def test_a_raw_number_is_no_signed_value():
    """Where values are signed, a number counts only for who has seen that it is a counter's."""
    for data in (b"1", b"-7", b"0"):
        assert SIGNED.is_bare_number(data)
        assert not RESTRICTED.is_bare_number(data)
        assert SIGNED.load(KEY, data) is None
        assert SIGNED.load(KEY, data, counted=True).value == int(data)
    assert SIGNED.signed_number(KEY, SIGNED.dump(KEY, OP_ID, 7)) == 7
    assert SIGNED.signed_number(KEY, SIGNED.dump(KEY, OP_ID, "7")) is None
    assert SIGNED.signed_number(KEY, b"7") is None
