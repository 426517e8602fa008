"""What the commands about files share: the inode of a path, a tree from there, slice lists. Any metaserver answers."""

import os
import random
import stat
import time
from collections.abc import Callable, Iterator
from typing import Any

from curvefs.proto import files_pb2, files_pb2_grpc
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.errors import CurveFSError, Locked, NotFound, Unavailable
from curvefs.src.rpc.backoff import pause_s

from ..filesystems import any_metaserver

CHUNKS_PER_READ = 64
_DEADLINE_S = 20.0
_PAUSE_S, _PAUSE_S_MAX = 0.2, 5.0

Failed = Callable[[bytes, CurveFSError], None]


class Files:
    """The files of one filesystem. Thread-safe."""

    def __init__(self, mds: list[str], fs: str, *, patience_s: float = 0.0, ends_at: float | None = None) -> None:
        """patience_s: for how long what is unavailable is asked for again. ends_at: by the monotonic clock; not after.

        Raises NotFound for an unknown filesystem, Unavailable.
        """
        self.filesystem, self._client = any_metaserver(mds, fs)
        self._patience_s = patience_s
        self._ends_at = ends_at
        self._is_in_vain = False  # some call has waited so long, and none was answered since: others need not

    def call(self, method: str, request: Any) -> Any:
        """Call FilesService. Raises what it fails with."""
        request.fs_id = self.filesystem.fs_id
        ends_at = time.monotonic() + self._patience_s
        if self._ends_at is not None:
            ends_at = min(ends_at, self._ends_at)
        failures = 0
        while True:
            try:
                reply = self._client.call(files_pb2_grpc.FilesServiceStub, method, request, deadline_s=_DEADLINE_S)
            except (Unavailable, Locked):
                if self._is_in_vain or time.monotonic() >= ends_at:
                    self._is_in_vain = True
                    raise
                failures += 1
                time.sleep(pause_s(failures, random.random, first_s=_PAUSE_S, max_s=_PAUSE_S_MAX))
            else:
                self._is_in_vain = False
                return reply

    def find(self, path: bytes) -> pb.Inode:
        """Return the inode of a path from the root on. Raises NotFound."""
        found: pb.Inode = self.call("Find", files_pb2.FindRequest(path=path)).inode
        return found

    def regular_files(self, inode: pb.Inode, path: bytes, failed: Failed) -> Iterator[tuple[bytes, pb.Inode]]:
        """Yield the regular files below an inode, or itself, with their paths; what goes away meanwhile is left out.

        failed: called with the path of what cannot be read, and why; then it goes on with the rest.
        Memory: a page of names for each level of the tree. A tree may be deeper than calls can be nested.
        """
        levels = [iter([(path, inode)])]
        while levels:
            if (found := next(levels[-1], None)) is None:
                levels.pop()
                continue
            path, inode = found
            if stat.S_ISREG(inode.mode):
                yield path, inode
            elif stat.S_ISDIR(inode.mode):
                levels.append(self._children(inode, path, failed))

    def _children(self, inode: pb.Inode, path: bytes, failed: Failed) -> Iterator[tuple[bytes, pb.Inode]]:
        """Yield the regular files and directories in a directory."""
        wanted = pb.ReadDir(inode_id=inode.inode_id, with_attributes=True)
        while True:
            try:
                page = self._read(inode.inode_id, pb.Read(read_dir=wanted))
            except NotFound:
                return
            except CurveFSError as error:
                failed(path, error)
                return
            for entry in page.entries:
                if entry.type not in {pb.REGULAR, pb.DIRECTORY}:
                    continue
                below = os.path.join(path, entry.name)  # noqa: PTH118  # bytes
                try:
                    child = entry.inode if entry.HasField("inode") else self._attributes(entry.inode_id)
                except NotFound:
                    continue
                except CurveFSError as error:
                    failed(below, error)
                    continue
                yield below, child
            if page.end or not page.entries:
                return
            wanted.after_hash, wanted.after_name = page.entries[-1].hash, page.entries[-1].name

    def slices(self, inode: pb.Inode) -> Iterator[tuple[int, list[pb.Slice]]]:
        """Yield the slice list of each chunk that has one, until ends_at: holes take long, too. Raises NotFound."""
        count = -(-inode.length // self.filesystem.chunk_size)
        for first in range(0, count, CHUNKS_PER_READ):
            if first and self._ends_at is not None and time.monotonic() >= self._ends_at:
                return
            yield from sorted(self._lists(inode.inode_id, first, min(CHUNKS_PER_READ, count - first)).items())

    def slices_of(self, inode_id: int, chunk_index: int) -> list[pb.Slice]:
        """Return the slice list of a chunk. Raises NotFound."""
        return self._lists(inode_id, chunk_index, 1).get(chunk_index, [])

    def _lists(self, inode_id: int, first: int, count: int) -> dict[int, list[pb.Slice]]:
        wanted = pb.GetSlices(inode_id=inode_id, first_chunk=first, count=count)
        lists: dict[int, list[pb.Slice]] = {}
        for one in self._read(inode_id, pb.Read(get_slices=wanted)).slices:
            lists.setdefault(one.chunk_index, []).append(one)
        return lists

    def _attributes(self, inode_id: int) -> pb.Inode:
        return self._read(inode_id, pb.Read(get_attr=pb.GetAttr(inode_id=inode_id))).inode

    def _read(self, inode_id: int, read: pb.Read) -> pb.ReadResult:
        result: pb.ReadResult = self.call("Read", files_pb2.ReadRequest(inode_id=inode_id, read=read)).result
        return result
