"""The executor under faults: deadlines, lost connections, leftovers on connections, and what the breaker hears."""

import contextlib
import os
import signal
import socket
import threading
import time

import pytest
from answers import FETCHED, answer
from waiting import wait_for

from twotier.errors import AccessDenied, RemoteError, RemoteTimeout, RemoteUnavailable
from twotier.remote.commands.base import Fetch, Fetched, FetchMany, Ping, Publication, Put
from twotier.remote.io.errors import NoMemoryError, NotServingError, OutOfStepError

PUBLICATION = Publication(b"channel", b"payload")


def put(remote, key, data):
    assert remote.run(Put(key, data, None, False, PUBLICATION))


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("place", ["url", "tcp_url"])
def test_runs_on_sockets_and_ports(server, remotes, namespace, place, protocol):
    """A value of any size goes and comes, on either protocol, over one connection."""
    remote = remotes(getattr(server, place), protocol=protocol, timeout=5, max_staleness=20)
    key = namespace.encode()
    for size in (0, 1, 65_530, 65_536, 5_000_000):
        data = os.urandom(size)
        put(remote, key, data)
        assert remote.run(Fetch(key)).data == data
        assert [one.data for one in remote.run(FetchMany([key, key]))] == [data, data]
    assert len(remote.pool._channels) == 1


def test_threads_share_connections(remote, namespace):
    """Threads get their own answers, and no more connections are made than were needed at once."""
    keys = [f"{namespace}-{number}".encode() for number in range(8)]
    for key in keys:
        put(remote, key, key)
    wrong = []

    def work(key):
        wrong.extend(1 for _ in range(200) if remote.run(Fetch(key)).data != key)

    threads = [threading.Thread(target=work, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(remote.pool._channels) <= len(keys)


def test_refused_connection(tmp_path, remotes):
    """Where nobody listens, the call fails at once as unavailable; three such calls open the breaker."""
    remote = remotes(f"unix://{tmp_path}/none.sock")
    for _ in range(3):
        with pytest.raises(RemoteUnavailable, match="can't connect"):
            remote.run(Ping())
    assert remote.breaker.state == "open"
    with pytest.raises(RemoteUnavailable, match="circuit breaker"):
        remote.run(Ping())
    assert remote.breaker.begin_probe()
    with pytest.raises(RemoteUnavailable, match="can't connect"):
        remote.run(Ping(), probing=True)
    assert remote.breaker.state == "half-open"


def test_deadline_of_a_hanging_server(own_server, remotes):
    """A stopped server costs a call its deadline and no more, with a connection or without; then the breaker opens."""
    remote = remotes(own_server.tcp_url, timeout=0.1)
    remote.run(Ping())
    os.kill(own_server.pid, signal.SIGSTOP)
    try:
        costs = []
        for _ in range(3):
            began = time.monotonic()
            with pytest.raises(RemoteTimeout):
                remote.run(Ping())
            costs.append(time.monotonic() - began)
        assert min(costs) > 0.09
        assert min(costs[1:]) < 0.2  # of two alike: a busy machine may hold up one
        assert max(costs) < 2
        assert remote.breaker.state == "open"
    finally:
        os.kill(own_server.pid, signal.SIGCONT)


def test_deadline_of_replies_that_drip_in(fake_server, remotes):
    """A reply whose bytes come one by one doesn't stretch the deadline."""

    def drip(words, connection):
        if words[0] == b"GET":
            with contextlib.suppress(OSError):
                for byte in b"$1000\r\n" + bytes(1000):
                    connection.sendall(bytes([byte]))
                    time.sleep(0.01)
        return b":-1\r\n"

    remote = remotes(fake_server(drip).url, timeout=0.15)
    began = time.monotonic()
    with pytest.raises(RemoteTimeout):
        remote.run(Fetch(b"k"))
    assert time.monotonic() - began < 2  # not the ten seconds that it drips


def test_deadline_of_a_server_that_does_not_read(fake_server, remotes):
    """Sending has no deadline of its own beside the call's."""
    block = threading.Event()

    def stall(words, _):
        if words[0] == b"PING":
            return b"+PONG\r\n"
        block.wait(10)
        return b""

    remote = remotes(fake_server(stall).url, timeout=0.15)
    remote.run(Ping())
    began = time.monotonic()
    with pytest.raises(RemoteTimeout):
        remote.run(FetchMany([b"k" * 1000] * 2_000))
    assert time.monotonic() - began < 2  # not the ten seconds that it stalls
    block.set()


def test_a_late_reply_is_never_read(fake_server, remotes):
    """What arrives after the deadline is gone with its connection: the next call gets its own answer."""
    late = threading.Event()

    def slow(words, _):
        if words[0] == b"GET":
            if words[1] == b"slow":
                late.wait(10)
                return b"$4\r\nlate\r\n"
            return FETCHED
        return b":-1\r\n"

    remote = remotes(fake_server(slow).url, timeout=0.1)
    with pytest.raises(RemoteTimeout):
        remote.run(Fetch(b"slow"))
    late.set()
    for _ in range(20):
        assert remote.run(Fetch(b"fast")) == Fetched(b"value", -1)


def test_a_connection_lost_in_mid_reply(fake_server, remotes):
    """A reset in the middle of a reply is an unavailability, and the next call gets a new connection."""
    calls = []

    def cut(words, connection):
        if words[0] == b"GET":
            calls.append(words)
            if len(calls) == 1:
                connection.sendall(b"$5\r\nva")
                connection.shutdown(socket.SHUT_RDWR)
                return b""
            return FETCHED
        return b":-1\r\n"

    remote = remotes(fake_server(cut).url)
    with pytest.raises(RemoteUnavailable, match="lost"):
        remote.run(Fetch(b"k"))
    assert remote.run(Fetch(b"k")) == Fetched(b"value", -1)


def test_garbage_in_place_of_replies(fake_server, remotes):
    """Bytes that aren't RESP are an unavailability, and the connection goes."""
    remote = remotes(fake_server(lambda *_: b"HTTP/1.1 400 Bad Request\r\n").url)
    with pytest.raises(RemoteUnavailable, match="isn't a reply"):
        remote.run(Ping())
    assert not remote.pool._channels


def plant(remote, *commands):
    """Leave the replies of `commands` unread on the pooled connection; returns its channel."""
    remote.run(Ping())
    channel = remote.pool._idle[-1]
    for command in commands:
        channel.socket.sendall(command.wire)
    return channel


def test_a_planted_reply_that_has_arrived(remote, namespace):
    """A pooled connection with something to read isn't used."""
    mine, other = f"{namespace}-mine".encode(), f"{namespace}-other".encode()
    put(remote, mine, b"1")
    put(remote, other, b"666")
    channel = plant(remote, Fetch(other))
    wait_for(lambda: not channel.quiet(), "the planted reply")
    assert remote.run(Fetch(mine)) == Fetched(b"1", -1)
    assert channel not in remote.pool.channels()


def test_a_planted_reply_under_way(own_server, remotes):
    """Replies that arrive only after the connection was found quiet are told from our own, raw integers included."""
    remote = remotes(own_server.url, timeout=0.5)
    put(remote, b"mine", b"1")
    put(remote, b"other", b"666")
    os.kill(own_server.pid, signal.SIGSTOP)
    channel = plant_unread(remote, Fetch(b"other"))
    assert channel.quiet()
    resumed = threading.Timer(0.05, os.kill, (own_server.pid, signal.SIGCONT))
    resumed.start()
    with pytest.raises(RemoteUnavailable):
        remote.run(Fetch(b"mine"))
    resumed.join()
    assert channel not in remote.pool.channels()
    assert remote.run(Fetch(b"mine")) == Fetched(b"1", -1)


def plant_unread(remote, command):
    channel = remote.pool._idle[-1]
    channel.socket.sendall(command.wire)
    return channel


def test_the_numbers_of_trips_begin_anew(remote, namespace):
    """After the last number of eight digits the trips of a connection are numbered anew, and their replies taken."""
    key = namespace.encode()
    put(remote, key, key)
    (channel,) = remote.pool.channels()
    channel._trip = 0xFFFF_FFFE
    for _ in range(3):
        assert remote.run(Fetch(key)).data == key
    assert remote.pool.channels() == [channel]
    assert channel._trip == 1


def test_a_reply_too_many(fake_server, remotes):
    """A server that answers more than was asked isn't believed."""

    def twice(words, _):
        return b"+PONG\r\n+PONG\r\n" if words[0] == b"PING" else b""

    remote = remotes(fake_server(twice).url)
    with pytest.raises(RemoteUnavailable):
        remote.run(Ping())
    assert not remote.pool._channels


def test_pushes_are_no_replies(fake_server, remotes):
    """Out-of-band messages between the replies are passed over."""
    push = b">2\r\n+invalidate\r\n_\r\n"

    def chatty(words, connection):
        return push + answer(words, connection)

    remote = remotes(fake_server(chatty).url)
    assert remote.run(Fetch(b"k")) == Fetched(b"value", -1)


@pytest.mark.parametrize(
    ("reply", "error", "state", "kept"),
    [
        (b"-LOADING dataset\r\n", NotServingError, "open", False),
        (b"-MASTERDOWN link\r\n", NotServingError, "open", False),
        (b"-READONLY replica\r\n", RemoteError, "closed", False),
        (b"-NOAUTH required\r\n", AccessDenied, "closed", False),
        (b"-OOM command not allowed\r\n", NoMemoryError, "closed", True),
        (b"-NOPERM this user\r\n", AccessDenied, "closed", True),
        (b"-ERR boom\r\n", RemoteError, "closed", True),
        (b":7\r\n", OutOfStepError, "open", False),
    ],
)
def test_what_counts_as_an_outage(fake_server, remotes, reply, error, state, kept):
    """Only what keeps us from being served opens the breaker; a connection is kept after a plain refusal."""
    remote = remotes(fake_server(lambda *_: reply).url)
    for _ in range(3):
        with pytest.raises(RemoteError) as caught:
            remote.run(Ping())
        assert type(caught.value) is error
    assert remote.breaker.state == state
    assert bool(remote.pool._channels) is kept


def test_an_answer_ends_a_row_of_failures(fake_server, remotes):
    """A refusal is an answer: the failures before it don't count any more."""
    replies = iter([b"-LOADING x\r\n", b"-LOADING x\r\n", b"-OOM x\r\n", b"-LOADING x\r\n", b"-LOADING x\r\n"])
    remote = remotes(fake_server(lambda *_: next(replies)).url)
    for _ in range(5):
        with pytest.raises(RemoteError):
            remote.run(Ping())
    assert remote.breaker.state == "closed"


@pytest.mark.parametrize("face", [None], ids=["threads"])
def test_an_interrupt_drops_the_connection(fake_server, remotes):
    """A KeyboardInterrupt in the middle of a trip leaves no half-read connection behind."""

    def interrupt(words, connection):
        if words[0] == b"GET":
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            time.sleep(0.05)
        return answer(words, connection)

    remote = remotes(fake_server(interrupt).url, timeout=5, max_staleness=20)
    with pytest.raises(KeyboardInterrupt):
        remote.run(Fetch(b"k"))
    assert not remote.pool._channels
