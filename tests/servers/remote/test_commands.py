"""Commands on a real server: what each does in its one trip, and that its replies are counted right."""

import contextlib
import time

import pytest
import redis
from private_servers import known_to

from twotier.errors import RemoteError, RemoteUnavailable
from twotier.remote.commands.base import (
    Expire,
    Fetch,
    Fetched,
    FetchMany,
    Generation,
    IntegerOverflow,
    NotAnInteger,
    Ping,
    Publication,
    Put,
    PutMany,
    Remove,
    SetGeneration,
    TimeLeft,
)
from twotier.remote.commands.counters import Increment
from twotier.remote.commands.direct_removal import RemoveDirectly
from twotier.remote.commands.generations import UnderGeneration, WithGeneration
from twotier.remote.io.errors import NoMemoryError, OutOfStepError
from twotier.replies import Reader
from twotier.resp import ErrorReply

PUBLICATION = Publication(b"channel", b"payload")


@pytest.fixture
def client(server):
    with redis.Redis.from_url(server.url) as made:
        yield made


@pytest.fixture
def key(namespace):
    return namespace.encode()


@pytest.fixture
def published(client, namespace):
    """A publication, and a function that returns how often it has been published since."""
    publication = Publication(f"{namespace}:inv".encode(), b"\x00payload\r\n")
    with client.pubsub() as listener:
        listener.subscribe(publication.channel)
        assert listener.get_message(timeout=5)["type"] == "subscribe"

        def count():
            client.publish(publication.channel, b"last")
            seen = []
            while not seen or seen[-1] != b"last":
                message = listener.get_message(timeout=5)
                assert message is not None
                seen.append(message["data"])
            assert set(seen[:-1]) <= {publication.payload}
            return len(seen) - 1

        yield publication, count


def test_fetch(remote, client, key):
    """Bytes and time come together; nothing is (None, -2), no expiry is -1."""
    assert remote.run(Fetch(key)) == Fetched(None, -2)
    client.set(key, b"a\r\nb")
    assert remote.run(Fetch(key)) == Fetched(b"a\r\nb", -1)
    client.pexpire(key, 60_000)
    data, left = remote.run(Fetch(key))
    assert data == b"a\r\nb"
    assert 50_000 < left <= 60_000


def test_another_type_counts_as_missing(remote, client, key):
    """A list under the key is no value of ours, alone and among others, and can be overwritten."""
    client.rpush(key, b"x")
    assert remote.run(Fetch(key)) == Fetched(None, -2)
    assert remote.run(FetchMany([key])) == [Fetched(None, -2)]
    assert remote.run(Put(key, b"v", None, False, PUBLICATION))
    assert remote.run(Fetch(key)) == Fetched(b"v", -1)


def test_fetch_many(remote, client, key):
    """Each key's bytes and time, in order, duplicates and missing ones included."""
    keys = [key + b"%d" % number for number in range(300)]
    for number in range(0, 300, 3):
        client.set(keys[number], b"%d" % number)
    asked = [*keys, keys[0]]
    fetched = remote.run(FetchMany(asked))
    assert [one.data for one in fetched] == [client.get(one) for one in asked]
    assert fetched[-1] == Fetched(b"0", -1)


def test_put(remote, client, key, published):
    """A put writes with its expiry and publishes; without ttl it leaves none."""
    publication, count = published
    assert remote.run(Put(key, b"1", 60_000, False, publication)) is True
    assert (client.get(key), client.ttl(key)) == (b"1", 60)
    assert remote.run(Put(key, b"2", None, False, publication)) is True
    assert (client.get(key), client.ttl(key)) == (b"2", -1)
    assert count() == 2


def test_put_absent(remote, client, key, published):
    """With absent, what is there stays."""
    publication, _ = published
    assert remote.run(Put(key, b"1", 60_000, True, publication)) is True
    assert remote.run(Put(key, b"2", 60_000, True, publication)) is False
    assert client.get(key) == b"1"


def test_put_many(remote, client, key, published):
    """All are written, with one message."""
    publication, count = published
    remote.run(
        PutMany([(key + b"%d" % number, b"v", 60_000 if number else None) for number in range(100)], publication)
    )
    assert [client.ttl(key + b"%d" % number) for number in (0, 1, 99)] == [-1, 60, 60]
    assert count() == 1


def test_remove(remote, client, key, published):
    """What was there is counted."""
    publication, count = published
    client.mset({key + b"1": b"", key + b"2": b""})
    assert remote.run(Remove([key + b"1", key + b"2", key + b"3"], publication)) == 2
    assert remote.run(Remove([key + b"1"], publication)) == 0
    assert count() == 2


def test_withdraw(remote, client, key, published):
    """Keys and leases go, and it is told; it counts as one refusal if either is refused."""
    publication, count = published
    client.mset({key: b"", key + b"!": b""})
    assert remote.run(RemoveDirectly([key, key + b"!", key + b"none"], publication)) is None
    assert client.exists(key, key + b"!") == 0
    assert count() == 1
    assert remote.run(RemoveDirectly([key], None)) is None
    with pytest.raises(OutOfStepError):
        RemoveDirectly([key], publication).parse([b"OK", 1])


def test_out_of_memory_is_told_from_other_refusals(own_server, remotes):
    """A full server refuses a transaction that stores, with an error of its own; Withdraw is let through."""
    remote = remotes(own_server.url)
    remote.run(Put(b"k", b"v", None, False, PUBLICATION))
    with redis.Redis.from_url(own_server.url) as admin:
        admin.config_set("maxmemory", 1)
        with pytest.raises(NoMemoryError, match="OOM"):
            remote.run(Put(b"k", b"w", None, False, PUBLICATION))
        assert admin.exists("k") == 1
        remote.run(RemoveDirectly([b"k"], PUBLICATION))
        assert admin.exists("k") == 0


def test_expire(remote, client, key, published):
    """A new life, or none; True whenever the key is there, had it an expiry or not."""
    publication, count = published
    assert remote.run(Expire(key, 1000, publication)) is False
    assert remote.run(Expire(key, None, publication)) is False
    client.set(key, b"1")
    assert remote.run(Expire(key, None, publication)) is True
    assert remote.run(Expire(key, 60_000, publication)) is True
    assert client.ttl(key) == 60
    assert remote.run(Expire(key, None, publication)) is True
    assert client.ttl(key) == -1
    assert count() == 5


def test_increment_creates(remote, client, key, published):
    """A missing counter starts from 0 with its life; a standing one keeps its own."""
    publication, count = published
    assert remote.run(Increment(key, 5, 60_000, True, publication)) == 5
    assert client.ttl(key) == 60
    assert remote.run(Increment(key, -7, None, True, publication)) == -2
    assert client.ttl(key) == 60
    assert count() == 2


def test_increment_of_what_is_missing_leaves_nothing(remote, client, key, published):
    """Without create, None is returned, no read ever sees the key, and the server takes it back within a moment."""
    publication, _ = published
    for _ in range(50):
        assert remote.run(Increment(key, 5, 60_000, False, publication)) is None
        assert remote.run(Fetch(key)) == Fetched(None, -2)
        assert remote.run(FetchMany([key])) == [Fetched(None, -2)]
        assert remote.run(TimeLeft(key)) == -2
        deadline = time.monotonic() + 5
        while client.exists(key):
            assert time.monotonic() < deadline
    client.set(key, b"1")
    assert remote.run(Increment(key, 5, 60_000, False, publication)) == 6
    assert client.ttl(key) == -1


@pytest.mark.parametrize("value", [b"text", b"1.5", b"", b"9223372036854775808"])
def test_increment_of_what_is_no_integer(remote, client, key, value):
    """What isn't an integer of 64 bits is told apart from other refusals, and stays."""
    client.set(key, value)
    with pytest.raises(NotAnInteger):
        remote.run(Increment(key, 1, None, True, PUBLICATION))
    assert client.get(key) == value


def test_increment_past_64_bits(remote, client, key):
    """A sum that doesn't fit into 64 bits is an overflow, and changes nothing."""
    client.set(key, b"9223372036854775807")
    with pytest.raises(IntegerOverflow):
        remote.run(Increment(key, 1, None, True, PUBLICATION))
    assert client.get(key) == b"9223372036854775807"


def test_increment_of_another_type(remote, client, key):
    """A list is refused as such."""
    client.rpush(key, b"x")
    with pytest.raises(RemoteError, match="WRONGTYPE"):
        remote.run(Increment(key, 1, None, True, PUBLICATION))


def test_time_left(remote, client, key):
    """Missing, without expiry, with."""
    assert remote.run(TimeLeft(key)) == -2
    client.set(key, b"1")
    assert remote.run(TimeLeft(key)) == -1
    client.pexpire(key, 60_000)
    assert 50_000 < remote.run(TimeLeft(key)) <= 60_000


def test_generation(remote, client, key, published):
    """The first candidate stands, until another is set."""
    publication, count = published
    assert remote.run(Generation(key, b"one")) == b"one"
    assert remote.run(Generation(key, b"two")) == b"one"
    remote.run(SetGeneration(key, b"three", publication))
    assert remote.run(Generation(key, b"two")) == b"three"
    assert client.ttl(key) == -1
    assert count() == 1


ALL = [
    Fetch(b"k"),
    FetchMany([b"k", b"l"]),
    Put(b"k", b"v", 1000, False, PUBLICATION),
    Put(b"k", b"v", None, True, PUBLICATION),
    PutMany([(b"k", b"v", None), (b"l", b"v", 1)], PUBLICATION),
    Remove([b"k", b"l"], PUBLICATION),
    Expire(b"k", 1, PUBLICATION),
    Expire(b"k", None, PUBLICATION),
    Increment(b"k", 1, None, True, PUBLICATION),
    Increment(b"k", 1, None, False, PUBLICATION),
    TimeLeft(b"k"),
    Generation(b"k", b"v"),
    SetGeneration(b"k", b"v", PUBLICATION),
    Ping(),
]


def shown(command):
    return type(command).__name__


@pytest.mark.parametrize("command", ALL, ids=shown)
def test_replies_are_as_many_as_commands(command):
    """A command says how many replies its bytes ask for, so that none is left on the connection."""
    assert len(Reader().feed(command.wire)) == command.replies


@pytest.mark.parametrize("command", ALL, ids=shown)
@pytest.mark.parametrize(
    "reply", [ErrorReply("ERR boom"), ErrorReply("OOM full"), None, b"other", 7, [], [b"OK"], {}, True, 1.5]
)
def test_replies_of_any_shape_parse_or_raise(command, reply):
    """Whatever comes in place of the replies, it is a result or a RemoteError, and never another exception."""
    with contextlib.suppress(RemoteError):
        command.parse([reply] * command.replies)


@pytest.mark.parametrize("command", ALL, ids=shown)
def test_loading_is_an_outage_of_every_command(command):
    """A server that loads its data is unavailable, whichever command it says so to."""
    with pytest.raises(RemoteUnavailable, match="LOADING"):
        command.parse([ErrorReply("LOADING server is loading the dataset in memory")] * command.replies)


def test_errors_quote_nothing_of_the_server():
    """A refusal names the code and our own words: the server's text may quote keys and values."""
    with pytest.raises(RemoteError) as caught:
        Ping().parse([ErrorReply("ERR unknown command 'PING', with args beginning with: 'hunter2'")])
    assert "hunter2" not in f"{caught.value!r}{caught.value.__context__!r}"


def test_under_least_privilege(own_server, remotes):
    """Every command runs as the user that the documentation recommends."""
    with redis.Redis.from_url(own_server.url) as admin:
        rules = (
            "on >pw resetkeys ~ns:* resetchannels &ns:* -@all +get +mget +set +del +unlink +exists +pttl +pexpire "
            "+persist +incrby +decrby +publish +subscribe +unsubscribe +multi +exec +discard +ping +role +select "
            "+client|setname +client|setinfo +client|id +client|tracking +hello +auth"
        )
        admin.execute_command("ACL", "SETUSER", "app", *known_to(admin, rules).split())
    remote = remotes(own_server.tcp_url.replace("redis://", "redis://app:pw@"))
    publication = Publication(b"ns:inv:v1", b"m")
    for command in (
        Fetch(b"ns:k"),
        FetchMany([b"ns:k", b"ns:l"]),
        Put(b"ns:k", b"v", 1000, False, publication),
        PutMany([(b"ns:k", b"1", None), (b"ns:l", b"v", 1)], publication),
        Expire(b"ns:k", 1000, publication),
        Expire(b"ns:k", None, publication),
        Increment(b"ns:k", 1, None, True, publication),
        Increment(b"ns:none", 1, None, False, publication),
        TimeLeft(b"ns:k"),
        Remove([b"ns:k", b"ns:l"], publication),
        Generation(b"ns:gen", b"v"),
        SetGeneration(b"ns:gen", b"v", publication),
        Ping(),
    ):
        remote.run(command)
    with pytest.raises(RemoteError, match="NOPERM"):
        remote.run(Fetch(b"other:k"))
    with pytest.raises(RemoteError, match="NOPERM"):
        remote.run(Put(b"ns:k", b"v", None, False, Publication(b"other", b"m")))
    assert remote.breaker.state == "closed"


def test_fenced_write_tells_the_generation_after_it(remote, client, key, published):
    """A write in its one trip also reads which generation stands; what goes wrong with either is raised."""
    publication, count = published
    generation_key = key + b":gen"
    write = Remove([key], publication, [key + b"!"])
    client.set(key, b"value")
    assert remote.run(WithGeneration(write, generation_key)) == UnderGeneration(1, None)
    client.set(generation_key, b"name")
    assert remote.run(WithGeneration(write, generation_key)) == UnderGeneration(0, b"name")
    assert count() == 2
    client.set(key, b"no integer")
    with pytest.raises(NotAnInteger):
        remote.run(WithGeneration(Increment(key, 1, None, True, publication), generation_key))
    client.delete(generation_key)
    client.rpush(generation_key, b"a list")
    with pytest.raises(RemoteError):
        remote.run(WithGeneration(write, generation_key))
