"""The cap on loads: the source sees no more than it can take, and nobody waits for ever."""

import threading

from waiting import PATIENT, live, wait_for

from twotier import Cache
from twotier.core.loading.load_gate import LoadGate


class Source:
    """Counts how many loads run at once; each waits until it is let go."""

    def __init__(self):
        self.lock, self.go = threading.Lock(), threading.Event()
        self.running = self.most = self.loads = 0

    def load(self):
        with self.lock:
            self.loads += 1
            self.running += 1
            self.most = max(self.most, self.running)
        assert self.go.wait(60)
        with self.lock:
            self.running -= 1
        return "loaded"


def ask(cache, keys, source):
    """Load each key on a thread of its own; return the threads and what they got."""
    results = {}
    threads = [
        threading.Thread(target=lambda key=key: results.update({key: cache.get_or_set(key, source.load)}))
        for key in keys
    ]
    for thread in threads:
        thread.start()
    return threads, results


def test_loads_are_capped():
    """No more loaders run than the cap says; the others queue, and all are served."""
    with Cache(max_concurrent_loads=3) as cache:
        source, keys = Source(), [f"key {number}" for number in range(12)]
        threads, results = ask(cache, keys, source)
        wait_for(lambda: source.running == 3, "three run")
        source.go.set()
        for thread in threads:
            thread.join(10)
        assert source.most == 3
        assert results == dict.fromkeys(keys, "loaded")


def test_loader_of_other_keys_needs_no_second_place():
    """With one place, a loader that loads another key isn't made to wait for itself."""
    with Cache(max_concurrent_loads=1) as cache:
        assert cache.get_or_set("a", lambda: cache.get_or_set("b", lambda: cache.get_or_set("c", lambda: 1))) == 1


def test_places_come_back():
    """A loader that raises gives its place back."""
    with Cache(max_concurrent_loads=1) as cache:
        for _ in range(3):
            try:
                cache.get_or_set("key", lambda: 1 / 0)
            except ZeroDivisionError:
                continue
        assert cache.get_or_set("key", lambda: 1) == 1


def test_a_place_that_is_no_longer_wanted_is_passed_on():
    """Leaving the queue, or after one's turn has come, loses no place."""
    gate = LoadGate(1)
    holder = gate.enter()
    first, second, third = gate.enter(), gate.enter(), gate.enter()
    second.leave()
    holder.leave()
    holder.leave()
    assert first.is_held
    assert not third.is_held
    turn = gate.wake(third)
    assert not turn.done()
    first.leave()
    assert third.is_held
    assert turn.done()
    assert gate.enter_at_once() is None
    third.leave()
    assert gate.enter().is_held


def test_after_an_empty_restart_stale_copies_stand_in_for_loads_over_the_cap(own_server, namespace):
    """When the server comes back empty, the source sees the cap, and readers over it get what they had."""
    with Cache(own_server.url, namespace=namespace, max_concurrent_loads=2, **PATIENT) as cache:
        wait_for(lambda: live(cache), "the link is live")
        keys = [f"key {number}" for number in range(20)]
        cache.set_many(dict.fromkeys(keys, "old"))
        own_server.kill()
        wait_for(lambda: cache.get(keys[0]) == "old" and cache.health().breaker != "closed", "away")
        own_server.start()
        wait_for(lambda: cache.health().breaker == "closed" and live(cache), "back, empty")
        source = Source()
        threads, results = ask(cache, keys, source)
        wait_for(lambda: len(results) == 18 and source.running == 2, "all but two were answered")
        assert set(results.values()) == {"old"}
        assert source.most == 2
        source.go.set()
        for thread in threads:
            thread.join(10)
        assert sorted(results.values()) == ["loaded"] * 2 + ["old"] * 18


def test_waiting_for_another_process_takes_no_place(make):
    """The cap is on loaders: with every caller waiting for another process's load, nobody is shed, and all may load."""
    other, one = make(), make(max_concurrent_loads=2)
    elsewhere = Source()
    threads, _ = ask(other, ["a", "b", "c"], elsewhere)
    wait_for(lambda: elsewhere.running == 3, "another process loads three keys")
    here = Source()
    waiting, results = ask(one, ["a", "b", "c"], here)
    wait_for(lambda: len(one._namespace.flights._flights) == 3, "three callers wait for them")
    for _ in range(20):
        assert one.get_or_set("free", lambda: "loaded", when_busy="shed") == "loaded"
        one.delete("free")
    assert one._namespace.load_gate.free == 2
    elsewhere.go.set()
    for thread in threads + waiting:
        thread.join(10)
    assert results == dict.fromkeys("abc", "loaded")
    assert here.loads == 0


def test_who_queues_has_no_lease(make):
    """Where the cap is reached between the lease and the loader, the lease goes back: another process may load."""
    one, other = make(max_concurrent_loads=1), make()
    busy, queued = Source(), Source()
    threads, _ = ask(one, ["busy"], busy)
    wait_for(lambda: busy.running == 1, "the place is taken")
    waiting, results = ask(one, ["key"], queued)
    wait_for(lambda: one._namespace.load_gate.queued, "it queues")
    assert other.get_or_set("key", lambda: "by another process") == "by another process"
    busy.go.set()
    for thread in threads + waiting:
        thread.join(10)
    assert results == {"key": "by another process"}
    assert queued.loads == 0
