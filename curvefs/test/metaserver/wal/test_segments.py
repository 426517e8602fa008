"""Segments: what is repeated at their head, what is cut off, and what may be deleted."""

import errno
import itertools
import random

import pytest

from curvefs.src.common.errors import NoSpace
from curvefs.src.metaserver.wal import format as fmt
from curvefs.src.metaserver.wal import recovery
from curvefs.src.metaserver.wal.format import Record, RecordType
from curvefs.src.metaserver.wal.segments import LogSettings, SegmentFiles
from curvefs.test.sim.disk import Crashed, SimDisk

GROUP, OTHER = 3, 9
ALONE = fmt.HEADER_SIZE + 1  # every write goes to a segment of its own
LARGE = 1 << 20


class Ended(Exception):
    """The process."""


def fatal(reason):
    raise Ended(reason)


class Log:
    """Segments on a simulated disk."""

    def __init__(self, segment_size=ALONE, seed=1):
        self.disk = SimDisk(random.Random(seed))
        self.segment_size = segment_size
        self.salts = itertools.count(100)
        self.start()

    def start(self):
        self.outline = recovery.recover(self.disk)
        settings = LogSettings(self.segment_size, reserve_bytes=0)
        self.files = SegmentFiles(self.disk, self.outline, settings, salt=lambda: next(self.salts), fatal=fatal)

    def append(self, *records):
        self.files.append(list(records))

    def crash(self):
        self.disk.crash()
        self.start()

    def cut_newest_to(self, size):
        """As a torn write leaves it."""
        name = max(self.disk.names())
        file = self.disk.open(name)
        self.disk.truncate(file, size)
        self.disk.sync(file)
        self.disk.close(file)
        self.start()

    def group(self, id_=GROUP):
        return recovery.recover(self.disk).groups[id_]

    def events(self):
        return list(recovery.replay(recovery.recover(self.disk)))


def entry(index, term=1, group=GROUP):
    return Record(RecordType.ENTRY, group, term, index, b"%d of %d" % (index, term))


def hard_state(payload, group=GROUP):
    return Record(RecordType.HARD_STATE, group, 1, 0, payload)


def begin(index, term=0, group=GROUP):
    return Record(RecordType.BEGIN, group, term, index)


# ------------------------------------------------------------------------------------------------ the head


def test_where_a_log_begins_outlives_its_segment():
    log = Log()
    log.append(begin(20, 4))
    log.append(begin(0, 0, OTHER))
    log.append(entry(1, group=OTHER))
    assert log.files.trim({OTHER: 1}) == 2
    log.crash()
    group = log.group()
    assert (group.begin_index, group.begin_term, group.last_index, group.last_term) == (20, 4, 20, 4)
    log.append(entry(21, 5))
    assert log.events()[-1] == entry(21, 5)


def test_a_head_voids_nothing_in_older_segments():
    log = Log()
    log.append(begin(20, 4))
    for index in range(21, 26):
        log.append(entry(index))
    log.crash()
    assert log.events() == [begin(20, 4), *(entry(index) for index in range(21, 26))]


def test_a_log_whose_first_segments_were_deleted_begins_behind_their_last_entry():
    log = Log()
    log.append(begin(0, 0), hard_state(b"vote"))
    log.append(entry(1, 1), entry(2, 2))
    log.append(entry(3, 2))
    assert log.files.trim({GROUP: 2}) == 2
    assert log.events() == [begin(2, 2), hard_state(b"vote"), entry(3, 2)]


def test_a_group_made_again_does_not_get_its_entries_of_before_back():
    log = Log()
    log.append(begin(0, 0), entry(1))
    log.append(entry(2))
    log.files.forget(GROUP)
    log.append(begin(0, 0))
    log.append(begin(0, 0, OTHER))
    assert [one for one in log.events() if one.group_id == GROUP] == [begin(0, 0)]


def test_a_torn_head_is_written_again_before_anything_is_deleted():
    log = Log()
    log.append(begin(0, 0), hard_state(b"vote"), begin(0, 0, OTHER), entry(1, group=OTHER))
    log.append(entry(2, group=OTHER))
    log.cut_newest_to(fmt.HEADER_SIZE)
    assert log.files.trim({OTHER: 9}) == 0
    log.append(entry(2, group=OTHER))
    assert log.files.trim({OTHER: 9}) == 1
    assert log.group().hard_state == hard_state(b"vote")


def test_a_head_that_a_full_disk_refused_is_written_with_the_next_append():
    log = Log()
    log.append(begin(0, 0), hard_state(b"vote"), entry(1))
    log.disk.capacity_bytes -= log.disk.free_bytes() - fmt.HEADER_SIZE
    with pytest.raises(NoSpace):
        log.append(entry(2))
    assert log.files.segment_count == 2
    assert log.files.trim({GROUP: 1}) == 0
    log.disk.capacity_bytes = 1 << 40
    log.append(entry(2))
    assert log.files.trim({GROUP: 1}) == 1
    assert log.events() == [begin(1, 1), hard_state(b"vote"), entry(2)]


# ----------------------------------------------------------------------------------------------- replacing


def test_replaced_entries_do_not_come_back():
    log = Log(LARGE)
    log.append(begin(0, 0), *(entry(index) for index in range(1, 6)))
    log.append(entry(3, 2))
    log.append(entry(4, 2), entry(5, 3), entry(4, 4))
    log.crash()
    assert log.events() == [begin(0, 0), entry(1), entry(2), entry(3, 2), entry(4, 4)]
    assert list(recovery.entries(log.outline)) == log.events()[1:]
    group = log.group()
    assert (group.last_index, group.last_term) == (4, 4)


def test_a_hard_state_written_before_new_entries_never_meets_those_they_replace():
    """Torn anywhere, the log never holds old entries together with what says that the new ones are committed."""
    old = [begin(0, 0), *(entry(index) for index in range(1, 6))]
    log = Log(LARGE)
    log.append(*old)
    size = log.files.size_bytes
    log.append(hard_state(b"5 is committed"), entry(4, 2), entry(5, 2))
    whole = log.files.size_bytes
    seen = set()
    for cut in range(whole, size - 1, -1):
        log.cut_newest_to(cut)
        events = log.events()
        kept = tuple(one.term for one in events if one.type is RecordType.ENTRY)
        seen.add((kept, hard_state(b"5 is committed") in events))
    assert seen == {
        ((1, 1, 1, 1, 1), False),
        ((1, 1, 1), False),
        ((1, 1, 1), True),
        ((1, 1, 1, 2), True),
        ((1, 1, 1, 2, 2), True),
    }


def test_groups_that_replace_entries_in_one_write_do_not_meet():
    log = Log(LARGE)
    for id_ in (GROUP, OTHER):
        log.append(begin(0, 0, id_), *(entry(index, 1, id_) for index in range(1, 6)))
    log.append(hard_state(b"vote"), entry(6, 2, OTHER), hard_state(b"vote", OTHER), entry(4, 2), entry(5, 3, OTHER))
    log.crash()
    assert [one.term for one in recovery.entries(log.outline, {GROUP})] == [1, 1, 1, 2]
    assert [one.term for one in recovery.entries(log.outline, {OTHER})] == [1, 1, 1, 1, 3]


def test_replaced_entries_keep_no_segment():
    log = Log()
    log.append(begin(0, 0), *(entry(index) for index in range(1, 10)))
    log.append(entry(4, 2))
    for start in (lambda: None, log.crash):
        start()
        assert log.files.oldest_needed_by({GROUP: 2}) == [GROUP]
        assert log.files.oldest_needed_by({GROUP: 3}) == []


def test_entries_of_before_a_beginning_keep_no_segment_after_a_restart():
    log = Log()
    log.append(begin(0, 0), entry(1))
    log.append(begin(20, 2))
    log.crash()
    assert log.files.oldest_needed_by({}) == []


def test_a_log_cut_below_the_segments_that_are_left_begins_where_it_was_cut():
    log = Log()
    log.append(begin(0, 0), entry(1, 1), *(entry(index, 2) for index in range(2, 10)))
    log.append(entry(10, 2), hard_state(b"vote"))
    log.segment_size = LARGE
    log.crash()
    log.append(entry(11, 3))
    log.append(entry(5, 4))
    assert log.files.trim({GROUP: 4}) == 1
    log.crash()
    assert log.events() == [begin(4, 2), hard_state(b"vote"), entry(5, 4)]
    group = log.group()
    assert (group.first_index, group.last_index, group.last_term) == (5, 5, 4)


def test_replacing_what_was_trimmed_ends_the_process():
    log = Log(LARGE)
    log.append(begin(0, 0), *(entry(index, index) for index in range(1, 9)))
    log.files.trim({GROUP: 7})
    with pytest.raises(Ended, match="replaces entry 4, which was trimmed"):
        log.append(entry(4, 20))
    log.append(entry(8, 20))


# ------------------------------------------------------------------------------------ names, failures, crashes


def test_a_process_that_ends_before_it_syncs_a_new_name_loses_nothing_later():
    for seed in range(20):
        log = Log(seed=seed)
        log.append(begin(0, 0))
        log.disk.fail_next("sync_folder")
        with pytest.raises(Ended, match="cannot sync the folder"):
            log.append(entry(1))
        log.disk.kill()
        log.segment_size = LARGE
        log.start()
        log.append(entry(1))
        log.crash()
        assert log.events() == [begin(0, 0), entry(1)]


def test_a_crash_while_segments_are_deleted_never_leaves_a_hole():
    for seed, point in itertools.product(range(10), range(1, 9)):
        log = Log(seed=seed)
        log.append(begin(0, 0))
        for index in range(1, 6):
            log.append(entry(index))
        log.disk.crash_in = point
        with pytest.raises(Crashed):
            log.files.trim({GROUP: 5})
        log.crash()
        assert log.group().last_index == 5


@pytest.mark.parametrize("operation", ["write", "sync", "create"])
def test_any_failure_but_a_full_disk_ends_the_process(operation):
    log = Log()
    log.append(begin(0, 0))
    log.disk.fail_next(operation, errno.EIO)
    with pytest.raises(Ended):
        log.append(entry(1))


def test_no_room_for_another_name_refuses():
    log = Log()
    log.append(begin(0, 0))
    log.disk.fail_next("create", errno.ENOSPC)
    with pytest.raises(NoSpace):
        log.append(entry(1))
    log.append(entry(1))
    assert log.group().last_index == 1


def test_a_gap_is_refused_before_it_is_written():
    log = Log(LARGE)
    log.append(begin(0, 0), entry(1))
    before = log.files.size_bytes
    with pytest.raises(Ended, match="from entry 1 to 3"):
        log.append(entry(3))
    log.append(entry(2))
    assert log.group().last_index == 2
    assert log.files.size_bytes == before + fmt.RECORD_OVERHEAD + len(entry(2).payload)


def test_an_outline_stays_as_it_was_found():
    log = Log(LARGE)
    log.append(begin(0, 0), entry(1))
    log.crash()
    found = recovery.recover(log.disk)
    log.append(entry(2), entry(1, 2))
    assert log.outline == found
    assert [one.index for one in recovery.entries(log.outline)] == [1]


def test_damage_of_a_simulated_disk_is_found_and_named():
    log = Log()
    log.append(begin(0, 0), entry(1))
    log.append(entry(2))
    log.disk.flip("0000000000000001.wal", fmt.HEADER_SIZE + 20, 3)
    with pytest.raises(Exception, match=f"disk:0000000000000001.wal .* byte {fmt.HEADER_SIZE},"):
        recovery.recover(log.disk)
