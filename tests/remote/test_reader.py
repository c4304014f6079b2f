"""RESP readers: hiredis's and ours keep one contract, whatever slices the bytes come in."""

import itertools
import math

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twotier.remote.reader import NOTHING, PUSH, PlainReader, make_reader
from twotier.remote.refusals import code
from twotier.resp import ErrorReply, ProtocolError, Push

READERS = [pytest.param(make_reader, id="hiredis"), pytest.param(PlainReader, id="plain")]


def read_all(reader, data, slices=()):
    """Feed `data` cut at `slices`, and return every reply."""
    cuts = sorted({min(cut, len(data)) for cut in slices} | {0, len(data)})
    replies = []
    for start, end in itertools.pairwise(cuts):
        reader.feed(data[start:end])
        while (reply := reader.gets()) is not NOTHING:
            replies.append(reply)
    return replies


def test_hiredis_is_what_these_tests_compare_with():
    """The suite runs with hiredis installed, so that both readers are tested."""
    assert isinstance(make_reader(), hiredis.Reader)


@pytest.mark.parametrize("make", READERS)
@pytest.mark.parametrize(
    ("wire", "reply"),
    [
        (b"+OK\r\n", b"OK"),
        (b":-42\r\n", -42),
        (b"$0\r\n\r\n", b""),
        (b"$4\r\na\r\nb\r\n", b"a\r\nb"),
        (b"$-1\r\n", None),
        (b"*-1\r\n", None),
        (b"_\r\n", None),
        (b"*3\r\n:1\r\n*1\r\n$1\r\nx\r\n_\r\n", [1, [b"x"], None]),
        (b"#t\r\n", True),
        (b"#f\r\n", False),
        (b",1.5\r\n", 1.5),
        (b",-inf\r\n", -math.inf),
        (b"=7\r\ntxt:abc\r\n", b"abc"),
        (b"%1\r\n+a\r\n:1\r\n", {b"a": 1}),
        (b"~2\r\n:1\r\n:1\r\n", [1, 1]),
    ],
)
def test_every_type(make, wire, reply):
    """Each RESP type arrives as its Python value, byte by byte as well as whole."""
    assert read_all(make(), wire) == [reply]
    assert read_all(make(), wire, range(len(wire))) == [reply]


@pytest.mark.parametrize("make", READERS)
def test_errors_are_values(make):
    """An error reply is returned, alone and inside an array, with its code."""
    replies = read_all(make(), b"-WRONGTYPE not that\r\n*2\r\n-OOM full\r\n:1\r\n-ERR oops\r\n-oops\r\n")
    assert [type(reply) for reply in replies] == [ErrorReply, list, ErrorReply, ErrorReply]
    assert [code(replies[0]), code(replies[1][0]), code(replies[2]), code(replies[3])] == [
        "WRONGTYPE",
        "OOM",
        "ERR",
        "ERR",
    ]
    assert replies[0].text == "WRONGTYPE not that"


@pytest.mark.parametrize("make", READERS)
def test_pushes_are_told_apart(make):
    """A push is a `Push`, an array with the same items is not."""
    push, array = read_all(make(), b">2\r\n+a\r\n+b\r\n*2\r\n+a\r\n+b\r\n")
    assert type(push) in (PUSH, Push)
    assert type(array) is list
    assert push == array == [b"a", b"b"]


@pytest.mark.parametrize("make", READERS)
@pytest.mark.parametrize("wire", [b"garbage\r\n", b":x\r\n", b"$3\r\nabcdef\r\n", b"*99999999999999999999\r\n"])
def test_what_is_not_resp_raises(make, wire):
    """Bytes that aren't RESP raise ProtocolError."""
    with pytest.raises(ProtocolError):
        read_all(make(), wire)


@pytest.mark.parametrize("make", READERS)
def test_deep_nesting_raises(make):
    """Arrays nested without end raise instead of exhausting the stack."""
    with pytest.raises(ProtocolError):
        read_all(make(), b"*1\r\n" * 10_000)


@pytest.mark.parametrize("make", READERS)
def test_has_data(make):
    """Bytes beyond the last reply are seen, whole replies and beginnings alike."""
    reader = make()
    assert not reader.has_data()
    reader.feed(b"+OK\r\n+O")
    assert reader.gets() == b"OK"
    assert reader.has_data()
    reader.feed(b"K\r\n")
    assert reader.gets() == b"OK"
    assert not reader.has_data()


def wire_of(value):
    """Pack a reply as a RESP3 server would."""
    match value:
        case None:
            return b"_\r\n"
        case int():
            return b":%d\r\n" % value
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(value), value)
        case list():
            return b"*%d\r\n%b" % (len(value), b"".join(map(wire_of, value)))


_replies = st.recursive(st.none() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=40), st.lists, max_leaves=20)


@given(replies=st.lists(_replies), slices=st.lists(st.integers(0, 400)))
def test_readers_agree_however_the_bytes_are_cut(replies, slices):
    """Both readers return the same replies, for any slices."""
    wire = b"".join(map(wire_of, replies))
    assert read_all(make_reader(), wire, slices) == read_all(PlainReader(), wire, slices) == replies
