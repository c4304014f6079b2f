"""The plain format beside pickle: a realistic result set, and a flat dict.

    python bench/codec.py [--rounds 15] [--rows 100000]

Pickle's figures are those of `pickle.dumps(value, 5)` and `pickle.loads`, which trust what they read.
"""

import argparse
import datetime as dt
import decimal
import gc
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

from interleaved import Candidate, interleave

from twotier.codec.codecs import PlainCodec

FLAT = "a flat dict of 5"
ROWS = "rows of a result set"
CALLS = 20_000
MOST = {(ROWS, "decode"): 2.0, (FLAT, "encode"): 1.0, (FLAT, "decode"): 1.0}
"""What we may take of pickle's time."""


def row(number: int) -> dict[str, Any]:
    """Return a row as a database driver does."""
    return {
        "id": number,
        "name": f"customer {number}",
        "created": dt.datetime(2024, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=number),
        "balance": decimal.Decimal(number) / 100,
        "note": None,
        "active": number % 3 == 0,
        "score": number / 7,
    }


def repeat(call: Callable[[Any], Any], argument: object, times: int) -> None:
    """Make the call over and over."""
    for _ in range(times):
        call(argument)


def main() -> None:
    """Time both ways of each value, and print a table with the gates' verdicts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rows", type=int, default=100_000)
    asked = parser.parse_args()
    codec = PlainCodec()
    values: dict[str, tuple[Any, int]] = {
        FLAT: (
            {"id": 12345, "name": "Alice Example", "email": "alice@example.com", "active": True, "score": 9.5},
            CALLS,
        ),
        ROWS: ([row(number) for number in range(asked.rows)], 1),
    }
    gc.freeze()  # what is timed is the codecs, and not what collections find in the values kept here
    for name, (value, times) in values.items():
        ours, theirs = codec.encode(value), pickle.dumps(value, 5)
        if codec.decode(ours) != value:
            raise RuntimeError("what came out is another value")
        timed = interleave(
            [
                Candidate("encode", partial(repeat, codec.encode, value, times), times),
                Candidate("pickle.dumps", partial(repeat, partial(pickle.dumps, protocol=5), value, times), times),
                Candidate("decode", partial(repeat, codec.decode, ours, times), times),
                Candidate("pickle.loads", partial(repeat, pickle.loads, theirs, times), times),
            ],
            asked.rounds,
        )
        print(f"{name}: {len(ours):,} bytes, pickle's {len(theirs):,} (us; ratio to pickle)")
        for candidate, peer in (("encode", "pickle.dumps"), ("decode", "pickle.loads")):
            ratio = timed.ratio(candidate, peer)
            most = MOST.get((name, candidate))
            verdict = "" if most is None else f"  <= {most}: {'ok' if ratio <= most else 'MISSED'}"
            ours_us, theirs_us = timed.median(candidate) / 1000, timed.median(peer) / 1000
            print(f"  {candidate:8} {ours_us:12.2f} {theirs_us:12.2f} {ratio:6.2f}{verdict}")


if __name__ == "__main__":
    main()
