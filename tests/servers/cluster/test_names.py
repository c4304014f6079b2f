"""The names that keys have on a cluster: each key's own, and its slot the key's, whatever the generation is called."""

from hypothesis import example, given
from hypothesis import strategies as st
from redis.crc import key_slot

from twotier.clock import NEVER, SystemClock
from twotier.core.namespace.cluster_generations import GROUP_SLOTS, GROUPS, GroupedGenerations
from twotier.core.namespace.generation_names import new_name
from twotier.core.write_behind.entries import markers_on
from twotier.local import Store
from twotier.remote.hash_slots import SLOTS

GENERATIONS = GroupedGenerations("shop", Store(10), SystemClock(), NEVER, lambda _: "a node")
KEYS = st.text("ab{}:!#~", min_size=1, max_size=10) | st.text(min_size=1, max_size=20)
NAMES = st.text("abAB01-_", min_size=8, max_size=8).map(str.encode) | st.builds(new_name)


def name_of(key, generation=b"AbCd-_12"):
    """Return the name of a key on the server, under a generation."""
    (place,) = GENERATIONS.places_under(GENERATIONS.prefix_of(generation), [key])
    return place


def odd(test):
    """Have a test try keys that are odd for certain."""
    for key in ("}a", "a{}b", "{", "a}b", "{}{x}", "{a}", "a{b}", "a{b", "{1a2}:b", "{}", ":", "!a", "a:{b}c"):
        test = example(key, b"AbCd-_12")(test)
    return test


@given(KEYS, NAMES)
@odd
def test_a_name_can_be_read_back(key, generation):
    """Two keys never share a name, as each name tells its key."""
    place = name_of(key, generation)
    assert GENERATIONS.key_in(place) == key
    assert GENERATIONS.is_under(place, generation)
    assert not GENERATIONS.is_under(place, generation[:-1])
    assert not GENERATIONS.is_under(place, None)


@given(KEYS, NAMES)
@odd
def test_a_slot_is_the_keys_own(key, generation):
    """Slot and group don't depend on the generation, and what stands beside a key shares its slot."""
    slot = key_slot(key.encode("utf-8", "surrogatepass"))
    place = name_of(key, generation)
    assert key_slot(place) == slot
    assert GENERATIONS.group_of(key) == slot // GROUP_SLOTS
    assert [key_slot(name) for name in (*GENERATIONS.leases([place]), *markers_on([place]))] == [slot, slot]


@given(st.lists(KEYS, min_size=2, max_size=2, unique=True), NAMES)
@example(["a", "{}a"], b"AbCd-_12")
@example(["{1a2}:a", "a"], b"AbCd-_12")
def test_nothing_else_has_a_keys_name(keys, generation):
    """Names of keys, leases and marks are all different, and only keys' names are taken for such."""
    places = [name_of(key, generation) for key in keys]
    beside = [*GENERATIONS.leases(places), *markers_on(places)]
    assert len({*places, *beside, *GENERATIONS.keys}) == 6 + GROUPS
    assert [GENERATIONS.key_in(name) for name in beside] == [None] * 4


def test_every_group_has_its_generation():
    """It is in one of the group's slots, and no key's name."""
    assert [key_slot(name) // GROUP_SLOTS for name in GENERATIONS.keys] == list(range(GROUPS))
    assert GROUPS * GROUP_SLOTS == SLOTS
    assert {GENERATIONS.key_in(name) for name in GENERATIONS.keys} == {None}


def test_a_key_with_a_tag_keeps_it():
    """What users see of the names of tagged keys is what they wrote."""
    assert name_of("{user7}:cart") == b"shop:AbCd-_12:{user7}:cart"
