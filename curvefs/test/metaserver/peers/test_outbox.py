"""What waits for a peer: order, frames that anybody can read, and bounds."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from curvefs.proto import raft_pb2 as pb
from curvefs.src.metaserver.peers.outbox import OVERHEAD_SIZE, Fate, Outbox


def message(tag=1, size=0):
    return pb.GroupMessage(
        group_id=tag, message=pb.Message(type=pb.APPEND, to=2, entries=[pb.Entry(index=1, data=b"x" * size)])
    )


def outbox(frame_size=1 << 20, message_size_max=1 << 22, buffer_size=1 << 24):
    return Outbox(frame_size=frame_size, message_size_max=message_size_max, buffer_size=buffer_size)


def part_size(one):
    return len(pb.RaftFrame(messages=[one]).SerializeToString())


def drain(box):
    frames = []
    while (frame := box.take_frame()) is not None:
        frames.append(frame)
    return frames


def groups_in(frame):
    return [said.group_id for said in pb.RaftFrame.FromString(frame.data).messages]


def test_nothing_waiting_makes_no_frame():
    assert outbox().take_frame() is None


def test_a_frame_is_what_protobuf_would_write():
    box = outbox()
    # Lengths of one, two and three bytes as protobuf writes them.
    said = [message(1), message(2, 300), message(3, 20_000)]
    assert [box.put(one) for one in said] == [Fate.TAKEN] * 3
    frame = box.take_frame()
    assert frame.data == pb.RaftFrame(messages=said).SerializeToString()
    assert frame.message_count == 3
    assert box.take_frame() is None


def test_a_message_may_be_changed_after_it_was_put():
    box, said = outbox(), message(1)
    box.put(said)
    said.group_id = 9
    assert groups_in(box.take_frame()) == [1]


@given(st.lists(st.integers(0, 400), max_size=40), st.integers(20, 600))
def test_frames_keep_the_order_and_are_as_full_as_the_bound_lets_them(sizes, frame_size):
    box = outbox(frame_size=frame_size)
    said = [message(tag, size) for tag, size in enumerate(sizes, 1)]
    for one in said:
        assert box.put(one) is Fate.TAKEN
    frames = drain(box)
    assert [tag for frame in frames for tag in groups_in(frame)] == list(range(1, len(sizes) + 1))
    for frame in frames:
        assert len(frame.data) <= frame_size or frame.message_count == 1
    for frame, following in pairwise(frames):
        assert len(frame.data) + part_size(said[groups_in(following)[0] - 1]) > frame_size
    assert (box.size_bytes, len(box)) == (0, 0)


def test_when_full_the_newest_message_is_dropped():
    room = 3 * (part_size(message()) + OVERHEAD_SIZE)
    box = outbox(buffer_size=room)
    assert [box.put(message(tag)) for tag in (1, 2, 3, 4)] == [Fate.TAKEN] * 3 + [Fate.FULL]
    assert box.size_bytes == room
    assert groups_in(box.take_frame()) == [1, 2, 3]
    assert box.put(message(5)) is Fate.TAKEN


def test_a_large_message_that_finds_no_room_leaves_it_to_small_ones():
    box = outbox(buffer_size=1000)
    assert box.put(message(1, 2000)) is Fate.FULL
    assert box.put(message(2)) is Fate.TAKEN


def test_a_message_larger_than_can_be_received_is_named_as_that():
    limit = part_size(message(1, 500))
    box = outbox(message_size_max=limit)
    assert box.put(message(1, 501)) is Fate.TOO_LARGE
    assert box.put(message(1, 500)) is Fate.TAKEN
    assert len(box.take_frame().data) == limit


def test_clearing_says_how_many_were_dropped_and_makes_room():
    box = outbox()
    for tag in (1, 2):
        box.put(message(tag))
    assert (len(box), box.clear()) == (2, 2)
    assert (len(box), box.size_bytes, box.take_frame()) == (0, 0, None)
