"""Names and their slots."""

from hypothesis import example, given
from hypothesis import strategies as st
from redis.crc import key_slot

from twotier.remote.hash_slots import SLOTS, slot_of, tag_of


@given(st.text("ab{}:", max_size=12).map(str.encode) | st.binary(max_size=40))
@example(b"{}{a}")
@example(b"a{b}c{d}")
@example(b"a}{b}")
def test_a_name_is_in_the_slot_that_other_clients_say(name):
    """The rule of hash tags, and the checksum, are the cluster's own."""
    assert slot_of(name) == key_slot(name)


def test_every_slot_has_a_tag():
    """Whatever comes after the tag, the name is in the tag's slot."""
    assert all(slot_of(b"shop:" + tag_of(slot) + b"{other}") == slot for slot in range(SLOTS))
