"""The tree of files that commands walk."""

import stat

from curvefs_tool.files.access import Files

from curvefs.proto import files_pb2, mds_pb2
from curvefs.proto import metaserver_pb2 as pb

DEPTH = 1500  # more than calls can be nested


class Deep:
    """Answers for directories within one another, each with a file before and one after the next."""

    def call(self, stub, method, request, *, deadline_s):
        at = request.inode_id
        result = pb.ReadResult(end=True)
        for name, inode_id, kind in (
            (b"a", -at, stat.S_IFREG),
            (b"d", at + 1, stat.S_IFDIR),
            (b"z", -at, stat.S_IFREG),
        ):
            if inode_id <= DEPTH:
                type_ = pb.DIRECTORY if kind == stat.S_IFDIR else pb.REGULAR
                entry = result.entries.add(name=name, inode_id=abs(inode_id), type=type_)
                entry.inode.inode_id, entry.inode.mode = abs(inode_id), kind
        return files_pb2.ReadReply(result=result)


def files_of(monkeypatch, client):
    monkeypatch.setattr(
        "curvefs_tool.files.access.any_metaserver", lambda mds, fs: (mds_pb2.Filesystem(fs_id=1), client)
    )
    return Files(["mds:1"], "fs")


def test_a_tree_may_be_deeper_than_calls_can_be_nested(monkeypatch):
    found = files_of(monkeypatch, Deep()).regular_files(pb.Inode(inode_id=1, mode=stat.S_IFDIR), b"/")
    paths = [path for path, _ in found]
    folders = [b"/" + b"d/" * level for level in range(DEPTH)]
    assert paths == [folder + b"a" for folder in folders] + [folder + b"z" for folder in reversed(folders)]
