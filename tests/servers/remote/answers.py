"""What a healthy server answers, for the fake ones that are healthy up to a point."""

FETCHED = b"$5\r\nvalue\r\n"


def answer(words, _):
    """Answer GET, PTTL and PING."""
    return {b"GET": FETCHED, b"PTTL": b":-1\r\n", b"PING": b"+PONG\r\n"}[words[0]]
