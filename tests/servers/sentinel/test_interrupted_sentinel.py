"""Exceptions that arrive between any two lines of a call behind sentinels: no connection is lost by them."""

import asyncio

from interrupts import Interrupted, every_line
from waiting import wait_for

from twotier.remote.commands.base import Ping


def test_no_line_of_a_call_loses_a_connection(make):
    """Of a call that connects to the primary, wherever the exception arrives."""
    cache, kept = make(timeout=2.0, max_staleness=20), []
    pool, executor = cache._namespace.topology.pool(), cache._namespace.executor

    def scene(interruption):
        loan = []
        while pool.idle(loan):
            pool.drop(loan)
        kept.append(interruption.run(lambda: executor.run(Ping())))
        assert isinstance(kept[-1], Interrupted) == bool(interruption.where)
        wait_for(lambda: not pool._opening, "those who connect are done")
        assert len(pool._channels) == len(pool._idle)
        assert not pool._turns
        assert not pool._asleep

    assert every_line(scene, "remote") > 30


def test_no_cancellation_loses_a_connection(make):
    """A task that connects to the primary, and is cancelled after any number of turns of its loop, leaves nothing."""
    cache = make(timeout=2.0, max_staleness=20)
    pool, executor = cache._namespace.topology.pool(), cache._namespace.async_executor

    async def cancelled_after(turns):
        task = asyncio.create_task(executor.run(Ping()))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        return isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)

    for turns in range(1000):
        loan = []
        while pool.idle(loan):
            pool.drop(loan)
        stopped = asyncio.run(cancelled_after(turns))
        wait_for(lambda: not pool._opening, "those who connect are done")
        assert len(pool._channels) == len(pool._idle)
        assert not pool._turns
        assert not pool._asleep
        if not stopped:
            break
    assert turns > 1
