"""References to chunk ids: the objects of one are queued for deletion when nothing refers to it any more, and once."""

from hypothesis import given, settings
from hypothesis import strategies as st

from curvefs.proto import common_pb2 as c
from curvefs.proto import metaserver_pb2 as pb
from curvefs.proto import state_pb2

from .lab import CHUNK, FS, Lab
from .queue_lab import give_up, queued, reclaim, slice_key
from .test_data import File


def truncate(lab, inode_id, length):
    lab.ok(set_attr=pb.SetAttr(inode_id=inode_id, length=length))


def test_an_append_across_a_chunk_border_keeps_its_object_until_its_last_piece_is_gone():
    lab = Lab()
    file = File(lab)
    file.append(CHUNK - 100, 1)
    file.append(300, 2)
    first, head, tail = lab.slices(file.inode_id)
    assert head.chunk_id == tail.chunk_id != first.chunk_id
    truncate(lab, file.inode_id, CHUNK)
    assert not queued(lab), "the first 100 bytes of the second append are still read"
    truncate(lab, file.inode_id, 0)
    assert sorted(one.chunk_id for one in queued(lab)) == [first.chunk_id, head.chunk_id]


def test_an_append_across_several_borders_is_released_piece_by_piece_in_any_order():
    lab = Lab()
    file = File(lab)
    file.append(CHUNK - 100, 1)
    file.append(2 * CHUNK, 2)
    assert [one.reference for one in lab.slices(file.inode_id)] == [0, 0, 1, 2]
    pieces = lab.slices(file.inode_id)[1:]
    for last, one in zip([False, False, True], [pieces[1], pieces[0], pieces[2]], strict=True):
        for _ in range(2):  # again does nothing
            release(lab, one)
            assert len(queued(lab)) == last
    assert not lab.table(b"h")


def test_an_ordinary_slice_has_no_record():
    lab = Lab()
    file = File(lab)
    file.append(CHUNK, 1)
    file.write(10, 10, 2)
    assert not lab.table(b"h")


def test_what_a_publication_claims_to_hold_is_not_believed():
    lab = Lab()
    file = File(lab)
    one = file.slice(0, 100, 1)
    one.reference = 7
    lab.ok(append_slices=pb.AppendSlices(inode_id=file.inode_id, slices=[one], length=100))
    assert [one.reference for one in lab.slices(file.inode_id)] == [0]


def release(lab, *slices):
    return lab.entry(release=state_pb2.ReleaseCommand(fs_id=FS, slices=slices))


def add(lab, one, token, *, chunk_id=None, inode_id=0, chunk_index=0):
    command = state_pb2.AddReferenceCommand(
        fs_id=FS, chunk_id=chunk_id or one.chunk_id, token=token, holder=inode_id, chunk_index=chunk_index
    )
    return lab.entry(add_reference=command)


def shared(lab):
    """A file with one slice."""
    file = File(lab)
    file.append(100, 1)
    return file, lab.slices(file.inode_id)[0]


def with_reference(one, number):
    copy = pb.Slice()
    copy.CopyFrom(one)
    copy.reference = number
    return copy


def test_an_added_reference_keeps_the_objects_when_the_file_is_gone():
    lab = Lab()
    file, one = shared(lab)
    assert add(lab, one, b"clone", inode_id=file.inode_id).reference == 1
    truncate(lab, file.inode_id, 0)
    assert not queued(lab)
    assert add(lab, one, b"clone of the clone").reference == 2, "the first is gone, others are not"
    release(lab, with_reference(one, 1))
    assert not queued(lab)
    release(lab, with_reference(one, 2))
    assert [found.chunk_id for found in queued(lab)] == [one.chunk_id]
    assert not lab.table(b"h")


def test_adding_is_idempotent_by_its_token_and_numbers_are_never_given_twice():
    lab = Lab()
    file, one = shared(lab)
    assert [add(lab, one, b"a", inode_id=file.inode_id).reference for _ in range(2)] == [1, 1]
    release(lab, with_reference(one, 1))
    assert add(lab, one, b"b", inode_id=file.inode_id).reference == 2
    release(lab, with_reference(one, 1))  # on its way for long
    truncate(lab, file.inode_id, 0)
    assert not queued(lab)


def test_no_reference_is_added_to_what_nothing_refers_to_any_more():
    lab = Lab()
    file, one = shared(lab)
    with lab.unchanged():
        assert add(lab, one, b"a").failure.code == c.NOT_FOUND, "its holder was not named"
        assert add(lab, one, b"", inode_id=file.inode_id).failure.code == c.INVALID_ARGUMENT
        assert add(lab, one, b"a", chunk_id=5 << 40, inode_id=file.inode_id).failure.code == c.WRONG_PARTITION
    truncate(lab, file.inode_id, 0)
    with lab.unchanged():
        assert add(lab, one, b"a", inode_id=file.inode_id).failure.code == c.NOT_FOUND


def test_the_reference_to_a_chunk_of_another_group_is_queued_to_be_sent_home():
    home, away = Lab(), Lab(group_id=8, partitions=(1,))
    file, one = shared(home)
    number = add(home, one, b"clone", inode_id=file.inode_id).reference
    release(away, one)
    assert not queued(away, "release_slice"), "a whole command is refused by who is not at home"
    inode_id = (1 << 40) + 5
    away.state.put(slice_key(inode_id), with_reference(one, number).SerializeToString())
    give_up(away, inode_id)
    assert [found.reference for found in queued(away, "release_slice")] == [number]
    assert not queued(away)
    truncate(home, file.inode_id, 0)
    release(home, *queued(away, "release_slice"))
    reclaim(away, *away.table(b"q"))
    assert not away.table(b"q")
    assert [found.chunk_id for found in queued(home)] == [one.chunk_id]


def test_all_references_of_a_partition_go_with_it():
    lab = Lab(partitions=(0, 1))
    file = File(lab)
    file.append(2 * CHUNK + 100, 1)
    lab.entry(delete_partition=state_pb2.DeletePartitionCommand(fs_id=FS, partition_id=1))
    assert lab.table(b"h")
    lab.entry(delete_partition=state_pb2.DeletePartitionCommand(fs_id=FS, partition_id=0))
    assert not lab.table(b"h")


@settings(max_examples=150, deadline=None)
@given(
    pieces=st.integers(1, 4),
    steps=st.lists(st.tuples(st.sampled_from(["add", "release", "again"]), st.integers(0, 7)), max_size=25),
)
def test_objects_are_queued_exactly_when_the_last_reference_is_gone(pieces, steps):
    """Whatever is added and released, in any order, with repetitions of what was said before."""
    lab = Lab()
    file = File(lab)
    file.append((pieces - 1) * CHUNK + 1, 1)
    first = lab.slices(file.inode_id)[0]
    living, released, tokens = set(range(pieces)), [], {}
    for action, n in steps:
        if action == "add":
            token = b"t%d" % n
            held = {"inode_id": file.inode_id} if 0 in living else {}
            applied = add(lab, first, token, **held)
            if token in tokens and tokens[token] in living:
                assert applied.reference == tokens[token]
            elif living:
                assert applied.reference not in living | set(released)
                living.add(applied.reference)
                tokens[token] = applied.reference
            else:
                assert applied.failure.code == c.NOT_FOUND
        elif action == "release" and living:
            number = sorted(living)[n % len(living)]
            if not number:  # as the file does
                [key] = [key for key in lab.table(b"s") if not pb.Slice.FromString(lab.state.pairs[key]).reference]
                lab.state.delete(key)
            release(lab, with_reference(first, number))
            living.remove(number)
            released.append(number)
        elif action == "again" and living and released:
            release(lab, with_reference(first, released[n % len(released)]))
        assert len(queued(lab)) == (not living)
    assert living or not lab.table(b"h")
