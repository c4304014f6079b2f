"""Opening connections and waiting for them: deadlines, refused credentials, TLS, closing."""

import logging
import socket
import ssl
import subprocess
import threading
import time
import traceback

import pytest
import redis
from answers import answer
from private_servers import denials
from waiting import wait_for

from twotier.errors import AccessDenied, RemoteError, RemoteTimeout, RemoteUnavailable
from twotier.remote.commands.base import Fetch, Fetched, Ping
from twotier.remote.io.pool import PoolTimeout


def test_deadline_of_name_lookup(monkeypatch, remotes):
    """A name server that hangs costs a call its deadline and no more."""
    block = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: block.wait(10) and [])
    remote = remotes("redis://cache.example", timeout=0.1)
    began = time.monotonic()
    with pytest.raises(RemoteTimeout):
        remote.run(Ping())
    assert time.monotonic() - began < 2  # not the ten seconds that the lookup hangs
    block.set()
    wait_for(lambda: not remote.pool._opening, "the lookup given up")


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
    wait_for(lambda: not remote.pool._opening, "the handshake done")
    remote.run(Ping())
    assert server.accepted <= 2


def test_a_restarted_server_costs_no_call(own_server, remotes):
    """Connections that died while idle are seen before they are used."""
    remote = remotes(own_server.url)
    remote.run(Ping())
    own_server.kill()
    own_server.start()
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
    wait_for(lambda: len(remote.pool._turns) == 8, "eight callers waiting")
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
    remote.edge.timeout = remote.pool._timeout = 0.05
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
                with pytest.raises(AccessDenied) as caught:
                    remote.run(Ping())
                errors.append("".join(traceback.format_exception(caught.value)))
        admin.execute_command("AUTH", "right")
        assert denials(admin, "auth") <= 2
    assert remote.breaker.state == "closed"
    assert len(caplog.records) == 1
    assert "hunter2" not in "".join(errors) + caplog.text


def test_a_missing_password_is_told(own_server, remotes):
    """A server that asks for a password we don't have is told apart from one that isn't there."""
    with redis.Redis.from_url(own_server.url) as admin:
        admin.config_set("requirepass", "right")
    for protocol in (2, 3):
        remote = remotes(own_server.url, protocol=protocol)
        with pytest.raises(AccessDenied):
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


def test_after_close(remote):
    """A closed executor has no connections, and says so."""
    remote.run(Ping())
    remote.topology.close()
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
    remote.topology.close()
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
