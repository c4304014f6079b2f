"""The local tier's bounds, as a cache's options set them."""

from twotier import Cache


def test_local_tier_is_bounded_by_bytes_and_can_be_resized(namespace):
    """max_bytes, weigher, on_removal and resize reach the local tier."""
    left = []
    with Cache(
        namespace=namespace,
        max_bytes=100,
        weigher=lambda _key, value: value,
        on_removal=lambda *removal: left.append(removal),
    ) as cache:
        cache.set("too heavy", 101)
        assert cache.get("too heavy") is None
        for number in range(5):
            cache.set(f"key {number}", 30)
        assert cache.stats().bytes == 90
        assert cache.stats().entries == 3
        cache.resize(1)
        assert cache.stats().entries == 1
        assert {cause for _, _, cause in left} == {"size"}
