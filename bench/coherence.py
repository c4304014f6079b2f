"""What coherence costs, and how fast it is: invalidations taken in, their lag, and hits meanwhile.

A private Valkey on this machine. First the lag: `PROCESSES` processes share a namespace, write at random moments, and
count how long each message took to be applied (`Cache.stats().lag`). Then what a local hit costs while invalidations of
other keys stream in, beside one in quiet, in turns. Last the rate: a publisher keeps the channel busy, at most `WINDOW`
keys ahead, and the listener reads, decodes and applies to a store of 100,000 entries. Run it as
`python bench/coherence.py [--protocol 2] [--rate N]`; needs the `embedded` extra.
"""

import argparse
import os
import random
import socket
import statistics
import threading
import time
from itertools import zip_longest
from multiprocessing import get_context
from typing import TYPE_CHECKING, Literal

from twotier import Cache
from twotier.clock import NEVER, SystemClock
from twotier.coherence.listener import Listener
from twotier.coherence.message import Message, MessageCodec
from twotier.coherence.subscriber import NotAsked
from twotier.histogram import Histogram
from twotier.local import COMPILED, Store
from twotier.opid import OpIds, op_tag
from twotier.options import Options
from twotier.remote.deploy.embedded import EmbeddedServer
from twotier.remote.deploy.factory import connect
from twotier.replies import Reader
from twotier.resp import pack

if TYPE_CHECKING:
    from multiprocessing.queues import Queue
    from multiprocessing.sharedctypes import Synchronized
    from multiprocessing.synchronize import Barrier, Event

NAMESPACE = "bench"
CHANNEL = f"{NAMESPACE}:inv:v1".encode()
PROCESSES = 8
WRITES = 300
"""Of each of the processes."""
WINDOW = 20_000
PATIENCE = 20.0
KEYS = [f"user:{number}:profile" for number in range(100_000)]


class Applying:
    """A subscriber that applies what it hears to a store, and counts."""

    channel = CHANNEL
    generation_key = f"{NAMESPACE}:gen".encode()

    def __init__(self, expected: int, taken: "Synchronized[int]") -> None:
        self.taken = taken
        self.store = Store(len(KEYS), policy="lru")
        self.codec = MessageCodec((), NAMESPACE)
        self.keys = self.messages = self.losses = 0
        self.expected = expected
        self.live = threading.Event()
        self.done = threading.Event()

    def received(self, payloads: list[bytes]) -> None:
        """Apply the messages."""
        for payload in payloads:
            message = self.codec.decode(payload)
            if isinstance(message, Message):
                self.keys += self.store.apply(message.keys, op_tag(message.op_id))
        self.messages += len(payloads)
        self.taken.value = self.messages
        if self.messages >= self.expected:
            self.done.set()

    def confirmed(self) -> None:
        """Put everything in doubt."""
        self.store.bump_epoch()

    def renewed(self, lease_until: int, generation: bytes | NotAsked | None) -> None:  # noqa: ARG002 - the protocol
        """Go live, with every key in the store the first time."""
        self.store.renew(lease_until)
        if not self.live.is_set():
            for key in KEYS:
                self.store.install(key, key, self.store.token(key), expires=NEVER)
            self.live.set()

    def lost(self, reason: str) -> None:
        """Count it: a flood must not cost the link."""
        self.losses += reason != "the listener was closed"
        self.store.lose()


def publish(path: str, messages: int, size: int, taken: "Synchronized[int]") -> None:
    """Publish `messages` invalidations of `size` keys each, in pipelines of 100, no further ahead than the window."""
    ids, codec, reader = OpIds(), MessageCodec((), NAMESPACE), Reader()
    batches = [
        b"".join(
            pack(b"PUBLISH", CHANNEL, codec.encode(Message("delete", ids.next(), tuple(KEYS[first : first + size]))))
            for first in (number * size % (len(KEYS) - size) for number in range(start, start + 100))
        )
        for start in range(0, 1_000, 100)
    ]
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        until = time.monotonic() + PATIENCE
        for start in range(0, messages, 100):
            while (start - taken.value) * size > WINDOW:
                if time.monotonic() > until:  # the link was lost, and messages with it
                    return
                time.sleep(0.0005)
            server.sendall(batches[start // 100 % len(batches)])
            answers = 0
            while answers < 100:
                answers += len(reader.feed(server.recv(65536)))


def measure(server: EmbeddedServer, options: Options, messages: int, size: int) -> str:
    """Flood once; return a line of the table."""
    spawn = get_context("spawn")
    taken = spawn.Value("Q", 0)
    applying = Applying(messages, taken)
    topology = connect(server.url, options)
    listener = Listener(topology.link_connection, SystemClock(), options)
    listener.attach(applying)
    applying.live.wait(10)
    publisher = spawn.Process(target=publish, args=(server.socket_path, messages, size, taken))
    publisher.start()
    while applying.messages == 0:
        time.sleep(0.001)
    began = time.perf_counter()
    applying.done.wait(PATIENCE)
    seconds = time.perf_counter() - began
    publisher.join()
    listener.close()
    topology.close()
    return (
        f"{size:>16,} {applying.messages:>10,} {applying.messages / seconds:>14,.0f} {applying.keys / seconds:>14,.0f}"
        f" {applying.losses:>7}"
    )


def write(url: str, protocol: Literal[2, 3], gate: "Barrier", lags: "Queue[tuple[int, ...]]") -> None:
    """Be one of the processes of a namespace: write `WRITES` times, some 10 ms apart, and say what lags were seen."""
    with Cache(url, namespace=NAMESPACE, protocol=protocol) as cache:
        while cache.health().link != "live":
            cache.get("is it live?")
            time.sleep(0.01)
        gate.wait()
        for _ in range(WRITES):
            cache.set(random.choice(KEYS), 1)
            time.sleep(random.uniform(0, 0.02))
        gate.wait()
        time.sleep(0.5)
        lags.put(cache.stats().lag.counts)


def measure_lag(server: EmbeddedServer, options: Options) -> list[str]:
    """Let the processes write, and return the lines about the lag of all messages in all of them."""
    spawn = get_context("spawn")
    gate, lags = spawn.Barrier(PROCESSES), spawn.Queue()
    processes = [
        spawn.Process(target=write, args=(server.tcp_url, options.protocol, gate, lags)) for _ in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    together = [lags.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    lag = Histogram(tuple(map(sum, zip_longest(*together, fillvalue=0))))
    return [
        f"publish-to-apply lag, {PROCESSES} processes over TCP, {lag.count:,} messages applied:",
        _verdict("  p50", lag.p50 * 1000, "ms", 1.0),
        _verdict("  p99", lag.p99 * 1000, "ms", 5.0),
    ]


def stream(path: str, rate: int, stop: "Event") -> None:
    """Publish `rate` messages a second, of one key each that nobody reads, until told to stop."""
    ids, codec, reader = OpIds(), MessageCodec((), NAMESPACE), Reader()
    began, sent = time.monotonic(), 0
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        while not stop.is_set():
            due = int((time.monotonic() - began) * rate)
            for _ in range(due - sent):
                message = Message("delete", ids.next(), (f"unread:{ids.next()[8:].hex()}",))
                server.sendall(pack(b"PUBLISH", CHANNEL, codec.encode(message)))
                reader.feed(server.recv(65536))
            sent = due
            time.sleep(0.001)


def measure_hits(server: EmbeddedServer, options: Options, rate: int) -> list[str]:
    """Time local hits in slices of a few ms, quiet and streamed upon in turns, and return the line about them."""
    spawn = get_context("spawn")
    keys = KEYS[:1_000]
    quiet: list[float] = []
    busy: list[float] = []
    with Cache(server.url, namespace=NAMESPACE, protocol=options.protocol) as cache:
        while cache.health().link != "live":
            cache.get("is it live?")
            time.sleep(0.01)
        cache.set_many(dict.fromkeys(keys, 1))
        cache.get_many(keys)
        for _ in range(5):
            quiet += _slices(cache, keys)
            stop, before = spawn.Event(), cache.stats().invalidations_received
            process = spawn.Process(target=stream, args=(server.socket_path, rate, stop))
            process.start()
            while cache.stats().invalidations_received < before + 100:
                time.sleep(0.01)
            busy += _slices(cache, keys)
            stop.set()
            process.join()
    ratio = statistics.median(busy) / statistics.median(quiet)
    mean = statistics.fmean(busy) / statistics.fmean(quiet)
    return [
        f"local hit: {statistics.median(quiet):.1f} ns, at {rate:,} invalidations/s {statistics.median(busy):.1f} ns",
        _verdict("  ratio of medians", ratio, "x", 1.3),
        f"  ratio of means {mean:.2f}x (the thread's and the publisher's share of {os.cpu_count()} CPUs included)",
    ]


def _slices(cache: Cache, keys: list[str]) -> list[float]:
    """Return what a hit took (ns), once for each of 300 rounds over `keys`."""
    get, taken = cache.get, []
    for _ in range(300):
        start = time.perf_counter_ns()
        for key in keys:
            get(key)
        taken.append((time.perf_counter_ns() - start) / len(keys))
    return taken


def _verdict(name: str, figure: float, unit: str, most: float) -> str:
    return f"{name} {figure:.2f} {unit}, target <= {most:g} {unit}: {'met' if figure <= most else 'MISSED'}"


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--protocol", type=int, choices=(2, 3), default=3)
    parser.add_argument("--rate", type=int, default=1_000, help="messages a second while hits are timed")
    arguments = parser.parse_args()
    options = Options(protocol=arguments.protocol)
    print(f"RESP{options.protocol}, {'compiled' if COMPILED else 'Python'} store, {os.cpu_count()} CPUs")
    with EmbeddedServer(tcp=True) as server:
        print("\n".join(measure_lag(server, options)), flush=True)
        print("\n".join(measure_hits(server, options, arguments.rate)), flush=True)
        print("keys a message   messages     messages/s         keys/s  losses   (target: 100,000 keys/s in batches)")
        for messages, size in ((200_000, 1), (100_000, 10), (20_000, 100), (2_000, 1_000)):
            print(measure(server, options, messages, size), flush=True)


if __name__ == "__main__":
    main()
