"""Logs after a stop: torn ends are cut, damage refuses."""

import errno
import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode
from curvefs.src.metaserver.wal import format as fmt
from curvefs.src.metaserver.wal import recovery
from curvefs.src.metaserver.wal.disk import OsDisk
from curvefs.src.metaserver.wal.format import Record, RecordType
from curvefs.src.metaserver.wal.segments import LogSettings, SegmentFiles
from curvefs.test.sim.disk import SimDisk

GROUP = 3
SMALL = fmt.HEADER_SIZE + 1  # every write goes to a segment of its own


def entry(index, payload=b"x" * 20, group=GROUP):
    return Record(RecordType.ENTRY, group, 1, index, payload)


def fatal(reason):
    raise SystemExit(reason)


def opened(folder, **settings):
    salts = itertools.count(100)
    outline = recovery.recover(folder)
    return SegmentFiles(
        outline.disk, outline, LogSettings(reserve_bytes=0, **settings), salt=lambda: next(salts), fatal=fatal
    )


def written(folder, *writes, **settings):
    """Write each list of records; return the size of the last segment before and after the last write."""
    folder.mkdir(exist_ok=True)
    files = opened(folder, **settings)
    before = 0
    for records in writes:
        before = newest(folder).stat().st_size
        files.append(records)
    files.close()
    return before, newest(folder).stat().st_size


def forged(folder, *records):
    """Put records behind the newest segment's that no writer would."""
    content = newest(folder).read_bytes()
    header = fmt.decode_header(content[: fmt.HEADER_SIZE])
    assert header is not None
    newest(folder).write_bytes(content + fmt.encode(list(records), len(content), header.seed))


def hard_state(payload, group=GROUP):
    return Record(RecordType.HARD_STATE, group, 1, 0, payload)


def begin(index, term=1, group=GROUP):
    return Record(RecordType.BEGIN, group, term, index)


def tail(index, term=1, group=GROUP):
    return Record(RecordType.TAIL, group, term, index)


def newest(folder):
    return max(folder.glob("*.wal"))


def indices(folder):
    return [record.index for record in recovery.entries(recovery.recover(folder))]


def test_what_was_written_is_found(tmp_path):
    written(tmp_path, [entry(1), entry(2)], [entry(3)])
    outline = recovery.recover(tmp_path)
    assert list(recovery.entries(outline)) == [entry(1), entry(2), entry(3)]
    assert (outline.groups[GROUP].first_index, outline.groups[GROUP].last_index) == (1, 3)


@pytest.mark.parametrize("tail", ["cut", "zeros", "noise"])
def test_torn_last_record_is_cut_at_every_byte(tmp_path, tail):
    before, after = written(tmp_path, [entry(1)], [entry(2)])
    whole = newest(tmp_path).read_bytes()
    fill = {"cut": b"", "zeros": b"\0", "noise": b"\xa5"}[tail]
    for length in range(before, after):
        newest(tmp_path).write_bytes(whole[:length] + fill * (after - length))
        assert indices(tmp_path) == [1]
        assert newest(tmp_path).stat().st_size == before
        written(tmp_path, [entry(2)])
        assert indices(tmp_path) == [1, 2]


def test_record_lost_in_the_middle_of_the_last_write_ends_the_log_there(tmp_path):
    before, _ = written(tmp_path, [entry(1)], [entry(2), entry(3)])
    data = bytearray(newest(tmp_path).read_bytes())
    data[before + fmt.RECORD_OVERHEAD] ^= 1
    newest(tmp_path).write_bytes(data)
    assert indices(tmp_path) == [1]


@given(st.data())
def test_any_damage_before_the_last_write_refuses_naming_file_and_offset(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("wal")
    last, _ = written(folder, [entry(1)], [entry(2), entry(3)], [entry(4)])
    content = bytearray(newest(folder).read_bytes())
    at = data.draw(st.integers(fmt.HEADER_SIZE, last - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    newest(folder).write_bytes(content)
    starts = [fmt.HEADER_SIZE]
    for _ in range(3):
        starts.append(starts[-1] + fmt.RECORD_OVERHEAD + 20)
    bad = max(start for start in starts if start <= at)
    with pytest.raises(StartupError) as caught:
        recovery.recover(folder)
    assert caught.value.exit_code is ExitCode.DAMAGED
    assert str(newest(folder)) in str(caught.value)
    assert f"byte {bad}," in str(caught.value)
    assert newest(folder).read_bytes() == content, "nothing is changed"


def test_damage_at_the_end_of_an_older_segment_refuses(tmp_path):
    written(tmp_path, [entry(1)], [entry(2)], segment_size_bytes=SMALL)
    old = min(tmp_path.glob("*.wal"))
    old.write_bytes(old.read_bytes()[:-1])
    with pytest.raises(StartupError, match=f"{old} .* byte {fmt.HEADER_SIZE}") as caught:
        recovery.recover(tmp_path)
    assert caught.value.exit_code is ExitCode.DAMAGED


def test_missing_segment_refuses_naming_it(tmp_path):
    written(tmp_path, [entry(1)], [entry(2)], [entry(3)], segment_size_bytes=SMALL)
    middle = sorted(tmp_path.glob("*.wal"))[1]
    middle.unlink()
    with pytest.raises(StartupError, match=str(middle)):
        recovery.recover(tmp_path)


def test_damaged_header_refuses_at_byte_0(tmp_path):
    written(tmp_path, [entry(1)])
    data = bytearray(newest(tmp_path).read_bytes())
    data[20] ^= 1
    newest(tmp_path).write_bytes(data)
    with pytest.raises(StartupError, match="byte 0"):
        recovery.recover(tmp_path)


@pytest.mark.parametrize("size", range(fmt.HEADER_SIZE))
def test_segment_whose_making_was_interrupted_is_made_again(tmp_path, size):
    written(tmp_path, [entry(1)])
    recovery.segment_path(tmp_path, 2).write_bytes(fmt.encode_header(2, 5)[:size])
    written(tmp_path, [entry(2)])
    assert indices(tmp_path) == [1, 2]


def test_newer_version_is_refused(tmp_path):
    written(tmp_path, [entry(1)])
    data = bytearray(newest(tmp_path).read_bytes())
    data[11] = fmt.VERSION + 1
    newest(tmp_path).write_bytes(data)
    with pytest.raises(StartupError, match=f"version {fmt.VERSION + 1}") as caught:
        recovery.recover(tmp_path)
    assert caught.value.exit_code is ExitCode.DATA_FOLDER


def test_a_group_that_is_made_again_leaves_everything_of_before_behind(tmp_path):
    written(
        tmp_path,
        [begin(0, 0), hard_state(b"vote"), entry(1), entry(2), begin(0, 0, group=9), entry(1, group=9)],
        [begin(0, 0)],
        [entry(1)],
    )
    outline = recovery.recover(tmp_path)
    assert list(recovery.entries(outline)) == [entry(1, group=9), entry(1)]
    assert list(recovery.entries(outline, {9})) == [entry(1, group=9)]
    assert outline.groups[GROUP].hard_state is None
    assert list(recovery.replay(outline, {GROUP})) == [begin(0, 0), entry(1)]


def test_a_snapshot_leaves_the_entries_behind_and_keeps_the_vote(tmp_path):
    vote = hard_state(b"vote")
    written(tmp_path, [vote, entry(1), entry(2)], [begin(9, 4)], [entry(10), entry(11)])
    outline = recovery.recover(tmp_path)
    group = outline.groups[GROUP]
    assert (group.begin_index, group.begin_term, group.first_index, group.last_index) == (9, 4, 10, 11)
    assert group.hard_state == vote
    assert list(recovery.replay(outline)) == [begin(9, 4), vote, entry(10), entry(11)]


def test_a_group_without_entries_ends_where_it_begins(tmp_path):
    written(tmp_path, [begin(9, 4)])
    group = recovery.recover(tmp_path).groups[GROUP]
    assert (group.first_index, group.last_index, group.last_term) == (0, 9, 4)


@pytest.mark.parametrize("forgery", [entry(3), entry(2, group=9)])
def test_a_gap_between_entries_is_damage(tmp_path, forgery):
    _, size = written(tmp_path, [entry(1)])
    forged(tmp_path, forgery)
    with pytest.raises(StartupError, match=f"byte {size}, group {forgery.group_id} goes from") as caught:
        recovery.recover(tmp_path)
    assert caught.value.exit_code is ExitCode.DAMAGED


@pytest.mark.parametrize("index", [8, 9, 11])
def test_an_entry_that_does_not_follow_the_beginning_is_damage(tmp_path, index):
    written(tmp_path, [begin(9)])
    forged(tmp_path, entry(index))
    with pytest.raises(StartupError, match=f"from entry 9 to {index}"):
        recovery.recover(tmp_path)


@pytest.mark.parametrize("forgery", [tail(3), tail(2, term=7)])
def test_a_segment_that_goes_on_from_another_log_is_damage(tmp_path, forgery):
    written(tmp_path, [entry(1), entry(2)])
    forged(tmp_path, forgery)
    with pytest.raises(StartupError, match="ends with entry 2 of term 1"):
        recovery.recover(tmp_path)


def test_a_file_that_is_no_segment_is_left_alone(tmp_path):
    written(tmp_path, [entry(1)])
    (tmp_path / "note.wal").write_bytes(b"mine")
    assert indices(tmp_path) == [1]


def test_segments_go_when_every_group_is_past_them(tmp_path):
    files = opened(tmp_path, segment_size_bytes=SMALL)
    files.append([entry(1), entry(1, group=9)])
    files.append([entry(2)])
    files.append([entry(3)])
    assert files.trim({GROUP: 2}) == 0
    assert files.oldest_needed_by({GROUP: 2}) == [9]
    assert files.trim({GROUP: 1, 9: 1}) == 1
    assert files.trim({GROUP: 3, 9: 1}) == 1, "the last one stays"
    files.close()
    assert indices(tmp_path) == [3]


def test_the_newest_hard_state_outlives_its_segment(tmp_path):
    hard = Record(RecordType.HARD_STATE, GROUP, 5, 0, b"vote")
    files = opened(tmp_path, segment_size_bytes=SMALL)
    files.append([hard, entry(1)])
    files.append([entry(2)])
    files.trim({GROUP: 2})
    files.close()
    assert recovery.recover(tmp_path).groups[GROUP].hard_state == hard


class Ended(BaseException):
    """The process ended."""


def end(reason):
    raise Ended(reason)


def log_on(disk):
    return SegmentFiles(disk, recovery.recover(disk), LogSettings(1 << 20, 0), salt=lambda: 7, fatal=end)


@pytest.mark.parametrize("others", [(), ([entry(1)],), ([entry(1)], [entry(2), entry(3)])])
def test_what_a_failed_sync_has_left_in_memory_is_written_again_before_it_counts(others):
    for seed in range(20):
        disk = SimDisk(random.Random(seed))
        log = log_on(disk)
        for records in others:
            log.append(records)
        index = sum(map(len, others)) + 1
        disk.fail_next("sync")
        with pytest.raises(Ended):
            log.append([entry(index), entry(index + 1)])
        disk.kill()
        assert recovery.recover(disk).groups[GROUP].last_index == index + 1, "raft acknowledges it from here on"
        disk.crash()
        assert recovery.recover(disk).groups[GROUP].last_index == index + 1


def test_the_header_of_a_segment_whose_sync_failed_is_written_again():
    for seed in range(20):
        disk = SimDisk(random.Random(seed))
        disk.fail_next("sync")
        with pytest.raises(Ended):
            log_on(disk)
        disk.kill()
        log_on(disk).append([entry(1)])
        disk.crash()
        assert recovery.recover(disk).groups[GROUP].last_index == 1


def unreadable_from(disk, at):
    """A sector at the offset cannot be read."""
    read = disk.read

    def failing(name, offset, size):
        if offset <= at < offset + size:
            raise OSError(errno.EIO, "Input/output error")
        return read(name, offset, size)

    disk.read = failing


@pytest.mark.parametrize(("at", "said"), [(3, 0), (3 << 20, 3 << 20)])
def test_a_sector_that_cannot_be_read_is_damage(tmp_path, at, said):
    written(tmp_path, [entry(1, bytes(2 << 20))], [entry(2, bytes(2 << 20))])
    disk = OsDisk(tmp_path)
    unreadable_from(disk, at)
    with pytest.raises(StartupError, match=f"{newest(tmp_path)} .* byte {said}, it cannot be read") as caught:
        recovery.recover(disk)
    assert caught.value.exit_code is ExitCode.DAMAGED


def test_a_log_that_may_not_be_read_is_not_damaged(tmp_path):
    written(tmp_path, [entry(1)])
    disk = OsDisk(tmp_path)

    def refused(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    disk.read = refused
    with pytest.raises(OSError, match="Too many open files"):
        recovery.recover(disk)
