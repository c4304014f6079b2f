"""An hour of faults, compressed to minutes: what readers see of each, in failed reads, nines and the age of values.

    python bench/availability.py [--seconds 6] [--rounds 1] [--witnesses 2] [--keys 50] [--fault NAME ...] [--json]

Witness processes read hot keys through a proxy to a server of its own; a writer beside the proxy changes the keys 100
times a second. Faults come one after the other, each lasting `--seconds` and followed by a recovery. Every read is
checked. A miss isn't a failure but costs the source a load; it is counted apart. Exits with 1 if a promise was broken.
"""

import argparse
import json
import math
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from witness import Tally
from witnesses import Witnesses

from twotier.testing import EmbeddedServer, FaultProxy
from twotier.testing.faults import BOTH_WAYS

Strike = Callable[[EmbeddedServer, FaultProxy], None]


def _stop(server: EmbeddedServer, number: signal.Signals) -> None:
    if server.pid is not None:
        os.kill(server.pid, number)


def _slow(proxy: FaultProxy, seconds: float) -> None:
    proxy.link.latency = proxy.data.latency = seconds / 2


def _silence(proxy: FaultProxy, *, link: bool, data: bool) -> None:
    if link:
        proxy.link.silent = BOTH_WAYS
    if data:
        proxy.data.silent = BOTH_WAYS


def _crawl(proxy: FaultProxy) -> None:
    proxy.link.bandwidth = proxy.data.bandwidth = 20_000


def _reset_often(proxy: FaultProxy) -> None:
    for _ in range(20):
        proxy.reset()
        time.sleep(0.05)


def _drip(proxy: FaultProxy) -> None:
    for faults in (proxy.link, proxy.data):
        faults.latency, faults.slice_bytes = 0.05, 11


def _nothing(_server: EmbeddedServer, _proxy: FaultProxy) -> None:
    pass


FAULTS: dict[str, tuple[Strike, Strike]] = {
    "undisturbed": (_nothing, _nothing),
    "server killed, back empty": (lambda server, _: server.kill(), lambda server, _: server.start() and None),
    "server hangs": (
        lambda server, _: _stop(server, signal.SIGSTOP),
        lambda server, _: _stop(server, signal.SIGCONT),
    ),
    "network gone": (lambda _, proxy: _silence(proxy, link=True, data=True), _nothing),
    "link gone": (lambda _, proxy: _silence(proxy, link=True, data=False), _nothing),
    "data path gone": (lambda _, proxy: _silence(proxy, link=False, data=True), _nothing),
    "connections half-open": (lambda _, proxy: proxy.sever() and None, _nothing),
    "connections reset": (lambda _, proxy: proxy.reset() and None, _nothing),
    "connections reset 20 times": (lambda _, proxy: _reset_often(proxy), _nothing),
    "100 ms, 11 bytes at a time": (lambda _, proxy: _drip(proxy), _nothing),
    "50 ms latency": (lambda _, proxy: _slow(proxy, 0.05), _nothing),
    "200 ms latency": (lambda _, proxy: _slow(proxy, 0.2), _nothing),
    "1 s latency": (lambda _, proxy: _slow(proxy, 1.0), _nothing),
    "20 kB/s": (lambda _, proxy: _crawl(proxy), _nothing),
}
COLUMNS = "{:<26} {:>9} {:>6} {:>6} {:>8} {:>8} {:>9} {:>9} {:>10} {:>9} {:>9}"


def nines(tally: Tally) -> str:
    """Return the share of reads that didn't fail, as nines; with none failed, at least what their number shows."""
    if not tally.reads:
        return "-"
    return f"{'>' if not tally.failed else ''}{math.log10(tally.reads / max(1, tally.failed)):.1f}"


def line(name: str, tally: Tally, recovered: float) -> str:
    """Return one line of the table."""
    return COLUMNS.format(
        name, tally.reads, tally.failed + tally.wrong, tally.late, tally.missed, tally.stale,
        f"{tally.oldest_fresh / 1e3:.2f} s", f"{tally.oldest_stale / 1e3:.2f} s",
        f"{tally.hit_p99 * 1e3:.1f} us", f"{tally.slowest:.0f} ms", f"{recovered:.2f} s",
    )  # fmt: skip


def as_json(name: str, tally: Tally, recovered: float) -> str:
    """Return the same as an object."""
    return json.dumps({"fault": name, "recovered": recovered, **asdict(tally)})


def main() -> int:
    """Run the faults, and return 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description="What readers see of an hour of faults, compressed to minutes.")
    parser.add_argument("--seconds", type=float, default=6.0, help="how long each fault lasts (default 6)")
    parser.add_argument("--rounds", type=int, default=1, help="how often all faults are gone through (default 1)")
    parser.add_argument("--witnesses", type=int, default=2, help="reading processes (default 2)")
    parser.add_argument("--keys", type=int, default=50, help="hot keys (default 50)")
    parser.add_argument("--fault", action="append", choices=FAULTS, help="only this one; may be repeated")
    parser.add_argument("--server", metavar="PATH", help="another server than the bundled one")
    parser.add_argument("--json", action="store_true", help="print one object a fault, as JSON, in place of the table")
    given = parser.parse_args()
    shown = as_json if given.json else line
    total, slowest_recovery = Tally(), 0.0
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedServer(binary=given.server) as server,
        FaultProxy(server.url) as proxy,
        Witnesses(Path(folder), proxy.url, server.url, "availability") as crew,
    ):
        crew.start(given.witnesses, given.keys)
        crew.disagreements()
        if not given.json:
            print(COLUMNS.format(
                "fault", "reads", "failed", "late", "misses", "stale", "fresh age", "stale age", "hit p99", "slowest",
                "recovered",
            ))  # fmt: skip
        for _ in range(given.rounds):
            for name in given.fault or FAULTS:
                strike, heal = FAULTS[name]
                crew.tally()
                strike(server, proxy)
                time.sleep(given.seconds)
                during = crew.tally()
                heal(server, proxy)
                proxy.heal()
                healed = time.monotonic()
                crew.wait_until_usable()
                recovered = time.monotonic() - healed
                after = crew.disagreements()
                during += crew.tally()
                complaints = [each for each in [*after, during.first_complaint] if each]
                during.wrong += len(after)
                print(shown(name, during, recovered), flush=True)
                for each in complaints:
                    print(f"    {each}", file=sys.stderr if given.json else sys.stdout)
                total += during
                crew.wait_until_rewritten()
                slowest_recovery = max(slowest_recovery, recovered)
        print(shown("all", total, slowest_recovery))
        if not given.json:
            print(
                f"availability of reads: {nines(total)} nines; {crew.writes} writes, {crew.in_doubt} of them in doubt; "
                f"oldest value given out as fresh {total.oldest_fresh / 1e3:.2f} s (bound 2.5 s), "
                f"as stale {total.oldest_stale / 1e3:.2f} s"
            )
    return 1 if total.failed or total.wrong or total.late else 0


if __name__ == "__main__":
    raise SystemExit(main())
