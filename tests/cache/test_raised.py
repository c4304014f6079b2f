"""What the callers' own code raises reaches the caller as it is, also what means something to generators."""

import threading
from asyncio import run_coroutine_threadsafe

import pytest
from waiting import wait_for

from twotier import Cache, LoaderError, WriteBehind
from twotier.core.carrying import Carrier

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


def test_what_carries_it_says_no_more():
    """Where it is logged, it is what it carries."""
    assert repr(Carrier(StopIteration("its own"))) == "StopIteration('its own')"
