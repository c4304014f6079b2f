"""A fuzzer of what reads payloads: any bytes give a value or a SerializationError, within the budgets of
docs/design.md.

    python tests/unit/codec/fuzzing.py --seconds 600 --seed 1

Payloads come from three sources: honest ones that were mutated, hostile ones that are built to amplify
(`hostile.py`), and random tags. Each goes to the compiled format and to its twin, which must agree, or to the
reader of old payloads. Time is the thread's own CPU time, least of three tries where the first is too long, and may
be SLACK times the budget, as machines are shared. Memory is what Python's allocators hold at the most.
"""

import argparse
import gc
import os
import random
import re
import threading
import time
import tracemalloc
from dataclasses import dataclass, field

from hostile import HOSTILE, OLD_HOSTILE
from old_payloads import OLD_PAYLOADS
from twin_codecs import CODECS, FORMATS, plain_codec
from user_types import TYPES
from valid import random_value

from twotier.codec import type_tags
from twotier.codec.old_pickle import OldPickleReader
from twotier.errors import SerializationError

SLACK = 3 * float(os.environ.get("TWOTIER_TEST_SLOWER", "1"))  # 10: under sanitizers
BASE_NS = 1_000_000
NS_PER_BYTE = 100
"""Of the compiled format; everything else may take ten times that."""
BASE_BYTES = 1 << 20
BYTES_PER_BYTE = 20

ALLOWING = {name: plain_codec(name, TYPES) for name in FORMATS}
OLD = OldPickleReader(TYPES)
_OTHER = re.compile("MOST|LONGEST|HAS_|CALL|NEW")
GIVEN_TAGS = sorted(value for name, value in vars(type_tags).items() if name.isupper() and not _OTHER.match(name))
_OPCODES = list(b"N\x88\x89)]}(aesu01.\x85\x86\x87t\x8f\x90\x91\x94\x93RKMJGhj\x8c\x8a")


@dataclass
class Findings:
    """What a run did, and what it took at the most of what was allowed."""

    tries: int = 0
    values: int = 0
    worst: dict[str, float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def saw(self, what: str, share: float) -> None:
        """Note a share of a budget."""
        self.worst[what] = max(share, self.worst.get(what, 0.0))


def outcome(decode, payload):
    """Return ("value", value) or ("refused", None); anything else than a SerializationError is let through."""
    try:
        return "value", decode(payload)
    except SerializationError:
        return "refused", None


def spent(decode, payload):
    """Return the CPU time (ns) that one call takes."""
    start = time.thread_time_ns()
    outcome(decode, payload)
    return time.thread_time_ns() - start


def held(decode, payload):
    """Return the most memory (bytes) that was held on top of what was held before."""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        result = outcome(decode, payload)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    del result
    return peak - before


def check(findings, name, decode, payload, *, slower, memory):
    """Decode once, and look at what it took."""
    allowed = (BASE_NS + NS_PER_BYTE * len(payload)) * slower
    start = time.thread_time_ns()
    result = outcome(decode, payload)
    took = time.thread_time_ns() - start
    if took > allowed:
        took = min(took, spent(decode, payload), spent(decode, payload))
    findings.tries += 1
    findings.values += result[0] == "value"
    findings.saw(f"{name}: time", took / allowed)
    if took > allowed * SLACK:
        findings.failures.append(f"{name} took {took} ns of {allowed} for {len(payload)} bytes: {payload[:60].hex()}")
    if memory:
        most = BASE_BYTES + BYTES_PER_BYTE * len(payload)
        peak = held(decode, payload)
        findings.saw(f"{name}: memory", peak / most)
        if peak > most:
            findings.failures.append(f"{name} held {peak} of {most} for {len(payload)} bytes: {payload[:60].hex()}")
    return result


def check_plain(findings, payload, codecs, *, memory=False):
    """Give a payload to both implementations."""
    results = {
        name: check(findings, name, codec.decode, payload, slower=1 if name == "compiled" else 10, memory=memory)
        for name, codec in codecs.items()
    }
    one, other = results.values()
    if one[0] != other[0]:
        findings.failures.append(f"the implementations differ: {payload[:200].hex()}: {one[0]}, {other[0]}")
    elif one[0] == "value":
        again = [codecs[name].encode(result[1]) for name, result in results.items()]
        if len(again[0]) != len(again[1]):
            findings.failures.append(f"the values differ: {payload[:200].hex()}")


def check_old(findings, payload, *, memory=False):
    """Give a payload to the reader of old ones."""
    check(findings, "old", OLD.decode, payload, slower=10, memory=memory)


STACK = int(os.environ.get("TWOTIER_TEST_STACK_KB", "512")) << 10
"""Bytes of the small stack; sanitizers make frames several times larger."""


def run_on_small_stack(call, *args, **settings):
    """Make a call on a thread with a stack of STACK bytes; what it raises is raised here."""
    raised = []

    def work():
        try:
            call(*args, **settings)
        except BaseException as error:  # noqa: BLE001 - raised again below
            raised.append(error)

    old = threading.stack_size(STACK)
    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(old)
    for error in raised:
        raise error


def mutated(rng, payload, pieces):
    """Return the payload with a few things changed."""
    data = bytearray(payload)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(7):
            case 0 if data:
                data[at % len(data)] = rng.randrange(256)
            case 1:
                data.insert(at, rng.choice(pieces))
            case 2:
                del data[at : at + rng.choice((1, 2, 5))]
            case 3:
                data[at:at] = data[at : at + rng.randrange(1, 40)]
            case 4:
                data[at:at] = data[at : at + rng.randrange(1, 8)] * rng.randrange(2, 200)
            case 5:
                other = rng.randrange(len(data) + 1)
                data[at : at + 8] = data[other : other + 8]
            case _:
                data += bytes(rng.choice((1, 2, 100, 5000)))
    return bytes(data)


def soup(rng, pieces):
    """Return tags in any order, with small numbers between them."""
    return bytes(rng.choice(pieces) if rng.random() < 0.7 else rng.randrange(12) for _ in range(rng.randrange(1, 60)))


def run(seed, seconds=None, rounds=None, *, hostile=True):
    """Fuzz for so long, or so many rounds; return the findings."""
    rng, findings = random.Random(seed), Findings()
    end = None if seconds is None else time.monotonic() + seconds
    done = 0
    while (end is None or time.monotonic() < end) and (rounds is None or done < rounds) and not findings.failures:
        if hostile and done % 200 == 0:
            size = rng.choice((50, 400, 3000)) if done else 400
            for make in HOSTILE:
                check_plain(findings, make(size), ALLOWING, memory=True)
            for make in OLD_HOSTILE:
                check_old(findings, make(size), memory=True)
        memory = done % 20 == 0
        honest = ALLOWING["compiled"].encode(random_value(rng))
        check_plain(findings, honest, ALLOWING, memory=memory)
        check_plain(findings, mutated(rng, honest, GIVEN_TAGS), ALLOWING, memory=memory)
        check_plain(findings, soup(rng, GIVEN_TAGS), CODECS, memory=memory)
        check_old(findings, mutated(rng, rng.choice(OLD_PAYLOADS), _OPCODES), memory=memory)
        check_old(findings, b"\x80\x05" + soup(rng, _OPCODES) + b".")
        done += 1
    return findings


def main():
    """Fuzz, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=None)
    asked = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if asked.seed is None else asked.seed
    print(f"seed {seed}")
    findings = run(seed, asked.seconds)
    print(f"{findings.tries:,} tries, {findings.values:,} gave a value; the most that was taken of each budget:")
    for what, share in sorted(findings.worst.items()):
        print(f"  {what:20} {share:6.2f}")
    for failure in findings.failures:
        print(failure)
    raise SystemExit(bool(findings.failures))


if __name__ == "__main__":
    main()
