"""Workers: threads that live while there is something to do, and services that survive not getting one."""

import logging
import threading
import time

import pytest
from forking import in_child
from interrupts import every_line
from waiting import wait_for

from twotier import worker as worker_module
from twotier.periodic import Periodic
from twotier.worker import Worker, start_pending


@pytest.fixture
def no_threads(monkeypatch):
    """Lets no thread be started until it is called; tells how often one was wanted."""
    start, wanted = threading.Thread.start, []

    def refuse(thread):
        wanted.append(thread)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr(worker_module, "RETRY", 0.0)

    def heal():
        monkeypatch.setattr(threading.Thread, "start", start)
        return len(wanted)

    return heal


def test_it_works_until_nothing_is_left():
    """The thread ends with the work, and a later start makes another."""
    left = [3]

    def step(_):
        left[0] -= 1
        return 0.0 if left[0] > 0 else None

    worker = Worker(step, "test")
    for _ in range(2):
        worker.start()
        wait_for(lambda: worker.thread is None, "it has ended")
        assert left[0] <= 0
        left[0] = 3
    worker.close(5)


def test_what_is_asked_for_during_a_step_is_done():
    """A start that comes while the last step is under way isn't lost."""
    steps, inside, go_on = [], threading.Event(), threading.Event()

    def step(_):
        steps.append(len(steps))
        inside.set()
        go_on.wait(10)

    worker = Worker(step, "test")
    worker.start()
    assert inside.wait(5)
    worker.start()
    go_on.set()
    wait_for(lambda: worker.thread is None, "it has ended")
    assert steps == [0, 1]


def test_a_wake_ends_the_pause_and_a_start_does_not():
    """`woken` tells the step which it was."""
    steps = []

    def step(woken):
        steps.append(woken)
        return 60.0

    worker = Worker(step, "test")
    worker.start()
    wait_for(lambda: steps == [False], "the first step")
    worker.start()
    worker.wake()
    wait_for(lambda: len(steps) == 2, "the second step")
    assert steps == [False, True]
    worker.close(5)
    wait_for(lambda: worker.thread is None, "it has ended")


def test_a_step_that_raises_is_made_again(monkeypatch, caplog):
    """Whatever it raises is logged, and the thread goes on."""
    monkeypatch.setattr(worker_module, "AFTER_A_FAULT", 0.0)
    steps = []

    def step(_):
        steps.append(1)
        if len(steps) == 1:
            raise SystemExit("boom")

    worker = Worker(step, "test")
    with caplog.at_level(logging.ERROR, "twotier"):
        worker.start()
        wait_for(lambda: worker.thread is None, "it has ended")
    assert len(steps) == 2
    assert "boom" in caplog.text


def test_a_step_that_keeps_raising_is_logged_once_a_minute(monkeypatch, caplog):
    """A service that fails for hours doesn't fill the disk."""
    monkeypatch.setattr(worker_module, "AFTER_A_FAULT", 0.0)
    steps = []

    def step(_):
        steps.append(1)
        if len(steps) < 5:
            raise ValueError("boom")

    worker = Worker(step, "test")
    with caplog.at_level(logging.ERROR, "twotier"):
        worker.start()
        wait_for(lambda: worker.thread is None, "it has ended")
    assert len(steps) == 5
    assert [record.getMessage() for record in caplog.records] == ["test failed; it will be tried again"]


def test_it_starts_once_there_are_threads(no_threads):
    """A start that finds no thread raises nothing, and is made good by the next caller of anything."""
    done = []
    worker = Worker(lambda _: done.append(1), "test")
    for _ in range(3):
        worker.start()
        worker.wake()
        start_pending()
    assert no_threads() >= 3
    assert not done
    start_pending()
    wait_for(lambda: done, "it has run")
    wait_for(lambda: worker.thread is None, "it has ended")


def test_other_services_start_it(no_threads):
    """The round of a service that runs starts those that couldn't be started."""
    done = []
    worker = Worker(lambda _: done.append(1), "waiting")
    worker.start()
    assert no_threads()
    other = Worker(lambda _: None, "running")
    other.start()
    wait_for(lambda: done, "it has run")


def test_a_closed_worker_stays_closed(no_threads):
    """What couldn't be started before the end isn't afterwards."""
    done = []
    worker = Worker(lambda _: done.append(1), "test")
    worker.start()
    worker.close(5)
    no_threads()
    start_pending()
    worker.start()
    worker.wake()
    assert worker.thread is None
    assert not done


def test_a_forked_child_has_a_thread_of_its_own():
    """Neither the parent's thread nor its lock is waited for."""
    steps = []

    def step(_):
        steps.append(threading.get_ident())
        return 60.0

    worker = Worker(step, "test")
    worker.start()
    wait_for(lambda: steps, "the first step")

    def child():
        steps.clear()
        assert worker.thread is None
        worker.start()
        wait_for(lambda: steps, "a step in the child")

    with worker._lock:
        in_child(child)
    worker.close(5)


def test_no_interruption_of_a_start_disables_it():
    """Wherever an exception arrives in `start` or `wake`, the next one gets the work done, on one thread."""

    def scene(interruption):
        running, most = [], []

        def step(_):
            running.append(1)
            most.append(len(running))
            time.sleep(0.0005)
            running.pop()

        worker = Worker(step, "test")
        interruption.run(worker.wake)
        worker.start()
        wait_for(lambda: most, "it has run")
        wait_for(lambda: worker.thread is None, "it has ended")
        assert max(most) == 1

    assert every_line(scene, "worker.py") > 5


def test_rounds_end_with_what_they_watch():
    """What says that it needs no more visits gets none, until it is watched again."""

    class Thing:
        visits = 0

    def visit(thing):
        thing.visits += 1
        return thing.visits % 3 != 0

    thing, rounds = Thing(), Periodic(visit, 0.001, "test")
    for visits in (3, 6):
        rounds.watch(thing)
        wait_for(lambda: rounds._worker.thread is None, "it has ended")
        assert thing.visits == visits
