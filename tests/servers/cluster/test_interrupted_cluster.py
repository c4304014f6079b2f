"""Exceptions that arrive between any two lines of a cluster's executors: no node's connections are lost by them."""

import asyncio

import pytest
from interrupts import Interrupted, every_line
from waiting import wait_for

from twotier.remote.commands.base import FetchMany


class StoppedError(Exception):
    """What arrives on a loop's thread: a loop ends with anything that is no Exception."""


MANY = [b"{a}1", b"{b}2", b"{c}3", b"{d}4", b"{e}5"]


def settled(members):
    """Tell whether every open connection to a node is idle, and nobody waits or connects."""
    pools = [member.server.pool() for member in list(members._members.values())]
    return not any(len(p._channels) != len(p._idle) or p._opening or p._turns or p._asleep for p in pools)


@pytest.mark.parametrize("keys", [MANY[:1], MANY], ids=["one node", "all nodes"])
def test_no_line_of_a_call_loses_a_connection(cluster, make, keys):
    """Of one trip or of several at once, wherever the exception arrives."""
    cache, kept = make(cluster, timeout=2.0, max_staleness=20), []
    members, executor = cache._namespace.topology.members, cache._namespace.executor

    def scene(interruption):
        kept.append(interruption.run(lambda: executor.run(FetchMany(keys))))
        assert isinstance(kept[-1], Interrupted) == bool(interruption.where)
        wait_for(lambda: settled(members), "what others do for the call is done")

    assert every_line(scene, "remote") > 30


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")  # made, and stopped before its task was
@pytest.mark.parametrize("keys", [MANY[:1], MANY], ids=["one node", "all nodes"])
def test_no_line_of_an_awaited_call_loses_a_connection(cluster, make, keys):
    """The same in a task."""
    cache, kept = make(cluster, timeout=2.0, max_staleness=20), []
    members, executor = cache._namespace.topology.members, cache._namespace.async_executor

    def scene(interruption):
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)
        try:
            call = executor.run(FetchMany(keys))
            kept.append(interruption.run(lambda: loop.run_until_complete(asyncio.wait_for(call, 30))))
            assert kept[-1] is None or interruption.where
            loop.run_until_complete(ended())
        finally:
            loop.close()
        wait_for(lambda: settled(members), "what others do for the call is done")

    assert every_line(scene, "remote", StoppedError) > 30


async def ended():
    """Let the other tasks of a loop end."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others, timeout=30)


@pytest.mark.parametrize("keys", [MANY[:1], MANY], ids=["one node", "all nodes"])
def test_no_cancellation_loses_a_connection(cluster, make, keys):
    """A task that is cancelled after any number of turns of its loop leaves nothing behind."""
    cache = make(cluster, timeout=2.0, max_staleness=20)
    members, executor = cache._namespace.topology.members, cache._namespace.async_executor

    async def cancelled_after(turns):
        task = asyncio.create_task(executor.run(FetchMany(keys)))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        return isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)

    for turns in range(1000):
        stopped = asyncio.run(cancelled_after(turns))
        wait_for(lambda: settled(members), "what others do for the call is done")
        if not stopped:
            break
    assert turns > 1
