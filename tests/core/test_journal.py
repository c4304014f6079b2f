"""What is in doubt, by key and by group, and when it is over."""

import pytest

from twotier.core.journal import Doubt, Journal
from twotier.core.tags import Tag

DOUBT = Doubt(b"op")


@pytest.fixture
def journal():
    """A journal of ten groups, which keys name with their first letter."""
    return Journal(3, 10, lambda key: int(key[0]))


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
