"""One client of a history: the product's client library without a kernel, every call recorded.

Changes go the way they go under a mount (the lane, transactions, what the cache knows of partitions); reads are sent to
the leader, past the cache. A call whose outcome the client does not know is recorded so; such a read is left out.
"""

import errno
import itertools
import os
import socket
import stat
import time
from dataclasses import replace
from functools import partial

import trio

from curvefs.proto import mds_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.client.metadata.cache import MetadataCache
from curvefs.src.client.metadata.client import MetadataClient
from curvefs.src.client.metadata.ids import IdRanges
from curvefs.src.client.metadata.router import Router
from curvefs.src.client.metadata.session import MountSession
from curvefs.src.common.clock import SystemClock
from curvefs.src.common.errors import CurveFSError, FilesystemError, IOFailure, NotFound, SessionEnded
from curvefs.src.common.ids import partition_of
from curvefs.src.common.status import errno_of
from curvefs.src.rpc.blocking import BlockingClient
from curvefs.src.rpc.connection import dial, find_sessions
from curvefs.test.linearizability.history import UNKNOWN, Call
from curvefs.test.linearizability.operations import (
    DIRECTORY,
    FILE,
    OK,
    Create,
    Flag,
    Getattr,
    Link,
    Lookup,
    Mkdir,
    Readdir,
    Rename,
    Rmdir,
    Unlink,
)

CACHE_SIZE = 10_000
LISTING_MAX = 1000
FILE_MODE, DIRECTORY_MODE = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755

_numbers = itertools.count(1)


class Client:
    """One session. ``timeout_s``: how long it waits before it gives a call up, its outcome unknown."""

    def __init__(self, mds, fs, proxies, *, timeout_s):
        self.number = next(_numbers)
        self.timeout_s = timeout_s
        self._session = MountSession(
            BlockingClient([mds]),
            mds_pb2.OpenSessionRequest(
                name=fs, host=socket.gethostname(), pid=os.getpid(), mountpoint=f"/chaos/{self.number}"
            ),
            SystemClock(),
        )
        ids = IdRanges()
        self._router = Router(
            self._session,
            timeout_s=timeout_s,
            on_new_session=ids.clear,
            connect=partial(_through, proxies),
        )
        cache = MetadataCache(CACHE_SIZE, attr_timeout_s=0.0, entry_timeout_s=0.0, negative_timeout_s=0.0)
        self._metadata = MetadataClient(self._router, cache, ids)
        self.surfaced = []  # errors that no filesystem gives

    async def run(self, task_status=trio.TASK_STATUS_IGNORED):
        """Be there until cancelled."""
        await trio.to_thread.run_sync(self._session.open_blocking)
        async with trio.open_nursery() as nursery:
            await nursery.start(self._router.run)
            task_status.started()
            await trio.sleep_forever()

    async def close(self):
        """End the session."""
        await self._session.close()
        self._session.mds.close()

    async def call(self, id_, operation):
        """Make one call and return its record; None for one that says nothing."""
        began = time.monotonic()
        try:
            answer = await getattr(self, f"_{type(operation).__name__.lower()}")(operation)
        except (IOFailure, SessionEnded) as error:
            self.surfaced.append(f"{type(error).__name__}: {error}")
            if isinstance(operation, Lookup | Getattr | Readdir):
                return None
            return Call(self.number, id_, operation, began)
        except FilesystemError as error:
            answer = errno.errorcode[errno_of(error)]
        except CurveFSError as error:  # nothing is promised of it: a history with a bug of its own
            answer = type(error).__name__
            self.surfaced.append(f"{answer}: {error}")
        assert answer is not UNKNOWN
        return Call(self.number, id_, operation, began, time.monotonic(), answer)

    # -------------------------------------------------------------------------------------------- changes

    async def _create(self, operation):
        inode, _ = await self._metadata.names.create(
            operation.parent, operation.name.encode(), FILE_MODE, pb.Credential(), exclusive=operation.exclusive
        )
        return OK, inode.inode_id

    async def _mkdir(self, operation):
        inode = await self._metadata.names.make_directory(
            operation.parent, operation.name.encode(), DIRECTORY_MODE, pb.Credential()
        )
        return OK, inode.inode_id

    async def _link(self, operation):
        await self._metadata.names.link(operation.inode, operation.new_parent, operation.new_name.encode())
        return (OK,)  # the number of links may be that of a moment later

    async def _unlink(self, operation):
        await self._metadata.names.unlink(operation.parent, operation.name.encode(), 0)
        return (OK,)

    async def _rmdir(self, operation):
        await self._metadata.names.rmdir(operation.parent, operation.name.encode(), 0)
        return (OK,)

    async def _rename(self, operation):
        await self._metadata.names.rename(
            operation.parent,
            operation.name.encode(),
            operation.new_parent,
            operation.new_name.encode(),
            no_replace=operation.flag is Flag.NOREPLACE,
            exchange=operation.flag is Flag.EXCHANGE,
        )
        return (OK,)

    # ---------------------------------------------------------------------------------------------- reads

    async def _lookup(self, operation):
        read = pb.Read(lookup=pb.Lookup(parent=operation.parent, name=operation.name.encode()))
        result = await self._router.read(partition_of(operation.parent), read)
        if not result.HasField("inode"):
            raise NotFound
        inode = result.inode
        if partition_of(inode.inode_id) != partition_of(operation.parent):
            return OK, inode.inode_id, _type(inode)  # more is known only where it lies
        return OK, inode.inode_id, _type(inode), inode.nlink

    async def _getattr(self, operation):
        read = pb.Read(get_attr=pb.GetAttr(inode_id=operation.inode))
        inode = (await self._router.read(partition_of(operation.inode), read)).inode
        return OK, _type(inode), inode.nlink

    async def _readdir(self, operation):
        read = pb.Read(read_dir=pb.ReadDir(inode_id=operation.parent, limit=LISTING_MAX))
        result = await self._router.read(partition_of(operation.parent), read)
        assert result.end
        return OK, frozenset(entry.name.decode() for entry in result.entries)


async def _through(proxies, address, deliver):
    place = await find_sessions(address)
    return await dial(replace(place, address=proxies.address(address)), deliver)


def _type(inode):
    return DIRECTORY if stat.S_ISDIR(inode.mode) else FILE


OPERATIONS = (Create, Mkdir, Link, Unlink, Rmdir, Rename, Lookup, Getattr, Readdir)
