"""The listener on real servers: what kills a connection, and that every loss is seen, told and mended."""

import itertools
import os
import signal
import ssl
import subprocess
import threading
import time
from types import SimpleNamespace

import pytest
import redis
from links import link_ids
from private_servers import private_server
from recording_subscriber import RecordingSubscriber
from silent_proxy import Proxy
from waiting import wait_for

from twotier.clock import SECOND, SystemClock
from twotier.coherence import listener as listening
from twotier.coherence.subscriber import NOT_ASKED


def test_live_within_its_deadline(server, make_listener, ear, protocol):
    """A listener is live at once, with a lease of max_staleness from the time of asking."""
    before = SystemClock().now()
    listener = make_listener(path=server.socket_path, protocol=protocol)
    listener.attach(ear)
    wait_for(lambda: listener.state(ear) == "live", "live")
    assert SystemClock().now() - before < 5 * SECOND
    assert ear.kinds[:2] == ["confirmed", "renewed"]
    assert before + 2.5 * SECOND <= ear.lease_until <= SystemClock().now() + 2.5 * SECOND


def test_messages_and_generation_arrive(server, client, make_listener, ear, protocol):
    """What another client publishes arrives, and the generation is read with the lease (on RESP3)."""
    client.set(ear.generation_key, b"gen7")
    listener = make_listener(path=server.socket_path, protocol=protocol)
    listener.attach(ear)
    wait_for(lambda: ear.live, "live")
    assert ear.heard[1][2] == (b"gen7" if protocol == 3 else NOT_ASKED)
    for number in range(100):
        client.publish(ear.channel, b"%d" % number)
    wait_for(lambda: len(ear.payloads) >= 100, "all messages")
    assert ear.payloads == [b"%d" % number for number in range(100)]


def test_a_stream_is_taken_together(server, client, make_listener, ear, monkeypatch):
    """The first message is told at once; those that come while the thread settles are told in one call."""
    settled = threading.Event()
    pauses = []

    def settle(seconds):
        pauses.append(seconds)
        settled.wait(10)

    monkeypatch.setattr(listening, "time", SimpleNamespace(sleep=settle, monotonic=time.monotonic))
    listener = make_listener(path=server.socket_path)
    listener.attach(ear)
    wait_for(lambda: ear.live, "live")
    client.publish(ear.channel, b"first")
    wait_for(lambda: ear.payloads, "the first message")
    for number in range(10):
        client.publish(ear.channel, b"%d" % number)
    settled.set()
    wait_for(lambda: len(ear.payloads) == 11, "all messages")
    assert set(pauses) == {listening.SETTLE}
    told = [event[1:] for event in ear.heard if event[0] == "received"]
    assert told == [(b"first",), tuple(b"%d" % number for number in range(10))]


def test_the_lease_goes_on(server, make_listener, ear, protocol):
    """Leases are renewed before they end, several in a row without a gap."""
    listener = make_listener(path=server.socket_path, protocol=protocol)
    listener.attach(ear)
    wait_for(lambda: ear.count("renewed") >= 3, "three renewals")
    leases = [event[1] for event in ear.heard if event[0] == "renewed"]
    assert all(0.9 * SECOND < late - early < 2.5 * SECOND for early, late in itertools.pairwise(leases))
    assert ear.count("lost") == 0


def test_the_server_kills_the_link(server, client, make_listener, ear, protocol):
    """CLIENT KILL: lost, then confirmed and renewed again on a new connection."""
    listener = make_listener(path=server.socket_path, protocol=protocol)
    listener.attach(ear)
    wait_for(lambda: ear.live, "live")
    for round_ in range(1, 6):
        for each in link_ids(client):
            client.client_kill_filter(_id=each)
        wait_for(lambda: ear.count("lost") >= round_ and ear.live, "live again")  # noqa: B023 - called at once
        client.publish(ear.channel, b"%d" % round_)
    wait_for(lambda: len(ear.payloads) >= 5, "messages on each connection")
    kinds = [kind for kind, again in zip(ear.kinds, [*ear.kinds[1:], None], strict=True) if kind != again]
    assert kinds == ["confirmed", "renewed", *["lost", "confirmed", "renewed"] * 5]


def test_a_server_that_hangs(own_server, make_listener, ear, protocol):
    """SIGSTOP: the missing answer is a loss, and the lease isn't extended; SIGCONT: live again."""
    listener = make_listener(path=own_server.socket_path, protocol=protocol, max_staleness=1.0)
    listener.attach(ear)
    wait_for(lambda: ear.live, "live")
    stopped_at = SystemClock().now()
    os.kill(own_server.pid, signal.SIGSTOP)
    try:
        wait_for(lambda: ear.count("lost"), "lost")
        assert SystemClock().now() - stopped_at < 5 * SECOND
        assert all(event[1] <= stopped_at + 1.4 * SECOND for event in ear.heard if event[0] == "renewed")
        assert "no answer to" in ear.heard[-1][1]
        assert listener.state(ear) == "down"
    finally:
        os.kill(own_server.pid, signal.SIGCONT)
    wait_for(lambda: ear.live, "live again")
    assert ear.kinds[-2:] == ["confirmed", "renewed"]


def test_a_server_that_dies_and_comes_back(own_server, make_listener, ear, protocol):
    """kill -9, and a new empty server at the same place: lost at once, live again when it is there."""
    listener = make_listener(path=own_server.socket_path, protocol=protocol)
    listener.attach(ear)
    wait_for(lambda: ear.live, "live")
    own_server.kill()
    wait_for(lambda: ear.count("lost") == 1, "lost")
    assert listener.state(ear) == "down"
    own_server.start()
    began = time.monotonic()
    wait_for(lambda: ear.live, "live again")
    assert time.monotonic() - began < 5
    assert ear.count("lost") == 1


def test_a_listener_older_than_its_server(own_server, make_listener, ear):
    """A listener that starts while the server is away goes live when it comes."""
    own_server.stop()
    listener = make_listener(path=own_server.socket_path)
    listener.attach(ear)
    assert listener.state(ear) == "down"
    assert ear.heard == []
    own_server.start()
    wait_for(lambda: ear.live, "live")


def test_a_half_open_connection(server, make_listener, ear, protocol):
    """A path that goes silent without closing is a loss within the deadline, and is left for a new connection."""
    with Proxy(server.socket_path) as proxy:
        listener = make_listener(host="127.0.0.1", port=proxy.port, protocol=protocol, max_staleness=1.0)
        listener.attach(ear)
        wait_for(lambda: ear.live, "live")
        proxy.frozen.set()
        frozen_at = SystemClock().now()
        wait_for(lambda: ear.count("lost"), "lost")
        assert SystemClock().now() - frozen_at < 5 * SECOND
        assert max(event[1] for event in ear.heard if event[0] == "renewed") <= frozen_at + 1.1 * SECOND
        proxy.frozen.clear()
        wait_for(lambda: ear.live, "live again")
        assert proxy.accepted > 1


def test_a_demoted_master(own_server, own_client, make_listener, ear):
    """A server that becomes a replica loses its link at the next exchange, until it is a master again."""
    listener = make_listener(path=own_server.socket_path, max_staleness=1.0)
    listener.attach(ear)
    wait_for(lambda: ear.live, "live")
    own_client.replicaof("127.0.0.1", 1)
    wait_for(lambda: ear.count("lost"), "lost")
    assert ear.heard[-1] == ("lost", "the server is no master: its role is slave")
    renewals = ear.count("renewed")
    own_client.replicaof("NO", "ONE")
    wait_for(lambda: ear.count("renewed") > renewals, "live again")


def test_two_namespaces_on_one_listener(server, client, make_listener, namespace, protocol):
    """Subscribers share a connection, hear their own channels only, and come and go while it is live."""
    one, two, twin = (
        RecordingSubscriber(namespace + "-1"),
        RecordingSubscriber(namespace + "-2"),
        RecordingSubscriber(namespace + "-1"),
    )
    listener = make_listener(path=server.socket_path, protocol=protocol)
    listener.attach(one)
    wait_for(lambda: one.live, "live")
    listener.attach(two)
    listener.attach(twin)
    wait_for(lambda: two.live and twin.live, "the others live")
    assert client.pubsub_numsub(one.channel, two.channel) == [(one.channel, 1), (two.channel, 1)]
    client.publish(one.channel, b"1")
    client.publish(two.channel, b"2")
    wait_for(lambda: one.payloads and two.payloads and twin.payloads, "messages")
    assert (one.payloads, two.payloads, twin.payloads) == ([b"1"], [b"2"], [b"1"])
    listener.detach(one)
    listener.detach(two)
    wait_for(lambda: client.pubsub_numsub(two.channel) == [(two.channel, 0)], "unsubscribed")
    assert client.pubsub_numsub(one.channel) == [(one.channel, 1)]
    client.publish(one.channel, b"3")
    wait_for(lambda: twin.payloads == [b"1", b"3"], "the twin still hears")
    assert one.payloads == [b"1"]
    assert listener.state(one) == "down"


def test_a_password(make_listener, namespace, protocol, caplog):
    """The link authenticates; with a wrong password it goes on trying, and says so once, never the password."""
    with private_server(settings={"requirepass": "correct-horse"}) as secured:
        ear, other = RecordingSubscriber(namespace), RecordingSubscriber(namespace)
        make_listener(path=secured.socket_path, password="correct-horse", protocol=protocol).attach(ear)
        wait_for(lambda: ear.live, "live")
        began = time.monotonic()
        make_listener(path=secured.socket_path, password="wrong-battery", protocol=protocol).attach(other)
        with redis.Redis.from_url(secured.url, password="correct-horse") as client:
            wait_for(
                lambda: client.info("errorstats").get("errorstat_WRONGPASS", {"count": 0})["count"] >= 2, "two attempts"
            )
        assert time.monotonic() - began >= 1.0, "a refusal is asked about at most once a second"
        assert other.heard == []
        lines = [record.getMessage() for record in caplog.records]
        assert len(lines) == 1
        assert "the link can't connect" in lines[0]
        assert "wrong-battery" not in caplog.text


def test_least_privilege(make_listener, namespace):
    """A user who may only do what the link needs, on its own namespace, has a live link; on another's it is refused."""
    rules = ["on", ">secret", "resetkeys", f"~{namespace}:*", "resetchannels", f"&{namespace}:*", "-@all"]
    commands = ["+get", "+ping", "+role", "+subscribe", "+unsubscribe"]
    with private_server() as secured, redis.Redis.from_url(secured.url) as admin:
        admin.execute_command("ACL", "SETUSER", "shop", *rules, *commands)
        ours, others = RecordingSubscriber(namespace), RecordingSubscriber("elsewhere")
        listener = make_listener(path=secured.socket_path, username="shop", password="secret")
        listener.attach(others)
        listener.attach(ours)
        wait_for(lambda: ours.live, "live")
        assert listener.state(others) == "sync"
        assert others.kinds == []


def test_tls(server, make_listener, ear, client, tmp_path):
    """Over TLS the link is read and written the same way, a burst larger than one record included."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", *subject]
    try:
        subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("needs the openssl command")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Proxy(server.socket_path, context) as proxy:
        listener = make_listener(host="127.0.0.1", port=proxy.port, tls={"ssl_ca_certs": str(certificate)})
        listener.attach(ear)
        wait_for(lambda: ear.live, "live")
        client.publish(ear.channel, bytes(300_000))
        for number in range(200):
            client.publish(ear.channel, b"%d" % number)
        wait_for(lambda: len(ear.payloads) == 201, "the burst")
        listener.close()
        assert ear.heard[-1] == ("lost", "the listener was closed")
