"""A file that lost its last name while it is open here is let go with its last handle."""

from types import SimpleNamespace

import pytest

from curvefs.proto import mds_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.client.vfs.filesystem import Vfs
from curvefs.src.client.vfs.kernel_pages import KernelPages
from curvefs.src.common.errors import Unavailable

pytestmark = pytest.mark.trio
INODE = 7 << 40 | 1


class Metadata:
    """Of a file that another group has; what it says of the file besides is in ``inode``."""

    def __init__(self, inode):
        self.inode = inode
        self.released = []
        self.names = self.reads = self.trash = self
        self.releases = SimpleNamespace(forget=lambda _: None)
        self.cache = SimpleNamespace(last_known=lambda *_: INODE, was_absent=lambda *_: False)

    async def lookup(self, parent, name):
        return pb.Inode(inode_id=INODE, nlink=1)

    async def unlink(self, parent, name, held):
        return pb.OperationResult(replaced=pb.Inode(inode_id=INODE), held=True)

    async def get_attr(self, inode_id, *, fresh):
        if self.inode is None:
            raise Unavailable("injected")
        return self.inode

    async def release(self, inode_id):
        self.released.append(inode_id)


@pytest.mark.parametrize(
    ("inode", "released"),
    [
        (pb.Inode(inode_id=INODE), [INODE]),
        (pb.Inode(inode_id=INODE, nlink=1), []),
        (None, [INODE]),  # nobody says whether it has other names: then it does no harm
    ],
)
async def test_what_lies_in_another_group_is_let_go_unless_it_is_known_to_have_names(inode, released):
    metadata = Metadata(inode)
    view = SimpleNamespace(forget=lambda _: None)
    data = SimpleNamespace(close_file=lambda _: None)
    filesystem = Vfs(mds_pb2.Filesystem(), metadata, data, view, KernelPages())
    file = SimpleNamespace(discard=lambda: None)
    number = filesystem._files.add(SimpleNamespace(inode_id=INODE, file=file, writes=False, opening=None))
    await filesystem.unlink(1, b"f")
    await filesystem.release(number)
    assert metadata.released == released
