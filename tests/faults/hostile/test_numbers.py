"""A server whose replies have the right form, and absurd contents."""

import pytest

from twotier import Cache
from twotier.errors import RemoteError

NUMBERS = [-(2**63), -3, -2, -1, 0, 1, 2, 10**15, 2**63 - 1]
MASTER = b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"


STRINGS = {b"GET", b"GETRANGE"}
DONE = {b"SET", b"MULTI", b"WATCH", b"UNWATCH"}


def answers(data, number):
    """Return a script that answers in the right form: every string is `data`, every number `number`."""
    queue = []
    string = b"$%d\r\n%b\r\n" % (len(data), data)

    def one(words):
        if words[0] == b"ROLE":
            return MASTER
        if words[0] == b"SUBSCRIBE":
            return b">3\r\n$9\r\nsubscribe\r\n$%d\r\n%b\r\n:1\r\n" % (len(words[1]), words[1])
        if words[0] == b"MGET":
            return b"*%d\r\n" % (len(words) - 1) + string * (len(words) - 1)
        if words[0] in DONE:
            return b"+OK\r\n"
        return string if words[0] in STRINGS else b":%d\r\n" % number

    def answer(words, _):
        if words[0] == b"MULTI":
            queue[:] = [None]
        elif words[0] == b"EXEC":
            results, queue[:] = queue[1:], []
            return b"*%d\r\n" % len(results) + b"".join(results)
        elif queue:
            queue.append(one(words))
            return b"+QUEUED\r\n"
        return one(words)

    return answer


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("data", [b"7", b"", b"x" * 1000, b"9" * 5000], ids=["int", "nothing", "noise", "digits"])
def test_absurd_numbers(scripted, data, number):
    """Lives, counts and depths beyond all bounds raise nothing but RemoteErrors."""
    server = scripted(answers(data, number))
    with Cache(server.url, namespace="t", load_lease=0.3) as cache:
        for _ in range(2):
            cache.get("key")
            cache.get_many(["key", "b"])
            cache.ttl("key")
            cache.get_or_set("key", lambda: 1, ttl=5)
            for write in (
                lambda: cache.set("key", [1], tags=["t"]),
                lambda: cache.add("key", 1),
                lambda: cache.touch("key", 5),
                lambda: cache.incr("key"),
                lambda: cache.delete("key"),
                lambda: cache.invalidate_tag("t"),
            ):
                try:
                    write()
                except RemoteError:
                    pass
                except TypeError as error:
                    if "integer" not in str(error):
                        raise
