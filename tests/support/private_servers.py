"""The servers that tests run on: the bundled Valkey, or the one that TWOTIER_TEST_SERVER names."""

import os

from twotier.remote.deploy.embedded import EmbeddedServer

BINARY = os.environ.get("TWOTIER_TEST_SERVER")
"""Another server, e.g. a redis-server; None for the bundled one."""


def private_server(**settings):
    """Return a server for one test alone, not started yet."""
    return EmbeddedServer(binary=BINARY, **settings)


def known_to(admin, rules):
    """Return the ACL rules without those that the server doesn't know: before 7.2 there is no CLIENT SETINFO."""
    version = tuple(map(int, admin.info("server")["redis_version"].split(".")))
    return rules if version >= (7, 2) else rules.replace(" +client|setinfo", "")


def denials(admin, reason):
    """Return how often the server has denied something for `reason`: "auth", "command", "key" or "channel"."""
    return sum(int(entry["count"]) for entry in admin.acl_log() if entry["reason"] == reason)
