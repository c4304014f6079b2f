"""Processes of two releases on one server read each other's values as far as they can, whichever is upgraded first."""

import pickle
import secrets
import struct
from hashlib import blake2b

import pytest
import redis
from waiting import live, wait_for

from twotier import Cache
from twotier.clock import wall_clock

SECRET = "a key of 16 bytes"


class Before:
    """A process of the release before: it knows format 1 alone, and takes any generation for one."""

    def __init__(self, client, namespace, secret):
        self.client, self.namespace, self.secret = client, namespace.encode(), secret

    def place(self, key):
        self.client.set(self.namespace + b":gen", b"AbCdEf-_", nx=True)
        return b"%b:%b:%b" % (self.namespace, self.client.get(self.namespace + b":gen"), key)

    def mac(self, place, header, payload):
        key = blake2b(self.secret.encode(), digest_size=32, person=b"twotier-envelope").digest()
        fields = b"".join(struct.pack(">I", len(each)) + each for each in (self.namespace, place))
        return blake2b(fields + header + payload, key=key, digest_size=16).digest()

    def set(self, key, value):
        place, payload, op_id = self.place(key), pickle.dumps(value, protocol=5), secrets.token_bytes(16)
        flags = 0x82 if self.secret else 0x01
        header = struct.pack(">4sB16s", b"\xf2tt\x01", flags, op_id) + blake2b(place, digest_size=8).digest()
        mac = self.mac(place, header, payload) if self.secret else b""
        self.client.set(place, header + mac + payload)
        self.publish(1, struct.pack(">16sIQI", op_id, 1, wall_clock(), len(key)) + key)

    def clear(self):
        self.client.set(self.namespace + b":gen", secrets.token_urlsafe(6))
        self.publish(4, struct.pack(">16sIQ", secrets.token_bytes(16), 0, wall_clock()))

    def publish(self, op, rest):
        body = bytes([2, op | (0x80 if self.secret else 0)]) + rest
        if self.secret:
            signing = blake2b(self.secret.encode(), digest_size=32, person=b"twotier:inv:key").digest()
            name = struct.pack(">I", len(self.namespace)) + self.namespace
            body += blake2b(name + body, key=signing, digest_size=16, person=b"twotier:inv:v1").digest()
        self.client.publish(self.namespace + b":inv:v1", body)

    def get(self, key):
        """Return the value, or None for a miss: what is of another format is one."""
        data = self.client.get(self.place(key))
        if data is None or data[:4] != b"\xf2tt\x01":
            return None
        return pickle.loads(data[45:] if self.secret else data[29:])


@pytest.fixture(params=[None, SECRET], ids=["unsigned", "signed"])
def secret(request):
    """What both releases sign with."""
    return request.param


@pytest.fixture
def before(server, namespace, secret):
    """A process of the release before."""
    with redis.Redis.from_url(server.url) as client:
        yield Before(client, namespace, secret)


@pytest.fixture
def after(server, namespace, secret):
    """A live cache of this release."""
    with Cache(server.url, namespace=namespace, secret=secret) as cache:
        wait_for(lambda: live(cache), "the link is live")
        yield cache


def test_values_of_the_release_before_are_read(before, after):
    """What an old process writes while a new one runs is a hit there."""
    after.set("other", "makes the generation")
    before.set(b"key", ("old", 1))
    assert after.get("key") == ("old", 1)
    before.set(b"key", ("old", 2))
    wait_for(lambda: after.get("key") == ("old", 2), "the old process's write is seen")
    assert after.stats().corrupt == 0


def test_values_of_this_release_are_misses_before(before, after):
    """What a new process writes is a miss to an old one, which then writes its own, and that is seen by the new one."""
    before.set(b"key", ("old", 1))
    after.set("key", ("new", 1))
    assert before.get(b"key") is None
    before.set(b"key", ("old", 2))
    assert before.get(b"key") == ("old", 2)
    wait_for(lambda: after.get("key") == ("old", 2), "the old process's write is seen")
    after.delete("key")
    assert before.get(b"key") is None


def test_a_clear_of_the_release_before_is_one(before, after, namespace):
    """An old process's clear counts for all; with a secret a new one signs another generation."""
    before.set(b"key", ("old", 1))
    after.set("other", "value")
    before.clear()
    wait_for(lambda: after.get("key") is None and after.get("other") is None, "the clear is seen")
    before.set(b"key", ("old", 2))
    wait_for(lambda: after.get("key") == ("old", 2), "both use one generation")
    assert len(before.client.get(f"{namespace}:gen")) == (32 if before.secret else 8)


def test_a_clear_of_this_release_is_one_before(before, after):
    """A new process's clear ends what an old one wrote, and the generation is one that it takes."""
    after.set("other", "value")
    before.set(b"key", ("old", 1))
    assert before.get(b"key") == ("old", 1)
    after.clear()
    assert before.get(b"key") is None
    before.set(b"key", ("old", 2))
    wait_for(lambda: after.get("key") == ("old", 2), "both use one generation")
