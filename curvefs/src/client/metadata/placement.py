"""Where a new directory goes (rule 29): into its parent's partition, or elsewhere, by a transaction. Pure."""

from collections.abc import Mapping

from ...common.ids import ROOT_INODE, partition_of
from ...rpc.backoff import Random

LARGE_INODES = 1_000_000


def partition_for_directory(parent: int, inode_counts: Mapping[int, int], random: Random) -> int:
    """Return the partition of a new directory, given the inodes of each partition of the filesystem.

    Directories directly below the root are spread, and a large partition gives its new ones away, to the least loaded
    partition; ties are broken at random. A large one keeps them while no other is less than half as large: when all
    have grown alike, a transaction for each mkdir would gain nothing.
    """
    home = partition_of(parent)
    own = inode_counts.get(home, 0)
    if not inode_counts or not (parent == ROOT_INODE or own > LARGE_INODES):
        return home
    least = min(inode_counts.values())
    if parent != ROOT_INODE and least > own // 2:
        return home
    candidates = sorted(partition for partition, count in inode_counts.items() if count == least)
    return candidates[int(random() * len(candidates))]
