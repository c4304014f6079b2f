"""Fork: a child has no link of its parent's, closes the parent's socket without a word, and may begin its own."""

import contextlib
import threading
from pathlib import Path

from forking import Child, in_child
from recording_subscriber import RecordingSubscriber
from waiting import wait_for

from twotier.coherence.listener import Listener
from twotier.coherence.listener_registry import release_listener, shared_listener
from twotier.sharing import Shared


def sockets():
    """Return the descriptors of this process that are sockets."""
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(str(descriptor.readlink()))
    return {target for target in found if target.startswith("socket:")}


def test_a_child_lets_go_and_the_parent_stays_live(server, client, make_listener, namespace):
    """The child's link is down, without thread and sockets; the parent's goes on, with the same connection."""
    before = sockets()
    ear = RecordingSubscriber(namespace)
    listener = make_listener(path=server.socket_path)
    listener.attach(ear)
    wait_for(lambda: ear.live, "live")

    def child():
        listener.after_fork()
        listener.after_fork()
        assert listener.state(ear) == "down"
        assert sockets() <= before
        assert threading.active_count() == 1

    in_child(child)
    renewed = ear.count("renewed")
    client.publish(ear.channel, b"after")
    wait_for(lambda: ear.payloads == [b"after"], "the parent's message")
    listener.wake()
    wait_for(lambda: ear.count("renewed") > renewed, "the parent's next lease")
    assert ear.count("lost") == 0


def test_a_child_begins_its_own_link(server, client, make_listener, namespace):
    """The subscribers that were attached are served in the child as well, over another connection."""
    ear = RecordingSubscriber(namespace)
    listener = make_listener(path=server.socket_path)
    listener.attach(ear)
    wait_for(lambda: ear.live, "live")

    def child():
        ear.heard.clear()
        ear.lease_until = 0
        listener.ensure_started()  # finds by itself that this is another process
        wait_for(lambda: ear.live, "live in the child")
        assert ear.kinds[:2] == ["confirmed", "renewed"]
        wait_for(lambda: ear.payloads == [b"to both"], "the message in the child")
        listener.close()

    forked = Child(child)
    wait_for(lambda: client.pubsub_numsub(ear.channel) == [(ear.channel, 2)], "both subscribed")
    client.publish(ear.channel, b"to both")
    forked.reap()
    wait_for(lambda: ear.payloads == [b"to both"], "the message in the parent")
    assert ear.count("lost") == 0


def test_locks_held_at_the_fork(server, make_listener, namespace):
    """A lock that another thread held at the fork doesn't block the child."""
    ear = RecordingSubscriber(namespace)
    listener = make_listener(path=server.socket_path)
    listener.attach(ear)
    wait_for(lambda: ear.live, "live")

    def child():
        other = RecordingSubscriber(namespace)
        listener.attach(other)
        listener.detach(ear)
        wait_for(lambda: other.live, "live in the child")
        listener.close()

    with listener._lock:
        forked = Child(child)
    forked.reap()


def test_forks_under_load(server, client, make_listener, namespace):
    """Fifty forks while messages arrive: no child hangs, and the parent's link is never lost."""
    ear = RecordingSubscriber(namespace)
    listener = make_listener(path=server.socket_path)
    listener.attach(ear)
    wait_for(lambda: ear.live, "live")
    for number in range(50):
        client.publish(ear.channel, b"%d" % number)
        in_child(listener.after_fork)
    wait_for(lambda: len(ear.payloads) == 50, "every message")
    assert ear.count("lost") == 0


def test_a_shared_listener_counts_its_users(server, make_listener):
    """One listener an identity; it is closed when the last user gives it back, and made anew for the next."""
    registry = Shared(Listener.close)
    made = []

    def factory():
        made.append(make_listener(path=server.socket_path))
        return made[-1]

    one, two = registry.acquire("a", factory), registry.acquire("a", factory)
    other = registry.acquire("b", factory)
    assert one is two is not other
    registry.release(one)
    assert not one._closing
    registry.release(two)
    assert one._closing
    registry.release(two)  # once too often: nothing
    assert not other._closing
    assert registry.acquire("a", factory) is made[2]


def test_shared_listeners_are_not_inherited(server, make_listener, namespace):
    """In a child, without a call of ours, the parent's sockets are closed and the registry is empty, its lock free."""
    before = sockets()
    ear = RecordingSubscriber(namespace)
    listener = shared_listener(("test", namespace), lambda: make_listener(path=server.socket_path))
    listener.attach(ear)
    wait_for(lambda: ear.live, "live")

    def child():
        assert sockets() <= before
        own = shared_listener(("test", namespace), lambda: make_listener(path=server.socket_path))
        assert own is not listener
        mine = RecordingSubscriber(namespace)
        own.attach(mine)
        wait_for(lambda: mine.live, "live in the child")
        release_listener(own)

    in_child(child)
    assert ear.count("lost") == 0
    release_listener(listener)
    assert ear.heard[-1] == ("lost", "the listener was closed")
