"""Bulk calls make few objects that the garbage collector counts, so that it doesn't look at the whole process."""

import gc

import pytest

from twotier import Cache

ENTRIES = 5_000


@pytest.mark.parametrize("mode", ["two-tier", "local"])
def test_set_many_holds_no_container_an_entry(request, namespace, monkeypatch, mode):
    """From the first value that is encoded to the last, the containers that the collector counts don't add up."""
    target = (request.getfixturevalue("server").url,) if mode == "two-tier" else ()
    counts = []
    with Cache(*target, namespace=namespace) as cache:
        encode = cache._namespace.values.encode

        def counting(value):
            counts.append(gc.get_count()[0])
            return encode(value)

        monkeypatch.setattr(cache._namespace.values, "encode", counting)
        gc.collect()
        gc.disable()
        try:
            cache.set_many({f"k{number}": number for number in range(ENTRIES)})
        finally:
            gc.enable()
    assert len(counts) == ENTRIES
    assert counts[-1] - counts[0] < ENTRIES // 10
