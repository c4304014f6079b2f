"""The executor under faults: deadlines, lost connections, leftovers on connections, and what the breaker hears."""

import contextlib
import logging
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
import traceback

import pytest
import redis

from twotier.errors import RemoteError, RemoteTimeout, RemoteUnavailable
from twotier.remote.commands import Fetch, Fetched, FetchMany, Ping, Publication, Put
from twotier.remote.pool import PoolTimeout
from twotier.remote.refusals import NotServingError, OutOfStepError, StaleConnectionError

PUBLICATION = Publication(b"channel", b"payload")
FETCHED = b"$5\r\nvalue\r\n"


def eventually(holds, within=5.0):
    """Wait until `holds()`, and fail after `within` seconds."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, "it didn't come about"
        time.sleep(0.002)


def put(remote, key, data):
    assert remote.run(Put(key, data, None, False, PUBLICATION))


def answer(words, _):
    """Answer GET and PTTL as a healthy server would."""
    return {b"GET": FETCHED, b"PTTL": b":-1\r\n", b"PING": b"+PONG\r\n"}[words[0]]


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
        for _ in range(3):
            began = time.monotonic()
            with pytest.raises(RemoteTimeout):
                remote.run(Ping())
            assert 0.09 < time.monotonic() - began < 0.2
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
    assert time.monotonic() - began < 0.25


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
    assert time.monotonic() - began < 0.3
    block.set()


def test_deadline_of_name_lookup(monkeypatch, remotes):
    """A name server that hangs costs a call its deadline and no more."""
    block = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: block.wait(10) and [])
    remote = remotes("redis://cache.example", timeout=0.1)
    began = time.monotonic()
    with pytest.raises(RemoteTimeout):
        remote.run(Ping())
    assert time.monotonic() - began < 0.2
    block.set()
    eventually(lambda: not remote.pool._opening)


def test_a_slow_handshake_serves_the_next_call(fake_server, remotes):
    """A connection that opens too late for its caller isn't thrown away."""
    release = threading.Event()

    def slow(words, connection):
        return answer(words, connection)

    server = fake_server(slow)
    connect = server._serve

    def late(connection):
        release.wait(10)
        connect(connection)

    server._serve = late
    remote = remotes(server.url, timeout=0.2)
    with pytest.raises(RemoteTimeout):
        remote.run(Ping())
    release.set()
    # The handshake has a deadline of its own, as long again; either that attempt or the next one comes through.
    eventually(lambda: remote.pool._opening == 0)
    remote.run(Ping())
    assert server.accepted <= 2


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


def test_a_restarted_server_costs_no_call(own_server, remotes):
    """Connections that died while idle are seen before they are used."""
    remote = remotes(own_server.url)
    remote.run(Ping())
    own_server.kill()
    own_server.start()
    remote.run(Ping())
    assert remote.breaker.state == "closed"


def plant(remote, *commands):
    """Leave the replies of `commands` unread on the pooled connection; returns its channel."""
    remote.run(Ping())
    channel = remote.pool._idle[-1]
    for command in commands:
        channel._socket.sendall(command.wire)
    return channel


def test_a_planted_reply_that_has_arrived(remote, namespace):
    """A pooled connection with something to read isn't used."""
    mine, other = f"{namespace}-mine".encode(), f"{namespace}-other".encode()
    put(remote, mine, b"1")
    put(remote, other, b"666")
    channel = plant(remote, Fetch(other))
    eventually(lambda: not channel.quiet())
    assert remote.run(Fetch(mine)) == Fetched(b"1", -1)
    assert channel not in remote.pool._channels


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
    assert channel not in remote.pool._channels
    assert remote.run(Fetch(b"mine")) == Fetched(b"1", -1)


def plant_unread(remote, command):
    channel = remote.pool._idle[-1]
    channel._socket.sendall(command.wire)
    return channel


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
        (b"-READONLY replica\r\n", StaleConnectionError, "closed", False),
        (b"-NOAUTH required\r\n", StaleConnectionError, "closed", False),
        (b"-OOM command not allowed\r\n", RemoteError, "closed", True),
        (b"-NOPERM this user\r\n", RemoteError, "closed", True),
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


def test_callers_wait_for_a_connection(fake_server, remotes):
    """Callers over max_connections wait for one to become free, and then use it."""
    gate, inside = threading.Event(), threading.Semaphore(0)

    def hold(words, connection):
        if words[0] == b"GET":
            inside.release()
            gate.wait(10)
        return answer(words, connection)

    server = fake_server(hold)
    remote = remotes(server.url, timeout=5, max_staleness=20, max_connections=2)
    results = []
    threads = [threading.Thread(target=lambda: results.append(remote.run(Fetch(b"k")))) for _ in range(10)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        assert inside.acquire(timeout=5)
    eventually(lambda: remote.pool._waiting == 8)
    gate.set()
    for thread in threads:
        thread.join(10)
    assert results == [Fetched(b"value", -1)] * 10
    assert server.accepted == 2


def test_no_connection_in_time_is_no_outage(fake_server, remotes):
    """When every connection is in use until the deadline, the caller times out, and the breaker doesn't count it."""
    gate, inside = threading.Event(), threading.Event()

    def hold(words, connection):
        if words[0] == b"GET":
            inside.set()
            gate.wait(10)
        return answer(words, connection)

    remote = remotes(fake_server(hold).url, timeout=1, max_staleness=20, max_connections=1)
    thread = threading.Thread(target=lambda: remote.run(Fetch(b"k")))
    thread.start()
    assert inside.wait(5)
    remote.executor._timeout = remote.pool._timeout = 0.05
    for _ in range(5):
        with pytest.raises(PoolTimeout, match="in use"):
            remote.run(Ping())
    assert remote.breaker.state == "closed"
    gate.set()
    thread.join(5)


def test_wrong_password_is_tried_once_a_second(own_server, remotes, caplog):
    """Refused credentials are no outage, are logged once, and aren't tried again at once; no secret shows."""
    with redis.Redis.from_url(own_server.url) as admin:
        admin.config_set("requirepass", "right")
        remote = remotes(own_server.tcp_url.replace("redis://", "redis://:hunter2@"))
        errors = []
        with caplog.at_level(logging.ERROR, "twotier"):
            for _ in range(20):
                with pytest.raises(StaleConnectionError) as caught:
                    remote.run(Ping())
                errors.append("".join(traceback.format_exception(caught.value)))
        admin.execute_command("AUTH", "right")
        assert admin.info("stats")["acl_access_denied_auth"] <= 2
    assert remote.breaker.state == "closed"
    assert len(caplog.records) == 1
    assert "hunter2" not in "".join(errors) + caplog.text


def test_a_missing_password_is_told(own_server, remotes):
    """A server that asks for a password we don't have is told apart from one that isn't there."""
    with redis.Redis.from_url(own_server.url) as admin:
        admin.config_set("requirepass", "right")
    for protocol in (2, 3):
        remote = remotes(own_server.url, protocol=protocol)
        with pytest.raises(StaleConnectionError):
            remote.run(Ping())


def test_a_database_that_is_not_there(server, remotes):
    """A refused SELECT is a refusal, not an outage."""
    remote = remotes(server.tcp_url.replace("/0", "/9999"))
    with pytest.raises(RemoteError, match="database") as caught:
        remote.run(Ping())
    assert type(caught.value) is RemoteError


def test_a_failing_credential_provider_shows_nothing(server, remotes):
    """What a credential provider raises isn't quoted: it may hold the credentials."""

    class Provider(redis.CredentialProvider):
        def get_credentials(self):
            raise RuntimeError("hunter2")

    remote = remotes(redis.Redis(port=server.port, credential_provider=Provider()))
    with pytest.raises(RemoteUnavailable, match="RuntimeError") as caught:
        remote.run(Ping())
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


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


def test_after_close(remote):
    """A closed executor has no connections, and says so."""
    remote.run(Ping())
    remote.executor.close()
    assert not remote.pool._channels
    with pytest.raises(RemoteUnavailable, match="closed"):
        remote.run(Ping())


def test_close_while_in_use(fake_server, remotes):
    """A connection that is in use at close is closed when its call ends."""
    gate, inside = threading.Event(), threading.Event()

    def hold(words, connection):
        inside.set()
        gate.wait(10)
        return answer(words, connection)

    remote = remotes(fake_server(hold).url, timeout=5, max_staleness=20)
    thread = threading.Thread(target=lambda: remote.run(Ping()))
    thread.start()
    assert inside.wait(5)
    remote.executor.close()
    gate.set()
    thread.join(5)
    assert not remote.pool._channels


def test_tls(fake_server, remotes, tmp_path):
    """rediss:// speaks TLS, verifies the server, and isn't disturbed by the session tickets after the handshake."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    request = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=x"
    files = ["-keyout", key, "-out", certificate]
    try:
        subprocess.run(
            [*request.split(), *files, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True
        )
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no certificate can be made: {error}")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    server = fake_server(answer, wrap=lambda connection: context.wrap_socket(connection, server_side=True))
    url = f"rediss://127.0.0.1:{server.port}"
    for protocol in (2, 3):
        remote = remotes(f"{url}?ssl_ca_certs={certificate}", protocol=protocol, timeout=2, max_staleness=20)
        for _ in range(20):
            assert remote.run(Fetch(b"k")) == Fetched(b"value", -1)
        assert len(remote.pool._channels) == 1
    assert server.accepted == 2
    with pytest.raises(RemoteUnavailable, match="certificate verify failed"):
        remotes(url, timeout=2, max_staleness=20).run(Ping())
