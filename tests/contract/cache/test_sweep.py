"""What a clear leaves on the server is removed: entries without an expiry too, and nothing else."""

import logging
import os
import signal
import subprocess
import sys

import pytest
import redis
from loops import Awaited
from private_servers import private_server
from waiting import live, wait_for

from twotier import Cache
from twotier.core.namespace import sweep
from twotier.core.namespace.generation_names import new_name

SECRET = "a key of 16 bytes"


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    """The sweep begins soon after a clear, and pauses little."""
    monkeypatch.setattr(sweep, "GRACE", 0.05)
    monkeypatch.setattr(sweep, "LOOK", 0.02)
    monkeypatch.setattr(sweep, "PAUSE", 0.001)
    monkeypatch.setattr(sweep, "AWAY", 0.05)


@pytest.fixture
def own():
    """A server for one test alone."""
    with private_server() as own:
        yield own


@pytest.fixture
def admin(own):
    """Who looks at the server, and plants there what it likes."""
    with redis.Redis.from_url(own.url) as client:
        yield client


@pytest.fixture
def make(own):
    """Makes live caches of one namespace on the server of the test."""
    made = []

    def make(**settings):
        cache = Cache(own.url, **{"namespace": "shop", "timeout": 1.0, "max_staleness": 4.0, **settings})
        made.append(cache)
        wait_for(lambda: live(cache) or settings.get("coherence") == "none", "the link is live")
        return cache

    yield make
    for cache in made:
        cache._namespace.store.validate()
        cache.close()


def fill(cache, count=500, ttl=None):
    """Store entries, without an expiry as a rule."""
    cache.set_many({f"key {number}": "v" * 100 for number in range(count)}, ttl=ttl)


def entries(admin, generation):
    """Return the keys of a generation that are on the server."""
    return list(admin.scan_iter(b"shop:" + generation + b"*", count=1000))


def wait_swept(admin, *generations):
    """Wait until nothing of generations is on the server, nor their names in the record."""
    wait_for(lambda: not any(entries(admin, each) for each in generations), "its keys are removed")
    wait_for(lambda: not any(each in (admin.get("shop:sweep") or b"") for each in generations), "its name is dropped")


MODES = {
    "pubsub": {},
    "signed": {"secret": SECRET},
    "tracking": {"coherence": "tracking"},
    "no link": {"coherence": "none"},
    "RESP2": {"protocol": 2},
}


@pytest.mark.parametrize("settings", MODES.values(), ids=MODES)
def test_entries_without_a_ttl_leave_the_server_after_a_clear(make, admin, settings):
    """20,000 of them, with counters' warrants: the server holds as much as before, and the process counts them."""
    cache = make(**settings)
    cache.clear()
    before = admin.dbsize()
    fill(cache, 20_000)
    cache.incr("counter")
    cache.set("tagged", 1, ttl=None, tags=["tag"])
    old = admin.get("shop:gen")
    cache.clear()
    cache.set("new", "value", ttl=None)
    wait_swept(admin, old)
    assert admin.dbsize() <= before + 12, "profiles, tags, the record and its lease"
    assert cache.stats().swept >= 20_000
    assert cache.get("new") == "value"
    assert len(entries(admin, admin.get("shop:gen"))) == 1


def test_nothing_of_others_is_removed(make, admin):
    """Keys whose names look like ours, and those that belong to no generation."""
    cache = make()
    fill(cache)
    old = admin.get("shop:gen")
    foreign = [b"shop:products:12", b"shop:AbCd-_12:key", b"shop", b"shop:", b"shop:" + old, b"shop2:" + old + b":key",
               b"shop:" + old + b"x:key", b"Shop:" + old + b":key", b"shop:wb!seen", b"shop:#tag"]  # fmt: skip
    for key in foreign:
        admin.set(key, "theirs")
    cache.clear()
    wait_for(lambda: not entries(admin, old + b":"), "its keys are removed")
    wait_swept_record(admin, old)
    assert admin.mget(foreign) == [b"theirs"] * len(foreign)


def wait_swept_record(admin, old):
    """Wait until a name is dropped."""
    wait_for(lambda: old not in admin.get("shop:sweep"), "its name is dropped")


def test_generations_that_end_during_a_sweep_are_swept_too(make, admin, monkeypatch):
    """Clears from two processes, while keys are looked through: nothing of any ended generation stays."""
    monkeypatch.setattr(sweep, "PER_STEP", 10)
    one, two = make(), make()
    ended = []
    for cache in (one, two, one, two):
        fill(cache)
        ended.append(admin.get("shop:gen"))
        cache.clear()
    one.set("new", 1, ttl=None)
    wait_swept(admin, *ended)
    assert two.get("new") == 1


def test_an_older_release_cleared(make, admin):
    """A generation that was recorded by nobody's clear is swept: who found it in force has recorded it."""
    cache = make()
    fill(cache)
    old = admin.get("shop:gen")
    wait_for(lambda: make() and old in (admin.get("shop:sweep") or b""), "it is recorded")
    with admin.pipeline() as clear:
        clear.set("shop:gen", new_name()).publish("shop:inv:v1", b"unreadable")
        clear.execute()
    make()
    wait_swept(admin, old)


CLEARING = """
import sys
from twotier import Cache
Cache(sys.argv[1], namespace="shop", timeout=5, max_staleness=20).clear()
"""


def test_the_first_call_of_a_process_may_be_the_clear(make, own, admin):
    """As of a command that clears and ends: other processes sweep, or the next one that starts."""
    writer = make()
    fill(writer)
    old = admin.get("shop:gen")
    writer.close()
    subprocess.run([sys.executable, "-c", CLEARING, own.url], check=True, timeout=60)
    assert entries(admin, old)
    make()
    wait_swept(admin, old)


KILLED = """
import sys, time
from twotier import Cache
from twotier.core.namespace import sweep
sweep.GRACE, sweep.LOOK, sweep.PAUSE, sweep.PER_STEP = 0.0, 0.01, 0.02, 10
cache = Cache(sys.argv[1], namespace="shop", timeout=1.0, max_staleness=4.0)
cache.clear()
while not cache.stats().swept:
    time.sleep(0.001)
print("sweeping", flush=True)
time.sleep(60)
"""


def test_another_process_takes_over_from_one_that_was_killed(make, own, admin, monkeypatch):
    """The names are in the record, and the lease ends by itself."""
    monkeypatch.setattr(sweep, "LEASE", 0.2)
    survivor = make()
    fill(survivor, 5_000)
    old = admin.get("shop:gen")
    child = subprocess.Popen([sys.executable, "-c", KILLED, own.url], stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"sweeping\n"
    os.kill(child.pid, signal.SIGKILL)
    child.wait(10)
    child.stdout.close()
    assert 0 < len(entries(admin, old)) < 5_000
    assert admin.pexpire("shop:sweep!lease", 300) == 1, "it was the child's"
    wait_swept(admin, old)
    assert survivor.stats().swept > 0


def test_an_outage_half_way(make, own, admin, monkeypatch):
    """The sweep fails, waits for the server, and removes what is left."""
    monkeypatch.setattr(sweep, "PER_STEP", 10)
    monkeypatch.setattr(sweep, "PAUSE", 0.02)
    cache = make(timeout=0.25, max_staleness=1.0)
    fill(cache, 2_000)
    old = admin.get("shop:gen")
    cache.clear()
    wait_for(lambda: cache.stats().swept, "the sweep is under way")
    os.kill(own.pid, signal.SIGSTOP)
    try:
        wait_for(lambda: cache.get("x") or cache.health().breaker != "closed", "the outage is noticed")
    finally:
        os.kill(own.pid, signal.SIGCONT)
    monkeypatch.setattr(sweep, "PER_STEP", 1000)
    wait_swept(admin, old)


def test_a_closed_cache_sweeps_no_more(make, admin, monkeypatch):
    """Closing ends the sweep at its next step, and its thread."""
    monkeypatch.setattr(sweep, "PER_STEP", 10)
    monkeypatch.setattr(sweep, "PAUSE", 0.05)
    cache = make()
    fill(cache)
    old = admin.get("shop:gen")
    cache.clear()
    wait_for(lambda: cache.stats().swept, "the sweep is under way")
    cache.close()
    assert cache._namespace.sweep._worker.thread is None
    assert entries(admin, old)


def test_the_asynchronous_face_sweeps(make, admin, asyncio):
    """What an AsyncCache clears leaves the server."""
    cache = Awaited(make().aio, asyncio)
    fill(cache, 100)
    old = admin.get("shop:gen")
    cache.clear()
    wait_swept(admin, old)


def test_a_write_that_has_not_heard_of_the_clear_leaves_nothing(make, admin, monkeypatch):
    """It writes under the ended generation before the sweep begins: a name must have ended for a while."""
    monkeypatch.setattr(sweep, "GRACE", 0.5)
    cache = make()
    fill(cache)
    old = admin.get("shop:gen")
    cache.clear()
    admin.set(b"shop:" + old + b":late", "value")
    wait_swept(admin, old)


# Who can write to the server


@pytest.mark.parametrize("settings", [{}, {"secret": SECRET}], ids=["unsigned", "signed"])
def test_the_generation_in_force_is_never_swept(make, admin, settings):
    """Its name may stand in the record: each clear puts it there; so may one that anybody plants."""
    cache = make(**settings)
    fill(cache)
    stands = admin.get("shop:gen")
    for _ in range(3):
        admin.append("shop:sweep", stands + b",")
        make(**settings)
    ended = new_name()
    admin.append("shop:sweep", ended + b",")
    admin.set(b"shop:" + ended + b":key", "value")
    if not settings:
        make()
        wait_swept(admin, ended)
    assert len(entries(admin, stands)) == 500
    assert cache.get("key 1") == "v" * 100


def test_what_others_plant_in_the_record_is_not_signed(make, admin):
    """With a secret, only names that a process has signed are swept."""
    cache = make(secret=SECRET)
    fill(cache)
    old, planted = admin.get("shop:gen"), new_name()
    admin.append("shop:sweep", planted + b",")
    admin.set(b"shop:" + planted + b":key", "value")
    cache.clear()
    wait_for(lambda: not entries(admin, old), "its keys are removed")
    assert admin.get(b"shop:" + planted + b":key") == b"value"


PLANTED = {
    "a list": lambda admin: admin.rpush("shop:sweep", "x"),
    "a set of many": lambda admin: admin.sadd("shop:sweep", *range(100_000)),
    "huge": lambda admin: admin.setrange("shop:sweep", 50_000_000, "x"),
    "a huge name": lambda admin: admin.set("shop:sweep", b"A" * 1_000_000),
    "many names": lambda admin: admin.set("shop:sweep", b"AbCd-_12," * 1_000_000),
    "binary": lambda admin: admin.set("shop:sweep", bytes(range(256)) * 10 + b","),
    "empty names": lambda admin: admin.set("shop:sweep", b"," * 10_000),
    "a pattern": lambda admin: admin.set("shop:sweep", b"*,????????,[a-z],"),
}


@pytest.mark.parametrize("settings", [{}, {"secret": SECRET}], ids=["unsigned", "signed"])
@pytest.mark.parametrize("plant", PLANTED.values(), ids=PLANTED)
def test_a_planted_record_hinders_no_later_sweep(make, admin, plant, settings):
    """It is read up to its limit, and replaced by one of ours; no entry in force is removed."""
    plant(admin)
    cache = make(**settings)
    fill(cache)
    cache.clear()
    wait_for(lambda: admin.type("shop:sweep") == b"string" and admin.strlen("shop:sweep") < 1000, "it is replaced")
    fill(cache)
    old = admin.get("shop:gen")
    cache.clear()
    fill(cache, 10)
    wait_swept(admin, old)
    assert len(entries(admin, admin.get("shop:gen"))) == 10


def test_a_generation_that_comes_into_force_again_is_spared(make, admin, monkeypatch):
    """Somebody puts the old one back while its keys are being removed: the rest stays."""
    monkeypatch.setattr(sweep, "PER_STEP", 10)
    monkeypatch.setattr(sweep, "PAUSE", 0.02)
    cache = make()
    fill(cache, 2_000)
    old = admin.get("shop:gen")
    cache.clear()
    wait_for(lambda: cache.stats().swept, "the sweep is under way")
    admin.set("shop:gen", old)
    left = len(entries(admin, old))
    assert 0 < left < 2_000
    make()
    wait_for(lambda: not cache._namespace.sweep._look_through, "the sweep has ended")
    assert len(entries(admin, old)) == left


def test_nothing_is_swept_while_no_generation_is_known(make, admin):
    """The name was evicted: nobody knows which one is in force."""
    cache = make()
    fill(cache)
    old = admin.get("shop:gen")
    cache._namespace.sweep._find_ended()
    admin.append("shop:sweep", new_name() + b",")
    for key in admin.keys("shop:gen*"):
        admin.delete(key)
    assert not cache._namespace.sweep._find_ended()
    assert len(entries(admin, old)) == 500


def test_a_user_who_may_not_sweep(make, admin, caplog):
    """One line names all that is denied; everything else works."""
    admin.execute_command(
        "ACL", "SETUSER", "poor", "on", ">pw", "~shop:*", "&shop:*", "+@all", "-append", "-getrange", "-scan"
    )
    with caplog.at_level(logging.WARNING, "twotier"):
        cache = make(username="poor", password="pw")
        fill(cache)
        old = admin.get("shop:gen")
        cache.clear()
        wait_for(lambda: cache._namespace.sweep._permitted is False, "it is found out")
        cache.clear()
        cache.set("new", 1)
        assert cache.get("new") == 1
    assert entries(admin, old)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "denied APPEND, GETRANGE, SCAN" in line
    assert "aren't removed" in line
