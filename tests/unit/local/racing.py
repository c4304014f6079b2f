"""Values that other threads change while a store takes them in, or hands them out; run in a process of its own.

    python racing.py MODULE KIND SECONDS

`KIND` is what is changed: "list", "dict", "set", "nested", "keys" (the list of keys of `get_many`) or "removed" (a
value that a removal listener gets while it is copied). Keys whose hash runs Python code let other threads in half-way,
as UUIDs do; the switch interval makes it happen at once. Prints how many operations were made; an error ends it.
"""

import gc
import importlib
import sys
import threading
import time
import uuid

from twotier.clock import NEVER

ROWS = 40


def rows():
    """Return dicts in a list, with keys whose hash is Python code."""
    return [{uuid.uuid4(): [number], "tags": {uuid.uuid4()}} for number in range(ROWS)]


def mutations(kind, value):
    """Return what another thread does to the value, over and over."""
    fresh = rows()

    def change_list():
        value.clear()
        gc.collect(0)
        value.extend(fresh)

    def change_dict():
        value.clear()
        value.update((key, [key]) for row in fresh for key in row if key != "tags")

    def change_set():
        value.clear()
        value.update(key for row in fresh for key in row)

    def change_nested():
        for row in list(value):
            row.clear()
            row.update({uuid.uuid4(): [1], "tags": {uuid.uuid4()}})
        value[:] = value[: ROWS // 2] + rows()[: ROWS // 2]

    return {"list": change_list, "dict": change_dict, "set": change_set, "nested": change_nested}[kind]


class Key:
    """A key whose hash and comparison are Python code."""

    def __init__(self, number):
        self.number = number

    def __hash__(self):
        return hash(str(self.number))

    def __eq__(self, other):
        return type(other) is Key and self.number == other.number


def work_on(store, kind):
    """Return what the threads do in turn with one store."""
    if kind == "keys":
        keys = []
        for number in range(100):
            store.put(Key(number), number, expires=NEVER)

        def grow():
            keys.clear()
            keys.extend(Key(number) for number in range(100))

        return [lambda: store.get_many(keys), grow]
    if kind == "removed":
        value = rows()
        return [
            lambda: store.get("key"),
            lambda: store.put("key", value, expires=NEVER),
            lambda: store.discard("key"),
        ]
    value = {"dict": dict, "set": set}.get(kind, list)()
    mutate = mutations(kind, value)
    mutate() if kind != "nested" else value.extend(rows())
    return [
        lambda: store.put("key", value, expires=NEVER),
        lambda: store.get("key"),
        mutate,
        lambda: store.put("tuple", (value, [value]), expires=NEVER),
    ]


def take_apart(_key, value, _cause):
    """Change what has left the store, as a listener may."""
    if isinstance(value, list):
        for row in value:
            row.clear()
        value.clear()


def main():
    """Let the threads race."""
    module, kind, seconds = sys.argv[1:]
    options = {"on_removal": take_apart} if kind == "removed" else {}
    store = importlib.import_module(module).Store(100, copy="auto", **options)
    store.renew(NEVER)
    sys.setswitchinterval(1e-6)
    until = time.monotonic() + float(seconds)
    counts = []

    def run(call):
        made = 0
        while time.monotonic() < until:
            call()
            made += 1
        counts.append(made)

    calls = work_on(store, kind)
    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.validate()
    if len(counts) != len(calls) or not all(counts):
        raise SystemExit(f"a thread failed: {counts}")
    sys.stdout.write(str(sum(counts)))


if __name__ == "__main__":
    main()
