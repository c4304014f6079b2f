"""Keys that share a bucket of fill tokens."""

import itertools

from twotier.local import Store


def colliding_keys(store: Store, key: str, count: int) -> list[str]:
    """Return `count` other keys of the bucket of `key`. Voids none of its tokens, but their own, once each."""
    mates: list[str] = []
    for number in itertools.count():
        name, before = f"mate {number}", store.token(key)
        store.begin_write(name)
        if store.token(key) != before:
            mates.append(name)
            if len(mates) == count:
                return mates
    raise AssertionError
