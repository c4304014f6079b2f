"""The versions of tags on a real server: made once, read with their lives, prolonged, never cut short."""

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from twotier.codec.tag_stamps import pack_stamps, unpack_stamps
from twotier.codec.values import Values, is_tagged
from twotier.errors import RemoteError
from twotier.options import Options
from twotier.remote.commands.base import Publication, Put
from twotier.remote.commands.conditional_writes import Add, ExpireIfLive, WithPrevious
from twotier.remote.commands.tags import ExtendVersions, MakeVersions, ReadVersions, Version
from twotier.remote.io.errors import OutOfStepError
from twotier.resp import ErrorReply

PUBLICATION = Publication(b"channel", b"payload")
STAMPS = {"x": b"12345678", "é\ud800": bytes(8)}
KEY, OP_ID = b"ns:gen:key", bytes(range(16))


@pytest.fixture
def client(server):
    with redis.Redis.from_url(server.url) as made:
        yield made


@pytest.fixture
def keys(namespace):
    """Three keys."""
    return [f"{namespace}:#{name}".encode() for name in "abc"]


def test_versions_are_made_once(remote, client, keys):
    """Who comes first makes the version, with its life, and everybody reads it."""
    assert remote.run(ReadVersions(keys)) == [Version(None, -2)] * 3
    assert [made.name for made in remote.run(MakeVersions(keys[:2], [b"first", b"other"], 60_000))] == [
        b"first",
        b"other",
    ]
    names, lives = zip(*remote.run(MakeVersions(keys, [b"2", b"3", b"4"], None)), strict=True)
    assert names == (b"first", b"other", b"4")
    assert 50_000 < lives[0] <= 60_000
    assert lives[2] == -1
    assert [each.name for each in remote.run(ReadVersions(keys))] == list(names)
    assert client.ttl(keys[1]) == 60


def test_lives_are_prolonged_only(remote, client, keys):
    """A key lives at least as long as asked for, and no less than before."""
    remote.run(MakeVersions(keys[:2], [b"1", b"2"], 60_000))
    remote.run(MakeVersions(keys[2:], [b"3"], None))
    remote.run(ExtendVersions(keys, 90_000))
    assert [client.ttl(key) for key in keys] == [90, 90, -1]
    remote.run(ExtendVersions(keys, 10_000))
    assert [client.ttl(key) for key in keys] == [90, 90, -1]
    remote.run(ExtendVersions(keys, None))
    assert [client.ttl(key) for key in keys] == [-1, -1, -1]
    client.delete(keys[0])
    remote.run(ExtendVersions(keys, 10_000))
    assert client.get(keys[0]) is None


def test_another_type_is_no_version(remote, client, keys):
    """A list under a tag's key is none of ours."""
    client.rpush(keys[0], b"x")
    assert remote.run(MakeVersions(keys[:1], [b"1"], None)) == [Version(None, -1)]


def test_a_version_that_cannot_be_made_is_an_error():
    """A server that refuses to write (out of memory) is no reason to fail where there is a version."""
    refused = ErrorReply("OOM command not allowed")
    make = MakeVersions([b"a", b"b"], [b"1", b"2"], None)
    assert make.parse([refused, None, [b"old", b"2"], -1, -1]) == [Version(b"old", -1), Version(b"2", -1)]
    with pytest.raises(RemoteError, match="OOM"):
        make.parse([refused, None, [None, b"2"], -2, -1])


@pytest.mark.parametrize("replies", [[[b"1"], -1, -1], [b"1", -1, -1], [[b"1", 2], -1, -1], [[b"1", b"2"], -1, b"x"]])
def test_replies_of_another_shape_are_out_of_step(replies):
    """What can't be the answer isn't taken for it."""
    with pytest.raises(OutOfStepError):
        ReadVersions([b"a", b"b"]).parse(replies)


def test_writes_that_look(remote, client, keys):
    """They tell what stood, and write or not as those that don't look."""
    key = keys[0]
    assert remote.run(ExpireIfLive(key, 5000, PUBLICATION)) == WithPrevious(False, None)
    assert remote.run(Add(key, b"1", 60_000, PUBLICATION)) == WithPrevious(True, None)
    assert client.ttl(key) == 60
    assert remote.run(Add(key, b"2", None, PUBLICATION)) == WithPrevious(False, b"1")
    assert remote.run(ExpireIfLive(key, 90_000, PUBLICATION)) == WithPrevious(True, b"1")
    assert client.ttl(key) == 90
    assert remote.run(ExpireIfLive(key, None, PUBLICATION)) == WithPrevious(True, b"1")
    assert client.ttl(key) == -1
    client.delete(key)
    client.rpush(key, b"x")
    assert remote.run(Add(key, b"2", None, PUBLICATION)) == WithPrevious(False, None)
    assert remote.run(Put(key, b"v", None, False, PUBLICATION))
    for command in (Add(key, b"", None, None), ExpireIfLive(key, None, None)):
        for wrong in (b"1", [b"1", b"2"], [1]):
            with pytest.raises(OutOfStepError):
                command.outcome([wrong, None])


@given(
    stamps=st.dictionaries(st.text(max_size=60), st.binary(min_size=8, max_size=8), min_size=1, max_size=64),
    payload=st.binary(),
)
def test_stamps_round_trip(stamps, payload):
    """Any tags come back exactly, lone surrogates included, and what follows them; cut anywhere they are none."""
    packed = pack_stamps(stamps)
    assert unpack_stamps(packed + payload) == (stamps, payload)
    for cut in range(0, len(packed), 1 + len(packed) // 20):
        assert unpack_stamps(packed[:cut]) is None


@given(noise=st.binary(max_size=100))
def test_noise_is_no_stamps(noise):
    """Whatever stands in their place is stamps, or refused; it never raises."""
    unpack_stamps(noise)
    assert unpack_stamps(b"\x00" + noise) is None


@pytest.mark.parametrize("options", [Options(), Options(secret="a key of 16 bytes")], ids=["restricted", "signed"])
@pytest.mark.parametrize("value", [7, "text", [1, (2,)], None, -(2**63)], ids=repr)
def test_tagged_values_round_trip(options, value):
    """A value with stamps comes back with them, integers too; without stamps its bytes are as ever."""
    values = Values(options)
    payload = values.encode(value)
    data = values.seal(KEY, OP_ID, payload, pack_stamps(STAMPS))
    loaded = values.load(KEY, data)
    assert (loaded.value, loaded.op_id, loaded.payload, dict(loaded.stamps)) == (value, OP_ID, payload, STAMPS)
    assert is_tagged(data)
    plain = values.seal(KEY, OP_ID, payload)
    assert (values.load(KEY, plain).stamps, is_tagged(plain)) == ({}, False)
    assert values.load(b"other", data) is None


def test_damaged_stamps_are_corrupt():
    """A tagged envelope without stamps in it counts as missing."""
    values = Values(Options())
    data = values.seal(KEY, OP_ID, values.encode("text"), b"\x05")
    assert values.load(KEY, data) is None


def test_the_largest_value_may_have_the_most_tags():
    """Tags don't count for max_value_bytes."""
    values = Values(Options(max_value_bytes=1000))
    payload = values.encode(b"x" * 980)
    stamps = pack_stamps({f"{number:03}" + "x" * 252: bytes(8) for number in range(64)})
    assert values.load(KEY, values.seal(KEY, OP_ID, payload, stamps)).value == b"x" * 980
    large = Values(Options()).encode(b"x" * 2000)
    assert values.load(KEY, values.seal(KEY, OP_ID, large, pack_stamps(STAMPS))) is None
