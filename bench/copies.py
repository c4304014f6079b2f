"""Copies of mutable values: a hit that hands one out, and a write that takes one in, beside `copy.deepcopy` alone.

    python bench/copies.py [--rounds 31]

The figures of ours hold the whole `get` and `set`, lookup included: what a caller gets for it is the same, a value that
nobody else holds.
"""

import argparse
import copy
from collections.abc import Callable
from functools import partial

from interleaved import Candidate, interleave

from twotier import LocalCache

CALLS = 20_000
"""Operations of a timed run."""
MOST = 0.25
"""What a hit on the flat dict may take of `deepcopy`."""
FLAT = "a flat dict of 5"

VALUES: dict[str, object] = {
    FLAT: {"id": 12345, "name": "Alice Example", "email": "alice@example.com", "active": True, "score": 9.5},
    "a list of 100 numbers": list(range(100)),
    "10 rows, a dict each": [{"id": n, "name": f"row {n}", "tags": ["a", "b"]} for n in range(10)],
}


def repeat(call: Callable[..., object], *arguments: object) -> None:
    """Make the call over and over."""
    for _ in range(CALLS):
        call(*arguments)


def main() -> None:
    """Time each value, and print a table and the gate's verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=31)
    asked = parser.parse_args()
    for name, value in VALUES.items():
        cache = LocalCache(10, copy="auto")
        cache["key"] = value
        if cache["key"] != value or cache["key"] is cache["key"]:
            raise RuntimeError("what came out is no copy")
        timed = interleave(
            [
                Candidate("get", partial(repeat, cache.get, "key"), CALLS),
                Candidate("set", partial(repeat, cache.set, "key", value), CALLS),
                Candidate("deepcopy", partial(repeat, copy.deepcopy, value), CALLS),
            ],
            asked.rounds,
        )
        print(f"{name} (ns; ratio to deepcopy)")
        for candidate in timed.rounds:
            print(f"  {candidate:10} {timed.median(candidate):10.1f} {timed.ratio(candidate, 'deepcopy'):8.3f}")
        if name == FLAT:
            ratio = timed.ratio("get", "deepcopy")
            print(f"  get <= {MOST} x deepcopy: {ratio:.3f} {'ok' if ratio <= MOST else 'MISSED'}")


if __name__ == "__main__":
    main()
