"""Subclasses, changed methods and live key parts: what Django would ask of them is asked of them, in every call."""

import asyncio

import pytest
from asgiref.sync import sync_to_async
from django.core.cache.backends.base import BaseCache
from twotier.django import TwoTierCache
from waiting import PATIENT, live, wait_for


class Site:
    """A KEY_PREFIX whose text is the current site."""

    name = "one"

    def __str__(self):
        return self.name


class Named(TwoTierCache):
    """A backend whose key parts are computed."""

    site, generation = "one", 1

    @property
    def key_prefix(self):
        """The current site."""
        return self.site

    @key_prefix.setter
    def key_prefix(self, _):
        pass

    @property
    def version(self):
        """The current version."""
        return self.generation

    @version.setter
    def version(self, _):
        pass


class Boxing(TwoTierCache):
    """A backend whose values are stored in another form."""

    def get(self, key, default=None, version=None):
        """Unbox what is there."""
        found = super().get(key, None, version)
        return default if found is None else found["boxed"]

    def set(self, key, value, *args, **kwargs):
        """Box the value."""
        super().set(key, {"boxed": value}, *args, **kwargs)

    def add(self, key, value, *args, **kwargs):
        """Box the value."""
        return super().add(key, {"boxed": value}, *args, **kwargs)


@pytest.fixture
def backend_of(location, namespace, caches_of):
    """Make a backend of a class, with settings."""
    caches_of("")  # closes what is shared at the end

    def make(cls, **settings):
        backend = cls(location, {"OPTIONS": {"namespace": namespace, **PATIENT}, **settings})
        wait_for(lambda: live(backend.cache) or not location, "the link is live")
        return backend

    return make


def reads(cache, key, default="missing"):
    """Return what each reading call gives for `key`: synchronous and asynchronous, one and several."""

    async def aread():
        loaded = await cache.aget_or_set(key, lambda: default)
        return [await cache.aget(key, default), (await cache.aget_many([key])).get(key, default), loaded]

    given = [cache.get(key, default), cache.get_many([key]).get(key, default), cache.get_or_set(key, lambda: default)]
    given += asyncio.run(aread())
    return given


# Keys


def test_a_prefix_is_the_text_that_it_has_now(backend_of):
    """A KEY_PREFIX whose text changes gives each call the entry of the site that is current then."""
    site = Site()
    cache = backend_of(TwoTierCache, KEY_PREFIX=site)
    cache.set("page", "of one")
    assert reads(cache, "page") == ["of one"] * 6
    site.name = "two"
    assert not cache.has_key("page")
    assert reads(cache, "page") == ["missing"] * 6
    site.name = "one"
    assert reads(cache, "page") == ["of one"] * 6


@pytest.mark.parametrize("part", ["site", "generation"])
def test_computed_key_parts_are_computed_in_each_call(backend_of, part):
    """A `key_prefix` or `version` that is a property counts as it is now."""
    cache = backend_of(Named)
    cache.set("page", "of one")
    before = getattr(cache, part)
    setattr(cache, part, 2)
    assert reads(cache, "page") == ["missing"] * 6
    setattr(cache, part, before)
    assert reads(cache, "page") == ["of one"] * 6


def test_a_version_that_is_no_int_is_the_text_that_it_has_now(backend_of):
    """A VERSION of a type of one's own isn't taken for constant."""
    version = Site()
    cache = backend_of(TwoTierCache, VERSION=version)
    cache.set("page", "of one")
    version.name = "two"
    assert cache.get("page") is None
    assert cache.get_many(["page"]) == {}


@pytest.mark.parametrize("method", ["make_key", "make_and_validate_key"])
@pytest.mark.parametrize("where", ["subclass", "class", "instance", "base"])
def test_replaced_key_methods_make_every_key(backend_of, monkeypatch, method, where):
    """Whoever makes keys, by a subclass or on a class or backend in use, makes those of every call, hits included."""
    original = getattr(BaseCache, method)

    def shifted(self, key, version=None):
        return original(self, f"shifted-{key}", version)

    class Shifting(TwoTierCache):
        pass

    plain = backend_of(TwoTierCache)
    cache = backend_of(Shifting)
    cache.set("page", "plain")
    assert reads(cache, "page") == ["plain"] * 6
    if where == "instance":
        monkeypatch.setattr(cache, method, lambda key, version=None: shifted(cache, key, version))
    else:
        monkeypatch.setattr({"subclass": Shifting, "class": TwoTierCache, "base": BaseCache}[where], method, shifted)
    assert cache.get("page") is None
    assert cache.get_many(["page"]) == {}
    cache.set("page", "shifted")
    assert reads(cache, "page") == ["shifted"] * 6
    monkeypatch.undo()
    assert reads(cache, "page") == ["plain"] * 6
    assert plain.get("shifted-page") == "shifted"


def test_a_validation_of_ones_own_sees_every_key(backend_of, monkeypatch):
    """An overridden `validate_key` is asked for each key, also of what is in memory."""
    seen = []

    class Strict(TwoTierCache):
        def validate_key(self, key):
            """Note the key."""
            seen.append(key)

    cache = backend_of(Strict)
    cache.set("page", 1)
    for read in (cache.get, lambda key: cache.get_many([key]), lambda key: asyncio.run(cache.aget(key))):
        seen.clear()
        read("page")
        assert seen == [":1:page"]
    other = backend_of(TwoTierCache)
    monkeypatch.setattr(other, "validate_key", seen.append)
    seen.clear()
    other.get("page")
    assert seen == [":1:page"]


# Calls


def test_an_overridden_get_set_and_add_serve_every_call(backend_of):
    """Values that a subclass stores in another form come back in theirs, whichever call reads or stores them."""
    cache = backend_of(Boxing)

    async def use():
        assert await cache.aget_or_set("loaded", lambda: 1) == 1
        assert await cache.aget_or_set("awaited", sync_to_async(lambda: 1)) == 1
        assert await cache.aget("set") == 1
        assert await cache.aget_many(["set", "absent"]) == {"set": 1}
        await cache.aset("aset", 1)
        assert await cache.aadd("aadd", 1) is True
        assert await cache.aset_many({"aset_many": 1}) == []
        assert await cache.ahas_key("aset") is True
        assert await cache.ahas_key("absent") is False

    cache.set("set", 1)
    assert cache.add("add", 1) is True
    assert cache.set_many({"set_many": 1}) == []
    assert cache.get_or_set("got_or_set", lambda: 1) == 1
    asyncio.run(use())
    stored = ["set", "add", "set_many", "got_or_set", "aset", "aadd", "aset_many", "loaded", "awaited"]
    assert cache.cache.get_many([cache.make_key(key) for key in stored]) == {
        cache.make_key(key): {"boxed": 1} for key in stored
    }
    assert cache.get_many(stored) == dict.fromkeys(stored, 1)
    assert all(key in cache for key in stored)


def test_methods_set_on_a_backend_in_use_are_called(backend_of, monkeypatch):
    """Instrumentation that replaces methods of a backend sees what Django would have called."""
    cache = backend_of(TwoTierCache)
    seen = []

    def traced(name, method):
        def call(*args, **kwargs):
            seen.append(name)
            return method(*args, **kwargs)

        return call

    for name in ("get", "set", "add", "delete", "touch", "incr", "clear"):
        monkeypatch.setattr(cache, name, traced(name, getattr(cache, name)))

    async def use():
        await cache.aget_or_set("a", 1)
        await cache.atouch("a")
        await cache.aincr("a")
        await cache.adecr("a")
        await cache.adelete_many(["a"])
        await cache.aset_many({"a": 1})
        await cache.adelete("a")
        await cache.aclear()

    cache.get_or_set("a", 1)
    cache.delete_many(["a"])
    assert seen == ["get", "add", "get", "delete"]
    seen.clear()
    asyncio.run(use())
    assert seen == ["get", "add", "get", "touch", "incr", "incr", "delete", "set", "delete", "clear"]


def test_asynchronous_methods_of_ones_own_serve_those_built_of_them(backend_of):
    """An overridden `aget` or `aset` is what the other asynchronous calls go through."""

    class Counted(TwoTierCache):
        seen = ()

        async def aget(self, *args, **kwargs):
            """Count, and get."""
            self.seen += ("aget",)
            return await super().aget(*args, **kwargs)

        async def aset(self, *args, **kwargs):
            """Count, and set."""
            self.seen += ("aset",)
            await super().aset(*args, **kwargs)

    cache = backend_of(Counted)

    async def use():
        await cache.aset_many({"a": 1})
        assert await cache.aget_many(["a"]) == {"a": 1}
        assert await cache.ahas_key("a")
        assert await cache.aget_or_set("a", 2) == 1

    asyncio.run(use())
    assert cache.seen == ("aset", "aget", "aget", "aget")


def test_a_get_many_that_undoes_its_own_form_is_given_what_is_stored(backend_of):
    """A subclass that overrides a bulk call beside the single one calls the backend's own by `super`."""

    class Bulky(Boxing):
        def get_many(self, keys, version=None):
            """Unbox what is there."""
            return {key: value["boxed"] for key, value in super().get_many(keys, version).items()}

    cache = backend_of(Bulky)
    cache.set("a", 1)
    assert cache.get_many(["a"]) == {"a": 1}
