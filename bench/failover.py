"""Failovers of real deployments: what readers and writers of hot keys see, beside peers on the same faults.

    python bench/failover.py [sentinel | cluster] [--failovers 20] [--keys 20]

A deployment (a primary, two replicas, three sentinels that take a server for dead after 0.5 s; or a cluster of three
primaries and three replicas, which does after 1 s) fails over again and again: a primary is killed, hangs, or is handed
over by the sentinels' own FAILOVER. Each contender has one thread that reads its hot keys and one that writes a key,
all at once, on the same faults, with the same timeouts. An operation fails when it raises, a read also when it finds
nothing, and a write of twotier's also when it went to the journal. A gap is the longest time without a success that a
failover brings; availability is the share of the time in which operations neither failed nor were held up for half a
second, as those of clients that try again are. Django's peers are left out where they aren't installed; on a cluster
both get redis-py's cluster client (django_on_cluster.py).
"""

import argparse
import contextlib
import random
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

from failover_peers import behind_sentinels, on_a_cluster, twotier

from twotier.testing import EmbeddedCluster, EmbeddedSentinels, EmbeddedServer
from twotier.testing.sentinels import SERVICE

PAUSE = 0.004
"""Seconds between two operations of one thread."""
HELD_UP = 0.5
"""Seconds without a success that count as down although nothing has failed: who waits so long isn't served either."""
SETTLED = 1.0
"""Seconds that everybody has to succeed for before the next fault."""
COLUMNS = "{:<34} {:>9} {:>7} {:>9} {:>21} {:>7} {:>7} {:>9} {:>21}"


class Side:
    """The operations of one kind, of one contender."""

    def __init__(self, operate: Callable[[int], bool]) -> None:
        self._operate = operate
        self.count = self.failed = 0
        self.last_good = time.monotonic()
        self.began = self.last_good
        self.down = 0.0
        """Seconds from the last success before a failure, or a long wait, to the first one after it."""
        self.longest = 0.0
        """Longest time without a success since the last fault."""
        self.gaps: list[float] = []
        self.slowest = 0.0

    def run(self, ending: threading.Event) -> None:
        """Operate until the end."""
        number, failing = 0, False
        while not ending.wait(PAUSE):
            number += 1
            began = time.monotonic()
            try:
                good = self._operate(number)
            except Exception:  # noqa: BLE001 - whatever it raises, it failed
                good = False
            self.count += 1
            self.failed += not good
            self.slowest = max(self.slowest, time.monotonic() - began)
            if good:
                now = time.monotonic()
                self.longest = max(self.longest, now - self.last_good)
                self.down += now - self.last_good if failing or now - self.last_good > HELD_UP else 0.0
                self.last_good = now
            failing = not good

    def fault(self) -> None:
        """Begin to look for the gap of a fault."""
        self.longest = 0.0

    def over(self) -> None:
        """Note the gap; one that hasn't ended counts up to now."""
        self.gaps.append(max(self.longest, time.monotonic() - self.last_good))

    @property
    def availability(self) -> str:
        """Share of the time in which operations succeeded: who fails fast fails more often in the same outage."""
        return f"{100 * (1 - self.down / (self.last_good - self.began)):.2f} %"

    @property
    def gap(self) -> str:
        """Least, median and greatest gap."""
        return f"{min(self.gaps):.2f}/{statistics.median(self.gaps):.2f}/{max(self.gaps):.2f} s"


class Contender:
    """A cache, by how a key is read and written; both return True if they succeed."""

    def __init__(self, name: str, read: Callable[[str], Any], write: Callable[[str, int], bool], keys: int) -> None:
        self.name = name
        names = [f"{name.split(' ', maxsplit=1)[0]}:{number}" for number in range(keys)]
        for each in names:
            write(each, 1)
        self.reads = Side(lambda number: read(names[number % keys]) is not None)
        self.writes = Side(lambda number: write("written", number))


class Sentinels(EmbeddedSentinels):
    """The deployment behind sentinels, under strikes."""

    def strike(self, number: int) -> tuple[int, str]:
        """Take the primary away, each time in another way; return its number, and how."""
        primary = self.primary()
        how = ("killed", "hangs", "handed over")[number % 3]
        if how == "killed":
            self.kill(primary)
        elif how == "hangs":
            self.hang(primary)
        else:
            with self.sentinels[0].client() as sentinel:
                sentinel.execute_command("SENTINEL", "FAILOVER", SERVICE)
        return primary, how


class Cluster(EmbeddedCluster):
    """The cluster, under strikes."""

    def strike(self, number: int) -> tuple[EmbeddedServer, str]:
        """Take a primary away, in turn by a kill and a hang; return it, and how."""
        primary = random.choice(list(self.primaries().values()))
        if number % 2:
            self.stop(primary)
            return primary, "hangs"
        primary.kill()
        return primary, "killed"


def settle(contenders: list[Contender]) -> None:
    """Give everybody time to come back; who doesn't within 5 s of the failover stays away."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        now = time.monotonic()
        if all(now - side.last_good < 0.2 for each in contenders for side in (each.reads, each.writes)):
            break
        time.sleep(0.02)
    time.sleep(SETTLED)


def main() -> None:
    """Run the failovers, and print what each contender saw."""
    parser = argparse.ArgumentParser(description="What readers and writers see of failovers behind sentinels.")
    parser.add_argument("kind", nargs="?", choices=("sentinel", "cluster"), default="sentinel")
    parser.add_argument("--failovers", type=int, default=20, help="how many (default 20)")
    parser.add_argument("--keys", type=int, default=20, help="hot keys of each contender (default 20)")
    given = parser.parse_args()
    ending = threading.Event()
    took: list[float] = []
    with contextlib.ExitStack() as stack:
        deployment: Any
        if given.kind == "cluster":
            deployment = stack.enter_context(Cluster())
            peers = on_a_cluster(deployment)
        else:
            deployment = stack.enter_context(Sentinels())
            peers = behind_sentinels(deployment)
        parts = {"twotier": twotier(deployment.url, stack), **peers}
        contenders = [Contender(name, *part, given.keys) for name, part in parts.items()]
        sides = [side for each in contenders for side in (each.reads, each.writes)]
        threads = [threading.Thread(target=side.run, args=(ending,), daemon=True) for side in sides]
        for thread in threads:
            thread.start()
        time.sleep(SETTLED)
        for number in range(given.failovers):
            began = time.monotonic()
            for side in sides:
                side.fault()
            lost, how = deployment.strike(number)
            deployment.wait_for_failover(lost)
            took.append(time.monotonic() - began)
            settle(contenders)
            for side in sides:
                side.over()
            print(
                f"{number + 1:>3}. {how:<12} failover {took[-1]:5.2f} s; writes of "
                + ", ".join(f"{each.name.split(' ')[0]} {each.writes.gaps[-1]:.2f}" for each in contenders),
                flush=True,
            )
            deployment.heal()
        ending.set()
        for thread in threads:
            thread.join()
        head = ("contender", "reads", "failed", "available", "gap min/median/max", "writes", "failed", "available")
        print(COLUMNS.format(*head, "gap min/median/max"))
        for each in contenders:
            reads, writes = each.reads, each.writes
            print(COLUMNS.format(
                each.name, reads.count, reads.failed, reads.availability, reads.gap,
                writes.count, writes.failed, writes.availability, writes.gap,
            ))  # fmt: skip
        shown = "/".join(f"{each:.2f}" for each in (min(took), statistics.median(took), max(took)))
        print(f"failovers took {shown} s by the deployment's account")


if __name__ == "__main__":
    main()
