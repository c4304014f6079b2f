"""The message format: exact round trips, nothing foreign taken, signatures checked, bytes pinned."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twotier.coherence.message import LATER, LATEST_VERSION, MAC_BYTES, Kind, Message, MessageCodec, _mac

OP_ID = bytes(range(16))
KINDS: tuple[Kind, ...] = ("set", "delete", "tag", "clear", "expire")
messages = st.builds(
    Message,
    st.sampled_from(KINDS),
    st.binary(min_size=16, max_size=16),
    st.lists(st.text(st.characters()), max_size=20).map(tuple),
    st.integers(0, (1 << 64) - 1),
)


@pytest.fixture(params=[(), (b"one",), (b"new" * 100, b"one")], ids=["unsigned", "signed", "rotating"])
def codec(request):
    """A codec without secrets, with one, and with two."""
    return MessageCodec(request.param, "shop")


@given(message=messages)
def test_round_trip(message):
    """Any keys come back exactly, lone surrogates included, signed or not."""
    for secrets in ((), (b"secret",)):
        codec = MessageCodec(secrets, "shop")
        assert codec.decode(codec.encode(message)) == message


def test_every_truncation_and_extension_is_foreign(codec):
    """A message that was cut anywhere, or has something behind it, is refused."""
    payload = codec.encode(Message("delete", OP_ID, ("key", "käy")))
    for cut in range(len(payload)):
        assert codec.decode(payload[:cut]) is None
    assert codec.decode(payload + b"\0") is None


@given(noise=st.binary(max_size=200))
def test_noise_never_raises(noise):
    """Whatever else arrives on the channel is refused, or is a message; it never raises."""
    assert MessageCodec((b"secret",), "shop").decode(noise) is None
    for version in (b"\x01", b"\x02", b"\x03"):
        MessageCodec((), "shop").decode(version + b"\x01" + noise)


def test_hostile_counts_cost_nothing():
    """A count or a length far past the payload is refused before anything is made of it."""
    codec = MessageCodec((), "shop")
    for version, sent_at in ((b"\x01", b""), (b"\x02", bytes(8))):
        assert codec.decode(version + b"\x01" + OP_ID + b"\xff" * 4 + sent_at) is None
        assert codec.decode(version + b"\x01" + OP_ID + b"\0\0\0\x01" + sent_at + b"\xff" * 4 + b"a") is None


@pytest.mark.parametrize("at", [0, 1, 2, 17, 20, 24, 29, 30, 34, 36])
def test_every_flipped_bit_of_a_signed_message_is_seen(at):
    """Nothing of a signed message can be changed: version, op, op id, count, time, lengths, keys, MAC."""
    codec = MessageCodec((b"secret",), "shop")
    payload = bytearray(codec.encode(Message("set", OP_ID, ("key",))))
    payload[at] ^= 1
    assert codec.decode(bytes(payload)) is None


def test_a_signature_binds_the_namespace_and_the_secret():
    """A message signed for another namespace, with another secret, or not at all is refused."""
    message = Message("clear", OP_ID)
    codec = MessageCodec((b"secret",), "shop")
    assert codec.decode(MessageCodec((b"secret",), "shop2").encode(message)) is None
    assert codec.decode(MessageCodec((b"other",), "shop").encode(message)) is None
    assert codec.decode(MessageCodec((), "shop").encode(message)) is None


def test_the_signed_bit_can_not_be_taken_off():
    """Neither clearing the bit nor dropping the MAC makes a message pass where secrets are set."""
    codec = MessageCodec((b"secret",), "shop")
    payload = codec.encode(Message("set", OP_ID, ("key",)))
    unsigned = payload[:1] + b"\x01" + payload[2:]
    assert codec.decode(unsigned) is None
    assert codec.decode(unsigned[:-MAC_BYTES]) is None


def test_rotation_takes_both_secrets_and_signs_with_the_first():
    """While secrets rotate, processes with the old one and with both understand each other."""
    old, both = MessageCodec((b"old",), "shop"), MessageCodec((b"new", b"old"), "shop")
    new = MessageCodec((b"new",), "shop")
    message = Message("tag", OP_ID, ("red",))
    assert both.decode(old.encode(message)) == message
    assert new.decode(both.encode(message)) == message
    assert old.decode(both.encode(message)) is None


def test_without_secrets_signed_messages_are_taken():
    """A process that can't check signatures rather drops an entry too many than serves a stale one."""
    message = Message("set", OP_ID, ("key",))
    assert MessageCodec((), "shop").decode(MessageCodec((b"secret",), "shop").encode(message)) == message


def test_other_ops_are_foreign():
    """An op that isn't known is refused, and so is what begins with no version."""
    codec = MessageCodec((), "shop")
    payload = codec.encode(Message("set", OP_ID, ("key",)))
    assert codec.decode(payload[:1] + b"\x06" + payload[2:]) is None
    assert codec.decode(payload[:1] + b"\x00" + payload[2:]) is None
    assert codec.decode(b"\x00" + payload[1:]) is None
    assert codec.decode(b"\x10" + payload[1:]) is None
    assert codec.decode(b"hello, this is a text and no message") is None


def test_later_versions_are_told_from_noise():
    """A message of a later version is known as one, whatever it says, but only where its signature holds."""
    codec = MessageCodec((), "shop")
    for version in range(3, LATEST_VERSION + 1):
        assert codec.decode(bytes([version]) + b"\x77" + bytes(40)) is LATER
    signing = MessageCodec((b"secret",), "shop")
    payload = signing.encode(Message("set", OP_ID, ("key",)))
    assert signing.decode(b"\x03" + payload[1:]) is None
    later = b"\x03" + payload[1:-MAC_BYTES]
    assert signing.decode(later + _mac(signing._macs[0], later)) is LATER


def test_a_short_op_id_is_named():
    """An op id of the wrong size is a caller's mistake, and says so."""
    with pytest.raises(ValueError, match="op_id must be 16 bytes, got 3"):
        MessageCodec((), "shop").encode(Message("set", b"abc", ()))
