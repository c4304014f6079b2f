"""Shared objects: one an identity, closed by whoever gives it back last; and what a forked child has of them."""

import threading

from forking import in_child

from twotier.sharing import Shared


class Thing:
    """Something to share."""


def test_the_last_user_closes():
    """Users of one identity get one object, which only the last of them closes; once too often does nothing."""
    closed = []
    shared = Shared(closed.append)
    one, two, other = shared.acquire("a", Thing), shared.acquire("a", Thing), shared.acquire("b", Thing)
    assert one is two is not other
    assert len(shared) == 2
    shared.release(one)
    assert closed == []
    shared.release(two)
    shared.release(two)
    assert closed == [one]
    assert shared.acquire("a", Thing) is not one


def test_a_maker_that_raises_leaves_nothing():
    """Where nothing could be made there is nothing to give back, and the next user tries again."""
    shared = Shared(lambda _: None)
    try:
        shared.acquire("a", lambda: 1 / 0)
    except ZeroDivisionError:
        assert len(shared) == 0
    assert isinstance(shared.acquire("a", Thing), Thing)


def test_a_forked_child_goes_on_or_begins_anew():
    """A child whose parent held the lock at the fork isn't blocked; `inherited` gets what it is to let go of."""
    left = []
    kept, dropped = Shared(lambda _: None), Shared(lambda _: None, inherited=left.append)
    mine, theirs = kept.acquire("a", Thing), dropped.acquire("a", Thing)
    held, over = threading.Event(), threading.Event()

    def hold():
        with kept._lock, dropped._lock:
            held.set()
            over.wait()

    def child():
        assert kept.acquire("a", Thing) is mine
        assert left == [theirs]
        assert dropped.acquire("a", Thing) is not theirs

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        in_child(child)
    finally:
        over.set()
        thread.join()
    assert left == []
