"""Real deployments behind real sentinels, on loopback."""

import os

import pytest
from waiting import live, wait_for

from twotier import Cache
from twotier.testing import EmbeddedSentinels


@pytest.fixture(scope="session")
def whole_deployment():
    """A primary, two replicas and three sentinels, for the whole session."""
    with EmbeddedSentinels(binary=os.environ.get("TWOTIER_TEST_SERVER")) as deployment:
        yield deployment


@pytest.fixture
def deployment(whole_deployment):
    """The session's deployment, whole before and after the test."""
    whole_deployment.heal()
    yield whole_deployment
    whole_deployment.heal()


@pytest.fixture
def make(deployment, namespace):
    """Makes caches of one namespace on the deployment, live, and closed at the end."""
    caches = []

    def make(target=None, **settings):
        cache = Cache(target or deployment.url, **{"namespace": namespace, **settings})
        caches.append(cache)
        wait_for(lambda: live(cache), "the link is live")
        return cache

    yield make
    for cache in caches:
        cache.close()
