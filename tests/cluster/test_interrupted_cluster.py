"""Exceptions that arrive between any two lines of a cluster's executors: no node's connections are lost by them."""

import pytest
from interrupts import Interrupted, every_line
from waiting import wait_for

from twotier.remote.commands import FetchMany

MANY = [b"{a}1", b"{b}2", b"{c}3", b"{d}4", b"{e}5"]


def settled(members):
    """Tell whether every open connection to a node is idle, and nobody waits or connects."""
    pools = [member.server.pool() for member in list(members._members.values())]
    return not any(len(p._channels) != len(p._idle) or p._opening or p._turns or p._asleep for p in pools)


@pytest.mark.parametrize("keys", [MANY[:1], MANY], ids=["one node", "all nodes"])
def test_no_line_of_a_call_loses_a_connection(cluster, make, keys):
    """Of one trip or of several at once, wherever the exception arrives."""
    cache, kept = make(cluster, timeout=2.0, max_staleness=20), []
    members, executor = cache._namespace.topology.members, cache._namespace.executor

    def scene(interruption):
        kept.append(interruption.run(lambda: executor.run(FetchMany(keys))))
        assert isinstance(kept[-1], Interrupted) == bool(interruption.where)
        wait_for(lambda: settled(members), "what others do for the call is done")

    assert every_line(scene, "remote") > 30
