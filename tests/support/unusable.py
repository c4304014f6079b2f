"""Values on the server that a cache can't use, and what each of its calls has to make of them."""

import pytest

from twotier.codec.values import Values
from twotier.core.flow.drive import drive

SECRET = "the secret of this cache"
KINDS = ["foreign", "number", "empty", "truncated", "other secret", "class gone", "tagged", "other type"]


class Lost(Exception):  # noqa: N818 - a value
    """Pickles, and can't be rebuilt: its constructor takes what it doesn't hand on."""

    def __init__(self, one, two):
        super().__init__(one)
        self.two = two


def spoil(cache, client, kind, key):
    """Put what `cache` can't use under `key` on its server, without expiry."""
    namespace = cache._namespace
    place = drive(namespace.generations.place(key), namespace.executor, namespace.background)
    op_id = namespace.op_ids.next()
    good = namespace.values.dump(place, op_id, {"a": [1, 2, 3]})
    client.delete(place)
    match kind:
        case "foreign":
            client.set(place, b"what another program has put there")
        case "number":
            client.set(place, b"007")
        case "empty":
            client.set(place, b"")
        case "truncated":
            client.set(place, good[:-3])
        case "other secret":
            options = cache.options.__class__(namespace=cache.options.namespace, secret="that of another cache")
            client.set(place, Values(options).dump(place, op_id, "signed otherwise"))
        case "class gone":
            client.set(place, namespace.values.dump(place, op_id, Lost(1, 2)))
        case "tagged":
            client.set(place, namespace.values.seal(place, op_id, namespace.values.encode("value"), b"\x05"))
        case "other type":
            client.rpush(place, b"a list")


def check_each_call(cache, spoiled):
    """Check that every call takes what `spoiled` has put under a key for nothing, and that writes replace it."""
    assert cache.get(spoiled("get"), "missing") == "missing"
    assert cache.get_many([spoiled("many")]) == {}
    assert (spoiled("in") in cache) is False
    assert cache.ttl(spoiled("ttl")) == 0.0
    assert cache.touch(spoiled("touch"), 50) is False
    assert cache.touch(spoiled("touch for ever"), None) is False
    with pytest.raises(KeyError):
        cache.incr(spoiled("incr"), create=False)
    cache.set("neighbour", 1)
    for key, tags in (("add", ()), ("add with tags", ("x",))):
        assert cache.add(spoiled(key), "added", None, tags=tags) is True
        assert cache.get(key) == "added"
        assert cache.add(key, "again") is False
    assert cache.add(spoiled("add nothing"), "value", ttl=0) is True
    assert cache.incr(spoiled("count"), 5, ttl=60) == 5
    assert cache.incr("count") == 6
    assert 50 < cache.ttl("count") <= 60
    assert cache.decr(spoiled("decr")) == -1
    assert cache.get_or_set(spoiled("load"), lambda: "loaded") == "loaded"
    assert cache.refresh(spoiled("refresh"), lambda: "loaded") == "loaded"
    assert cache.get_or_set_many([spoiled("loads")], lambda keys: dict.fromkeys(keys, "loaded")) == {"loads": "loaded"}
    cache.set(spoiled("set"), "set")
    cache.set_many({spoiled("set_many"): "set"})
    kept = {"load": "loaded", "refresh": "loaded", "loads": "loaded", "set": "set", "set_many": "set", "neighbour": 1}
    assert cache.get_many(list(kept)) == kept
    assert cache.delete(spoiled("delete")) is True
    assert cache.add("delete", 1) is True
