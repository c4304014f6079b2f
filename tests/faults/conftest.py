"""What every fault is tried on."""

import contextlib

import pytest
from scene import Scene
from waiting import live, wait_for

from twotier import Cache


@pytest.fixture
def make_scene(twotier_server, fault_link, namespace):
    """Makes a scene with the settings given; it is live, and the hot key is in place."""
    with contextlib.ExitStack() as stack:

        def make(**settings):
            settings = {"namespace": namespace, **settings}
            cache = stack.enter_context(Cache(fault_link.url, **settings))
            peer = stack.enter_context(Cache(twotier_server.url, **settings))
            wait_for(lambda: live(cache) and live(peer), "the links are live")
            scene = Scene(twotier_server, fault_link, cache, peer)
            scene.refill()
            return scene

        yield make


@pytest.fixture
def scene(make_scene):
    """A scene with the default settings."""
    return make_scene()
