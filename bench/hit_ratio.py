"""Hit ratios over access traces: our policies, LRU, LFU, the best possible (OPT), and the peers that are installed.

    python bench/hit_ratio.py --trace web12.u32.xz sprite.trc.gz --capacity 1% 5% 10% 20%

Each access reads, and puts where the read missed. Without --trace, synthetic traces are made (traces.py tells the
formats). Prints a table of hit ratios in percent, the mean of hit/OPT, the worst case against LRU, and writes a plot
where matplotlib is installed. A trace's cases run on one core; expect about a minute for a million accesses.
"""

import argparse
import heapq
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import traces
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from twotier.clock import NEVER
from twotier.local import Store

DEFAULT = ("opt", "lru", "lfu", "adaptive", "cachebox-lru", "cachebox-lfu", "theine", "moka")


@dataclass(frozen=True, slots=True)
class Case:
    """One trace at one capacity."""

    trace: str
    share: str
    capacity: int


def ours(policy: str, capacity: int, seed: int) -> tuple[Callable[[int], Any], Callable[[int], Any]]:
    """Return get and put of the store."""
    store = Store(capacity, policy=policy, seed=seed)  # type: ignore[arg-type]
    store.renew(NEVER)
    return store.get, lambda key: store.put(key, True, expires=NEVER)


def peer(name: str, capacity: int) -> tuple[Callable[[int], Any], Callable[[int], Any]]:
    """Return get and put of a peer; ImportError if it isn't installed."""
    if name == "theine":
        theine = import_module("theine").Cache(capacity)
        # It tells a miss by a flag.
        return lambda key: theine.get(key)[1] or None, lambda key: theine.set(key, True)
    if name == "moka":
        moka = import_module("moka_py").Moka(capacity)
        return moka.get, lambda key: moka.set(key, True)
    box = getattr(import_module("cachebox"), {"cachebox-lru": "LRUCache", "cachebox-lfu": "LFUCache"}[name])(capacity)
    return box.get, lambda key: box.insert(key, True)


def replayed(get: Callable[[int], Any], put: Callable[[int], Any], trace: list[int]) -> float:
    """Return the hit ratio (percent)."""
    hits = 0
    for key in trace:
        if get(key) is None:
            put(key)
        else:
            hits += 1
    return 100 * hits / len(trace)


def best(capacity: int, trace: list[int]) -> float:
    """Return Belady's hit ratio (percent): evict what is needed again last."""
    following, seen = [0] * len(trace), {}
    for i in range(len(trace) - 1, -1, -1):
        following[i] = seen.get(trace[i], len(trace) + i)
        seen[trace[i]] = i
    held: dict[int, int] = {}
    heap: list[tuple[int, int]] = []
    hits = 0
    for i, key in enumerate(trace):
        if key in held:
            hits += 1
        elif len(held) >= capacity:
            while True:
                when, victim = heapq.heappop(heap)
                if held.get(victim) == -when:
                    del held[victim]
                    break
        held[key] = following[i]
        heapq.heappush(heap, (-following[i], key))
    return 100 * hits / len(trace)


def measured(policy: str, capacity: int, trace: list[int], seed: int) -> float | None:
    """Return a policy's hit ratio (percent); None for a peer that isn't installed."""
    if policy == "opt":
        return best(capacity, trace)
    try:
        is_ours = policy in {"lru", "lfu", "adaptive"}
        get, put = ours(policy, capacity, seed) if is_ours else peer(policy, capacity)
    except ImportError:
        return None
    return replayed(get, put, trace)


def cases_of(name: str, trace: list[int], capacities: list[str]) -> list[Case]:
    """Return the cases of one trace: capacities in entries, or in percent of its keys."""
    unique = len(set(trace))
    sizes = [int(unique * float(c[:-1]) / 100) if c.endswith("%") else int(c) for c in capacities]
    return [Case(name, share, max(1, size)) for share, size in zip(capacities, sizes, strict=True)]


def show(console: Console, results: dict[Case, dict[str, float]], policies: list[str]) -> None:
    """Print every case, then how the policies do on the whole."""
    table = Table(title="hit ratio (%)")
    for heading in ("trace", "capacity"):
        table.add_column(heading)
    for policy in policies:
        table.add_column(policy, justify="right")
    for case, row in results.items():
        table.add_row(case.trace, f"{case.capacity:,}", *(f"{row[policy]:.2f}" for policy in policies))
    table.add_section()
    for heading, figure in (("mean of hit/OPT", share_of_best), ("worst against LRU (points)", worst_against_lru)):
        told = [figure(results, policy) for policy in policies]
        table.add_row(heading, "", *("" if value is None else f"{value:.4g}" for value in told))
    console.print(table)


def share_of_best(results: dict[Case, dict[str, float]], policy: str) -> float | None:
    """Return the mean of a policy's hit ratio over the best possible."""
    if not all(row.get("opt") for row in results.values()):
        return None
    return sum(row[policy] / row["opt"] for row in results.values()) / len(results)


def worst_against_lru(results: dict[Case, dict[str, float]], policy: str) -> float | None:
    """Return the least of what a policy has over LRU (points)."""
    return min(row[policy] - row["lru"] for row in results.values()) if "lru" in next(iter(results.values())) else None


def plot(results: dict[Case, dict[str, float]], policies: list[str], target: Path) -> bool:
    """Draw hit ratio by capacity, a panel a trace; False without matplotlib."""
    try:
        import matplotlib as mpl  # noqa: PLC0415 - optional
    except ImportError:
        return False
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the choice of backend

    names = list(dict.fromkeys(case.trace for case in results))
    columns = min(3, len(names))
    figure, panels = plt.subplots(
        -(-len(names) // columns), columns, figsize=(5 * columns, 3.6 * -(-len(names) // columns)), squeeze=False
    )
    for panel, name in zip(panels.flat, names, strict=False):
        rows = [(case.capacity, row) for case, row in results.items() if case.trace == name]
        for policy in policies:
            style = {"opt": {"color": "black", "ls": ":"}, "adaptive": {"lw": 2.5}}.get(policy, {"alpha": 0.7})
            panel.plot([size for size, _ in rows], [row[policy] for _, row in rows], marker=".", label=policy, **style)
        panel.set(title=name, xlabel="capacity (entries)", ylabel="hit ratio (%)")
    for panel in panels.flat[len(names) :]:
        panel.set_visible(False)
    panels.flat[0].legend(fontsize="small")
    figure.tight_layout()
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=120)
    return True


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trace", type=Path, nargs="+", help="files")
    parser.add_argument("--policy", nargs="+", choices=DEFAULT, default=list(DEFAULT))
    parser.add_argument("--capacity", nargs="+", default=["1%", "5%", "10%", "20%"], help="entries, or percent of keys")
    parser.add_argument("--seed", type=int, default=0, help="of our policies' hashing")
    parser.add_argument("--plot", type=Path, default=Path("bench/results/hit_ratio.png"))
    asked = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 150)
    given = {path.name.split(".")[0]: traces.read(path) for path in asked.trace} if asked.trace else traces.synthetic()
    cases = [case for name, trace in given.items() for case in cases_of(name, trace, asked.capacity)]
    results: dict[Case, dict[str, float]] = {case: {} for case in cases}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("replaying", total=len(cases) * len(asked.policy))
        for case in cases:
            for policy in asked.policy:
                progress.update(task, description=f"{case.trace} {case.capacity:,} {policy}")
                ratio = measured(policy, case.capacity, given[case.trace], asked.seed)
                if ratio is not None:
                    results[case][policy] = ratio
                progress.advance(task)
    policies = [policy for policy in asked.policy if all(policy in row for row in results.values())]
    show(console, results, policies)
    if plot(results, policies, asked.plot):
        console.print(f"plot: {asked.plot}")


if __name__ == "__main__":
    main()
