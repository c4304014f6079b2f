"""What the callers' own code raises reaches the caller as it is, also what means something to generators."""

import threading
from asyncio import run_coroutine_threadsafe
from collections.abc import Mapping

import pytest
from waiting import wait_for

from twotier import Cache, LoaderError, WriteBehind
from twotier.clock import ManualClock
from twotier.core.flow.stop_iteration import as_raised

KINDS = [StopIteration, StopAsyncIteration, ValueError]


def raising(error):
    """Return what raises `error`, whatever it is called with."""

    def call(*_):
        raise error

    return call


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_loader_raises(plain, kind):
    """Every call that loads, wherever the loader runs."""
    error = kind("its own")
    load = raising(error)
    for call in (
        lambda: plain.get_or_set("key", load),
        lambda: plain.refresh("key", load),
        lambda: plain.get_or_set_many(["key", "other"], load),
        lambda: plain.get_or_set("key", load, hard_timeout=5),
        plain.cached(key="key", ignore=["_"])(load),
        plain.cached(key="key", ignore=["_"])(load).refresh,
        lambda: plain.get_or_set("outer", lambda: plain.get_or_set("inner", load)),
    ):
        with pytest.raises(kind) as raised:
            call()
        assert raised.value is error
    assert plain.get_or_set("key", lambda: "loaded") == "loaded"


def test_coroutines_raise_what_python_makes_of_it(plain, asyncio):
    """No coroutine can raise a StopIteration: it is the RuntimeError that any coroutine gives, with its cause."""

    async def aload(*_):
        raise StopAsyncIteration("its own")

    with pytest.raises(RuntimeError, match="StopIteration") as raised:
        asyncio.run(plain.aio.get_or_set("key", raising(StopIteration("its own"))))
    assert isinstance(raised.value.__cause__, StopIteration)
    for call in (
        lambda: plain.aio.get_or_set("key", aload),
        lambda: plain.aio.get_or_set_many(["key"], aload),
        lambda: plain.aio.get_or_set("key", aload, hard_timeout=5),
        plain.aio.cached(key="key", ignore=["_"])(aload),
    ):

        async def use(call=call):
            return await call()

        with pytest.raises(StopAsyncIteration, match="its own"):
            asyncio.run(use())


def test_those_who_share_the_load_are_told(plain, asyncio):
    """Threads that wait for a load are raised what its loader raised; tasks, what Python makes of it."""
    began, release = threading.Event(), threading.Event()
    error = StopIteration("its own")
    raised = []

    def load():
        began.set()
        assert release.wait(20)
        raise error

    def ask():
        with pytest.raises(StopIteration) as info:
            plain.get_or_set("key", load)
        raised.append(info.value)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert began.wait(20)

    async def aask():
        with pytest.raises(RuntimeError, match="StopIteration"):
            await plain.aio.get_or_set("key", load)

    task = run_coroutine_threadsafe(aask(), asyncio.loop)
    release.set()
    for thread in threads:
        thread.join()
    task.result(20)
    assert raised == [error] * 3


def test_several_loaders_errors_are_told_as_they_are():
    """A LoaderError names and holds what the loaders raised, and nothing of ours."""
    with Cache() as cache:
        gate, release = threading.Barrier(3), threading.Event()

        def load(error):
            def call(_):
                gate.wait(20)
                assert release.wait(20)
                raise error

            return call

        def lead(key, error):
            with pytest.raises(type(error)):
                cache.get_or_set_many([key], load(error))

        pairs = [("a", StopIteration("of a")), ("b", ValueError("of b"))]
        threads = [threading.Thread(target=lead, args=pair) for pair in pairs]
        for thread in threads:
            thread.start()
        gate.wait(20)

        def follow():
            with pytest.raises(LoaderError, match="StopIteration, ValueError") as raised:
                cache.get_or_set_many(["a", "b"], raising(AssertionError("they are being loaded")))
            told.extend(raised.value.__cause__.exceptions)

        told: list[Exception] = []
        follower = threading.Thread(target=follow)
        follower.start()
        wait_for(lambda: len(cache._namespace.flights._flights) == 2, "both are loaded")
        release.set()
        for thread in (*threads, follower):
            thread.join()
        assert told == [error for _, error in pairs]


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_writer_or_a_weigher_raises(make, kind):
    """Write-through, with and without a server, and what entries weigh."""
    error = kind("its own")

    class Source:
        """A source that takes nothing."""

        write = delete = staticmethod(raising(error))

    for cache in (Cache(writer=Source()), make(writer=Source()), Cache(weigher=raising(error), max_bytes=1000)):
        calls = [lambda cache=cache: cache.set("key", 1), lambda cache=cache: cache.set_many({"key": 1})]
        if cache.options.writer is not None:
            calls.append(lambda cache=cache: cache.delete("key"))
        for call in calls:
            with pytest.raises(kind) as raised:
                call()
            assert raised.value is error
        cache.close()


def test_a_dead_letter_says_what_the_writer_raised(make):
    """A write-behind's letter names the writer's error."""

    class Source:
        """A source that takes nothing."""

        write = delete = staticmethod(raising(StopIteration("its own")))

    with WriteBehind(make(secret="of this test, and long"), Source(), max_attempts=1) as behind:
        behind.set("key", 1)
        wait_for(behind.dead_letters, "the letter")
        (letter,) = behind.dead_letters()
    assert letter.error == "StopIteration: its own"


def test_a_log_line_says_what_a_loader_raised(caplog):
    """In the background as well, where nobody is told."""
    clock = ManualClock()
    with Cache(clock=clock, ttl=60, stale_while_revalidate=60) as cache:
        cache.set("key", "old")
        clock.advance(61)
        loader = raising(StopIteration("its own"))
        assert cache.get_or_set("key", loader) == "old"
        wait_for(lambda: "a load in the background failed: StopIteration('its own')" in caplog.messages, "the line")
        clock.advance(2)
        assert cache.get_or_set("key", loader, stale_while_revalidate=None, stale_on_error=True) == "old"
        assert "a loader failed, and stale copies are served: StopIteration('its own')" in caplog.messages


class Hostile(Mapping[str, int]):
    """Raises its error in the methods that it is told."""

    def __init__(self, error, *methods):
        self._error, self._methods = error, methods

    def _pass(self, method):
        if method in self._methods:
            raise self._error
        return {"key": 1}

    def __getitem__(self, key):
        return self._pass("getitem")[key]

    def __iter__(self):
        return iter(self._pass("iter"))

    def __len__(self):
        return len(self._pass("len"))

    def items(self):
        """Return the items."""
        return self._pass("items").items()

    def get(self, key, default=None):
        """Return one."""
        return self._pass("get").get(key, default)


class Unspeakable:
    """Has neither a class nor a text that can be asked for."""

    def __init__(self, error):
        self._error = error

    @property
    def __class__(self):
        """Raise."""
        raise self._error

    def __repr__(self):
        raise self._error


class Delicate(float):
    """A number that can't be compared."""

    error: Exception

    def __lt__(self, _):
        raise self.error

    __le__ = __gt__ = __ge__ = __lt__


def arguments(error):
    """Return calls of a cache whose arguments raise `error` when they are looked at."""
    seconds = Delicate(5)
    seconds.error = error
    odd = Unspeakable(error)
    iterable = Hostile(error, "iter")

    def load():
        return 1

    def load_tagged(context):
        context.tags = iterable

    def load_for(context):
        context.ttl = seconds

    return {
        "get": lambda cache: cache.get(odd),
        "get_many, keys": lambda cache: cache.get_many(iterable),
        "get_many, a key": lambda cache: cache.get_many(["key", odd]),
        "set, key": lambda cache: cache.set(odd, 1),
        "set, tags": lambda cache: cache.set("key", 1, tags=iterable),
        "set, a tag": lambda cache: cache.set("key", 1, tags=["tag", odd]),
        "set, ttl": lambda cache: cache.set("key", 1, ttl=seconds),
        "set_many, mapping": lambda cache: cache.set_many(Hostile(error, "items")),
        "set_many, a key": lambda cache: cache.set_many({"key": 1, odd: 1}),
        "delete, key": lambda cache: cache.delete(odd),
        "delete_many, keys": lambda cache: cache.delete_many(iterable),
        "delete_many, a key": lambda cache: cache.delete_many(["key", odd]),
        "invalidate_many, keys": lambda cache: cache.invalidate_many(iterable),
        "invalidate_tag": lambda cache: cache.invalidate_tag("tag", odd),
        "touch": lambda cache: cache.touch("key", ttl=seconds),
        "incr": lambda cache: cache.incr(odd),
        "get_or_set, tags": lambda cache: cache.get_or_set("key", load, tags=iterable),
        "get_or_set, the context's tags": lambda cache: cache.get_or_set("key", load_tagged),
        "get_or_set, the context's ttl": lambda cache: cache.get_or_set("key", load_for),
        "get_or_set, in the background": lambda cache: cache.get_or_set("key", load_tagged, hard_timeout=20),
        "get_or_set_many, keys": lambda cache: cache.get_or_set_many(iterable, dict.fromkeys),
        "get_or_set_many, a key": lambda cache: cache.get_or_set_many(["key", odd], dict.fromkeys),
        "get_or_set_many, result": lambda cache: cache.get_or_set_many(["key"], lambda _: Hostile(error, "get")),
        "refresh": lambda cache: cache.refresh("key", load_tagged),
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", arguments(None))
def test_what_an_argument_raises(plain, kind, name):
    """Keys, tags, mappings, times and what a loader gives are objects of the caller's, whose methods may raise."""
    error = kind("its own")
    with pytest.raises(kind) as raised:
        arguments(error)[name](plain)
    assert raised.value is error


@pytest.mark.parametrize("name", arguments(None))
def test_what_an_argument_raises_in_a_task(plain, asyncio, name):
    """A StopIteration becomes the RuntimeError of a coroutine, whose cause it is."""
    error = StopIteration("its own")

    async def call():
        await arguments(error)[name](plain.aio)

    with pytest.raises(RuntimeError, match="raised StopIteration") as raised:
        asyncio.run(call())
    assert raised.value.__cause__ is error


@pytest.mark.parametrize("write", ["set", "set_many", "delete"])
def test_what_an_argument_of_a_write_behind_raises(make, write):
    """A write-behind has calls of its own."""
    error = StopIteration("its own")
    odd = Unspeakable(error)
    calls = {
        "set": lambda behind: behind.set(odd, 1),
        "set_many": lambda behind: behind.set_many(Hostile(error, "items")),
        "delete": lambda behind: behind.delete(odd),
    }

    class Source:
        """A source that forgets."""

        write = delete = staticmethod(lambda _: None)

    with WriteBehind(make(secret="of this test, and long"), Source()) as behind:
        with pytest.raises(StopIteration) as raised:
            calls[write](behind)
        assert raised.value is error


def test_an_argument_of_a_cached_function_is_no_shorter_for_what_it_raises():
    """Nothing takes the StopIteration of a nested argument for the end of the arguments."""
    error = StopIteration("its own")
    with Cache() as cache:

        @cache.cached()
        def load(value):
            return value

        for value in (("a", Unspeakable(error)), ["a", Unspeakable(error)], {"a": Unspeakable(error)}):
            with pytest.raises(StopIteration) as raised:
                load(value)
            assert raised.value is error


def test_what_a_generator_of_the_callers_makes_of_it(plain):
    """A RuntimeError that Python has made before it came to us stays one."""

    def keys():
        yield "key"
        yield next(iter(()))

    def load():
        return next(each for each in keys() if each != "key")

    with pytest.raises(RuntimeError, match="generator raised StopIteration"):
        plain.get_many(keys())
    with pytest.raises(RuntimeError, match="generator raised StopIteration"):
        plain.get_or_set("key", load)

    def fail():
        raise RuntimeError("mine") from StopIteration()

    with pytest.raises(RuntimeError, match="mine"):
        plain.get_or_set("key", fail)
    assert as_raised(RuntimeError("without a traceback")).args == ("without a traceback",)
