"""Exceptions that arrive between any two lines of a call: no connection, and no place for one, is lost by them."""

import asyncio
import threading
import time

import pytest
from interrupts import Interrupted, every_line
from waiting import wait_for

from twotier.errors import RemoteError
from twotier.remote.commands.base import Fetch, Ping
from twotier.remote.commands.load_locks import SettleLoadLocks
from twotier.remote.execute.tasks import AsyncExecutor

pytestmark = pytest.mark.parametrize("face", [None], ids=["threads"])

MOST = 4


class StoppedError(Exception):
    """What arrives on a loop's thread: a loop ends with anything that is no Exception."""


def settled(pool):
    """Tell whether every open connection is idle, and nobody waits or connects."""
    return len(pool._channels) == len(pool._idle) and not (pool._opening or pool._turns or pool._asleep)


def assert_whole(pool):
    """Assert that nothing was lost."""
    wait_for(lambda: not pool._opening, "those who connect are done")
    assert settled(pool), (pool._channels, pool._idle, pool._opening, pool._turns, pool._asleep)


def assert_all_can_be_had(pool):
    """Assert that there may be as many connections at once as ever."""
    assert_whole(pool)
    loans = [[] for _ in range(MOST)]
    for loan in loans:
        pool.take(loan, time.monotonic() + 30)
    for loan in loans:
        pool.drop(loan)


def drop_all(pool):
    """Close every connection."""
    loan = []
    while pool.idle(loan):
        pool.drop(loan)


def idle(remote):
    """Have an idle connection."""
    remote.run(Ping(), probing=True)


def none(remote):
    """Have no connection."""
    drop_all(remote.pool)


def dead(remote):
    """Have connections that the server has closed."""
    idle(remote)
    for channel in remote.pool.channels():
        channel.socket.shutdown(2)


SCENES = {"idle": idle, "none": none, "dead": dead}


@pytest.mark.parametrize("begin", SCENES.values(), ids=SCENES.keys())
@pytest.mark.parametrize("two_steps", [False, True], ids=["one step", "two steps"])
def test_no_line_of_a_call_loses_a_connection(remotes, server, namespace, begin, two_steps):
    """Wherever the exception arrives, and however long its traceback is kept, the pool is whole afterwards."""
    remote, kept = remotes(server.url, max_connections=MOST), []
    command = command_of(namespace, two_steps=two_steps)

    def scene(interruption):
        begin(remote)
        kept.append(interruption.run(lambda: remote.run(command)))
        assert isinstance(kept[-1], Interrupted) == bool(interruption.where)
        assert_whole(remote.pool)

    assert every_line(scene, "remote") > 30
    assert_all_can_be_had(remote.pool)
    assert remote.breaker.state == "closed"


def test_no_line_of_a_wait_loses_a_connection(remotes, server):
    """A caller who waits for a connection while all are lent, and is woken for one or not, leaves nothing behind."""
    remote, kept = remotes(server.url, max_connections=1), []
    pool = remote.pool

    def scene(interruption):
        loan = []
        pool.take(loan, time.monotonic() + 30)
        giver = threading.Thread(target=give_when_asleep, args=(pool, loan, interruption))
        giver.start()
        kept.append(interruption.run(lambda: remote.run(Ping())))
        interruption.over.set()
        giver.join()
        assert settled(pool)

    def begin(interruption):
        interruption.over = threading.Event()
        scene(interruption)

    assert every_line(begin, "remote") > 30


def give_when_asleep(pool, loan, interruption):
    """Give the connection back once somebody waits for it, or nobody will."""
    while not pool._asleep and not interruption.over.is_set():
        time.sleep(0.0002)
    pool.give(loan)


def test_no_line_of_a_failing_call_loses_a_connection(remotes, fake_server):
    """The same for calls that the server refuses, or leaves without an answer."""
    replies = {b"GET": b"-ERR boom\r\n", b"PTTL": b"-ERR boom\r\n", b"PING": None}

    def refusing(words, _):
        return replies[words[0]]

    remote, kept = remotes(fake_server(refusing).url, max_connections=MOST), []

    def scene(interruption):
        kept.append(interruption.run(lambda: remote.run(Fetch(b"key"), probing=True)))
        assert isinstance(kept[-1], RemoteError) == (not interruption.where)
        assert_whole(remote.pool)

    assert every_line(scene, "remote") > 30


def test_no_line_of_a_connecting_thread_loses_a_place(remotes, server, monkeypatch):
    """Whatever stops the thread that connects, its caller hears of it, and the place for a connection is free again."""
    remote = remotes(server.url, timeout=0.3, max_staleness=2, max_connections=MOST)
    pool = remote.pool
    run = type(pool)._run

    def scene(interruption):
        drop_all(pool)
        monkeypatch.setattr(pool, "_run", lambda attempt: interruption.run(lambda: run(pool, attempt)))
        try:
            remote.run(Ping(), probing=True)
        except RemoteError:
            assert interruption.where
        monkeypatch.undo()
        assert_whole(remote.pool)

    assert every_line(scene, "remote") > 20
    assert_all_can_be_had(pool)


@pytest.mark.parametrize("begin", SCENES.values(), ids=SCENES.keys())
@pytest.mark.parametrize("two_steps", [False, True], ids=["one step", "two steps"])
def test_no_line_of_an_awaited_call_loses_a_connection(remotes, server, namespace, begin, two_steps):
    """The same on an event loop, which watches no socket afterwards."""
    remote, kept = remotes(server.url, max_connections=MOST), []
    command = command_of(namespace, two_steps=two_steps)

    def scene(interruption):
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)
        try:
            begin(remote)
            call = AsyncExecutor(remote.edge).run(command)
            kept.append(interruption.run(lambda: loop.run_until_complete(asyncio.wait_for(call, 30))))
            assert kept[-1] is None or interruption.where
            assert len(loop._selector.get_map()) == 1  # the loop's own
        finally:
            loop.close()
        assert_whole(remote.pool)

    assert every_line(scene, "remote", StoppedError) > 30
    assert_all_can_be_had(remote.pool)


@pytest.mark.parametrize("begin", SCENES.values(), ids=SCENES.keys())
def test_no_cancellation_loses_a_connection(remotes, server, namespace, begin):
    """A task that is cancelled after any number of turns of its loop leaves nothing behind."""
    remote = remotes(server.url, max_connections=MOST)
    command = command_of(namespace, two_steps=True)

    async def cancelled_after(turns):
        task = asyncio.create_task(AsyncExecutor(remote.edge).run(command))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        return isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)

    for turns in range(1000):
        begin(remote)
        stopped = asyncio.run(cancelled_after(turns))
        assert_whole(remote.pool)
        if not stopped:
            break
    assert turns > 1


def command_of(namespace, *, two_steps):
    """Return a command of one trip, or of two."""
    key = namespace.encode()
    return SettleLoadLocks([key], b"token", [None], None) if two_steps else Fetch(key)
