"""The states of all groups, read from the data folders of metaservers that run or not, and what must hold of them.

LMDB lets other processes read while the server writes. A tree is recounted from the names alone and compared with what
inodes and partitions say of themselves.
"""

import asyncio
import collections
import stat
import time
from typing import Any

import lmdb

from curvefs.proto import metaserver_pb2 as pb
from curvefs.proto import state_pb2
from curvefs.src.common.errors import CurveFSError
from curvefs.src.common.ids import ROOT_INODE, partition_of
from curvefs.src.metaserver.storage import keys

from .metaservers import FS, GROUPS, LAYOUT

SETTLING_S = 60.0
_KINDS: dict[bytes, Any] = {keys.LOCK: state_pb2.LockRecord, keys.PREPARED: state_pb2.TransactionRecord}
# What a transaction leaves only until it has ended everywhere.
UNFINISHED = {"lock": keys.LOCK, "prepared": keys.PREPARED, "decided": keys.DECIDED}


def pairs_of(server, group_id):
    """Return what one replica has."""
    folder = server.data / "groups" / str(group_id) / "state"
    with (
        lmdb.open(str(folder), readonly=True, create=False, max_readers=64) as environment,
        environment.begin() as view,
    ):
        return {bytes(key): bytes(value) for key, value in view.cursor()}


def unfinished_in(pairs):
    """Return the names of what is left of transactions."""
    return [f"{name} {key.hex()}" for name, table in UNFINISHED.items() for key in pairs if key.startswith(table)]


def unfinished(servers):
    """Say what is left of transactions on each replica: for a failed test's report."""
    lines = []
    for number, server in servers.servers.items():
        for group_id in GROUPS:
            for key, value in pairs_of(server, group_id).items():
                kind = _KINDS.get(key[:1])
                if kind is not None:
                    said = str(kind.FromString(value)).replace("\n", " ")
                    lines.append(f"metaserver {number}, group {group_id}: {key.hex()} {said}")
    return "\n".join(lines)


async def settled(servers):
    """Wait until nothing is left of any transaction on any replica, and replicas are equal; return the pairs."""
    end = time.monotonic() + SETTLING_S
    while True:
        servers.check_alive()
        problem, found = await _look(servers)
        if not problem:
            return found
        assert time.monotonic() < end, f"after {SETTLING_S:.0f} s: {problem}"
        await asyncio.sleep(0.1)


async def _look(servers):
    """Return (what is not settled yet, pairs of all groups)."""
    found: dict[bytes, bytes] = {}
    for group_id in GROUPS:
        digests = {}
        try:
            leader = await servers.leader_of(group_id)
            index = (await servers.status(leader, group_id)).committed_index
            for number, server in servers.servers.items():
                await server.ready.wait()
                status = await servers.status(number, group_id, with_digest=True, at_index=index)
                assert not status.damaged, f"metaserver {number}, group {group_id}: {status.damage}"
                digests[number] = status.applied_index, status.digest
        except CurveFSError as error:
            return f"group {group_id}: {error}", {}
        if len({index for index, _ in digests.values()}) > 1:
            return f"group {group_id}: replicas are at {digests}", {}
        assert len(set(digests.values())) == 1, f"group {group_id}: replicas differ: {digests}"
        for number, server in servers.servers.items():
            pairs = pairs_of(server, group_id)
            left = unfinished_in(pairs)
            if left:
                return f"group {group_id} on metaserver {number}: {left}", {}
        found |= pairs
    return "", found


class Tree:
    """Inodes and names of all groups together."""

    def __init__(self, pairs):
        self.inodes: dict[int, pb.Inode] = {}
        self.names: dict[int, dict[bytes, tuple[int, int]]] = collections.defaultdict(dict)  # by directory
        self.counts: dict[int, int] = {}  # of inodes, by partition
        for key, value in pairs.items():
            if key.startswith(keys.INODE):
                inode = pb.Inode.FromString(value)
                self.inodes[inode.inode_id] = inode
            elif key.startswith(keys.DENTRY):
                parent = int.from_bytes(key[5:13], "big")
                self.names[parent][key[keys.DENTRY_NAME_AT :]] = keys.unpack_dentry(value)
            elif key.startswith(keys.PARTITION):
                record = state_pb2.PartitionRecord.FromString(value)
                assert record.spec.fs_id == FS
                self.counts[record.spec.partition_id] = record.inode_count

    def find(self, path):
        """Return the inode number of a path, or 0."""
        at: int = ROOT_INODE
        for name in filter(None, path.split("/")):
            at = self.names[at].get(name.encode(), (0, 0))[0]
        return at

    def problems(self):
        """Return what is wrong with it: one line each."""
        wrong = []
        links: collections.Counter[int] = collections.Counter((ROOT_INODE,))
        for parent, names in self.names.items():
            if parent not in self.inodes:
                wrong.append(f"names in {parent:x}, which is not there: {sorted(names)}")
            for name, (inode_id, type_) in names.items():
                links[inode_id] += 1
                wrong += self._problems_of_name(parent, name, inode_id, type_)
        for inode_id, inode in self.inodes.items():
            wrong += self._problems_of(inode, links[inode_id])
        reached = self._reached()
        wrong += [f"inode {one:x} cannot be reached from the root" for one in self.inodes.keys() - reached]
        for partition_id in range(len(LAYOUT)):
            count = sum(partition_of(one) == partition_id for one in self.inodes)
            if self.counts[partition_id] != count:
                wrong.append(f"partition {partition_id} counts {self.counts[partition_id]} inodes and has {count}")
        return wrong

    def _problems_of_name(self, parent, name, inode_id, type_):
        inode = self.inodes.get(inode_id)
        if inode is None:
            return [f"{parent:x}/{name!r} leads to {inode_id:x}, which is not there"]
        wrong = []
        if stat.S_IFMT(inode.mode) >> 12 != type_:
            wrong.append(f"{parent:x}/{name!r} says type {type_}, its inode {inode.mode:o}")
        # A file's is the directory of its first name, which may be gone.
        if inode.parent != parent and stat.S_ISDIR(inode.mode):
            wrong.append(f"{parent:x}/{name!r} leads to {inode_id:x}, whose parent is {inode.parent:x}")
        return wrong

    def _problems_of(self, inode, links):
        wrong = []
        names = self.names.get(inode.inode_id, {})
        if stat.S_ISDIR(inode.mode):
            below = sum(type_ == pb.DIRECTORY for _, type_ in names.values())
            if links != 1:
                wrong.append(f"directory {inode.inode_id:x} has {links} names")
            if inode.nlink != 2 + below:
                wrong.append(f"directory {inode.inode_id:x} has nlink {inode.nlink} and {below} directories in it")
            if inode.entry_count != len(names):
                wrong.append(f"directory {inode.inode_id:x} counts {inode.entry_count} names and has {len(names)}")
        elif inode.nlink != links:
            wrong.append(f"file {inode.inode_id:x} has nlink {inode.nlink} and {links} names")
        return wrong

    def _reached(self):
        reached, todo = {int(ROOT_INODE)}, [int(ROOT_INODE)]
        while todo:
            for inode_id, _ in self.names.get(todo.pop(), {}).values():
                if inode_id not in reached:
                    reached.add(inode_id)
                    todo.append(inode_id)
        return reached


async def check_everything(servers):
    """Nothing is left of transactions, replicas are equal, and the tree is right; returns it."""
    tree = Tree(await settled(servers))
    problems = tree.problems()
    assert not problems, "\n".join(problems)
    return tree
