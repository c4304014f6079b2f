"""The listener's own life: what it survives, what it logs, what it leaves behind, and how it ends."""

import contextlib
import logging
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import redis
from links import link_ids
from recording_subscriber import RecordingSubscriber
from waiting import wait_for

from twotier import worker
from twotier.backoff import Backoff
from twotier.clock import SystemClock
from twotier.coherence.listener import Listener
from twotier.options import Options
from twotier.rate_limited_log import RateLimitedLog


@pytest.mark.parametrize("kind", ["received", "confirmed", "renewed", "lost"])
def test_a_subscriber_that_raises(server, client, make_listener, namespace, caplog, kind):
    """It loses its own lease, the others keep theirs, the thread lives, and the subscriber is confirmed anew."""
    good, bad = RecordingSubscriber(namespace), RecordingSubscriber(namespace)
    bad.fails.add(kind)
    listener = make_listener(path=server.socket_path, max_staleness=1.0)
    listener.attach(bad)
    listener.attach(good)
    wait_for(lambda: good.live, "the other live")
    if kind == "lost":
        for each in link_ids(client):
            client.client_kill_filter(_id=each)
        wait_for(lambda: good.count("lost") and good.live, "the other live again")
    client.publish(good.channel, b"x")
    wait_for(lambda: bad.count("lost"), "the loss of its lease")
    assert listener.state(bad) == "sync" or kind == "lost"
    bad.fails.clear()
    wait_for(lambda: bad.live and bad.count("renewed"), "confirmed anew")
    assert bad.kinds[bad.kinds.index("lost") + 1 :][0] == "confirmed"
    assert good.count("lost") == (1 if kind == "lost" else 0)
    assert [record.message for record in caplog.records if "failed to take news" in record.message]


def test_what_connecting_raises_is_survived(server, make_listener, ear, caplog):
    """Whatever `connect` raises, the thread tries again, and names only the type of what it doesn't know."""
    listener = make_listener(path=server.socket_path)
    real, raised = listener._connect, []

    def connect():
        if len(raised) < 3:
            raised.append(LookupError("the vault's answer was s3cr3t"))
            raise raised[-1]
        return real()

    listener._connect = connect
    listener.attach(ear)
    wait_for(lambda: ear.live, "live in the end")
    assert "LookupError" in caplog.text
    assert "s3cr3t" not in caplog.text


def test_fifty_reconnects_leave_nothing_behind(server, client, make_listener, ear):
    """Descriptors and threads after fifty lost connections are those of before."""
    listener = make_listener(path=server.socket_path)
    listener.attach(ear)
    wait_for(lambda: ear.live, "live")
    client.ping()

    def held():
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    before = held()
    for round_ in range(1, 51):
        for each in link_ids(client):
            client.client_kill_filter(_id=each)
        wait_for(lambda: ear.count("lost") >= round_ and ear.live, "live again")  # noqa: B023 - called at once
    wait_for(lambda: all(now <= then for now, then in zip(held(), before, strict=True)), "nothing left behind")


def test_close(server, client, make_listener, ear):
    """Closing ends the thread and the connection within its deadline, tells the subscribers, and is for good."""
    listener = make_listener(path=server.socket_path)
    listener.attach(ear)
    wait_for(lambda: ear.live, "live")
    began = time.monotonic()
    listener.close()
    assert time.monotonic() - began < 1.9  # its deadline is 2
    thread = listener._thread
    assert not thread.is_alive()
    assert ear.heard[-1] == ("lost", "the listener was closed")
    wait_for(lambda: client.pubsub_numsub(ear.channel) == [(ear.channel, 0)], "disconnected")
    listener.close()
    listener.ensure_started()
    listener.wake()
    listener.attach(ear)
    assert listener._thread is thread
    assert not thread.is_alive()


def test_close_from_the_listeners_own_thread(server, make_listener, namespace):
    """A subscriber may close the listener from inside of a call."""
    listener = make_listener(path=server.socket_path)

    class Closing(RecordingSubscriber):
        def renewed(self, lease_until, generation):
            super().renewed(lease_until, generation)
            listener.close()

    ear = Closing(namespace)
    listener.attach(ear)
    wait_for(lambda: ear.heard and ear.heard[-1] == ("lost", "the listener was closed"), "closed")
    wait_for(lambda: not listener._thread.is_alive(), "the thread ended")


def test_close_while_nothing_answers(own_server, make_listener, ear):
    """Closing waits no longer than it says, even where connecting hangs; a pause ends at once."""
    os.kill(own_server.pid, signal.SIGSTOP)
    try:
        listener = make_listener(path=own_server.socket_path)
        listener.attach(ear)
        began = time.monotonic()
        listener.close(timeout=0.05)
        assert time.monotonic() - began < 1.5  # not the two seconds that it waits by default
    finally:
        os.kill(own_server.pid, signal.SIGCONT)
    missing = make_listener(path=own_server.socket_path + ".missing")
    missing._backoff = Backoff(60.0, 60.0)
    missing.attach(ear)
    wait_for(missing._thread.is_alive, "started")
    began = time.monotonic()
    missing.close()
    assert not missing._thread.is_alive()
    assert time.monotonic() - began < 1.9


def test_a_thread_that_can_not_start(server, make_listener, ear, monkeypatch, caplog):
    """Where no thread can be had there is no lease; the next `ensure_started` tries again."""

    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(worker, "_occasional", RateLimitedLog(SystemClock()))
    listener = make_listener(path=server.socket_path)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        listener.attach(ear)
    assert listener.state(ear) == "down"
    assert "can't start new thread" in caplog.text
    listener.ensure_started()
    wait_for(lambda: ear.live, "live")


def test_pauses_grow_and_are_spread(ear, monkeypatch):
    """Attempts are apart by 0.05 s, doubling up to 1 s, each longer by up to a quarter by chance."""
    attempts, chances = [], iter([0.0] * 4 + [0.8] * 100)

    def connect():
        attempts.append(None)
        if len(attempts) == 8:
            listener._closing = True
        raise redis.ConnectionError("refused")

    listener = Listener(connect, SystemClock(), Options(), chance=lambda: next(chances))
    pauses = []
    now = [0.0]
    monkeypatch.setattr("twotier.coherence.listener.time.monotonic", lambda: now[0])

    def wait(*, waker, seconds):  # noqa: ARG001 - as the real one
        pauses.append(round(seconds, 3))
        now[0] += seconds

    monkeypatch.setattr("twotier.coherence.listener.wait", wait)
    listener.attach(ear)
    wait_for(lambda: not listener._thread.is_alive(), "eight attempts")
    assert pauses == [0.05, 0.1, 0.2, 0.4, 0.96, 1.2, 1.2]


def test_one_line_a_minute(own_server, own_client, make_listener, ear, caplog):
    """However often the link is lost, the log has one line of it in a minute."""
    caplog.set_level(logging.INFO)
    listener = make_listener(path=own_server.socket_path)
    listener.attach(ear)
    wait_for(lambda: ear.live, "live")
    for round_ in range(1, 4):
        with contextlib.suppress(redis.RedisError):
            own_client.client_kill_filter(_type="pubsub")
        wait_for(lambda: ear.count("lost") >= round_ and ear.live, "live again")  # noqa: B023 - called at once
    assert [record.message for record in caplog.records] == ["the link was lost: the server closed the connection"]
