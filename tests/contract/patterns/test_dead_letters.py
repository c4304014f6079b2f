"""Dead letters: what the source doesn't take, and what isn't ours."""

import pytest
import redis


@pytest.fixture(params=["WriteBehind", "AsyncWriteBehind"])
def face(request):
    """Both faces: what these tests say holds for either."""
    return request.param


class SourceDownError(Exception):
    """The source doesn't take it."""


class Picky:
    """A source that doesn't take some values."""

    def __init__(self, rows):
        self.rows, self.bad, self.taken = rows, {"bad"}, []

    def write(self, values):
        """Take all or none."""
        if refused := self.bad.intersection(values.values()):
            raise SourceDownError(f"not {refused}")
        self.taken.extend(values.items())
        self.rows.update(values)

    def delete(self, keys):
        """Remove."""
        for key in keys:
            self.rows.pop(key, None)


def test_a_value_that_the_source_never_takes_becomes_a_dead_letter(cache, source, behind):
    """Its companions arrive; it is kept with its error, and leaves the cache, which shows what the source has."""
    writes = behind(cache, Picky(source.rows), batch_size=16)
    values = {f"key:{number}": number for number in range(40)} | {"key:7": "bad", "key:21": "bad"}
    writes.set_many(values)
    writes.flush(20)
    good = {key: value for key, value in values.items() if value != "bad"}
    assert source.rows == good
    assert cache.get_many(values) == good
    letters = writes.dead_letters()
    assert {letter.key for letter in letters} == {"key:7", "key:21"}
    for letter in letters:
        assert (letter.value, letter.deleted, letter.error) == ("bad", False, "SourceDownError: not {'bad'}")
        assert letter.attempts >= 3
    assert len(writes.dead_letters(1)) == 1
    assert (writes.stats().dead, writes.stats().dead_lettered) == (2, 2)


def test_dead_letters_are_tried_again_on_request(cache, source, behind):
    """Those that the source takes now arrive, the others stay; flush waits for it."""
    picky = Picky(source.rows)
    picky.bad = {"bad", "worse"}
    writes = behind(cache, picky)
    writes.set_many({"a": "bad", "b": "worse"})
    writes.flush(20)
    attempts = {letter.key: letter.attempts for letter in writes.dead_letters()}
    picky.bad = {"worse"}
    writes.retry_dead_letters()
    writes.flush(20)
    assert source.rows == {"a": "bad"}
    (letter,) = writes.dead_letters()
    assert (letter.key, letter.attempts) == ("b", attempts["b"] + 1)
    assert writes.discard_dead_letters([letter]) == 1
    assert writes.discard_dead_letters([letter]) == 0
    picky.bad = set()
    writes.retry_dead_letters()
    writes.flush(20)
    assert source.rows == {"a": "bad"}
    assert writes.dead_letters() == []


@pytest.mark.parametrize("when", ["before the retry", "with the retry", "by another process"])
def test_a_dead_letter_never_undoes_a_later_write(cache, source, behind, when):
    """Once its key was written again, a dead letter is dropped rather than tried."""
    picky = Picky(source.rows)
    first = behind(cache, picky)
    first.set_many({"key": "bad", "other": "bad"})
    first.flush(20)
    assert len(first.dead_letters()) == 2
    writes = first
    if when == "by another process":
        first.close()
        writes = behind(cache, picky)
    if when == "with the retry":
        first.close()
        writes = behind(cache, picky, drain=False)
    writes.set("key", "good")
    if when != "with the retry":
        writes.flush(20)
        assert [letter.key for letter in writes.dead_letters()] == ["other"]
    picky.bad = set()
    writes.retry_dead_letters()
    drainer = behind(cache, picky)
    drainer.flush(20)
    assert source.rows == {"key": "good", "other": "bad"}
    assert ("key", "bad") not in picky.taken
    assert drainer.dead_letters() == []


FOREIGN = {
    "other fields": lambda _: {"field": "value"},
    "no envelope": lambda _: {"k": "key", "d": b"\x80\x05cos\nsystem\n"},
    "another's envelope": lambda entry: {"k": "key", "d": entry[b"d"]},
    "cut short": lambda entry: {"k": entry[b"k"], "d": entry[b"d"][:-1]},
    "no key": lambda entry: {"k": "", "d": entry[b"d"]},
}


@pytest.mark.parametrize("forge", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_entry_is_a_dead_letter(make, source, behind, server, namespace, forge, caplog):
    """What isn't ours, was moved or damaged is put aside with all it has, and the writer never sees it."""
    cache = make(secret="a key of 16 bytes")
    writes = behind(cache, drain=False)
    writes.set("genuine", 1)
    with redis.Redis.from_url(server.url) as client:
        ((_, entry),) = client.xrange(f"{namespace}:wb")
        client.xadd(f"{namespace}:wb", forge(entry))
        drainer = behind(cache)
        drainer.flush(20)
        assert source.rows == {"genuine": 1}
        (letter,) = drainer.dead_letters()
        assert (letter.key, letter.value, letter.attempts) == (None, None, 0)
        assert letter.error.startswith("foreign")
        ((_, kept),) = client.xrange(f"{namespace}:wb!dead")
        forged = {
            name.encode(): value if type(value) is bytes else value.encode() for name, value in forge(entry).items()
        }
        assert kept.items() >= forged.items()
    assert "a dead letter now, after 0 attempts: foreign" in caplog.text
    drainer.retry_dead_letters()
    drainer.flush(20)
    assert len(drainer.dead_letters()) == 1
    assert source.rows == {"genuine": 1}


def test_an_entry_signed_with_another_secret_is_foreign(make, source, behind):
    """Only those who have the secret can have something written; after a rotation both can."""
    behind(make(secret="the old key, 16+"), drain=False).set("key", 1)
    behind(make(secret="a stranger's key"), drain=False).set("other", 1)
    drainer = behind(make(secret=["the new key, 16+", "the old key, 16+"]))
    drainer.flush(20)
    assert source.rows == {"key": 1}
    assert drainer.stats().dead == 1
