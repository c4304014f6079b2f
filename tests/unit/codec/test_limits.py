"""What the plain codec bounds when it encodes: depth, length, and what a value weighs for its length."""

import collections

import pytest
from twin_codecs import CODECS, plain_codec

from twotier.errors import SerializationError


@pytest.fixture(params=CODECS)
def codec(request):
    """The plain codec, compiled and in Python."""
    return CODECS[request.param]


@pytest.mark.parametrize("depth", [199, 200])
def test_the_depth_that_is_taken(codec, depth):
    """200 levels come back; the next one is refused both ways."""
    value = None
    for level in range(depth):
        value = ([value], {"k": value}, collections.deque([value]))[level % 3]
    back = codec.decode(codec.encode(value))
    for _ in range(depth):
        (back,) = back.values() if type(back) is dict else back
    assert back is None
    for _ in range(depth, 201):
        value = [value]
    with pytest.raises(SerializationError, match="200"):
        codec.encode(value)


def test_a_value_that_grows_while_it_is_taken_apart():
    """A tuple that is shared is written each time: what comes to more than max_value_bytes is refused in time."""
    value = ("x" * 100,)
    for _ in range(60):
        value = (value, value)
    with pytest.raises(SerializationError, match="max_value_bytes"):
        plain_codec("compiled", most=10_000).encode(value)
    with pytest.raises(SerializationError, match="max_value_bytes"):
        plain_codec("python", most=10_000).encode(value)


def test_heavy_values_are_padded(codec):
    """What takes more memory than its bytes account for is padded with zeros to where they do, and comes back."""
    for value in ([set() for _ in range(2000)], [collections.deque() for _ in range(500)], [[] for _ in range(9000)]):
        payload = codec.encode(value)
        assert payload.endswith(bytes(100))
        assert codec.decode(payload) == value
        for wrong in (payload[:-1], payload + b"\0", payload[:-1] + b"\1"):
            with pytest.raises(SerializationError):
                codec.decode(wrong)
    assert not codec.encode([set() for _ in range(100)]).endswith(b"\0\0")


def test_ranges_of_huge_numbers(codec):
    """A range whose length takes long to find is refused both ways, and one of 1,024 bits comes back."""
    value = range(1, 1 << 1023, 7 << 900)
    assert codec.decode(codec.encode(value)) == value
    with pytest.raises(SerializationError, match="1024 bits"):
        codec.encode(range(1, 1 << 1024, 7))
