"""The bytes on the wire, pinned: a change of them is a change of the format's version, and older ones stay readable."""

import pytest

from twotier.coherence.message import Message, MessageCodec
from twotier.options import Options
from twotier.remote.envelope import Envelope, Sealed
from twotier.remote.stamps import pack_stamps, unpack_stamps
from twotier.remote.values import Values

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

CHECK, MAC = "ce7cccadc3a94cf5", "04da6df9529c451168252fc1f6fd2a41"
ENVELOPES = {
    "v1, unsigned": ((), f"f274740101{HEX}{CHECK}{b'payload'.hex()}"),
    "v1, signed": (SECRETS, f"f274740181{HEX}{CHECK}{MAC}{b'payload'.hex()}"),
}

LEASE_CHECK = "58fafd6296aba17c"
ABSENCES = {
    "v1, unsigned": (None, f"f274740120{HEX}{LEASE_CHECK}"),
    "v1, signed": ("a key of 16 bytes", f"f2747401a0{HEX}{LEASE_CHECK}348527095d89afcb1ddd2ac32492fa96"),
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
def test_envelopes(secrets, expected):
    """A value has the very bytes that other processes expect, and is read from them."""
    envelope = Envelope(secrets, "ns")
    assert envelope.seal(b"key", OP_ID, b"payload", 1).hex() == expected
    assert envelope.open(b"key", bytes.fromhex(expected)) == Sealed(OP_ID, 1, b"payload")


STAMPS = f"02 01 61 {bytes(range(8)).hex()} 02 c3a9 {bytes(range(8, 16)).hex()}"
TAGGED = {
    "v1, unsigned": ((), f"f2747401 41 {HEX} {CHECK} {STAMPS}" + b"payload".hex()),
    "v1, signed": (SECRETS, f"f2747401 c1 {HEX} {CHECK} c62b68bef4e8dc997e2e41f221ade9d9 {STAMPS}" + b"payload".hex()),
}
"""Tags "a" and "é" before a payload, and a flag of the envelope that says so."""


@pytest.mark.parametrize(("secrets", "expected"), TAGGED.values(), ids=TAGGED)
def test_envelopes_of_tagged_values(secrets, expected):
    """Tags stand before the payload with their versions, and are signed with it."""
    stamps = pack_stamps({"a": bytes(range(8)), "é": bytes(range(8, 16))})
    envelope = Envelope(secrets, "ns")
    sealed = envelope.seal(b"key", OP_ID, stamps + b"payload", 0x41)
    assert sealed.hex() == expected.replace(" ", "")
    opened = envelope.open(b"key", sealed)
    assert opened == Sealed(OP_ID, 0x41, stamps + b"payload")
    assert unpack_stamps(opened.payload) == ({"a": bytes(range(8)), "é": bytes(range(8, 16))}, b"payload")


@pytest.mark.parametrize(("secret", "expected"), ABSENCES.values(), ids=ABSENCES)
def test_absences(secret, expected):
    """What says that there is nothing has the very bytes that other processes expect; it stands in a lease's place."""
    values = Values(Options(namespace="ns", secret=secret))
    assert values.absence(b"ns:g!key", OP_ID).hex() == expected
    assert values.is_absence(b"ns:g!key", bytes.fromhex(expected))
    assert not values.is_absence(b"ns:g!other", bytes.fromhex(expected))
    assert not values.is_absence(b"ns:g!key", OP_ID)
    assert values.load(b"ns:g!key", bytes.fromhex(expected)) is None
