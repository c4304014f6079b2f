"""The readers of replies, compiled and in Python: every type servers send, cut anywhere, and nothing hostile taken."""

import contextlib
import math
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twotier._speedups import ReplyReader
from twotier.replies import PlainReader
from twotier.resp import (
    MAX_BULK,
    MAX_DEPTH,
    MAX_ELEMENTS,
    MAX_ERROR,
    MAX_LINE,
    ErrorReply,
    ProtocolError,
    Push,
    TooLargeError,
    pack,
)


@pytest.fixture(params=[ReplyReader, PlainReader], ids=["compiled", "python"], scope="module")
def Reader(request):  # noqa: N802 - it is a class
    """The reader of one twin."""
    return request.param


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
def test_types(Reader, wire, expected):  # noqa: N803
    """Each type that a server sends is understood whole, byte by byte, and after another reply."""
    assert Reader().feed(wire) == expected
    reader = Reader()
    assert [reply for at in range(len(wire)) for reply in reader.feed(wire[at : at + 1])] == expected
    reader = Reader()
    assert reader.feed(b":7\r\n" + wire) == [7, *expected]


def test_every_two_cuts(Reader):  # noqa: N803
    """All cases in one stream, cut in two at every place, give the same replies."""
    wire = b"".join(wire for wire, _ in CASES.values())
    expected = [reply for _, replies in CASES.values() for reply in replies]
    for cut in range(len(wire)):
        reader = Reader()
        assert reader.feed(wire[:cut]) + reader.feed(wire[cut:]) == expected


@given(cuts=st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_any_slicing(Reader, cuts):  # noqa: N803
    """However a stream is sliced, the replies are the same."""
    wire = b"".join(wire for wire, _ in CASES.values())
    reader, replies, at, turn = Reader(), [], 0, 0
    while at < len(wire):
        size = cuts[turn % len(cuts)]
        replies += reader.feed(wire[at : at + size])
        at, turn = at + size, turn + 1
    assert replies == Reader().feed(wire)


def test_pushes_are_told_from_arrays(Reader):  # noqa: N803
    """A push is a `Push`, and an array isn't, on the fast path for messages too."""
    message = b"3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$1\r\nx\r\n"
    assert [type(reply) for reply in Reader().feed(b">" + message + b"*" + message + b">1\r\n+x\r\n*1\r\n+x\r\n")] == [
        Push, list, Push, list,
    ]  # fmt: skip


@pytest.mark.parametrize("wire", [b"-NOPERM no \xff\r\n", b"!11\r\nNOPERM no \xff\r\n"])
def test_errors_are_replies(Reader, wire):  # noqa: N803
    """An error reply, simple or blob, is a value, not an exception, whatever bytes it is made of."""
    (error,) = Reader().feed(wire)
    assert isinstance(error, ErrorReply)
    assert error.text.startswith("NOPERM no ")
    assert "NOPERM" in repr(error)


def test_not_a_number(Reader):  # noqa: N803
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
    "map with a null for a key": b"%1\r\n_\r\n:2\r\n",
    "map with a big number for a key": b"%1\r\n(36893488147419103232\r\n:2\r\n",
    "arrays of many elements together": b"*2\r\n" + b"*%d\r\n" % (MAX_ELEMENTS - 1),
    "empty arrays beyond the depth": b"*1\r\n" * MAX_DEPTH + b"*0\r\n",
    "integer beyond 64 bits": b":9223372036854775808\r\n",
    "blob error longer than a line": b"!%d\r\n" % (MAX_LINE + 1),
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
def test_hostile(Reader, wire):  # noqa: N803
    """What isn't RESP, or goes beyond the limits, is a ProtocolError at once, and costs no memory."""
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            Reader().feed(wire)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_nested_reply_has_a_bound(Reader):  # noqa: N803
    """A reply that grows for ever, element by element, ends at the limit."""
    reader, element = Reader(), b"$%d\r\n" % (1 << 20) + bytes(1 << 20) + b"\r\n"
    reader.feed(b"*1000\r\n")
    for _ in range((MAX_BULK >> 20) - 1):
        assert reader.feed(element) == []
    with pytest.raises(ProtocolError, match="larger than"):
        reader.feed(element)


def test_the_bound_is_of_one_reply(Reader):  # noqa: N803
    """Many replies in a row may exceed together what one may not."""
    reader, reply = Reader(), b"*1\r\n$%d\r\n" % (1 << 20) + bytes(1 << 20) + b"\r\n"
    for _ in range((MAX_BULK >> 20) + 2):
        assert len(reader.feed(reply)) == 1


def test_a_large_string_in_small_chunks_costs_memory_once(Reader):  # noqa: N803
    """A string of 16 MiB arriving 4 KiB at a time is whole in the end; only what has arrived takes memory."""
    reader, chunk, count = Reader(), bytes(4096), 4096
    reader.feed(b"$%d\r\n" % (len(chunk) * count))
    assert all(reader.feed(chunk) == [] for _ in range(count))
    assert reader.feed(b"\r\n") == [bytes(len(chunk) * count)]
    assert reader.idle


def test_a_part_of_what_is_given(Reader):  # noqa: N803
    """A buffer that isn't full is read as far as it is said to be."""
    reader, buffer = Reader(), bytearray(b":1\r\n:2\r\n:3\r\n")
    assert reader.feed(buffer, 8) == [1, 2]
    assert reader.feed(memoryview(buffer)[8:]) == [3]
    assert reader.feed(buffer, 0) == reader.feed(b"") == []


def test_idle(Reader):  # noqa: N803
    """A reader is idle between replies, and not inside of one."""
    reader = Reader()
    assert reader.idle
    for part in (b"*2\r\n", b":1\r\n", b"$1\r\n", b"x"):
        assert reader.feed(part) == []
        assert not reader.idle
    assert reader.feed(b"\r\n") == [[1, b"x"]]
    assert reader.idle


def test_a_string_that_is_too_long_has_its_own_error(Reader):  # noqa: N803
    """A string beyond the reader's own limit is refused when its length arrives, as what it is."""
    reader = Reader(longest=10)
    assert reader.feed(b"$10\r\n0123456789\r\n") == [b"0123456789"]
    with pytest.raises(TooLargeError, match="at most 10 bytes, got 11"):
        reader.feed(b"*2\r\n:1\r\n$11\r\n")


def test_what_is_too_long_may_be_skipped(Reader):  # noqa: N803
    """A reader that skips gives an empty string for one that is too long, stays in step, and keeps nothing of it."""
    wire = b"*3\r\n:1\r\n$%d\r\n%b\r\n$2\r\nok\r\n$11\r\n01234567890\r\n:2\r\n" % (1 << 20, bytes(1 << 20))
    for size in (1, 7, 4096, 1 << 21) if Reader is ReplyReader else (4096, 1 << 21):
        reader, replies = Reader(longest=10, skips=True), []
        for at in range(0, len(wire), size):
            replies += reader.feed(wire[at : at + size])
        assert replies == [[1, b"", b"ok"], b"", 2]
        assert reader.idle
    with pytest.raises(TooLargeError):
        Reader(longest=10, skips=True).feed(b"=11\r\n")


def test_a_reader_that_failed_reads_nothing_more(Reader):  # noqa: N803
    """What follows an error isn't taken for replies."""
    reader = Reader()
    with pytest.raises(ProtocolError):
        reader.feed(b"x\r\n")
    with pytest.raises(ProtocolError):
        reader.feed(b":1\r\n")


@pytest.mark.parametrize("wire", [b"-%b\r\n", b"!60003\r\n%b\r\n"], ids=["simple", "blob"])
def test_of_a_long_error_the_beginning_is_kept(Reader, wire):  # noqa: N803
    """An error of 60 kB is cut."""
    (error,) = Reader().feed(wire % (b"ERR" + b"x" * 60_000))
    assert error.text == "ERR" + "x" * (MAX_ERROR - 3)


def test_the_deepest_reply(Reader):  # noqa: N803
    """Nesting up to the limit is taken."""
    (reply,) = Reader().feed(b"*1\r\n" * MAX_DEPTH + b":1\r\n")
    assert str(reply).count("[") == MAX_DEPTH


_tokens = st.sampled_from([wire for wire, _ in CASES.values()]) | st.sampled_from([
    b"*", b"%", b"~", b">", b"|", b"$", b"=", b"!", b":", b"(", b",", b"#", b"_", b"-", b"+", b"\r\n", b"\r", b"\n",
    b"1", b"2", b"3", b"0", b"-1", b"999999999", b"10000000000", b"a", b"txt:", b"\x00\xff",
])  # fmt: skip


@given(parts=st.lists(_tokens | st.binary(max_size=4), max_size=40), cuts=st.lists(st.integers(1, 30), max_size=40))
def test_the_twins_read_alike(parts, cuts):
    """Whatever arrives, in whatever pieces, both readers give the same replies, and end at the same piece."""
    wire, outcomes = b"".join(parts), []
    for reader in (ReplyReader(), PlainReader()):
        told, at = [], 0
        try:
            for size in [*cuts, len(wire)]:
                told.append([repr(reply) for reply in reader.feed(wire[at : at + size])])
                told.append(reader.idle)
                at += size
        except ProtocolError as error:
            told.append(type(error))
        outcomes.append(told)
    assert outcomes[0] == outcomes[1]


@given(noise=st.binary(max_size=100))
def test_noise(Reader, noise):  # noqa: N803
    """Any bytes give replies, an incomplete one, or a ProtocolError; nothing else."""
    with contextlib.suppress(ProtocolError):
        assert isinstance(Reader().feed(noise), list)


@given(words=st.lists(st.binary(max_size=20), min_size=1, max_size=5))
def test_pack(Reader, words):  # noqa: N803
    """A packed command reads back as its words."""
    assert Reader().feed(pack(*words)) == [words]
