"""What a cache does on a cluster, where each key is on the node of its slot."""

import re

import pytest
from fake_source import FakeSource
from private_servers import known_to
from project import ROOT
from redis import RedisCluster
from waiting import PATIENT, live, wait_for

from twotier import Cache, ConfigurationError, TooFewReplicas, WriteBehind
from twotier.core.flow.drive import drive
from twotier.remote.hash_slots import slot_of

KEYS = [f"key{number}" for number in range(60)]
"""On all nodes."""


def test_keys_of_all_nodes_in_one_call(pair):
    """Bulk calls read, write and remove keys wherever they are."""
    writer, reader = pair
    writer.set_many({key: [key] for key in KEYS})
    assert reader.get_many([*KEYS, "missing"]) == {key: [key] for key in KEYS}
    assert list(reader.get_many(KEYS[::-1])) == KEYS[::-1]
    assert writer.delete_many([*KEYS[:40], "missing"]) == 40
    wait_for(lambda: reader.get_many(KEYS) == {key: [key] for key in KEYS[40:]}, "the reader has heard of it")


def test_single_calls(pair):
    """Every call of one key finds its node."""
    writer, reader = pair
    for key in KEYS:
        assert writer.add(key, "first")
        assert not writer.add(key, "second")
        assert reader.touch(key, ttl=60)
        assert 59 < reader.ttl(key) <= 60
        assert key in reader
        assert writer.delete(key)
        assert writer.incr(key, 5) == 5
        assert reader.decr(key) == 4


def test_the_other_processes_hear(pair):
    """A write, a delete and a clear reach the local tier of every process, whichever node has the key."""
    writer, reader = pair
    for value in ("old", "new"):
        writer.set_many(dict.fromkeys(KEYS, value))
        wait_for(lambda value=value: set(reader.get_many(KEYS).values()) == {value}, "the reader has heard of it")
    hits = reader.stats().local_hits
    wait_for(lambda: reader.get_many(KEYS) and reader.stats().local_hits - hits >= len(KEYS), "they are held locally")
    writer.clear()
    wait_for(lambda: reader.get_many(KEYS) == {}, "the reader has heard of it")


@pytest.mark.parametrize("key", ["plain", "{tag}a", "a{tag}", "}a{", "{}a{b}", "a{b", "a}b", "ä{ö}", "x" * 5000])
def test_one_process_loads(pair, key):
    """The lease on a load shares its key's slot, whatever the key looks like."""
    first, second = pair
    loads = []

    def load():
        loads.append(key)
        return ["loaded"]

    assert first.get_or_set(key, load) == second.get_or_set(key, load) == ["loaded"]
    assert loads == [key]


def test_bulk_loads(pair):
    """One call of the loader for what is missing, wherever the keys are; what was overtaken is stored nowhere."""
    first, second = pair
    asked = []

    def load(keys):
        asked.append(sorted(keys))
        second.set(KEYS[1], "written")
        return {key: [key] for key in keys}

    second.set(KEYS[0], "there")
    found = first.get_or_set_many(KEYS, load)
    assert found == {key: [key] for key in KEYS} | {KEYS[0]: "there"}
    assert asked == [sorted(KEYS[1:])]
    assert second.get_many(KEYS[1:]) == {key: [key] for key in KEYS[1:]} | {KEYS[1]: "written"}
    assert first.refresh(KEYS[2], lambda: "anew") == "anew"
    wait_for(lambda: second.get(KEYS[2]) == "anew", "it was stored")


def test_a_write_voids_a_load_on_another_node(pair):
    """What was overtaken by a write while it was loaded is stored nowhere."""
    first, second = pair

    def overtaken():
        second.set("key", "written")
        return "stale"

    assert first.get_or_set("key", overtaken) == "stale"
    assert second.get("key") == "written"
    wait_for(lambda: first.get("key") == "written", "the loader's process has the written value")


def test_write_through(cluster, make):
    """The source first, the cluster after, on whichever nodes the keys are."""

    source = FakeSource()
    writer, reader = make(cluster, writer=source, **PATIENT), make(cluster, **PATIENT)
    writer.set_many({key: [key] for key in KEYS})
    writer.set(KEYS[0], "other")
    assert source.rows == {key: [key] for key in KEYS} | {KEYS[0]: "other"}
    wait_for(lambda: reader.get_many(KEYS) == source.rows, "the reader has them")
    assert writer.delete_many(KEYS[1:]) == len(KEYS) - 1
    assert source.rows == {KEYS[0]: "other"}
    wait_for(lambda: reader.get_many(KEYS) == source.rows, "the reader has heard of it")


def test_writes_wait_for_replicas(cluster, make):
    """With one replica a primary, one acknowledges each write wherever it goes, and two never do."""
    cache = make(cluster, wait_replicas=1, **PATIENT)
    cache.set_many({key: [key] for key in KEYS})
    cache.delete_many(KEYS[:30])
    assert cache.stats().few_replicas == 0
    strict = make(cluster, wait_replicas=2, too_few_replicas="raise", **PATIENT)
    with pytest.raises(TooFewReplicas, match="1 of 2"):
        strict.set_many({key: [key] for key in KEYS})


def url_of_user(cluster, name, *commands):
    """Make the shipped user known to every node, with the commands that the page on clusters adds."""
    (user,) = re.findall(rf"^user {name} (.*)$", (ROOT / "docs" / "acl.conf").read_text(), flags=re.MULTILINE)
    rules = known_to(cluster.client(cluster.servers[0]), user)
    words = [word.replace("CHANGE-ME", "for-tests").replace("shop", "t*") for word in rules.split()]
    for server in cluster.servers:
        cluster.client(server).execute_command("ACL", "SETUSER", name, *words, "+client|tracking", *commands)
    return cluster.url.replace("://", f"://{name}:for-tests@")


def test_the_documented_permissions_are_enough(cluster, namespace):
    """The shipped user, with the commands that the page on clusters adds, can do all that a cache asks for."""
    url = url_of_user(cluster, "app", "+cluster|slots", "+asking", "+readonly", "+readwrite")
    with Cache(url, namespace=namespace, replica_fallback=True, **PATIENT) as cache:
        wait_for(lambda: live(cache), "the link is live")
        cache.set_many({key: [key] for key in KEYS}, tags=["tag"])
        assert cache.get_many(KEYS) == {key: [key] for key in KEYS}
        assert cache.get_or_set("loaded", lambda: 1) == 1
        assert cache.incr("count") == 1
        ours = cache._namespace
        wait_for(lambda: len(drive(ours.fallback.read(KEYS), ours.executor, None)) == len(KEYS), "replicas tell")
        cache.invalidate_tag("tag")
        cache.clear()
        assert cache.stats().remote_errors == 0


def test_the_documented_permissions_are_enough_for_a_write_behind(cluster, namespace, source):
    """The second shipped user, with two of them, can write, drain, put the cache right, bury and discard."""
    url = url_of_user(cluster, "behind", "+cluster|slots", "+asking")
    with Cache(url, namespace=namespace, load_lease=0.05, **PATIENT) as cache:
        wait_for(lambda: live(cache), "the link is live")
        first = WriteBehind(cache, source, trust_server=True, drain=False)
        first.set_many({key: [key] for key in KEYS})
        first.delete_many(KEYS[:5])
        source.rows[KEYS[0]] = "old"
        wait_for(lambda: cache.get_or_set(KEYS[0], lambda: "old") == "old", "it is loaded")
        source.before = lambda: 1 / 0
        with WriteBehind(cache, source, trust_server=True, max_attempts=1, batch_size=1) as drainer:
            drainer.flush(30)
            letters = drainer.dead_letters()
            assert len(letters) >= len(KEYS)
            assert drainer.discard_dead_letters(letters[:2]) == 2
            source.before = lambda: None
            drainer.retry_dead_letters()
            drainer.flush(30)
            assert drainer.dead_letters() == []
        assert len(source.rows) >= len(KEYS) - 7  # but for those that were deleted or discarded
        assert cache.stats().remote_errors == 0


def test_a_ready_client_lends_its_address(cluster, namespace):
    """A redis.RedisCluster names the cluster, and is left alone."""
    port = cluster.servers[0].port
    with RedisCluster("127.0.0.1", port) as client, Cache(client, namespace=namespace, **PATIENT) as cache:
        cache.set_many({key: [key] for key in KEYS})
        assert cache.get_many(KEYS) == {key: [key] for key in KEYS}
        assert client.ping()


def test_tags(pair):
    """What carries a tag expires with it, wherever entries and tags are."""
    writer, reader = pair
    writer.set_many({key: [key] for key in KEYS[:30]}, tags=["red", "round"])
    writer.set_many({key: [key] for key in KEYS[30:]}, tags=["blue"])
    assert reader.get_many(KEYS) == {key: [key] for key in KEYS}
    writer.invalidate_tag("round")
    wait_for(lambda: reader.get_many(KEYS) == {key: [key] for key in KEYS[30:]}, "the reader has heard of it")
    assert writer.add(KEYS[0], "anew", tags=["red"])
    assert writer.touch(KEYS[30], ttl=60)
    assert writer.invalidate_many(KEYS[30:40]) == 10
    wait_for(lambda: set(reader.get_many(KEYS)) == {KEYS[0], *KEYS[40:]}, "the reader has heard of it")


def test_hash_tags_keep_keys_together(pair, cluster):
    """Keys with the same tag are on one node, as their users expect."""
    writer, _ = pair
    keys = [f"{{user7}}:{number}" for number in range(9)]
    writer.set_many(dict.fromkeys(keys, "value"))
    slots = {
        slot_of(name.encode())
        for server in cluster.primaries().values()
        for name in cluster.client(server).keys(f"{writer.options.namespace}:*:{{user7}}:*")
    }
    assert slots == {slot_of(b"user7")}


def test_foreign_writes_are_heard(pair, cluster):
    """A key that somebody deletes by hand leaves the local tiers: the nodes themselves tell."""
    writer, reader = pair
    writer.set("key", ["value"])
    wait_for(lambda: reader.get("key") == ["value"] and "key" in reader._namespace.store, "it is held locally")
    for server in cluster.primaries().values():
        client = cluster.client(server)
        for name in client.keys(f"{reader.options.namespace}:*:key"):
            client.delete(name)
    wait_for(lambda: "key" not in reader._namespace.store, "it has left")
    assert reader.get("key") is None


def test_the_cluster_is_always_tracked(cluster, namespace):
    """Messages between a cluster's nodes may be lost, so pub/sub isn't used there: the servers tell."""
    with Cache(cluster.url, namespace=namespace, **PATIENT) as cache:
        assert cache.options.coherence == "tracking"


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("redis+cluster://", "host"),
        ("redis+cluster://127.0.0.1:7000,", "host"),
        ("redis+cluster://127.0.0.1:7000,127.0.0.1:70000", "port"),
        ("redis+cluster://127.0.0.1:7000/3", "database 0"),
        ("redis+cluster://user:se:cret@127.0.0.1:x", "port"),
    ],
)
def test_a_bad_url_is_told_at_once(url, wrong):
    """The error says what is wrong, and shows no password."""
    with pytest.raises(ConfigurationError, match=wrong) as error:
        Cache(url)
    assert "cret" not in str(error.value)


def test_resp2_cannot_track():
    """Tracking needs RESP3."""
    with pytest.raises(ConfigurationError, match="protocol"):
        Cache("redis+cluster://127.0.0.1:7000", protocol=2)
