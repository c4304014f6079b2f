"""What is in doubt, by key and by group, and when it is over."""

import tracemalloc

import pytest

from twotier.core.outage import journal as journals
from twotier.core.outage.journal import Doubt, Journal
from twotier.core.tags.tag_index import Tag

DOUBT = Doubt(b"op")


@pytest.fixture
def journal():
    """A journal of ten groups, which keys name with their first letter."""
    return Journal(3, 10, lambda key: int(key[0]))


@pytest.fixture
def no_room(monkeypatch):
    """No room for names beyond the limit of keys."""
    monkeypatch.setattr(journals, "MOST_BYTES", 0)


@pytest.mark.usefixtures("no_room")
def test_past_the_bound_only_groups_with_doubts_are_cleared(journal):
    """Keys of other groups, which are on other nodes, are no part of it."""
    journal.add(dict.fromkeys(("1a", "1b", "2a"), DOUBT))
    assert not journal.clears()
    journal.add({"2b": DOUBT})
    assert journal.clears() == {1: 1, 2: 1}
    assert len(journal) == 0
    assert "1z" in journal
    assert "3a" not in journal
    journal.settle_clears({1: 1})
    assert ("1z" in journal, "2z" in journal) == (False, True)


@pytest.mark.usefixtures("no_room")
def test_a_tag_that_is_forgotten_clears_everything(journal):
    """Any group may have what carries it; until all are cleared it counts as in doubt."""
    journal.add({Tag("tag"): DOUBT})
    journal.add(dict.fromkeys(("1a", "1b", "2a"), DOUBT))
    assert journal.clears() == dict.fromkeys(range(10), 1)
    assert Tag("tag") in journal
    journal.settle_clears(dict.fromkeys(range(9), 1))
    assert Tag("tag") in journal
    journal.settle_clears({9: 1})
    assert Tag("tag") not in journal
    assert not journal


def test_a_clear_takes_the_doubts_of_its_groups_along(journal):
    """Doubts of other groups, and of tags, stay."""
    journal.add({"1a": DOUBT, "2a": DOUBT})
    journal.add({Tag("tag"): DOUBT})
    journal.add_clear([1])
    assert [list(batch) for batch in journal.batches(9)] == [["2a", Tag("tag")]]
    assert "1a" in journal
    assert Tag("other") not in journal


def test_a_clear_asked_for_meanwhile_is_not_forgotten(journal):
    """One that was asked for while another was under way is still to be done."""
    journal.add_clear([1])
    asked = journal.clears()
    journal.add_clear([1, 2])
    journal.settle_clears(asked)
    assert journal.clears() == {1: 2, 2: 1}


def test_keys_past_the_limit_are_kept_by_name(journal):
    """What they could be put again by is forgotten, the write itself isn't; a key that was in full stays so."""
    written = {f"1{letter}": Doubt(b"one", 7, 99) for letter in "abcd"}
    assert not journal.add(written)
    assert journal.noted(["1c", "1d"]) == {"1c": Doubt(b"one", 7, 99), "1d": Doubt(b"one")}
    journal.add({"1a": Doubt(b"two", 8, 100), "1d": Doubt(b"two", 8, 100)})
    assert journal.noted(["1a", "1d"]) == {"1a": Doubt(b"two", 7, 100), "1d": Doubt(b"two")}
    assert not journal.clears()
    assert "1z" not in journal


def test_names_take_32_mib_at_the_most(journal):
    """Then their groups are cleared; what was made good meanwhile makes room again."""
    many = {f"1{number:040}": DOUBT for number in range(90_000)}
    tracemalloc.start()
    try:
        assert not journal.add({key: Doubt(bytes(16)) for key in many})
        assert tracemalloc.get_traced_memory()[1] < journals.MOST_BYTES
        journal.settle(journal.noted(many))
        assert len(journal) == 0
        assert not journal.add({key + "again": DOUBT for key in many})
        assert journal.add({f"1{number:0200}": DOUBT for number in range(10_000)})
    finally:
        tracemalloc.stop()
    assert journal.clears() == {1: 1}
    assert not journal.add(dict.fromkeys(("2a", "2b", "2c", "2d"), DOUBT))
