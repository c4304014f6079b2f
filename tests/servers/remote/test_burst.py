"""Many calls at once, more than there are connections: who is woken, who is told, and what the breaker hears of it."""

import contextlib
import functools
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from answers import answer
from waiting import wait_for

from twotier.errors import RemoteError, RemoteTimeout, RemoteUnavailable
from twotier.remote.commands.base import Fetch, Fetched

MANY = 20


def outcome(remote):
    """Make a call; return what it gave or raised."""
    try:
        return remote.run(Fetch(b"k"))
    except RemoteError as error:
        return error


def test_what_comes_too_late_in_a_burst_is_no_outage(fake_server, remotes):
    """Calls that the server had no time for, as it answered others, don't open the breaker; calls after them do."""
    gate, begun = threading.Event(), []

    def once(words, connection):
        if words[0] == b"GET":
            begun.append(connection)
            if len(begun) > 4:
                return None
            gate.wait(10)
        return answer(words, connection)

    remote = remotes(fake_server(once).url, timeout=2, max_staleness=20, max_connections=4)
    with ThreadPoolExecutor(MANY) as threads:
        calls = [threads.submit(outcome, remote) for _ in range(MANY)]
        wait_for(lambda: len(begun) == 4 and len(remote.pool._turns) == MANY - 4, "all have begun")
        gate.set()
        results = [call.result() for call in calls]
    assert results.count(Fetched(b"value", -1)) == 4
    late = [result for result in results if not isinstance(result, Fetched)]
    assert {isinstance(error, RemoteTimeout) for error in late} == {True}
    assert sum("didn't answer" in str(error) for error in late) >= 4  # as many as open it otherwise, and more
    assert remote.breaker.state == "closed"
    remote.edge.timeout = remote.pool._timeout = 0.1
    for _ in range(3):
        assert isinstance(outcome(remote), RemoteTimeout)
    assert remote.breaker.state == "open"


def test_callers_are_told_at_once_that_nobody_is_there(remotes, tmp_path):
    """Callers who wait for others to connect hear of it as soon as those fail, not at their deadline."""
    remote = remotes(f"unix://{tmp_path}/nobody.sock", timeout=10, max_staleness=40, max_connections=1)
    began = time.monotonic()
    with ThreadPoolExecutor(MANY) as threads:
        results = list(threads.map(outcome, [remote] * MANY))
    assert all(isinstance(result, RemoteUnavailable) for result in results)
    assert time.monotonic() - began < 5


def test_a_connection_that_opens_wakes_one_caller(fake_server, remotes):
    """Of those who wait, the one who came first is woken for it, and not all."""
    server, gate, woken = fake_server(answer), threading.Event(), []
    serve = server._serve

    def late(connection):
        gate.wait(10)
        serve(connection)

    server._serve = late
    pool = remotes(server.url, timeout=10, max_staleness=40, max_connections=1).pool
    with contextlib.ExitStack() as stack:
        for number in range(MANY):
            wake = functools.partial(woken.append, number)
            assert not pool.look(stack.enter_context(pool.queue(wake, time.monotonic() + 30)), [])
        gate.set()
        wait_for(lambda: woken, "it is open")
        with pool._lock:
            assert woken == [0]


def test_a_failed_attempt_of_a_caller_who_has_left_wakes_the_next(fake_server, remotes):
    """Whoever counted on it doesn't wait for the deadline: there is room for an attempt of their own."""
    server, gate, woken = fake_server(answer), threading.Event(), []

    def never(connection):
        gate.wait(10)
        connection.close()

    server._serve = never
    pool = remotes(server.url, timeout=10, max_staleness=40, max_connections=1).pool
    deadline = time.monotonic() + 30
    with contextlib.ExitStack() as first, contextlib.ExitStack() as second:
        for stack in (first, second):
            turn = stack.enter_context(pool.queue(functools.partial(woken.append, stack), deadline))
            assert not pool.look(turn, [])
        first.close()
        gate.set()
        wait_for(lambda: woken == [second], "the second is woken")


def test_nobody_opens_a_connection_for_who_is_served(remote, monkeypatch):
    """A caller who has a connection isn't counted among those who wait for one, by whoever looks next."""
    pool, release = remote.pool, threading.Event()
    deadline = time.monotonic() + 10
    loan = []
    pool.take(loan, deadline)
    pool.give(loan)
    connection = pool._connection
    monkeypatch.setattr(pool, "_connection", lambda: release.wait(10) and connection())
    with pool.queue(lambda: None, deadline) as served, pool.queue(lambda: None, deadline) as waiting:
        assert pool.look(served, loan)
        assert not pool.look(waiting, [])
        assert not pool.look(waiting, [])
        assert len(pool._opening) == 1
    release.set()
    wait_for(lambda: not pool._opening, "it is open")
    pool.give(loan)
