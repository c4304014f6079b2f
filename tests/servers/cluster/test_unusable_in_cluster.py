"""Values that can't be used, on a cluster."""

import pytest
from loops import Awaited
from redis import RedisCluster
from unusable import SECRET, check_each_call, spoil


@pytest.mark.parametrize("kind", ["foreign", "other secret", "tagged", "other type"])
@pytest.mark.parametrize("face", ["Cache", "AsyncCache"])
def test_every_call_takes_it_for_nothing(cluster, make, kind, face, request):
    """What get misses, no other call finds, on whichever node it is."""
    cache = make(cluster, secret=SECRET)
    each = cache if face == "Cache" else Awaited(cache.aio, request.getfixturevalue("asyncio"))
    host, port = cluster.url.rpartition("//")[2].split(",")[0].split(":")
    with RedisCluster(host=host, port=int(port)) as client:

        def spoiled(key):
            spoil(cache, client, kind, key)
            return key

        check_each_call(each, spoiled)
