"""What a clear leaves on the nodes of a cluster is removed, on each of them."""

import pytest
from test_cluster_cache import url_of_user
from waiting import PATIENT, live, wait_for

from twotier import Cache
from twotier.core.flow.drive import drive
from twotier.core.namespace import sweep

KEYS = [f"key {number}" for number in range(1_000)]


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    """The sweep begins soon after a clear, and pauses little."""
    monkeypatch.setattr(sweep, "GRACE", 0.05)
    monkeypatch.setattr(sweep, "LOOK", 0.02)
    monkeypatch.setattr(sweep, "PAUSE", 0.001)
    monkeypatch.setattr(sweep, "AWAY", 0.05)


def entries(cluster, namespace, name):
    """Return the keys of a generation that are on any primary."""
    found = []
    for server in set(cluster.primaries().values()):
        found += cluster.client(server).scan_iter(f"{namespace}:{name}*", count=1000)
    return found


def name_of(cache):
    """Return the name of the generation of most groups."""
    prefix = cache._namespace.generations._standing(cache._namespace.generations.group_of(KEYS[0]))
    return prefix.decode().split(":")[1]


def test_entries_without_a_ttl_leave_every_node_after_a_clear(cluster, make, namespace):
    """With and without a hash tag of their own; what others have under names like ours stays."""
    cache = make(cluster, **PATIENT)
    cache.clear()
    cache.set_many({key: key for key in [*KEYS, "{user:7}:a", "{user:7}:b"]}, ttl=None)
    old = name_of(cache)
    foreign = f"{namespace}:products:12"
    owner = next(iter(set(cluster.primaries().values())))
    client = cluster.client(owner)
    planted = [f"{foreign}{number}" for number in range(40)]
    held = [key for key in planted if _try_set(client, key)]
    assert held
    cache.clear()
    cache.set_many(dict.fromkeys(KEYS, "new"), ttl=None)
    wait_for(lambda: not entries(cluster, namespace, old), "the nodes hold nothing of it")
    wait_for(lambda: not _in_records(cluster, namespace, old), "its name is dropped")
    assert cache.get_many(KEYS) == dict.fromkeys(KEYS, "new")
    assert len(entries(cluster, namespace, name_of(cache))) == len(KEYS)
    assert all(client.get(key) == "theirs" for key in held)


def _try_set(client, key):
    """Set a key, if the node has its slot; return True if so."""
    try:
        return client.set(key, "theirs")
    except Exception:  # noqa: BLE001 - another node's
        return False


def _in_records(cluster, namespace, name):
    for server in set(cluster.primaries().values()):
        client = cluster.client(server)
        for key in client.scan_iter(f"{namespace}:sweep{{*", count=1000):
            if name in (client.get(key) or ""):
                return True
    return False


def test_a_group_whose_generation_is_in_force_is_spared(cluster, make, namespace):
    """A name may have ended in one group, and be in force in another: a clear reaches some nodes at times."""
    cache = make(cluster, **PATIENT)
    cache.clear()
    cache.set_many(dict.fromkeys(KEYS, "old"), ttl=None)
    old, generations = name_of(cache), cache._namespace.generations
    group = generations.group_of(KEYS[0])
    spared = [key for key in KEYS if generations.group_of(key) != group]
    assert not drive(generations.clear([group], None), cache._namespace.executor, None)
    cache._namespace.bump_epoch()
    cache._namespace.sweep.wake()
    wait_for(lambda: len(entries(cluster, namespace, old)) == len(spared), "the group's keys are removed")
    assert cache.get_many(KEYS) == dict.fromkeys(spared, "old")


def test_a_lost_node_holds_the_sweep_up_until_another_has_its_slots(own_cluster, namespace):
    """A primary is killed before the sweep: its replica's keys are removed, too."""
    with Cache(own_cluster.url, namespace=namespace, timeout=0.5, max_staleness=2.0) as cache:
        wait_for(lambda: live(cache), "the link is live")
        cache.set_many({key: key for key in KEYS}, ttl=None)
        own_cluster.replicated()
        old = name_of(cache)
        cache._namespace.sweep._grace = 10**18
        cache.clear()
        own_cluster.replicated()
        lost = next(iter(own_cluster.primaries().values()))
        lost.kill()
        cache._namespace.sweep._grace = 0
        cache._namespace.sweep.wake()
        own_cluster.wait_for_failover(lost)
        wait_for(lambda: not entries(own_cluster, namespace, old), "no primary holds anything of it")


def test_the_documented_permissions_are_enough_for_the_sweep(cluster, namespace):
    """The shipped user may scan each node."""
    with Cache(url_of_user(cluster, "app", "+cluster|slots", "+asking"), namespace=namespace, **PATIENT) as cache:
        wait_for(lambda: live(cache), "the link is live")
        cache.set_many({key: key for key in KEYS}, ttl=None)
        old = name_of(cache)
        cache.clear()
        wait_for(lambda: not entries(cluster, namespace, old), "the nodes hold nothing of it")
        assert cache.stats().remote_errors == 0
