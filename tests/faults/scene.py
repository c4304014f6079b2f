"""A cache behind a proxy, a peer beside it, and a hot key that both know."""

import os
import signal

from waiting import wait_for


class Scene:
    """A server, the proxy in front of it, a `cache` behind the proxy and a `peer` that reaches the server directly."""

    def __init__(self, server, proxy, cache, peer):
        self.server, self.proxy, self.cache, self.peer = server, proxy, cache, peer

    def stop_server(self):
        """Make the server hang."""
        os.kill(self.server.pid, signal.SIGSTOP)

    def go_on(self):
        """Let a server go on that hangs."""
        os.kill(self.server.pid, signal.SIGCONT)

    def refill(self):
        """Put the hot key into both tiers and have it fresh here."""

        def hot():
            if "hot" not in self.cache._namespace.store:
                self.cache.set("hot", ["value"])  # again, when a busy machine has kept it from arriving
            return self.cache.get("hot") == ["value"] and "hot" in self.cache._namespace.store

        wait_for(hot, "the key is hot")


def recovered(cache):
    """Tell whether everything is as before a fault."""
    health = cache.health()
    return health.link == "live" and health.breaker == "closed" and health.journal == 0
