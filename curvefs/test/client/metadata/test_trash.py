"""Listings of the trash over several groups: complete, in one order, whatever the pages."""

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.client.metadata import trash as trash_module
from curvefs.src.client.metadata.trash import TrashListing, TrashReads
from curvefs.src.common.errors import NotFound
from curvefs.src.common.ids import hour_of_trash, make_id, partition_of
from curvefs.src.common.status import error_of
from curvefs.test.metaserver.metastore.lab import Lab

PARTITIONS = 3
RETENTION_S = 3600


class Groups:
    """The state machine of one group for each partition; as a router and as who reads attributes."""

    def __init__(self):
        self.labs = [Lab(partitions=[number], retention_s=RETENTION_S) for number in range(PARTITIONS)]
        self.folders = [1] + [self._top(number) for number in range(1, PARTITIONS)]

    def _top(self, number):
        """Make a directory in a partition, for a root."""
        lab, inode_id = self.labs[number], make_id(number, 1)
        inode = pb.Inode(inode_id=inode_id, mode=0o40755, nlink=2, change=1, parent=1)
        lab.state.put(b"i" + (1).to_bytes(4, "big") + inode_id.to_bytes(8, "big"), inode.SerializeToString())
        return inode_id

    one_of_each_group = range(PARTITIONS)

    async def read(self, partition_id, read):
        await trio.lowlevel.checkpoint()
        result = self.labs[partition_id].read(**{read.WhichOneof("read"): getattr(read, read.WhichOneof("read"))})
        if result.HasField("failure"):
            raise error_of(result.failure)
        return result

    async def get_attr(self, inode_id, *, fresh=False):
        del fresh
        if partition_of(inode_id) >= PARTITIONS:
            raise NotFound
        return (await self.read(partition_of(inode_id), pb.Read(get_attr=pb.GetAttr(inode_id=inode_id)))).inode

    def remove(self, number, name):
        lab = self.labs[number]
        inode_id = lab.create(self.folders[number], name)
        lab.ok(unlink=pb.Unlink(parent=self.folders[number], name=name))
        return inode_id


async def everything(listing, limit):
    found = []
    while page := await listing.next(limit):
        assert len(page) <= limit
        found += page
    return found


@given(
    removed=st.lists(st.tuples(st.integers(0, PARTITIONS - 1), st.sampled_from([b"a", b"b", b"c", b"d"])), max_size=25),
    limit=st.integers(1, 7),
    page=st.integers(1, 5),
)
@settings(max_examples=60, deadline=None)
def test_a_listing_has_everything_once_in_one_order_and_the_newest_of_a_name_first(removed, limit, page):
    groups = Groups()
    numbers = [groups.remove(number, name) for number, name in removed]
    hour = hour_of_trash(groups.labs[0].time_ns)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(trash_module, "PAGE", page)
        listing = TrashReads(groups, groups).listing(hour)
        found = trio.run(everything, listing, limit)
    assert sorted(entry.inode_id for entry in found) == sorted(numbers)
    order = [(entry.hash, -entry.inode.trashed_ns, entry.inode_id) for entry in found]
    assert order == sorted(order)


def test_what_was_removed_out_of_a_removed_directory_of_another_group_is_shown_below_it_only():
    groups = Groups()
    inside, beside = groups.remove(1, b"inside"), groups.remove(0, b"beside")
    folder = groups.folders[2]  # the file lies in another partition than its directory
    lab = groups.labs[1]
    key = b"i" + (1).to_bytes(4, "big") + inside.to_bytes(8, "big")
    inode = pb.Inode.FromString(lab.state.get(key))
    inode.trashed_parent = folder
    lab.state.put(key, inode.SerializeToString())
    trash = TrashReads(groups, groups)
    hour = hour_of_trash(lab.time_ns)

    def shown():
        return sorted(entry.inode_id for entry in trio.run(everything, TrashListing(groups, trash, hour, b""), 9))

    assert shown() == sorted([inside, beside])
    gone = pb.Inode(inode_id=folder, mode=0o40755, trashed_ns=lab.time_ns, trashed_parent=1, trashed_name=b"d")
    groups.labs[2].state.put(b"i" + (1).to_bytes(4, "big") + folder.to_bytes(8, "big"), gone.SerializeToString())
    assert shown() == [beside]
    groups.labs[2].state.delete(b"i" + (1).to_bytes(4, "big") + folder.to_bytes(8, "big"))
    assert shown() == sorted([inside, beside]), "the directory is purged: it is found by its hour"
