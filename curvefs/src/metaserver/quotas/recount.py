"""Counts a partition's inodes again, independently of what is stored: from one view, so also while it is in use."""

from collections import Counter

from ....proto import common_pb2, transaction_pb2
from ....proto import metaserver_pb2 as pb
from ...common.errors import WrongPartition
from ...common.ids import ROOT_INODE, make_id, partition_of
from ..metastore import quotas
from ..metastore.quotas import FILESYSTEM
from ..metastore.scope import read_partition
from ..storage import keys
from ..storage.transaction import StateReader


def recount(view: StateReader, fs_id: int, partition_id: int) -> transaction_pb2.RecountReply:
    """Return what inodes say and what counters say, and which charges are not those of the primary parent.

    What the parents in other partitions say is to be asked there.
    """
    if read_partition(view, fs_id, make_id(partition_id, 0)) is None:
        raise WrongPartition("the partition is not here")
    bytes_: Counter[int] = Counter()
    inodes: Counter[int] = Counter({FILESYSTEM: 0})
    below: dict[int, tuple[int, ...]] = {}
    elsewhere: Counter[tuple[int, tuple[int, ...]]] = Counter()
    wrong = 0
    shares = {one: quotas.share_in(view, fs_id, partition_id, one) for one in _shares(view, fs_id, partition_id)}
    gone = {one for one, share in shares.items() if share.gone}  # removed: whoever still names them is charged nothing
    first = keys.of_inode(keys.INODE, fs_id, make_id(partition_id, 0))
    end = keys.of_inode(keys.INODE, fs_id, make_id(partition_id + 1, 0))
    for _, value in view.scan(first, end):
        inode = pb.Inode.FromString(value)
        for quota_id in (FILESYSTEM, *inode.quotas):
            bytes_[quota_id] += quotas.size_of(inode)
            inodes[quota_id] += 1
        if not inode.nlink or inode.parent_gone or inode.inode_id == ROOT_INODE:
            continue
        charged = tuple(one for one in inode.quotas if one not in gone)
        if partition_of(inode.parent) != partition_id:
            elsewhere[inode.parent, charged] += 1
            continue
        if inode.parent not in below:
            below[inode.parent] = tuple(one for one in _below(view, fs_id, inode.parent) if one not in gone)
        wrong += below[inode.parent] != charged
    reply = transaction_pb2.RecountReply(wrong_charges=wrong)
    known = shares.keys() | inodes.keys()
    for quota_id in sorted(known):
        share = quotas.share_in(view, fs_id, partition_id, quota_id)
        if not share.gone:
            counted = common_pb2.QuotaAmount(bytes=bytes_[quota_id], inodes=inodes[quota_id])
            reply.counts.add(quota_id=quota_id, counted=counted, stored=share.used)
    for (parent, charged), count in sorted(elsewhere.items()):
        reply.elsewhere.add(inode_id=parent, quotas=charged, count=count)
    return reply


def _below(view: StateReader, fs_id: int, directory: int) -> tuple[int, ...]:
    raw = view.get(keys.of_inode(keys.INODE, fs_id, directory))
    return () if raw is None else tuple(quotas.below(pb.Inode.FromString(raw)))


def _shares(view: StateReader, fs_id: int, partition_id: int) -> list[int]:
    start, end = keys.share(fs_id, partition_id, 0), keys.share(fs_id, partition_id + 1, 0)
    return [int.from_bytes(key[-8:], "big") for key, _ in view.scan(start, end)]
