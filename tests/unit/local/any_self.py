"""Every entry point of the extension with any self and any arguments; run in a process of its own, which must survive.

Whatever is called wrongly raises a Python exception or does nothing. Prints how many calls were made.
"""

import contextlib
import gc
import importlib
import itertools
import sys

from twotier import LocalCache, _speedups
from twotier.clock import NEVER, SystemClock

ODD = [None, 5, -1, 1 << 80, "key", b"x", {}, [], (), object(), float("nan"), LocalCache, Exception, ((), None), [[]]]
"""Arguments, and selfs, of all kinds."""
COUNTED = {"calls": 0}


def types():
    """Return every type of the extension, private ones included."""
    found = {value for value in vars(_speedups).values() if isinstance(value, type)}
    return sorted(
        (kind for kind in found if str(kind.__module__).endswith("_speedups")), key=lambda kind: kind.__name__
    )


def attempt(call, *arguments, **named):
    """Call; exceptions are what is expected, `SystemError` (a NULL without an exception) isn't."""
    COUNTED["calls"] += 1
    try:
        return call(*arguments, **named)
    except SystemError:
        raise
    except Exception:  # noqa: BLE001 - any will do
        return None


def arguments_of_all_kinds():
    """Yield positional and keyword arguments: none, one, several, too many, and unknown names."""
    yield (), {}
    for odd in ODD:
        yield (odd,), {}
        yield (odd, odd), {}
        yield ("key", odd), {"expires": odd}
        yield ("key", 1, odd), {"expires": odd, "stale": odd, "op": odd, "encoded": odd}
        yield ("key",), {"default": odd}
        yield ("key", 1), {"ttl": odd}
    yield (1,) * 20, {}
    yield (), {"no such name": 1}


def try_all(name, member, selfs):
    """Call one member of a type with every self and all kinds of arguments."""
    if name == "__new__":
        return
    for self in selfs:
        if hasattr(member, "__set__") or isinstance(member, property):
            attempt(member.__get__, self)
            attempt(member.__set__, self, 1)
            attempt(member.__delete__, self)
            continue
        for given, named in arguments_of_all_kinds():
            attempt(member, self, *given, **named)
            attempt(lambda self=self, given=given, named=named: member.__get__(self, type(self))(*given, **named))
    for given, named in arguments_of_all_kinds():
        attempt(member, *given, **named)


def half_made(kinds):
    """Yield instances of every type, and of a subclass where that can be, of which no `__init__` ran."""
    for kind in kinds:
        for given, named in arguments_of_all_kinds():
            made = attempt(kind.__new__, kind, *given, **named)
            if made is not None:
                yield made
                break
        with contextlib.suppress(TypeError):
            yield type("Forgetful", (kind,), {"__init__": lambda _: None})()
    yield LocalCache.__new__(LocalCache)


def use(thing):
    """Use an instance in every way that the language has for it."""
    operations = [
        len, repr, hash, iter, next, list, bool, callable, importlib.import_module("copy").copy,
        importlib.import_module("pickle").dumps, lambda x: x["key"], lambda x: "key" in x, lambda x: x("key"),
        lambda x: x("key", 1, named=2), lambda x: x.get("key"), lambda x: x.__setitem__("key", 1),
        lambda x: x.__delitem__("key"), lambda x: x.set("key", 1), lambda x: x.set("key", 1, ttl=5),
        lambda x: x.get_many(["key", "other"]), lambda x: x.put("key", 1, expires=NEVER),
        lambda x: x.install("key", 1, x.token("key"), expires=NEVER), lambda x: x.demote(["key"], 1),
        lambda x: x.lapsed("key", 1), lambda x: x.touch("key", expires=1), lambda x: x.expires("key"),
        lambda x: x.add("key", 1, expires=5, stale=5), lambda x: x.resize(5), lambda x: x.clear(),
        lambda x: x.validate(), lambda x: x.counters(), lambda x: x.expire(), lambda x: x.bump_epoch(),
        lambda x: x.begin_write("key"),
        lambda x: x.renew(NEVER), lambda x: x.after(5), lambda x: x.keys(), lambda x: x.apply(["key"], 1),
        lambda x: setattr(x, "store", None), lambda x: x.send(None), lambda x: x.throw(ValueError), lambda x: x.close(),
    ]  # fmt: skip
    for operation in operations:
        attempt(operation, thing)


SEEN = []
"""Stores that were found before they were made, and faces of them."""


def catch(value):
    """Use every store that is new; return `value`."""
    for thing in gc.get_objects():
        if type(thing) is _speedups.Store and thing not in SEEN:
            face = _speedups.LocalFront(thing)
            SEEN.extend([thing, face])
            for each in (thing, face, _speedups.Front(thing)):
                use(each)
    return value


class Meddling:
    """An option of a store that catches the store while it is made, whatever is asked of it."""

    __hash__ = None

    def __eq__(self, other):
        return catch(other == "auto")

    def __and__(self, other):
        return catch(7)

    @property
    def now(self):
        """The clock's."""
        return catch(SystemClock().now)


def stores_before_they_are_made():
    """Use stores that the collector knows and that aren't made yet: code runs in the middle of their making."""
    for name, policy in itertools.product(("copy", "seed", "clock", "policy"), ("lru", "lfu", "adaptive")):
        before = len(SEEN)
        store = attempt(_speedups.Store, 10, **({"policy": policy} | {name: Meddling()}))
        if len(SEEN) == before:
            raise SystemExit(f"no store was found while it was made with a meddling {name}")
        if store is not None:
            store.renew(NEVER)
            store.put("key", 1, expires=NEVER)
            store.validate()
    for thing in SEEN:
        use(thing)


def main():
    """Try everything."""
    store = _speedups.Store(10)
    store.renew(NEVER)
    front = _speedups.AsyncFront(store)
    store.put("key", 1, expires=NEVER)
    awaitable = front.get("key")
    kinds = [*types(), type(awaitable)]
    selfs = [*ODD, store, front, _speedups.Front(store), _speedups.LocalFront(store), _speedups.Memo(store), awaitable]
    selfs += half_made(kinds)
    for kind in dict.fromkeys(kinds):
        for name, member in list(vars(kind).items()):
            if callable(member) or hasattr(member, "__set__"):
                try_all(name, member, selfs)
    for thing in selfs:
        use(thing)
    for function, (given, named) in itertools.product(vars(_speedups).values(), list(arguments_of_all_kinds())):
        if callable(function) and not isinstance(function, type) and type(function).__module__ == "builtins":
            attempt(function, *given, **named)
    stores_before_they_are_made()
    gc.collect()
    sys.stdout.write(str(COUNTED["calls"]))


if __name__ == "__main__":
    main()
