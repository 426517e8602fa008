"""Inode numbers, chunk ids and the other identifiers, as distinct types.

An inode number or chunk id is ``partition_id << 40 | n``: routing is a shift and a lookup, a partition does not
run out of numbers, and none is used twice. Partitions are counted per filesystem from 0; the root directory is
number 1 of partition 0.
"""

from typing import NewType

FsId = NewType("FsId", int)
PartitionId = NewType("PartitionId", int)
GroupId = NewType("GroupId", int)
InodeId = NewType("InodeId", int)
ChunkId = NewType("ChunkId", int)
SessionId = NewType("SessionId", bytes)

PARTITION_SHIFT = 40
N_MAX = (1 << PARTITION_SHIFT) - 1

ROOT_INODE = InodeId(1)
FIRST_ORDINARY_N = 2

# Chunk ranges are aligned to this, so that an object prefix holds exactly one range (rule 3).
CHUNK_RANGE_SIZE = 1000
INODE_RANGE_SIZE = 1024

SESSION_ID_SIZE = 16
NAME_SIZE_MAX = 255
# No partition has this number: below it are numbers of what mounts show of the trash: the hours since 1970, 0 its top.
TRASH_PARTITION = (1 << 64 - PARTITION_SHIFT) - 1
HOUR_NS = 3600 * 10**9
SYMLINK_TARGET_SIZE_MAX = 4095


def partition_of(id_: int) -> PartitionId:
    """Return the partition that owns an inode number or chunk id."""
    return PartitionId(id_ >> PARTITION_SHIFT)


def number_of(id_: int) -> int:
    """Return the number of an inode or chunk within its partition."""
    return id_ & N_MAX


def hour_of_trash(trashed_ns: int) -> int:
    """Return the place in the trash where mounts show what was removed in the hour of a time."""
    return make_id(TRASH_PARTITION, trashed_ns // HOUR_NS)


def make_id(partition_id: int, n: int) -> int:
    """Return the inode number or chunk id of number ``n`` in a partition."""
    assert 0 <= n <= N_MAX, n
    return partition_id << PARTITION_SHIFT | n
