"""Who is named the primary, by votes in bytes and without I/O."""

import pytest

from twotier.clock import SECOND
from twotier.remote.sentinel.votes import VALID, Place, SentinelView, Vote, Votes
from twotier.resp import ProtocolError

A, B = Place("10.0.0.1", 6379), Place("10.0.0.2", 6379)


def test_a_majority_of_all_names_the_primary():
    """Those who don't answer count as well: two of five are no majority, whoever else is silent."""
    votes = Votes(5)
    votes.cast(0, Vote(A, 1))
    votes.cast(1, Vote(A, 1))
    assert votes.named(2) is None
    assert votes.unopposed(2) == A
    votes.cast(4, Vote(A, 3))
    assert votes.named(4) == A


def test_only_the_latest_vote_of_each_counts():
    """A sentinel that changes its mind doesn't vote twice, and an old vote stops counting."""
    votes = Votes(3)
    for sentinel in range(3):
        votes.cast(sentinel, Vote(A, 0))
    votes.cast(0, Vote(B, 5))
    assert votes.named(6) == A
    assert votes.contested(A, 6)
    votes.cast(1, Vote(B, 7))
    assert votes.named(8) == B
    assert votes.named(VALID + 6) is None
    votes.cast(0, Vote(None, VALID + 6))
    assert votes.named(VALID + 7) is None


def test_agreed_at_is_when_a_majority_still_agreed():
    """Leases run from the majority's oldest voice: one eager sentinel can't stretch them."""
    votes = Votes(3)
    for sentinel, asked_at in enumerate((10, 20, 90)):
        votes.cast(sentinel, Vote(A, asked_at))
    assert votes.agreed_at(A) == 20
    votes.cast(2, Vote(B, 95))
    assert votes.agreed_at(A) == 10
    assert votes.agreed_at(B) == 0


def test_a_talk_in_resp3():
    """Over one connection: a subscription, questions with their answers in order, and announcements between them."""
    ear = SentinelView("orders", hears=True)
    ear.ask(SECOND, replicas=True)
    sent = ear.outgoing()
    assert sent.index(b"+switch-master") < sent.index(b"GET-MASTER-ADDR-BY-NAME") < sent.index(b"REPLICAS")
    assert ear.outgoing() == b""
    assert ear.asked_at() == SECOND
    heard = ear.receive(
        b">3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n*2\r\n$8\r\n10.0.0.1\r\n$4\r\n6379\r\n"
    )
    assert heard.votes == [Vote(A, SECOND)]
    assert not heard.switched
    text = b"orders 10.0.0.1 6379 10.0.0.2 6379"
    heard = ear.receive(b">3\r\n$7\r\nmessage\r\n$14\r\n+switch-master\r\n$%d\r\n%b\r\n" % (len(text), text))
    assert heard.switched
    fields = {"name": "x", "ip": "10.0.0.2", "port": "6379", "flags": "slave"}
    up = "".join(f"${len(word)}\r\n{word}\r\n" for pair in fields.items() for word in pair)
    down = up.replace("$5\r\nslave", "$12\r\nslave,s_down")
    heard = ear.receive(f"*2\r\n%4\r\n{up}*8\r\n{down}".encode())
    assert heard.replicas == [B]
    assert ear.asked_at() is None


def test_announcements_of_other_services_are_not_ours():
    """Sentinels watch several services, and tell of all."""
    ear = SentinelView("orders", hears=True)
    text = b"orders-2 10.0.0.1 6379 10.0.0.2 6379"
    heard = ear.receive(b">3\r\n$7\r\nmessage\r\n$14\r\n+switch-master\r\n$%d\r\n%b\r\n" % (len(text), text))
    assert not heard.switched


@pytest.mark.parametrize("reply", ["$-1\r\n", "_\r\n", "*-1\r\n", "-IDONTKNOW x\r\n", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"])
def test_no_place_is_a_vote_for_nobody(reply):
    """A sentinel that doesn't know the service, or answers nonsense, names nobody."""
    ear = SentinelView("orders", hears=False)
    ear.ask(7)
    assert ear.receive(reply.encode()).votes == [Vote(None, 7)]


def test_a_refused_subscription_leaves_the_questions():
    """Without the permission to subscribe, a sentinel is asked all the same."""
    ear = SentinelView("orders", hears=True)
    ear.ask(7)
    refused = b"-NOPERM User x has no permissions to access the '+switch-master' channel\r\n"
    heard = ear.receive(refused + b"*2\r\n$8\r\n10.0.0.1\r\n$4\r\n6379\r\n")
    assert heard.votes == [Vote(A, 7)]


def test_an_answer_without_a_question_ends_the_talk():
    """What wasn't asked for can't be told from the answer to something else."""
    with pytest.raises(ProtocolError):
        SentinelView("orders", hears=False).receive(b"*2\r\n$1\r\na\r\n$1\r\n1\r\n")
