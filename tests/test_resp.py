"""The RESP reader: every type servers send, cut anywhere, and nothing hostile taken."""

import contextlib
import math
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twotier.resp import (
    MAX_BULK,
    MAX_DEPTH,
    MAX_ELEMENTS,
    MAX_LINE,
    ErrorReply,
    ProtocolError,
    Push,
    Reader,
    pack,
)

CASES = {
    "simple string": (b"+OK\r\n", [b"OK"]),
    "empty simple string": (b"+\r\n", [b""]),
    "integer": (b":-42\r\n", [-42]),
    "signed integer": (b":+42\r\n", [42]),
    "bulk": (b"$5\r\nhe\r\no\r\n", [b"he\r\no"]),
    "empty bulk": (b"$0\r\n\r\n", [b""]),
    "null bulk": (b"$-1\r\n", [None]),
    "null array": (b"*-1\r\n", [None]),
    "null": (b"_\r\n", [None]),
    "true": (b"#t\r\n", [True]),
    "false": (b"#f\r\n", [False]),
    "double": (b",1.5e3\r\n", [1500.0]),
    "infinity": (b",-inf\r\n", [-math.inf]),
    "big number": (
        b"(-3492890328409238509324850943850943825024385\r\n",
        [-3492890328409238509324850943850943825024385],
    ),
    "verbatim": (b"=8\r\ntxt:text\r\n", [b"text"]),
    "array": (b"*3\r\n:1\r\n$1\r\na\r\n*-1\r\n", [[1, b"a", None]]),
    "empty array": (b"*0\r\n", [[]]),
    "empty arrays in an array": (b"*2\r\n*0\r\n*0\r\n", [[[], []]]),
    "nested": (b"*2\r\n*2\r\n:1\r\n*1\r\n:2\r\n%1\r\n+k\r\n~1\r\n#t\r\n", [[[1, [2]], {b"k": [True]}]]),
    "map": (b"%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n_\r\n", [{b"a": 1, b"b": [None]}]),
    "empty map": (b"%0\r\n", [{}]),
    "set": (b"~2\r\n:1\r\n:2\r\n", [[1, 2]]),
    "attribute": (b"|1\r\n+ttl\r\n:5\r\n+OK\r\n", [b"OK"]),
    "empty attribute": (b"|0\r\n+OK\r\n", [b"OK"]),
    "attribute inside of an array": (b"*2\r\n|1\r\n+a\r\n*1\r\n:9\r\n:1\r\n:2\r\n", [[1, 2]]),
    "push between replies": (b":1\r\n>2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n:2\r\n", [1, [b"invalidate", [b"k"]], 2]),
    "messages": (
        b">3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$3\r\none\r\n>3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$5\r\n\r\ntwo\r\n:1\r\n",
        [[b"message", b"ch", b"one"], [b"message", b"ch", b"\r\ntwo"], 1],
    ),
    "RESP2 messages": (
        b"*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$0\r\n\r\n*3\r\n$9\r\nsubscribe\r\n$2\r\nch\r\n:1\r\n",
        [[b"message", b"ch", b""], [b"subscribe", b"ch", 1]],
    ),
}


@pytest.mark.parametrize(("wire", "expected"), CASES.values(), ids=CASES)
def test_types(wire, expected):
    """Each type that a server sends is understood whole, byte by byte, and after another reply."""
    assert Reader().feed(wire) == expected
    reader = Reader()
    assert [reply for at in range(len(wire)) for reply in reader.feed(wire[at : at + 1])] == expected
    reader = Reader()
    assert reader.feed(b":7\r\n" + wire) == [7, *expected]


def test_every_two_cuts():
    """All cases in one stream, cut in two at every place, give the same replies."""
    wire = b"".join(wire for wire, _ in CASES.values())
    expected = [reply for _, replies in CASES.values() for reply in replies]
    for cut in range(len(wire)):
        reader = Reader()
        assert reader.feed(wire[:cut]) + reader.feed(wire[cut:]) == expected


@given(cuts=st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_any_slicing(cuts):
    """However a stream is sliced, the replies are the same."""
    wire = b"".join(wire for wire, _ in CASES.values())
    reader, replies, at, turn = Reader(), [], 0, 0
    while at < len(wire):
        size = cuts[turn % len(cuts)]
        replies += reader.feed(wire[at : at + size])
        at, turn = at + size, turn + 1
    assert replies == Reader().feed(wire)


def test_pushes_are_told_from_arrays():
    """A push is a `Push`, and an array isn't, on the fast path for messages too."""
    message = b"3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$1\r\nx\r\n"
    assert [type(reply) for reply in Reader().feed(b">" + message + b"*" + message + b">1\r\n+x\r\n*1\r\n+x\r\n")] == [
        Push, list, Push, list,
    ]  # fmt: skip


@pytest.mark.parametrize("wire", [b"-NOPERM no \xff\r\n", b"!11\r\nNOPERM no \xff\r\n"])
def test_errors_are_replies(wire):
    """An error reply, simple or blob, is a value, not an exception, whatever bytes it is made of."""
    (error,) = Reader().feed(wire)
    assert isinstance(error, ErrorReply)
    assert error.text.startswith("NOPERM no ")
    assert "NOPERM" in repr(error)


def test_not_a_number():
    """NaN arrives as NaN."""
    (reply,) = Reader().feed(b",nan\r\n")
    assert math.isnan(reply)


HOSTILE = {
    "unknown type": b"x\r\n",
    "HTTP": b"HTTP/1.1 400 Bad Request\r\n",
    "empty line": b"\r\n",
    "bulk longer than the limit": b"$%d\r\n" % (MAX_BULK + 1),
    "bulk length of many digits": b"$" + b"9" * 5000 + b"\r\n",
    "negative bulk": b"$-2\r\n",
    "streamed bulk": b"$?\r\n",
    "bulk length with an underscore": b"$1_0\r\n",
    "bulk that runs on": b"$3\r\nabcd\r\n",
    "null verbatim": b"=-1\r\n",
    "verbatim without a format": b"=3\r\ntxt\r\n",
    "array longer than the limit": b"*%d\r\n" % (MAX_ELEMENTS + 1),
    "array of 2**32-1": b"*4294967295\r\n",
    "map longer than the limit": b"%%%d\r\n" % (MAX_ELEMENTS + 1),
    "set of 2**63": b"~9223372036854775808\r\n",
    "push longer than the limit": b">%d\r\n" % (MAX_ELEMENTS + 1),
    "null map": b"%-1\r\n",
    "nesting without end": b"*1\r\n" * (MAX_DEPTH + 1),
    "push inside of an array": b"*1\r\n>1\r\n:1\r\n",
    "map with an array for a key": b"%1\r\n*1\r\n:1\r\n:2\r\n",
    "integer of letters": b":abc\r\n",
    "integer of many digits": b":" + b"1" * 30 + b"\r\n",
    "double of letters": b",abc\r\n",
    "big number of very many digits": b"(" + b"1" * 10_000 + b"\r\n",
    "bool of another letter": b"#x\r\n",
    "null with something behind": b"_x\r\n",
    "line without end": b"+" + b"x" * MAX_LINE,
    "message with a hostile channel length": b">3\r\n$7\r\nmessage\r\n$99999999999\r\n",
    "message with a hostile payload length": b">3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$-7\r\n",
    "message that runs on": b">3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$1\r\nxxxx\r\n",
}


@pytest.mark.parametrize("wire", HOSTILE.values(), ids=HOSTILE)
def test_hostile(wire):
    """What isn't RESP, or goes beyond the limits, is a ProtocolError at once, and costs no memory."""
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            Reader().feed(wire)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_nested_reply_has_a_bound():
    """A reply that grows for ever, element by element, ends at the limit."""
    reader, element = Reader(), b"$%d\r\n" % (1 << 20) + bytes(1 << 20) + b"\r\n"
    reader.feed(b"*1000\r\n")
    for _ in range((MAX_BULK >> 20) - 1):
        assert reader.feed(element) == []
    with pytest.raises(ProtocolError, match="larger than"):
        reader.feed(element)


def test_the_bound_is_of_one_reply():
    """Many replies in a row may exceed together what one may not."""
    reader, reply = Reader(), b"*1\r\n$%d\r\n" % (1 << 20) + bytes(1 << 20) + b"\r\n"
    for _ in range((MAX_BULK >> 20) + 2):
        assert len(reader.feed(reply)) == 1


def test_a_large_string_in_small_chunks_is_not_copied_each_time():
    """A string of 16 MiB arriving 4 KiB at a time is put together once."""
    reader, chunk, count = Reader(), bytes(4096), 4096
    reader.feed(b"$%d\r\n" % (len(chunk) * count))
    assert all(reader.feed(chunk) == [] for _ in range(count))
    assert len(reader._chunks) == count + 1
    assert reader.feed(b"\r\n") == [bytes(len(chunk) * count)]


@given(noise=st.binary(max_size=100))
def test_noise(noise):
    """Any bytes give replies, an incomplete one, or a ProtocolError; nothing else."""
    with contextlib.suppress(ProtocolError):
        assert isinstance(Reader().feed(noise), list)


@given(words=st.lists(st.binary(max_size=20), min_size=1, max_size=5))
def test_pack(words):
    """A packed command reads back as its words."""
    assert Reader().feed(pack(*words)) == [words]
