"""Flows in the background: on few threads, none of them lost, none waiting for itself."""

import contextvars
import os
import threading

import pytest
from waiting import wait_for

from twotier import Cache, TwoTierError
from twotier.core.flow import background as module
from twotier.core.flow.background import Background
from twotier.core.flow.drive import drive
from twotier.core.flow.requests import Load, Spawn, Wait

colour: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")


@pytest.fixture
def background():
    """Two threads at most."""
    pool = Background(2)
    yield pool
    pool.close()


def nothing():
    """Do nothing, as a flow."""
    return
    yield


def test_flow_is_run_in_the_background_in_its_callers_context(background):
    """`Spawn` gives a future at once; what the flow yields is done on another thread, in a copy of the context."""

    def inner():
        seen = yield Load(lambda: (threading.current_thread().name, colour.get()))
        colour.set("changed")
        return seen

    def outer():
        future = yield Spawn(inner())
        return (yield Wait(future))

    colour.set("red")
    assert drive(outer(), None, background) == ("twotier-background", "red")
    assert colour.get() == "red"


def test_wait_ends_past_its_seconds_and_what_is_waited_for_goes_on(background):
    """TimeoutError comes out of `Wait` alone; the future is none the worse."""
    go = threading.Event()

    def inner():
        return (yield Load(lambda: go.wait(30) and "done"))

    def outer():
        future = yield Spawn(inner())
        try:
            yield Wait(future, 0.01)
        except TimeoutError:
            go.set()
        return (yield Wait(future))

    assert drive(outer(), None, background) == "done"


def test_what_a_flow_raises_is_its_futures(background):
    """The caller hears of it where it waits, the thread goes on, whatever it was."""

    def failing(error):
        yield Load(lambda: (_ for _ in ()).throw(error))

    def outer(error):
        return (yield Wait((yield Spawn(failing(error)))))

    for error in (ZeroDivisionError, SystemExit, KeyboardInterrupt):
        with pytest.raises(error):
            drive(outer(error), None, background)


def test_threads_are_few_and_what_is_over_them_queues(background):
    """No more run at once than the limit says, in the order in which they came."""
    go, lock = threading.Event(), threading.Lock()
    begun = []

    def task(number):
        with lock:
            begun.append(number)
        go.wait(30)

    futures = [background.run(lambda number=number: task(number)) for number in range(6)]
    wait_for(lambda: len(begun) == 2, "two have begun")
    assert len(background._threads) == 2
    go.set()
    for future in futures:
        future.result(30)
    assert sorted(begun) == list(range(6))


def test_tasks_that_wait_for_what_they_asked_for_do_not_wait_for_ever(background):
    """What a task spawns runs although every thread is taken by such tasks, and others queue before it."""
    go = threading.Event()

    def task():
        go.wait(30)
        return background.run(lambda: background.run(lambda: "innermost").result(30)).result(30)

    futures = [background.run(task) for _ in range(5)]
    go.set()
    assert [future.result(30) for future in futures] == ["innermost"] * 5


def test_threads_without_work_end(background, monkeypatch):
    """After a while without work no thread is left; the next task makes a new one."""
    monkeypatch.setattr(module, "IDLE", 0.01)
    assert background.run(lambda: 1).result(30) == 1
    wait_for(lambda: not background._threads, "the thread has ended")
    assert background.run(lambda: 2).result(30) == 2


def test_closed_pool_finishes_what_it_was_given_and_takes_no_more(background):
    """Nothing given before the end is dropped, since others may wait for it; the threads end after it."""
    go = threading.Event()
    futures = [background.run(lambda: go.wait(30)) for _ in range(4)]
    background.close()
    with pytest.raises(TwoTierError, match="closed"):
        background.run(lambda: 1)
    go.set()
    assert [future.result(30) for future in futures] == [True] * 4
    wait_for(lambda: not background._threads, "the threads have ended")


def test_a_thread_that_cannot_be_started_is_told(background, monkeypatch):
    """Without any thread the caller hears of it, or does it itself; nothing is left behind in the queue."""

    def refuse(thread):  # noqa: ARG001 - a thread's signature
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(TwoTierError, match="no thread"):
            background.run(lambda: 1)
        assert background.run(threading.get_ident, or_here=True).result(0) == threading.get_ident()
    assert background.run(lambda: 2).result(30) == 2
    assert not background._queue


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forked_child_runs_flows_on_threads_of_its_own(namespace):
    """The child doesn't wait for the parent's threads."""
    with Cache(namespace=namespace) as cache:

        def spawn():
            yield Wait((yield Spawn(nothing())), 30)

        cache._run(spawn())
        child = os.fork()
        if child == 0:
            code = 1
            try:
                cache._run(spawn())
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
