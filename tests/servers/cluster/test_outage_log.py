"""What a cluster's lost nodes leave in the log."""

from waiting import live, wait_for

from twotier import Cache


def test_a_node_of_a_cluster_that_is_lost_is_logged(own_cluster, namespace, caplog):
    """Each node has a breaker of its own, and its own line."""
    with Cache(own_cluster.url, namespace=namespace) as cache:
        wait_for(lambda: live(cache), "the link is live")
        own_cluster.let_others_serve()
        own_cluster.servers[0].kill()
        keys = [f"key:{number}" for number in range(100)]
        wait_for(lambda: cache.get_many(keys) == {} and cache.stats().outages > 0, "the loss is noticed")
    assert f"namespace {namespace} on " in caplog.text
    assert "the circuit breaker is open" in caplog.text
