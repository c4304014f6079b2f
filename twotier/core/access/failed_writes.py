"""Writes that the remote tier didn't take: they are counted, and those that were given up are logged.

A call gives up a write that was too large, or the network too slow, for its deadline, or whose
connection was lost. The call raises nothing, so only the log tells a user of a value that never
arrives. A write that isn't begun because the circuit breaker is open isn't logged: the opening was.
"""

import logging
from collections.abc import Collection
from typing import TYPE_CHECKING

from twotier.errors import RemoteError, RemoteTimeout, RemoteUnavailable
from twotier.remote.io.breaker import BreakerOpenError

if TYPE_CHECKING:
    from twotier.core.namespace.namespace import TwoTierNamespace


def note_failed_write(namespace: "TwoTierNamespace", error: RemoteError, payloads: Collection[bytes] = ()) -> None:
    """Count a failed write of `payloads`; log once a minute that one was given up, with namespace, server and size."""
    namespace.counters.remote_errors += 1
    if not isinstance(error, RemoteTimeout | RemoteUnavailable) or isinstance(error, BreakerOpenError):
        return
    namespace.log.log(
        logging.WARNING,
        "write given up",
        "namespace %s on %s: a write (values: %d, bytes: %d) was given up, and may still take place: %s",
        namespace.options.namespace,
        namespace.label,
        len(payloads),
        sum(map(len, payloads)),
        error,
    )
