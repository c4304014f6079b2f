"""Settings that contradict each other in a fleet break no bound in silence: they are heard of, bounded, and named."""

import time

import pytest
import redis
from waiting import live, wait_for

from twotier import Cache, Options
from twotier.clock import SECOND, ManualClock
from twotier.core.namespace.profiles import LONGEST, SLOTS, profile, read_profile
from twotier.core.namespace.unverified import REMEMBERED, UnverifiedMessages

OLD, NEW = "the old key of 16 bytes", "the new key of 16 bytes"
BOUND = 2.5


@pytest.fixture
def make(server, namespace):
    """Makes live caches of one namespace."""
    made = []

    def make(**settings):
        cache = Cache(server.url, namespace=namespace, **settings)
        made.append(cache)
        cache.get("nothing")
        wait_for(lambda: cache.health().link in {"live", "none"}, "the link is live")
        return cache

    yield make
    for cache in made:
        cache._namespace.store.validate()
        cache.close()


def served_old_for(cache, key, old):
    """Return the seconds for which `cache` goes on to serve `old`."""
    begun = time.monotonic()
    wait_for(lambda: cache.get(key) != old, "the old value isn't served any more")
    return time.monotonic() - begun


def test_a_write_that_another_secret_signs_puts_everything_in_doubt(make, caplog):
    """A worker before a rotation beside one after it: it serves the old value no longer, and says why."""
    before = make(secret=OLD)
    before.set("key", 1)
    after = make(secret=[NEW, OLD])
    assert after.get("key") == 1
    assert before.get("key") == 1
    after.set("key", 2)
    assert served_old_for(before, "key", 1) < BOUND
    assert before.stats().unverified == 1
    assert any("can't be verified" in each for each in before.health().conflicts)
    assert "can't be verified" in caplog.text
    assert "16 bytes" not in caplog.text


def test_both_sides_see_that_secrets_differ(make, caplog):
    """The newer one says that it isn't understood, the older one that it doesn't understand; and each once."""
    before, after = make(secret=OLD), make(secret=[NEW, OLD])
    wait_for(lambda: any("isn't accepted here" in each for each in before.health().conflicts), "the old one sees it")
    wait_for(lambda: any("doesn't accept" in each for each in after.health().conflicts), "the new one sees it")
    wait_for(lambda: caplog.text.count("contradict each other") >= 2, "both have logged it")
    assert caplog.text.count("contradict each other") == 2


@pytest.mark.parametrize("other", ["tracking", "none"])
def test_a_writer_who_publishes_nothing_is_seen(make, other, caplog):
    """Who listens to pub/sub asks again each interval from then on, and both say so."""
    listener = make()
    writer = make(coherence=other)
    for cache, theirs in ((listener, other), (writer, "pubsub")):
        wait_for(lambda cache=cache: cache.health().conflicts, "the contradiction is seen")
        assert f"'{theirs}' in another process" in cache.health().conflicts[0]
    listener.set("key", 1)
    assert listener.get("key") == 1
    writer.set("key", 2)
    assert served_old_for(listener, "key", 1) < BOUND + 0.5
    assert listener.health().link == "live"
    assert caplog.text.count("contradict each other") == 2


def test_a_contradiction_ends_with_its_process(make, server, namespace):
    """When its profile has run out, health says nothing any more, and hits stay hits."""
    listener, writer = make(), make(coherence="tracking")
    wait_for(lambda: listener.health().conflicts, "the contradiction is seen")
    writer.close()
    with redis.Redis.from_url(server.url) as client:
        assert all(client.pttl(name) > 0 for name in client.keys(f"{namespace}:fleet.*"))
        client.delete(*client.keys(f"{namespace}:fleet.*"))
    wait_for(lambda: not listener.health().conflicts, "it is over")
    epoch = listener.health().epoch
    listener.set("key", 1)
    lease = listener._namespace.subscriber.proven_at
    wait_for(lambda: listener._namespace.subscriber.proven_at > lease + SECOND, "another lease")
    assert listener.health().epoch == epoch


def test_agreeing_processes_have_no_conflicts_and_one_key(make, server, namespace):
    """Steps of a rotation that follow each other agree, and processes of one profile share its key."""
    caches = [make(secret=[OLD, NEW]), make(secret=[OLD, NEW]), make(secret=[NEW, OLD])]
    with redis.Redis.from_url(server.url) as client:
        wait_for(lambda: len(client.keys(f"{namespace}:fleet.*")) >= 2, "both profiles are there")
    looked = [cache._namespace.fleet._due for cache in caches]
    for cache, due in zip(caches, looked, strict=True):
        wait_for(lambda cache=cache, due=due: cache._namespace.fleet._due > due, "they have looked again")
        assert cache.health().conflicts == ()
        assert cache.stats().unverified == 0


def test_a_flood_of_forged_messages_is_bounded(server, namespace):
    """Ten thousand messages put everything in doubt about once an interval, and copies for outages stay."""
    with Cache(server.url, namespace=namespace, secret=OLD) as cache, redis.Redis.from_url(server.url) as client:
        wait_for(lambda: live(cache), "the link is live")
        cache.set("key", 1)
        epoch, begun = cache.health().epoch, time.monotonic()
        for _ in range(10):
            with client.pipeline(transaction=False) as pipeline:
                for _ in range(1000):
                    pipeline.publish(f"{namespace}:inv:v1", b"\x02\x01" + bytes(50))
                pipeline.execute()
        wait_for(lambda: cache.stats().unverified == 10_000, "all have arrived")
        intervals = 1 + (time.monotonic() - begun) / (BOUND / 2.5)
        assert 1 <= cache.health().epoch - epoch <= 2 * intervals + 1
        assert cache.health().link == "live"
        assert cache._namespace.store.suspect("key", None) == 1


def test_messages_that_wait_count_before_the_next_lease():
    """None is forgotten, none counts twice, and after an interval of silence one counts at once again."""
    clock, doubts = ManualClock(), []
    messages = UnverifiedMessages(lambda: doubts.append(clock.now()), clock, interval=1.0)
    messages.settle()
    assert not messages.recent
    assert not doubts
    for _ in range(100):
        messages.heard()
    assert len(doubts) == 1
    messages.settle()
    messages.settle()
    assert len(doubts) == 2
    clock.advance(1.0)
    messages.heard()
    assert len(doubts) == 3
    assert messages.recent
    clock.advance(REMEMBERED / SECOND)
    assert not messages.recent


PLANTED = [b"", b"x" * 1_000_000, b"1 pubsub", b"2 pubsub - *", b"1 other - *", b"1 pubsub - *\n", bytes(range(256)),
           b"1 pubsub - " + b",".join([b"a" * 16] * 40)]  # fmt: skip


def test_planted_profiles_are_none(make, server, namespace):
    """What isn't of our form is passed over, of whatever length; a full table is used all the same."""
    for data in PLANTED:
        assert read_profile(data) is None
    with redis.Redis.from_url(server.url) as client:
        for slot in range(SLOTS):
            client.set(f"{namespace}:fleet.{slot}", PLANTED[slot])
        cache = make()
        ours = profile(Options(namespace=namespace))
        wait_for(lambda: ours in client.mget(client.keys(f"{namespace}:fleet.*")), "the profile is left")
    assert cache.health().conflicts == ()


def test_profiles_are_short_and_show_no_secret():
    """A list of any length stays within the bound, and a secret has another id in another namespace."""
    many = [f"{number:>16}" for number in range(100)]
    assert len(profile(Options(secret=many))) <= LONGEST
    assert len(profile(Options(secret=many[:16]))) <= LONGEST
    assert read_profile(profile(Options(secret=many[:16]))) is not None
    one, other = (profile(Options(secret=OLD, namespace=name)) for name in ("one", "other"))
    assert one != other
    assert OLD.encode() not in one
    assert OLD.encode().hex().encode() not in one
