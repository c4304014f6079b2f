"""What only event loops do to the executor: cancelling, being several, being busy, being forked."""

import asyncio
import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from loops import LoopThread
from waiting import PATIENCE, wait_for

from twotier.remote.commands.base import Fetch, Fetched, Ping, Publication, Put
from twotier.remote.execute.tasks import AsyncExecutor

PUBLICATION = Publication(b"channel", b"payload")


@pytest.fixture(params=["asyncio", "uvloop"])
def face(request):
    """Loops of both kinds."""
    return request.getfixturevalue(request.param)


def filled(remote, namespace, count):
    """Return `count` keys, each with its own name for a value."""
    keys = [f"{namespace}-{number}".encode() for number in range(count)]
    for key in keys:
        assert remote.run(Put(key, key, None, False, PUBLICATION))
    return keys


async def turns(count):
    """Let the loop turn `count` times."""
    for _ in range(count):
        await asyncio.sleep(0)


def test_cancelled_trips_never_mix_values(server, remotes, face, namespace):
    """Whatever is cancelled, at whichever point, the others get their own values, and no connection is poisoned."""
    remote = remotes(server.url, timeout=10, max_staleness=40, max_connections=4)
    keys = filled(remote, namespace, 16)
    run = AsyncExecutor(remote.edge).run
    chance = random.Random(7)

    async def reader(key):
        assert (await run(Fetch(key))).data == key

    async def storm():
        cancelled = 0
        for _ in range(250):
            tasks = [asyncio.create_task(reader(key)) for key in keys]
            await turns(chance.randrange(8))
            for task in chance.sample(tasks, 12):
                task.cancel()
                await turns(chance.randrange(2))
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                assert result is None or isinstance(result, asyncio.CancelledError)
                cancelled += result is not None
        return cancelled

    assert face.run(storm()) > 1000
    assert len(remote.pool._channels) <= 4
    assert not remote.pool._turns
    for key in keys:
        assert remote.run(Fetch(key)).data == key
    assert remote.breaker.state == "closed"


def test_loops_and_threads_share_one_pool(server, remotes, face, namespace):
    """Several loops, and threads without one, take turns on fewer connections than there are of them."""
    remote = remotes(server.url, timeout=10, max_staleness=40, max_connections=2)
    keys = filled(remote, namespace, 4)
    run = AsyncExecutor(remote.edge).run

    async def task():
        for key in keys * 25:
            assert (await run(Fetch(key))).data == key

    async def tasks():
        await asyncio.gather(*(task() for _ in range(4)))

    def thread():
        for key in keys * 100:
            assert remote.run(Fetch(key)).data == key

    with LoopThread() as other, ThreadPoolExecutor(4) as threads:
        works = [lambda: face.run(tasks()), lambda: other.run(tasks()), thread, thread]
        for done in [threads.submit(work) for work in works]:
            done.result(PATIENCE)
    assert len(remote.pool._channels) == 2


@pytest.mark.parametrize("end", ["give", "drop"])
def test_a_cancelled_waiter_passes_on_what_woke_it(server, remotes, face, end):
    """A connection, or room for one, that wakes a caller who has given up goes to the next in the queue."""
    remote = remotes(server.url, timeout=10, max_staleness=40, max_connections=1)
    remote.run(Ping())
    run = AsyncExecutor(remote.edge).run

    async def scene():
        held = []
        remote.pool.take(held, time.monotonic() + 1)
        tasks = [asyncio.create_task(run(Ping())) for _ in range(3)]
        while len(remote.pool._asleep) < 3:  # noqa: ASYNC110 - no event is set for it
            await asyncio.sleep(0.001)
        getattr(remote.pool, end)(held)
        tasks[0].cancel()  # woken, but not yet running
        began = time.monotonic()
        await asyncio.gather(*tasks[1:])
        assert tasks[0].cancelled()
        return time.monotonic() - began

    assert face.run(scene()) < 5  # not the deadline


def test_a_closed_loop_holds_up_nobody(server, remotes, face):
    """A waiter whose loop was closed under it is passed over."""
    remote = remotes(server.url, timeout=10, max_staleness=40, max_connections=1)
    remote.run(Ping())
    held = []
    remote.pool.take(held, time.monotonic() + 1)
    run = AsyncExecutor(remote.edge).run
    with LoopThread() as doomed:
        doomed.loop.set_exception_handler(lambda *_: None)  # "Task was destroyed but it is pending": it is
        left = asyncio.run_coroutine_threadsafe(run(Ping()), doomed.loop)
        wait_for(lambda: remote.pool._asleep, "the first waits")
    second = asyncio.run_coroutine_threadsafe(run(Ping()), face.loop)
    wait_for(lambda: len(remote.pool._asleep) == 2, "the second waits, too")
    remote.pool.give(held)
    second.result(5)
    assert not left.done()


def test_a_busy_loop_is_no_outage(server, remotes, face):
    """A reply that came while the loop was busy with other work until past the deadline counts."""
    remote = remotes(server.url, timeout=0.1)
    remote.run(Ping())
    run = AsyncExecutor(remote.edge).run

    async def scene():
        task = asyncio.create_task(run(Ping()))
        await turns(2)
        time.sleep(0.3)  # noqa: ASYNC251 - what is tested
        await task

    face.run(scene())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_in_mid_trip_leaves_the_parents_loop_alone(own_server, remotes, face):
    """A child that lets go of the parent's tasks doesn't take their sockets from the parent's selector."""
    remote = remotes(own_server.url, timeout=10, max_staleness=40)
    remote.run(Ping())
    run = AsyncExecutor(remote.edge).run

    async def scene():
        os.kill(own_server.pid, signal.SIGSTOP)
        coroutine = run(Fetch(b"k"))
        waited_for = coroutine.send(None)  # as a task does
        child = os.fork()
        if child == 0:
            remote.topology.after_fork()
            coroutine.close()
            os._exit(0)
        os.waitpid(child, 0)  # noqa: ASYNC222 - it ends at once
        os.kill(own_server.pid, signal.SIGCONT)
        waited_for._asyncio_future_blocking = False  # taken off it by a task's step otherwise
        await waited_for
        try:
            coroutine.send(None)
        except StopIteration as done:
            return done.value

    assert face.run(scene()) == Fetched(None, -2)
