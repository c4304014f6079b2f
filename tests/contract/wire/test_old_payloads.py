"""Values that the release before stored without a secret are read, and their payloads are today's from then on."""

import pytest

from twotier.codec.envelope import Envelope
from twotier.codec.tag_stamps import pack_stamps
from twotier.codec.values import Values
from twotier.options import Options

OP_ID = bytes(range(16))
OLD = bytes.fromhex("80055d94284b014b02652e")  # [1, 2]
KEY = b"ns:g:key"


@pytest.fixture
def values():
    """The values of a cache without a secret."""
    return Values(Options(namespace="ns"))


@pytest.mark.parametrize("tags", [{}, {"a": bytes(8)}], ids=["untagged", "tagged"])
def test_an_old_value_is_read(values, tags):
    """An envelope of flag 1 gives its value, and a payload of the codec in use."""
    stamps = pack_stamps(tags) if tags else b""
    data = Envelope((), "ns").seal(KEY, OP_ID, stamps + OLD, 1 | (0x40 if tags else 0))
    loaded = values.load(KEY, data)
    assert loaded.value == [1, 2]
    assert loaded.payload == values.encode([1, 2])
    assert dict(loaded.stamps) == tags


def test_a_new_value_is_not_read_as_an_old_one(values):
    """The flag decides, not what the bytes look like; with a secret nothing of flag 1 or 3 is read."""
    envelope = Envelope((), "ns")
    assert values.load(KEY, envelope.seal(KEY, OP_ID, OLD, 3)) is None
    assert values.load(KEY, envelope.seal(KEY, OP_ID, values.encode([1]), 1)) is None
    signing = Values(Options(namespace="ns", secret="s" * 16))
    for flag in (1, 3):
        assert signing.load(KEY, Envelope((b"s" * 16,), "ns").seal(KEY, OP_ID, OLD, flag)) is None


def test_an_old_entry_of_a_stream_is_read(values):
    """What a write-behind of the release before put into its stream reaches the source."""
    value, payload = values.read(OLD, 1)
    assert value == [1, 2]
    assert payload == values.encode([1, 2])
    assert values.read(b"42", 1) == (42, b"42")
