"""Slice lists that come with the attributes of an open."""

from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.client.data.slice_lists import MAX_AGE_S, SliceLists


class Clock:
    now = 0.0


def made(change=3):
    clock = Clock()
    return SliceLists(pb.Inode(inode_id=7, change=change, length=10), None, lambda: clock.now), clock


def test_a_list_that_is_offered_is_known_for_its_time():
    lists, clock = made()
    lists.offer(pb.Inode(change=3), [pb.Slice(chunk_id=1)])
    assert lists.is_known(0)
    assert lists.of_chunk(0) == [pb.Slice(chunk_id=1)]
    assert not lists.is_known(1)
    clock.now = MAX_AGE_S + 1
    assert not lists.is_known(0)


def test_a_list_of_another_change_counter_is_not_taken():
    lists, _ = made()
    lists.offer(pb.Inode(change=2), [pb.Slice(chunk_id=1)])
    lists.offer(pb.Inode(change=4), [pb.Slice(chunk_id=1)])
    assert not lists.is_known(0)


def test_a_list_that_is_known_stays():
    lists, _ = made()
    lists.offer(pb.Inode(change=3), [])
    lists.published(pb.Inode(change=4, length=20), [pb.Slice(chunk_id=1)], 64 << 20)
    lists.offer(pb.Inode(change=4), [])
    assert lists.is_known(0)
    assert lists.of_chunk(0) == [pb.Slice(chunk_id=1)]


def test_what_changed_since_drops_it():
    lists, _ = made()
    lists.offer(pb.Inode(change=3), [])
    lists.revalidate(pb.Inode(change=5, length=10))
    assert not lists.is_known(0)
