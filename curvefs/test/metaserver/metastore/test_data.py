"""Slices, lengths, cuts: what a reader of the slice lists sees is what was written, for any sequence of operations."""

import random
import stat
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curvefs.proto import common_pb2 as c
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.metaserver.metastore.ids import RANGES_MAX
from curvefs.src.metaserver.storage import keys
from curvefs.src.slices.overlay import overlay

from .lab import CHUNK, Lab

ROOT = 1


class File:
    """One file of a lab, and what its bytes must be: each write is one value, told by its chunk id."""

    def __init__(self, lab):
        self.lab = lab
        self.inode_id = lab.create(ROOT, b"f")
        self.ids = iter(())
        self.model = bytearray()
        self.values = {}

    def chunk_id(self):
        found = next(self.ids, 0)
        if not found:
            granted = self.lab.ok(allocate_ids=pb.AllocateIds(kind=c.CHUNK)).ranges[0]
            self.ids = iter(range(granted.first, granted.end))
            found = next(self.ids)
        return found

    def slice(self, offset, length, value):
        chunk_id = self.chunk_id()
        self.values[chunk_id] = value
        index, within = divmod(offset, CHUNK)
        return pb.Slice(
            chunk_id=chunk_id,
            chunk_index=index,
            offset=within,
            length=length,
            size=length,
            object=pb.ObjectLocation(block_format=1),
        )

    def write(self, offset, length, value):
        length = min(length, CHUNK - offset % CHUNK)
        one = self.slice(offset, length, value)
        self.lab.ok(append_slices=pb.AppendSlices(inode_id=self.inode_id, slices=[one], length=offset + length))
        self.model.extend(bytes(max(0, offset + length - len(self.model))))
        self.model[offset : offset + length] = bytes([value]) * length

    def append(self, length, value):
        one = self.slice(0, length, value)
        result = self.lab.ok(
            append_slices=pb.AppendSlices(inode_id=self.inode_id, slices=[one], length=length, at_end=True)
        )
        assert result.offset == len(self.model)
        self.model.extend(bytes([value]) * length)

    def truncate(self, length):
        self.lab.ok(set_attr=pb.SetAttr(inode_id=self.inode_id, length=length))
        self.model = self.model[:length] + bytes(max(0, length - len(self.model)))

    def punch(self, offset, length):
        self.lab.ok(
            fallocate=pb.Fallocate(
                inode_id=self.inode_id, offset=offset, length=length, punch_hole=True, keep_size=True
            )
        )
        end = min(offset + length, len(self.model))
        if end > offset:
            self.model[offset:end] = bytes(end - offset)

    def content(self):
        inode = self.lab.inode(self.inode_id)
        data = bytearray()
        for chunk in range(-(-inode.length // CHUNK)):
            slices = self.lab.slices(self.inode_id, chunk, 1)
            end = min(CHUNK, inode.length - chunk * CHUNK)
            for extent in overlay(slices, 0, end):
                value = self.values[extent.slice.chunk_id] if extent.slice is not None else 0
                data += bytes([value]) * extent.length
        return data

    def with_attributes(self, limit):
        """Return the slices that come with the attributes; None when they do not."""
        found = self.lab.read(get_attr=pb.GetAttr(inode_id=self.inode_id, slices_max=limit))
        assert found.end or not found.slices
        return list(found.slices) if found.end else None

    def check(self):
        assert self.with_attributes(64) in (None, self.lab.slices(self.inode_id))
        inode = self.lab.inode(self.inode_id)
        assert inode.length == len(self.model)
        assert self.content() == self.model
        assert inode.allocated <= inode.length
        assert self.lab.read(stat_fs=pb.StatFs()).stat_fs.used_bytes == inode.length


OFFSETS = st.integers(0, 3 * CHUNK)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), OFFSETS, st.integers(1, CHUNK)),
        st.tuples(st.just("append"), st.integers(1, CHUNK), st.just(0)),
        st.tuples(st.just("truncate"), OFFSETS, st.just(0)),
        st.tuples(st.just("punch"), OFFSETS, st.integers(1, 2 * CHUNK)),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_any_sequence_of_changes_reads_as_a_plain_file_would(steps):
    file = File(Lab())
    for value, (kind, first, second) in enumerate(steps, 1):
        match kind:
            case "write":
                file.write(first, second, value)
            case "append":
                file.append(first, value)
            case "truncate":
                file.truncate(first)
            case "punch":
                file.punch(first, second)
        file.check()


def test_publishing_raises_length_and_times_and_never_lowers_the_length():
    lab = Lab()
    file = File(lab)
    file.write(0, 1000, 1)
    one = file.slice(10, 10, 2)
    result = lab.ok(
        append_slices=pb.AppendSlices(inode_id=file.inode_id, slices=[one], length=20, mtime_ns=123, clear_suid=True)
    )
    assert (result.inode.length, result.inode.mtime_ns) == (1000, 123)


def test_publishing_again_is_told_apart_from_a_foreign_id():
    lab = Lab()
    file = File(lab)
    one = file.slice(0, 10, 1)
    publish = pb.AppendSlices(inode_id=file.inode_id, slices=[one], length=10)
    lab.ok(append_slices=publish)
    lab.refused(c.ALREADY_DONE, append_slices=publish)
    foreign = pb.Slice(chunk_id=5, length=10, size=10, object=pb.ObjectLocation(block_format=1))
    lab.refused(c.ID_REFUSED, append_slices=pb.AppendSlices(inode_id=file.inode_id, slices=[foreign], length=10))
    both = [file.slice(0, 10, 3), one]
    lab.refused(c.ID_REFUSED, append_slices=pb.AppendSlices(inode_id=file.inode_id, slices=both, length=10))


@pytest.mark.parametrize(
    "bad",
    [
        pb.Slice(chunk_id=1, offset=CHUNK - 5, length=10, size=10),
        pb.Slice(chunk_id=1, offset=0, length=0, size=10),
        pb.Slice(chunk_id=0, offset=0, length=10, size=10),
    ],
)
def test_a_slice_lies_within_one_chunk(bad):
    lab = Lab()
    file = File(lab)
    lab.refused(c.INVALID_ARGUMENT, append_slices=pb.AppendSlices(inode_id=file.inode_id, slices=[bad], length=10))


def test_the_slices_of_a_small_file_come_with_its_attributes_for_who_wants_them():
    lab = Lab()
    file = File(lab)
    assert file.with_attributes(2) == []
    file.write(0, 10, 1)
    file.write(CHUNK - 5, 5, 2)
    assert file.with_attributes(2) == lab.slices(file.inode_id)
    assert file.with_attributes(0) is None
    assert file.with_attributes(1) is None  # more than wanted
    file.write(CHUNK, 1, 3)
    assert file.with_attributes(64) is None  # more than a chunk
    assert not lab.read(get_attr=pb.GetAttr(inode_id=lab.mkdir(ROOT, b"d"), slices_max=9)).end


def told_with_names(lab, small_max):
    """Return the slice told when a file is looked up, and when it is listed; both are the same."""
    (listed,) = lab.read(read_dir=pb.ReadDir(inode_id=ROOT, with_attributes=True, small_max=small_max)).entries
    looked_up = lab.read(lookup=pb.Lookup(parent=ROOT, name=listed.name, small_max=small_max))
    listed_slices = [listed.only_slice] if listed.HasField("only_slice") else []
    assert listed_slices == list(looked_up.slices)
    return listed_slices


def test_the_only_slice_of_a_small_file_comes_with_its_name_for_who_wants_it():
    lab = Lab()
    file = File(lab)
    assert told_with_names(lab, 100) == []  # empty
    file.write(0, 10, 1)
    assert told_with_names(lab, 10) == lab.slices(file.inode_id)
    assert told_with_names(lab, 9) == told_with_names(lab, 0) == []
    file.write(5, 5, 2)
    assert told_with_names(lab, 100) == [], "two slices"


def test_only_regular_files_have_content():
    lab = Lab()
    directory = lab.mkdir(ROOT, b"d")
    fifo = lab.create(ROOT, b"p", stat.S_IFIFO | 0o600)
    lab.refused(c.IS_A_DIRECTORY, set_attr=pb.SetAttr(inode_id=directory, length=5))
    lab.refused(c.INVALID_ARGUMENT, set_attr=pb.SetAttr(inode_id=fifo, length=5))
    lab.refused(c.FILE_TOO_LARGE, set_attr=pb.SetAttr(inode_id=lab.create(ROOT, b"g"), length=1 << 63))


def test_a_cut_of_many_slices_is_finished_in_bounded_steps_and_hides_them_meanwhile():
    lab = Lab(follow_up=False)
    file = File(lab)
    rng = random.Random(1)
    for n in range(1300):
        file.write(CHUNK + rng.randrange(CHUNK - 20), 10, 1 + n % 200)
    keys_before = len(lab.table(b"s"))
    file.truncate(CHUNK)
    assert len(lab.table(b"s")) == keys_before, "an entry touches a bounded number of keys"
    assert len(lab.table(b"c")) == 1
    file.check()
    file.truncate(2 * CHUNK)
    file.write(CHUNK + 5, 10, 77)
    file.check()
    steps = 0
    while lab.waiting:
        steps += 1
        before = len(lab.state.pairs)
        lab.log(lab.waiting.pop(0))
        assert abs(len(lab.state.pairs) - before) <= 3  # the cut and the tally of the chunk go
        file.check()
    assert steps == 3
    assert not lab.table(b"c")
    assert len(lab.table(b"s")) == 1
    assert len(lab.table(b"q")) == 1300


def test_deleting_a_partition_removes_everything_in_bounded_steps():
    from curvefs.proto import state_pb2

    lab = Lab(follow_up=False)
    for n in range(1200):
        lab.create(ROOT, b"%d" % n)
    lab.entry(delete_partition=state_pb2.DeletePartitionCommand(fs_id=1, partition_id=0))
    assert lab.inode(ROOT) is None or lab.table(b"P")
    steps = 0
    while lab.waiting:
        steps += 1
        lab.log(lab.waiting.pop(0))
    assert steps >= 2
    assert not lab.table(b"i") + lab.table(b"d") + lab.table(b"P")


def test_extended_attributes_are_each_their_own():
    lab = Lab()
    file = lab.create(ROOT, b"f")
    lab.ok(set_xattr=pb.SetXattr(inode_id=file, name=b"user.a", value=b"1"))
    lab.ok(set_xattr=pb.SetXattr(inode_id=file, name=b"user.b", value=b"2"))
    assert lab.read(get_xattr=pb.GetXattr(inode_id=file, name=b"user.a")).value == b"1"
    assert list(lab.read(list_xattr=pb.ListXattr(inode_id=file)).names) == [b"user.a", b"user.b"]
    lab.refused(c.ALREADY_EXISTS, set_xattr=pb.SetXattr(inode_id=file, name=b"user.a", create=True))
    lab.refused(c.NO_ATTRIBUTE, set_xattr=pb.SetXattr(inode_id=file, name=b"user.c", replace=True))
    lab.refused(c.TOO_LARGE, set_xattr=pb.SetXattr(inode_id=file, name=b"user.c", value=bytes(65537)))
    for n in range(15):
        lab.ok(set_xattr=pb.SetXattr(inode_id=file, name=b"user.%d" % n, value=bytes(65536)))
    lab.refused(c.NO_SPACE, set_xattr=pb.SetXattr(inode_id=file, name=b"user.z", value=bytes(65536)))
    lab.ok(remove_xattr=pb.RemoveXattr(inode_id=file, name=b"user.a"))
    lab.refused(c.NO_ATTRIBUTE, remove_xattr=pb.RemoveXattr(inode_id=file, name=b"user.a"))
    lab.ok(unlink=pb.Unlink(parent=ROOT, name=b"f"))
    assert not lab.table(b"x")


def test_an_append_longer_than_a_chunk_is_split_at_every_border():
    lab = Lab()
    file = File(lab)
    file.write(0, 100, 1)
    file.append(2 * CHUNK + 7, 2)
    file.check()
    assert [one.length for one in lab.slices(file.inode_id)][1:] == [CHUNK - 100, CHUNK, 107]


def test_no_slice_lies_past_the_length_it_comes_with():
    """It would come to light when the file grows."""
    lab = Lab()
    file = File(lab)
    late = pb.AppendSlices(inode_id=file.inode_id, slices=[file.slice(50, 100, 1)], length=149)
    lab.refused(c.INVALID_ARGUMENT, append_slices=late)


def test_a_range_that_closes_with_a_publication_knows_what_it_published():
    """Publishing may bring a new range and so close the oldest: its ids of this very publication stay."""
    from curvefs.proto import state_pb2

    lab = Lab()
    file = File(lab)
    firsts = [lab.ok(allocate_ids=pb.AllocateIds(kind=c.CHUNK)).ranges[0].first for _ in range(64)]
    oldest = min(int.from_bytes(key[-8:], "big") for key in lab.table(b"g") if key[17] == c.CHUNK)

    def publish(ids):
        slices = [pb.Slice(chunk_id=n, length=1, size=1, object=pb.ObjectLocation(block_format=1)) for n in ids]
        return lab.ok(append_slices=pb.AppendSlices(inode_id=file.inode_id, slices=slices, length=1))

    publish(range(firsts[-1], firsts[-1] + 500))
    result = publish([*range(firsts[-1] + 500, firsts[-1] + 700), oldest + 3])
    assert len(result.ranges) == 1
    closed = [state_pb2.DeleteRecord.FromString(value) for key, value in lab.state.pairs.items() if key[:1] == b"q"]
    (record,) = [one for one in closed if one.never_published.first == oldest]
    assert int.from_bytes(record.published, "little") == 1 << 3
    assert oldest not in [int.from_bytes(key[-8:], "big") for key in lab.table(b"g")]


class Ranges:
    """A session that publishes whole ranges of chunk ids, in one file."""

    def __init__(self):
        self.lab = Lab()
        self.inode_id = self.lab.create(1, b"f")

    def take(self):
        granted = self.lab.ok(allocate_ids=pb.AllocateIds(kind=c.CHUNK)).ranges[0]
        return range(granted.first, granted.end)

    def publish(self, ids, refusal=None):
        place = pb.ObjectLocation(block_format=1)
        slices = [pb.Slice(chunk_id=one, length=10, size=10, object=place) for one in ids]
        ask = self.lab.ok if refusal is None else partial(self.lab.refused, refusal)
        return ask(append_slices=pb.AppendSlices(inode_id=self.inode_id, slices=slices, length=10))

    def use_up(self, ids):
        for n in range(0, len(ids), 500):
            self.publish(ids[n : n + 500])


def test_a_publication_is_known_after_its_range_is_used_up():
    """Its answer may have been lost: were it refused, it would be published again under another id."""
    made = Ranges()
    ids = made.take()
    made.use_up(ids)
    made.publish([ids[3]], c.ALREADY_DONE)


def test_a_session_with_many_ranges_loses_what_is_used_up_first():
    made = Ranges()
    slow, first = made.take(), made.take()
    made.use_up(first)
    queued = len(made.lab.table(b"q"))
    while sum(keys.unpack_range(key)[1] == c.CHUNK for key in made.lab.table(keys.RANGE)) < RANGES_MAX:
        made.take()
    made.publish([first[0]], c.ALREADY_DONE)
    made.take()
    assert len(made.lab.table(b"q")) == queued  # all of it was published: there is nothing to look for
    made.publish([first[0]], c.ID_REFUSED)
    made.publish([slow[0]])
    for _ in range(2):  # the range that came with the create is older
        made.take()
    made.publish([slow[1]], c.ID_REFUSED)
