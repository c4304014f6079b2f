"""The bytes on the wire, pinned: a change of them is a change of the format's version, and older ones stay readable."""

import struct
from hashlib import blake2b

import pytest

from twotier.codec.envelope import Envelope, Sealed
from twotier.codec.tag_stamps import pack_stamps, unpack_stamps
from twotier.codec.values import Values
from twotier.coherence.message import Message, MessageCodec
from twotier.options import Options

OP_ID = bytes(range(16))
HEX = OP_ID.hex()
SECRETS = (b"secret",)

SENT_AT = 1_700_000_000_123_456
KEYS = "00000001 00000002 61 c3a9"
MESSAGES = {
    "v1, unsigned": ((), 0, f"01 01 {HEX} 00000002 {KEYS}"),
    "v1, signed": (SECRETS, 0, f"01 81 {HEX} 00000002 {KEYS} d961421ff34c23fbe81c38de327de5be"),
    "v2, unsigned": ((), SENT_AT, f"02 01 {HEX} 00000002 00060a2418202240 {KEYS}"),
    "v2, signed": (SECRETS, SENT_AT, f"02 81 {HEX} 00000002 00060a2418202240 {KEYS} bdf8225d1fa742e8c16bd2c46ba7e4e1"),
}
"""Secrets, time of sending, and bytes of a "set" of the keys "a" and "é", for each version."""

KINDS = {"set": "01", "delete": "02", "tag": "03", "clear": "04", "expire": "05"}

PLACE = b"ns:generation:key"
CHECK, MAC_1, MAC_2 = "8dafc2b2215d8f81", "7c3b50b7adf256064da4f65b6d22efa9", "b6c4d208ca1bdc2abc89f0142c1599cd"
ENVELOPES = {
    "v1, unsigned": ((), f"f274740101{HEX}{CHECK}{b'payload'.hex()}"),
    "v1, signed": (SECRETS, f"f274740181{HEX}{CHECK}{MAC_1}{b'payload'.hex()}"),
    "v2, unsigned": ((), f"f274740201{HEX}{CHECK}{b'payload'.hex()}"),
    "v2, signed": (SECRETS, f"f274740281{HEX}{CHECK}{MAC_2}{b'payload'.hex()}"),
}
"""Secrets and bytes of an envelope, for each format: the first is read for one release, and not written any more."""

LEASE_CHECK = "58fafd6296aba17c"
ABSENCES = {
    "v1, unsigned": (None, f"f274740120{HEX}{LEASE_CHECK}"),
    "v1, signed": ("a key of 16 bytes", f"f2747401a0{HEX}{LEASE_CHECK}348527095d89afcb1ddd2ac32492fa96"),
    "v2, unsigned": (None, f"f274740220{HEX}{LEASE_CHECK}"),
    "v2, signed": ("a key of 16 bytes", f"f2747402a0{HEX}{LEASE_CHECK}451599e1fae2cf96eaa6588404abfe97"),
}


@pytest.mark.parametrize(("secrets", "sent_at", "expected"), MESSAGES.values(), ids=MESSAGES)
def test_messages_of_each_version_are_read(secrets, sent_at, expected):
    """A message of this version, or the one before it, is read as what was sent."""
    codec = MessageCodec(secrets, "shop")
    assert codec.decode(bytes.fromhex(expected)) == Message("set", OP_ID, ("a", "é"), sent_at)


@pytest.mark.parametrize("version", ["v2, unsigned", "v2, signed"])
def test_messages_are_written_in_the_current_version(version):
    """A message has the very bytes that other processes expect."""
    secrets, sent_at, expected = MESSAGES[version]
    assert MessageCodec(secrets, "shop").encode(Message("set", OP_ID, ("a", "é"), sent_at)) == bytes.fromhex(expected)


@pytest.mark.parametrize(("kind", "op"), KINDS.items(), ids=KINDS)
def test_kinds_of_messages(kind, op):
    """Each kind of message has its own byte."""
    message = Message(kind, OP_ID, ("a", "é"), SENT_AT)
    expected = bytes.fromhex(f"02 {op} {HEX} 00000002 00060a2418202240 {KEYS}")
    assert MessageCodec((), "shop").encode(message) == expected
    assert MessageCodec((), "shop").decode(expected) == message


@pytest.mark.parametrize(("secrets", "expected"), ENVELOPES.values(), ids=ENVELOPES)
def test_envelopes_of_each_format_are_read(secrets, expected):
    """A value in this format, or the one before it, is read from the bytes that other processes write."""
    assert Envelope(secrets, "ns").open(PLACE, bytes.fromhex(expected)) == Sealed(OP_ID, 1, b"payload")


@pytest.mark.parametrize("version", ["v2, unsigned", "v2, signed"])
def test_envelopes_are_written_in_the_current_format(version):
    """A value has the very bytes that other processes expect."""
    secrets, expected = ENVELOPES[version]
    assert Envelope(secrets, "ns").seal(PLACE, OP_ID, b"payload", 1).hex() == expected


def test_the_mac_is_over_fields_of_their_own_length():
    """What is signed can be made again from this page: namespace, kind, generation, key, header, payload."""
    key = blake2b(SECRETS[0], digest_size=32, person=b"twotier-envelop2").digest()
    fields = struct.pack(">I", 2) + b"ns" + struct.pack(">BHI", 1, 10, 3) + b"generation" + b"key"
    header = bytes.fromhex(f"f274740281{HEX}{CHECK}")
    assert blake2b(fields + header + b"payload", key=key, digest_size=16).hexdigest() == MAC_2


STAMPS = f"02 01 61 {bytes(range(8)).hex()} 02 c3a9 {bytes(range(8, 16)).hex()}"
TAGGED = {
    "v1, unsigned": ((), f"f2747401 41 {HEX} {CHECK} {STAMPS}" + b"payload".hex()),
    "v1, signed": (SECRETS, f"f2747401 c1 {HEX} {CHECK} eafe56093a6acbbc1a790e46cf85e421 {STAMPS}" + b"payload".hex()),
    "v2, unsigned": ((), f"f2747402 41 {HEX} {CHECK} {STAMPS}" + b"payload".hex()),
    "v2, signed": (SECRETS, f"f2747402 c1 {HEX} {CHECK} 0c1c5969ffaa35f6ed33c847c7579629 {STAMPS}" + b"payload".hex()),
}
"""Tags "a" and "é" before a payload, and a flag of the envelope that says so."""


@pytest.mark.parametrize(("secrets", "expected"), TAGGED.values(), ids=TAGGED)
def test_envelopes_of_tagged_values(secrets, expected):
    """Tags stand before the payload with their versions, and are signed with it."""
    envelope = Envelope(secrets, "ns")
    opened = envelope.open(PLACE, bytes.fromhex(expected))
    stamps = {"a": bytes(range(8)), "é": bytes(range(8, 16))}
    assert opened == Sealed(OP_ID, 0x41, pack_stamps(stamps) + b"payload")
    assert unpack_stamps(opened.payload) == (stamps, b"payload")
    if expected.startswith("f2747402"):
        assert envelope.seal(PLACE, OP_ID, opened.payload, 0x41).hex() == expected.replace(" ", "")


@pytest.mark.parametrize(("secret", "expected"), ABSENCES.values(), ids=ABSENCES)
def test_absences(secret, expected):
    """What says that there is nothing has the very bytes that other processes expect; it stands in a lease's place."""
    values = Values(Options(namespace="ns", secret=secret))
    if expected.startswith("f2747402"):
        assert values.absence(b"ns:g!key", OP_ID).hex() == expected
    assert values.absent(b"ns:g!key", bytes.fromhex(expected)) == {}
    assert values.absent(b"ns:g!other", bytes.fromhex(expected)) is None
    assert values.absent(b"ns:g!key", OP_ID) is None
    tagged = values.absence(b"ns:g!key", OP_ID, pack_stamps({"user": bytes(8)}))
    assert tagged.endswith(b"\x01\x04user" + bytes(8))
    assert values.absent(b"ns:g!key", tagged) == {"user": bytes(8)}
    assert values.absent(b"ns:g!key", values.absence(b"ns:g!key", OP_ID, b"\x01")) is None
    assert values.load(b"ns:g!key", bytes.fromhex(expected)) is None


def test_entries_of_a_stream():
    """An entry of a write-behind's stream is signed as one: under the same name it is no value."""
    values = Values(Options(namespace="ns", secret="a key of 16 bytes"))
    entry = values.wrap(b"ns:wb\0key", OP_ID, b"Ppayload")
    assert entry.hex().startswith("f2747402")
    assert values.unwrap(b"ns:wb\0key", entry).payload == b"Ppayload"
    assert values.load(b"ns:wb\0key", entry) is None
    assert values.unwrap(b"ns:wb\0kez", entry) is None
