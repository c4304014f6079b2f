"""Support for tests of applications that use twotier: a manual clock, servers, a fault proxy, a coherence check.

`EmbeddedSentinels` and `EmbeddedCluster` are whole deployments to fail over; they take seconds to start.

With pytest the fixtures `twotier_server`, `manual_clock`, `fault_link` and `assert_coherent` are there as soon as
twotier is installed (see `twotier.testing.plugin`); without it, use the names of this package.
"""

from twotier.clock import ManualClock
from twotier.remote.deploy.embedded import EmbeddedServer
from twotier.testing.cluster import EmbeddedCluster
from twotier.testing.coherent import assert_coherent
from twotier.testing.faults import Faults
from twotier.testing.proxy import FaultProxy
from twotier.testing.sentinels import EmbeddedSentinels

__all__ = [
    "EmbeddedCluster",
    "EmbeddedSentinels",
    "EmbeddedServer",
    "FaultProxy",
    "Faults",
    "ManualClock",
    "assert_coherent",
]
