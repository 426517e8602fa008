"""Ranges of ids: ascending, each once, per kind and partition."""

from curvefs.proto import common_pb2
from curvefs.src.client.metadata.ids import IdRanges
from curvefs.src.common.ids import make_id


def grant(kind, partition, first, end):
    return common_pb2.IdRange(kind=kind, first=make_id(partition, first), end=make_id(partition, end))


def test_ids_come_in_ascending_order_each_once():
    ids = IdRanges()
    ids.add(grant(common_pb2.INODE, 3, 10, 12))
    ids.add(grant(common_pb2.INODE, 3, 40, 41))
    taken = [ids.take(common_pb2.INODE, 3) for _ in range(4)]
    assert taken == [make_id(3, 10), make_id(3, 11), make_id(3, 40), 0]


def test_kinds_and_partitions_do_not_mix():
    ids = IdRanges()
    ids.add(grant(common_pb2.CHUNK, 1, 1000, 2000))
    assert ids.take(common_pb2.INODE, 1) == 0
    assert ids.take(common_pb2.CHUNK, 2) == 0
    assert ids.take(common_pb2.CHUNK, 1) == make_id(1, 1000)


def test_nothing_is_left_after_the_session():
    ids = IdRanges()
    ids.add(grant(common_pb2.CHUNK, 0, 1000, 2000))
    ids.clear()
    assert ids.take(common_pb2.CHUNK, 0) == 0


def test_of_a_range_of_which_an_id_was_refused_no_more_are_taken():
    ids = IdRanges()
    for first in (1000, 2000, 3000):
        ids.add(grant(common_pb2.CHUNK, 0, first, first + 1000))
    assert ids.take(common_pb2.CHUNK, 0) == 1000
    ids.refused(common_pb2.CHUNK, 2500)  # taken before, or by another
    ids.refused(common_pb2.CHUNK, 1000)
    assert ids.take(common_pb2.CHUNK, 0) == 3000
    ids.refused(common_pb2.CHUNK, 1000)
    ids.refused(common_pb2.CHUNK, make_id(7, 5))
    assert ids.take(common_pb2.CHUNK, 0) == 3001
