"""What waits for the source in one process: how it is grouped, parted, and tried again."""

from twotier.clock import SECOND, ManualClock
from twotier.core.write_behind.entries import Change
from twotier.core.write_behind.pending import Pending
from twotier.core.write_behind.settings import WriteBehindOptions
from twotier.remote.commands.write_markers import FinishedWrite


def waiting_for(keys, **settings):
    """Return what waits for the source: one put a key."""
    waiting = Pending(WriteBehindOptions(**settings))
    for number, key in enumerate(keys):
        waiting.add(Change(b"%d-0" % number, key, number, FinishedWrite(b"", b""), []))
    return waiting


def test_failing_keys_part_by_halves():
    """A bad key in a batch of 100 stands alone after seven rounds, and no good one fails more often than that."""
    waiting, clock = waiting_for(map(str, range(100)), batch_size=100, max_attempts=3), ManualClock()
    sizes = []
    while waiting:
        group = waiting.group(clock.now())
        if not group:
            clock.advance(max(0, waiting.next_due() - clock.now()) / SECOND)
            continue
        sizes.append(len(group))
        if all(item.change.key != "61" for item in group):
            waiting.done(group)
            continue
        waiting.failed(group, "bad", clock.now())
        if waiting.hopeless(group):
            waiting.done(group)
            assert (group[0].change.key, group[0].parted, group[0].alone) == ("61", 7, 3)
    assert sizes[0] == 100
    assert len(sizes) < 30


def test_pauses_double_up_to_the_longest_and_are_cut_at_random():
    """A key that fails alone is tried after first_backoff, twice that, and so on, up to max_backoff."""
    waiting, clock = waiting_for(["key"], first_backoff=1.0, max_backoff=8.0, max_attempts=9), ManualClock()
    pauses = []
    for _ in range(7):
        waiting.failed(waiting.group(clock.now()), "bad", clock.now())
        pauses.append((waiting.next_due() - clock.now()) / SECOND)
        assert waiting.group(clock.now()) == []
        clock.advance(pauses[-1])
    for pause, longest in zip(pauses, (1, 2, 4, 8, 8, 8, 8), strict=True):
        assert longest / 2 <= pause <= longest
    assert len(set(pauses)) == len(pauses)


def test_attempts_are_the_calls_that_failed():
    """A key that stood alone from the beginning has failed as often as the writer was called, and no more."""
    waiting = waiting_for(["key"], batch_size=100, max_attempts=2)
    for failures in (1, 2):
        group = waiting.group(10**18)
        waiting.failed(group, "bad", 0)
        assert (group[0].alone, waiting.hopeless(group)) == (failures, failures == 2)


def test_a_later_change_takes_the_place_of_one_that_waits():
    """It has the turn of the earlier one, and stands for both entries; puts and deletes are never mixed."""
    waiting, now = waiting_for(["a", "b"]), 0
    waiting.failed(waiting.group(now), "bad", now)
    waiting.add(Change(b"9-0", "a", "new", FinishedWrite(b"", None), []))
    assert waiting.group(now) == []
    now = waiting.next_due() + SECOND
    groups = []
    while group := waiting.group(now):
        groups.append([(item.change.key, item.change.value, item.ids) for item in group])
        waiting.done(group)
    assert groups == [[("a", "new", [b"0-0", b"9-0"])], [("b", 1, [b"1-0"])]]


def test_what_the_source_has_waits_without_being_written_again():
    """It makes room for others, is settled when it is due, and is written again once it has changed."""
    waiting = waiting_for("ab", batch_size=1)
    room = waiting.room
    (first,) = waiting.group(0)
    waiting.taken([first], due=10)
    assert waiting.room == room + 1
    assert [item.change.key for item in waiting.group(0)] == ["b"]
    assert (waiting.unsettled(9), waiting.unsettled(10)) == ([], [first])
    waiting.taken([first], due=20)
    waiting.done(waiting.group(0))
    assert (waiting.group(10), waiting.next_due()) == ([], 20)
    waiting.add(Change(b"7-0", "a", "later", FinishedWrite(b"", b""), []))
    assert waiting.unsettled(20) == []
    assert [(item.change.value, len(item.ids)) for item in waiting.group(10)] == [("later", 2)]
    waiting.taken(waiting.group(10), due=30)
    waiting.done(waiting.unsettled(30))
    assert (len(waiting), waiting.room) == (0, room + 2)
