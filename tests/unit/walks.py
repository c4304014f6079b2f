"""Walks: which files of the package real calls enter, traced on the threads that do the work.

A walk is the set of files whose functions one operation enters, from the caller's line to its result. Only Python
functions count: the compiled local tier is no file of the package's. Each walk is taken several times on a warm cache
and the shortest is kept, as an exchange of the link or a new connection may fall into any one of them.

As a program, this file is the other process of a load: `python walks.py URL NAMESPACE KEY` loads the key, prints a line
when it begins, and returns the value when its input has a line.
"""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Self

import twotier
from twotier import Cache, WriteBehind

PACKAGE = Path(twotier.__file__).parent
TIMES = 3
PATIENCE = 30.0
"""Seconds that a step may take on a busy machine."""
SETTINGS = {"timeout": 2.0, "connect_timeout": 2.0, "max_staleness": 30.0}
"""A busy machine is no outage, and few of the link's exchanges fall into a walk."""
LOADING = 0.2
"""Seconds for which the other process goes on loading once it is followed."""


class Trace:
    """Notes the package's files whose functions are entered while `recording`, on the caller's thread or on `threads`.

    `threads`: beginnings of the names of threads that are started within the `with` block.
    """

    def __init__(self, *threads: str, caller: bool = True) -> None:
        self.files: set[str] = set()
        self._threads = threads
        self._caller = threading.current_thread() if caller else None
        self._recording = False

    def __enter__(self) -> Self:
        self._outer = sys.gettrace(), threading.gettrace()
        threading.settrace(self._entered)
        sys.settrace(self._entered)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._outer[0])
        threading.settrace(self._outer[1])

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Note what is entered in this block, until its end or `stop`."""
        self.files = set()
        self._recording = True
        try:
            yield
        finally:
            self._recording = False

    def stop(self) -> None:
        """Note nothing more in this block."""
        self._recording = False

    def _entered(self, frame: FrameType, _event: str, _arg: object) -> None:
        if not self._recording:
            return
        thread = threading.current_thread()
        if thread is self._caller or thread.name.startswith(self._threads or ("\0",)):
            path = Path(frame.f_code.co_filename)
            if path.is_relative_to(PACKAGE):
                self.files.add(path.relative_to(PACKAGE).as_posix())


def get(url: str, namespace: str) -> set[str]:
    """A `get` that misses the local tier and hits the remote one."""
    with Trace() as trace, warm(url, namespace) as cache, warm(url, namespace) as writer:
        return shortest(lambda key: writer.set(key, "value"), trace, cache.get)


def set_(url: str, namespace: str) -> set[str]:
    """A `set`, up to its return."""
    with Trace() as trace, warm(url, namespace) as cache:
        return shortest(lambda _key: None, trace, lambda key: cache.set(key, "value"))


def get_or_set(url: str, namespace: str) -> set[str]:
    """A `get_or_set` of a key that another process loads, up to that one's value."""
    others: list[subprocess.Popen[str]] = []

    def load_elsewhere(key: str) -> None:
        command = [sys.executable, __file__, url, namespace, key]
        other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        others.append(stack.enter_context(other))
        assert other.stdout is not None
        assert other.stdout.readline() == "loading\n"

    def follow(key: str) -> None:
        let_go = threading.Timer(LOADING, others[-1].communicate, ["\n"])
        let_go.start()
        try:
            assert cache.get_or_set(key, lambda: "loaded here") == "loaded elsewhere"
        finally:
            let_go.join()

    with contextlib.ExitStack() as stack, Trace() as trace, warm(url, namespace) as cache:
        return shortest(load_elsewhere, trace, follow)


def invalidation(url: str, namespace: str) -> set[str]:
    """An invalidation, from the link's connection to the entry that it removes."""
    with Trace("twotier-link", caller=False) as trace, warm(url, namespace) as cache, warm(url, namespace) as writer:

        def hold(key: str) -> None:
            cache.set(key, "value")
            until(lambda: cache.aio.peek(key) == "value")

        def hear(key: str) -> None:
            writer.set(key, "newer")
            until(lambda: cache.aio.peek(key) is None)

        return shortest(hold, trace, hear)


def write_behind(url: str, namespace: str) -> set[str]:
    """A write of a `WriteBehind`, from the caller to the source."""

    class Table:
        """A source that ends the walk when a row arrives."""

        def __init__(self) -> None:
            self.rows: dict[str, object] = {}

        def write(self, values: dict[str, object]) -> None:
            trace.stop()
            self.rows.update(values)

        def delete(self, keys: list[str]) -> None:
            raise AssertionError(f"nobody deletes {keys}")

    table = Table()
    with Trace("twotier-write-behind") as trace, warm(url, namespace) as cache:
        writes = WriteBehind(cache, table, trust_server=True)
        try:

            def settle(_key: str) -> None:
                writes.set("settled", "value")
                writes.flush(PATIENCE)

            def write(key: str) -> None:
                writes.set(key, "value")
                until(lambda: key in table.rows)

            return shortest(settle, trace, write)
        finally:
            writes.close()


WALKS: dict[str, Callable[[str, str], set[str]]] = {
    "get": get,
    "set": set_,
    "get_or_set": get_or_set,
    "invalidation": invalidation,
    "write-behind": write_behind,
}
"""By its name, what takes a walk on the server at a URL, in a namespace of its own, and returns the files it enters."""


def shortest(prepare: Callable[[str], object], trace: Trace, act: Callable[[str], object]) -> set[str]:
    """Return the smallest of the sets of files that `act` enters, each time with a key that `prepare` has had first."""
    walks = []
    for number in range(TIMES):
        key = f"key {number}"
        prepare(key)
        with trace.recording():
            act(key)
        walks.append(trace.files)
    return min(walks, key=len)


@contextlib.contextmanager
def warm(url: str, namespace: str) -> Iterator[Cache]:
    """Yield a cache with a live link and an open connection, that knows the generation."""
    with Cache(url, namespace=namespace, **SETTINGS) as cache:
        cache.set("warm", "value")
        until(lambda: cache.get("warm") and cache.health().link == "live")
        cache.get("nothing")
        yield cache


def until(condition: Callable[[], object]) -> None:
    """Poll `condition` until it holds; AssertionError if it doesn't in time."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.001)


def load_once(url: str, namespace: str, key: str) -> None:
    """Load `key`, and return a value once the input has a line."""

    def load() -> str:
        print("loading", flush=True)
        sys.stdin.readline()
        return "loaded elsewhere"

    with Cache(url, namespace=namespace, **SETTINGS) as cache:
        cache.get_or_set(key, load)


if __name__ == "__main__":
    load_once(*sys.argv[1:])
