"""Whose is what a name in the trash leads to."""

import stat
from types import SimpleNamespace

import pytest

from curvefs.proto import mds_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.client.vfs.trash import Trash
from curvefs.src.common.errors import NotFound, NotPermitted
from curvefs.src.common.ids import TRASH_PARTITION, make_id
from curvefs.src.common.trash_names import suffixed

pytestmark = pytest.mark.trio
HOUR, DIRECTORY = make_id(TRASH_PARTITION, 490_000), 77
ALICE, BOB = 1000, 2000


class Listed:
    """What is in the trash, all of it shown at every place."""

    def __init__(self, *inodes):
        self.inodes = list(inodes)

    def listing(self, _place, name=b""):
        found = sorted((one for one in self.inodes if one.trashed_name == name), key=lambda one: -one.trashed_ns)

        async def following(limit):
            return [SimpleNamespace(inode=one) for one in found][:limit]

        return SimpleNamespace(next=following)

    async def by_number(self, number):
        for one in self.inodes:
            if one.inode_id == number:
                return one
        raise NotFound

    async def is_shown_at(self, _inode, _place):
        return True


def removed(inode_id, uid, name, at_ns):
    return pb.Inode(
        inode_id=inode_id, uid=uid, mode=stat.S_IFREG | 0o600, trashed_ns=at_ns, trashed_name=name, trashed_parent=5
    )


def trash(*inodes):
    return Trash(mds_pb2.Filesystem(trash_retention_s=60), SimpleNamespace(trash=Listed(*inodes)))


async def test_a_name_with_a_number_leads_to_that_inode_whoever_has_a_file_of_that_name():
    wanted = suffixed(b"report.txt", 100)
    this = trash(removed(100, ALICE, b"report.txt", 1), removed(200, BOB, wanted, 2))
    assert (await this.find(HOUR, wanted)).inode_id == 100
    assert (await this.find(HOUR, suffixed(wanted, 200))).inode_id == 200


async def test_a_number_that_nobody_has_is_a_part_of_a_name():
    name = suffixed(b"a", 300)
    this = trash(removed(200, BOB, name, 2))
    assert (await this.find(HOUR, name)).inode_id == 200


async def test_nobody_takes_what_came_in_between_and_is_anothers():
    this = trash(removed(100, BOB, b"report.txt", 1), removed(200, ALICE, b"report.txt", 2))
    with pytest.raises(NotPermitted):
        await this.find_own(HOUR, b"report.txt", BOB)
    assert (await this.find_own(HOUR, b"report.txt", ALICE)).inode_id == 200
    assert (await this.find_own(HOUR, b"report.txt", 0)).inode_id == 200
    # Below a removed directory it is that directory's permissions that count.
    assert (await this.find_own(DIRECTORY, b"report.txt", BOB)).inode_id == 200
