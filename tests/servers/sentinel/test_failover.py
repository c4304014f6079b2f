"""Failovers of a real deployment: hot reads go on, writes come back with the new primary, and all agree afterwards."""

import time

import pytest
import redis
from traffic import KEYS, Traffic
from waiting import live, wait_for

from twotier.testing import assert_coherent
from twotier.testing.sentinels import USER

SLACK = 3.0
"""Seconds that a busy machine may add."""


def kill(deployment, primary):
    """Kill the primary."""
    deployment.kill(primary)


def hang(deployment, primary):
    """Stop the primary for as long as the failover takes."""
    deployment.hang(primary)


def isolate(deployment, primary):
    """Cut the primary off from sentinels and replicas, but not from its clients: they are other users there."""
    with deployment.client(primary) as admin:
        admin.execute_command("ACL", "SETUSER", "default", "off")
        admin.execute_command("CLIENT", "KILL", "USER", "default", "SKIPME", "no")


def lag(deployment, primary):
    """Keep the replicas from hearing what is written for a moment, then kill the primary."""
    replicas = [number for number in range(len(deployment.nodes)) if number != primary]
    for number in replicas:
        with deployment.client(number) as replica:
            replica.config_set("masterauth", "wrong")
    with deployment.client(primary) as admin:
        admin.execute_command("CLIENT", "KILL", "TYPE", "replica")
    time.sleep(0.3)
    deployment.kill(primary)
    for number in replicas:
        with deployment.client(number) as replica:
            replica.config_set("masterauth", "")


def undo(deployment, old):
    """Let the old primary come back, as a replica."""
    deployment.go_on(old)
    if deployment.nodes[old].running:
        with redis.Redis(port=deployment.nodes[old].port, username=USER, password=USER) as admin:
            admin.execute_command("ACL", "SETUSER", "default", "on")
    deployment.heal()


AS_CLIENT = {"username": USER, "password": USER}
"""Caches are another user than sentinels and replicas, which `isolate` shuts out."""


@pytest.mark.parametrize(
    "fault",
    [kill, isolate, pytest.param(hang, marks=pytest.mark.deep), pytest.param(lag, marks=pytest.mark.deep)],
    ids=lambda fault: fault.__name__,
)
def test_failover(deployment, make, fault):
    """No hot read fails, writes resume within 2 s of the failover, and every cache agrees with the new primary."""
    writer, reader = make(**AS_CLIENT), make(**AS_CLIENT)
    with Traffic(writer, writer, reader) as traffic:
        wait_for(lambda: min(traffic.acknowledged.values()) > 0, "writes go on")
        old = deployment.primary()
        began = time.monotonic()
        fault(deployment, old)
        new = deployment.wait_for_failover(old)
        over = time.monotonic()
        wait_for(lambda: traffic.written_at > over, "writes are taken")
        resumed = time.monotonic()
        wait_for(lambda: live(writer) and live(reader), "the links are live")
        wait_for(lambda: all(key in reader._namespace.store for key in KEYS), "the keys are fresh")
    assert new != old
    assert resumed - over < 2.0 + SLACK
    assert traffic.failed == []
    assert traffic.reads > 1000
    # Time may go back once, to what the new primary has; never later, and never without a failover.
    assert all(began < moment < resumed + reader.options.max_staleness for moment, *_ in traffic.back)
    wait_for(lambda: not writer.health().journal, "the journal is empty")
    assert_coherent(writer, reader)
    undo(deployment, old)
    assert_coherent(writer, reader)


def test_a_manual_failover_is_followed_at_once(deployment, make):
    """Where sentinels announce another primary, it is used without waiting for anything to time out."""
    cache = make()
    cache.set("key", 1)
    old = deployment.primary()
    with deployment.sentinels[0].client() as sentinel:
        sentinel.execute_command("SENTINEL", "FAILOVER", "orders")
    new = deployment.wait_for_failover(old)
    watch, port = cache._namespace.topology._watch, deployment.nodes[new].port
    wait_for(lambda: (now := watch._primary) and now.place.port == port, "the new primary is followed")
    began = time.monotonic()
    wait_for(lambda: live(cache), "the link is live")
    assert time.monotonic() - began < 0.5 + SLACK
    cache.set("key", 2)
    assert cache.get("key") == 2
    with deployment.client(new) as client:
        assert client.keys("*:key")


@pytest.mark.deep
@pytest.mark.timeout(600)
def test_twenty_failovers(deployment, make, record_property):
    """Twenty failovers in a row, of every kind: none costs a hot read, and lost writes are all that is lost."""
    writer, reader = make(**AS_CLIENT), make(**AS_CLIENT)
    gaps, lost = [], 0
    for number in range(20):
        fault = (kill, hang, isolate, lag)[number % 4]
        with Traffic(writer, writer, reader) as traffic:
            wait_for(lambda traffic=traffic: min(traffic.acknowledged.values()) > 0, "writes go on")
            old = deployment.primary()
            fault(deployment, old)
            last = traffic.written_at
            deployment.wait_for_failover(old)
            over = time.monotonic()
            wait_for(lambda traffic=traffic, over=over: traffic.written_at > over, "writes are taken")
            gaps.append(traffic.written_at - last)
            assert traffic.written_at - over < 2.0 + SLACK, fault
            wait_for(lambda: live(writer) and live(reader), "the links are live")
        assert traffic.failed == [], fault
        wait_for(lambda: not writer.health().journal, "the journal is empty")
        assert_coherent(writer, reader)
        lost += len(traffic.lost(writer))
        undo(deployment, old)
    record_property("figures", f"gaps {min(gaps):.2f} to {max(gaps):.2f} s, {lost} of 200 keys went back in time")
