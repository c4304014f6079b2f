"""What a server may send that no server should, and random changes of what it sends."""

UNFIT = {
    "no RESP": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a map with an array for a key": b"%1\r\n*1\r\n:1\r\n:2\r\n",
    "a billion elements": b"*1000000000\r\n",
    "a terabyte": b"$1000000000000\r\n",
    "a gigabyte": b"$1000000000\r\n",
    "nesting without end": b"*1\r\n" * 20_000,
    "many elements together": b"*2\r\n" + b"*1000000\r\n" * 30,
    "a slot that isn't there": b"-MOVED 99999 h:1\r\n",
    "a negative slot": b"-MOVED -1 h:1\r\n",
    "a redirection to a port that isn't there": b"-MOVED 1 h:99999999\r\n",
    "a redirection to what is no host": b"-ASK 1 a\x1b[31mb:1\r\n",
    "a redirection in half": b"-MOVED\r\n",
    "an error of 60 kB": b"-" + b"E" * 60_000 + b" text\r\n",
    "an error with escapes": b"-ERR\x1b[2J text\r\n",
    "an error without text": b"-\r\n",
    "an attribute": b"|1\r\n+a\r\n:1\r\n",
    "pushes": b">1\r\n+x\r\n" * 100,
    "a huge number": b"(" + b"9" * 60_000 + b"\r\n",
    "a null": b"_\r\n",
    "a bool": b"#t\r\n",
    "a double": b",nan\r\n",
    "a string": b"+what\r\n",
    "a map": b"%1\r\n+a\r\n:1\r\n",
    "an array": b"*3\r\n:1\r\n*0\r\n_\r\n",
    "an integer": b":-7\r\n",
    "many replies": b":1\r\n" * 1000,
}

_SNIPPETS = [
    *(b"*1000000000\r\n", b"$-1\r\n", b"_\r\n", b"%1\r\n", b"*-1\r\n", b"|1\r\n+a\r\n+b\r\n", b"*0\r\n", b"\r\n"),
    *(
        b":9223372036854775807\r\n",
        b"~1\r\n:1\r\n",
        b",inf\r\n",
        b"#f\r\n",
        b"=4\r\ntxt:\r\n",
        b"!3\r\nERR\r\n",
        b"+OK\r\n",
    ),
    *(b">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n", b"-LOADING x\r\n", b"-MOVED 1 127.0.0.1:1\r\n", b"-READONLY x\r\n"),
]
_HEADS = b"$*%~>|:+-_#,(=!"


def always(wire):
    """Return a script that answers every command with `wire`."""
    return lambda words, connection: wire  # noqa: ARG005 - whatever is asked


def garbled(data: bytes, random) -> bytes:
    """Return `data` with one to three random changes; some leave it RESP, most don't."""
    changed = bytearray(data)
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(changed) + 1)
        match random.randrange(7):
            case 0 if changed:
                changed[at % len(changed)] = random.randrange(256)
            case 1 if changed:
                changed[at % len(changed)] = random.choice(_HEADS)
            case 2:
                changed[at:at] = random.choice(_SNIPPETS)
            case 3:
                del changed[at : at + random.randint(1, 30)]
            case 4:
                changed[at:at] = changed[max(0, at - random.randint(1, 40)) : at]
            case 5:
                changed[at : at + 1] = b"%d" % random.choice((0, 1, 2, 10**6, 10**9, 2**63, -1))
            case _:
                changed = bytearray(random.choice(_SNIPPETS) + bytes(changed))
    return bytes(changed)
