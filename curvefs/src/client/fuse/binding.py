"""pyfuse3's operations over the vfs: convert, call, convert back; errors become errno here and nowhere else.

libfuse asks for one task a request; a blocked one delays no other. What this binding cannot offer, because pyfuse3
does not expose it, is listed in SEMANTICS.md (locks across mounts, fallocate, O_TMPFILE, ...).
"""

import errno
import functools
import os
import stat
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import pyfuse3
import structlog
import trio

from ....proto import metaserver_pb2 as pb
from ...common.errors import CurveFSError, FilesystemError, NotFound
from ...common.status import errno_of
from ..metrics import ClientMetrics
from ..vfs.filesystem import Vfs

log = structlog.get_logger()

BLOCK_SIZE = 4096
_ENDINGS = ("release", "releasedir")
KERNEL_THREADS_MAX = 16  # that tell the kernel about pages, and may wait for it
P = ParamSpec("P")
R = TypeVar("R")


def _operation(
    handler: Callable[Concatenate["Binding", P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate["Binding", P], Coroutine[Any, Any, R]]:
    """Translate errors to errno, count and time one kind of request."""
    name = handler.__name__

    @functools.wraps(handler)
    async def wrapped(self: "Binding", *args: P.args, **kwargs: P.kwargs) -> R:
        began = time.perf_counter()
        try:
            if self.gone and name not in _ENDINGS:
                raise pyfuse3.FUSEError(errno.EIO)
            return await handler(self, *args, **kwargs)
        except FilesystemError as error:
            number = errno_of(error)
            if number == errno.EIO:
                log.error("input/output error", operation=name, reason=str(error))
            raise pyfuse3.FUSEError(number) from None
        except CurveFSError as error:
            log.error("input/output error", operation=name, kind=type(error).__name__, reason=str(error))
            raise pyfuse3.FUSEError(errno_of(error)) from None
        except pyfuse3.FUSEError:
            raise
        except Exception:
            log.exception("a bug: an operation failed unexpectedly", operation=name)
            raise pyfuse3.FUSEError(errno.EIO) from None
        finally:
            self.metrics.operation(name, time.perf_counter() - began)

    return wrapped  # type: ignore[return-value]  # the checker names the first parameter


class Binding(pyfuse3.Operations):
    """One mount."""

    supports_dot_lookup = True  # for file handles: open_by_handle_at, and a kernel that exports the mount by NFS
    enable_writeback_cache = False  # rule 22: it ignores what other mounts wrote

    def __init__(self, vfs: Vfs, metrics: ClientMetrics, *, negative_timeout_s: float) -> None:
        super().__init__()
        self.metrics = metrics
        self.gone = False  # the filesystem: nothing that the caches still have is told any more
        self._vfs = vfs
        self._negative_timeout_s = negative_timeout_s
        self._threads = trio.CapacityLimiter(KERNEL_THREADS_MAX)  # not those that sessions are renewed in

    # --------------------------------------------------------------------------------------- attributes

    @_operation
    async def lookup(self, parent_inode: int, name: bytes, ctx: Any) -> Any:
        try:
            return self._named(parent_inode, name, await self._vfs.lookup(parent_inode, name))
        except NotFound:
            if not self._negative_timeout_s:
                raise
            absent = pyfuse3.EntryAttributes()
            absent.st_ino = 0
            absent.entry_timeout = min(self._negative_timeout_s, self._vfs.name_left_s(parent_inode, name, 0))
            return absent

    @_operation
    async def getattr(self, inode: int, ctx: Any) -> Any:
        return self._attributes(await self._vfs.getattr(inode))

    @_operation
    async def setattr(self, inode: int, attr: Any, fields: Any, fh: int | None, ctx: Any) -> Any:
        changes = pb.SetAttr(inode_id=inode)
        if fields.update_mode:
            changes.mode = stat.S_IMODE(attr.st_mode)
        if fields.update_uid:
            changes.uid = attr.st_uid
        if fields.update_gid:
            changes.gid = attr.st_gid
        if fields.update_size:
            changes.length = attr.st_size
        if fields.update_atime:
            changes.atime_ns = _stored_time(attr.st_atime_ns)
        if fields.update_mtime:
            changes.mtime_ns = _stored_time(attr.st_mtime_ns)
        return self._attributes(await self._vfs.setattr(changes))

    @_operation
    async def readlink(self, inode: int, ctx: Any) -> bytes:
        return await self._vfs.readlink(inode)

    @_operation
    async def statfs(self, ctx: Any) -> Any:
        numbers = await self._vfs.statfs()
        result = pyfuse3.StatvfsData()
        result.f_bsize = result.f_frsize = BLOCK_SIZE
        result.f_blocks = numbers.capacity_bytes // BLOCK_SIZE
        used = min(-(-numbers.used_bytes // BLOCK_SIZE), result.f_blocks)
        result.f_bfree = result.f_bavail = result.f_blocks - used
        result.f_files = numbers.capacity_inodes
        result.f_ffree = result.f_favail = max(0, numbers.capacity_inodes - numbers.inode_count)
        result.f_namemax = 255
        return result

    # -------------------------------------------------------------------------------------------- names

    @_operation
    async def mknod(self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: Any) -> Any:
        mode &= ~ctx.umask
        inode = await self._vfs.mknod(parent_inode, name, mode, _credential(ctx), rdev)
        return self._named(parent_inode, name, inode)

    @_operation
    async def mkdir(self, parent_inode: int, name: bytes, mode: int, ctx: Any) -> Any:
        inode = await self._vfs.mkdir(parent_inode, name, mode & ~ctx.umask, _credential(ctx))
        return self._named(parent_inode, name, inode)

    @_operation
    async def symlink(self, parent_inode: int, name: bytes, target: bytes, ctx: Any) -> Any:
        inode = await self._vfs.symlink(parent_inode, name, target, _credential(ctx))
        return self._named(parent_inode, name, inode)

    @_operation
    async def link(self, inode: int, new_parent_inode: int, new_name: bytes, ctx: Any) -> Any:
        linked = await self._vfs.link(inode, new_parent_inode, new_name)
        return self._named(new_parent_inode, new_name, linked)

    @_operation
    async def unlink(self, parent_inode: int, name: bytes, ctx: Any) -> None:
        await self._vfs.unlink(parent_inode, name, ctx.uid)

    @_operation
    async def rmdir(self, parent_inode: int, name: bytes, ctx: Any) -> None:
        await self._vfs.rmdir(parent_inode, name, ctx.uid)

    @_operation
    async def rename(
        self, parent_inode_old: int, name_old: bytes, parent_inode_new: int, name_new: bytes, flags: int, ctx: Any
    ) -> None:
        await self._vfs.rename(parent_inode_old, name_old, parent_inode_new, name_new, flags, uid=ctx.uid)

    # -------------------------------------------------------------------------------------------- files

    @_operation
    async def create(self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: Any) -> Any:
        inode, handle = await self._vfs.create(parent_inode, name, mode & ~ctx.umask, flags, _credential(ctx))
        info = pyfuse3.FileInfo(fh=handle, keep_cache=True, direct_io=_is_direct(flags))
        return info, self._named(parent_inode, name, inode)

    @_operation
    async def open(self, inode: int, flags: int, ctx: Any) -> Any:
        handle, keep_cache = await self._vfs.open(inode, flags, ctx.uid)
        return pyfuse3.FileInfo(fh=handle, keep_cache=keep_cache, direct_io=_is_direct(flags))

    @_operation
    async def read(self, fh: int, off: int, size: int) -> bytes:
        return await self._vfs.read(fh, off, size)

    @_operation
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        return await self._vfs.write(fh, off, buf)

    @_operation
    async def flush(self, fh: int) -> None:
        await self._vfs.flush(fh)

    @_operation
    async def fsync(self, fh: int, datasync: bool) -> None:  # noqa: FBT001  # pyfuse3's signature
        await self._vfs.fsync(fh)

    @_operation
    async def release(self, fh: int) -> None:
        await self._vfs.release(fh)

    # -------------------------------------------------------------------------------------- directories

    @_operation
    async def opendir(self, inode: int, ctx: Any) -> int:
        return await self._vfs.opendir(inode, ctx.uid)

    @_operation
    async def readdir(self, fh: int, start_id: int, token: Any) -> None:
        cursor, directory = start_id, self._vfs.directory_of(fh)
        while entries := await self._vfs.readdir(fh, cursor):
            for entry in entries:
                if not entry.HasField("inode"):
                    continue  # removed between listing and reading its attributes
                listed = self._entry(entry.inode, self._name_left_s(directory, entry.name, entry.inode))
                if not pyfuse3.readdir_reply(token, entry.name, listed, entry.hash):
                    return
                if entry.name not in (b".", b".."):  # of these the kernel takes no attributes
                    self._vfs.view.told_attributes(entry.inode.inode_id, entry.inode.change)
            cursor = entries[-1].hash

    @_operation
    async def releasedir(self, fh: int) -> None:
        await self._vfs.releasedir(fh)

    @_operation
    async def fsyncdir(self, fh: int, datasync: bool) -> None:  # noqa: FBT001  # pyfuse3's signature
        """Nothing to do: an operation on names is durable before it returns."""

    # --------------------------------------------------------------------------------------- attributes

    @_operation
    async def getxattr(self, inode: int, name: bytes, ctx: Any) -> bytes:
        return await self._vfs.extended_attributes.get(inode, name)

    @_operation
    async def setxattr(self, inode: int, name: bytes, value: bytes, ctx: Any) -> None:
        await self._vfs.extended_attributes.set(inode, name, value)

    @_operation
    async def listxattr(self, inode: int, ctx: Any) -> Sequence[bytes]:
        return await self._vfs.extended_attributes.list(inode, ctx.uid)

    @_operation
    async def removexattr(self, inode: int, name: bytes, ctx: Any) -> None:
        await self._vfs.extended_attributes.remove(inode, name)

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        """The kernel dropped inodes; the vfs keeps nothing per lookup but its view of the kernel."""
        for inode, _ in inode_list:
            self._vfs.view.forget(inode)

    async def drop_inode(self, inode: int) -> None:
        """Make the kernel drop an inode's pages and attributes.

        In a thread: the write may wait for pages that this very event loop has to answer for.
        """
        try:
            await trio.to_thread.run_sync(pyfuse3.invalidate_inode, inode, limiter=self._threads)
        except OSError as error:
            if error.errno != errno.ENOENT:  # the kernel did not have it
                raise

    async def put_pages(self, inode: int, offset: int, data: bytes) -> None:
        """Give the kernel bytes of a file to keep. Raises OSError. In a thread, as above."""
        await trio.to_thread.run_sync(pyfuse3.notify_store, inode, offset, data, limiter=self._threads)
        self.metrics.pages_put.inc(len(data))

    # ------------------------------------------------------------------------------------------- shared

    def _named(self, parent: int, name: bytes, inode: pb.Inode) -> Any:
        """Tell what a name leads to."""
        self._vfs.view.told_attributes(inode.inode_id, inode.change)
        return self._entry(inode, self._name_left_s(parent, name, inode))

    def _attributes(self, inode: pb.Inode) -> Any:
        """Tell the attributes of an inode."""
        self._vfs.view.told_attributes(inode.inode_id, inode.change)
        return self._entry(inode, 0)

    def _name_left_s(self, parent: int, name: bytes, inode: pb.Inode) -> float:
        # Below what was taken out of the trash no name may be known any more.
        return 0 if inode.trashed_ns else self._vfs.name_left_s(parent, name, inode.inode_id)

    def _entry(self, inode: pb.Inode, name_left_s: float) -> Any:
        """Return what the kernel is to be told. It trusts what has been known for a while for the rest of its time."""
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = inode.inode_id
        entry.generation = 0  # inode numbers are never used twice
        entry.entry_timeout = name_left_s
        entry.attr_timeout = self._vfs.attributes_left_s(inode.inode_id)
        entry.st_mode = inode.mode
        entry.st_nlink = inode.nlink
        entry.st_uid = inode.uid
        entry.st_gid = inode.gid
        entry.st_rdev = inode.rdev
        entry.st_size = inode.length
        entry.st_blksize = BLOCK_SIZE
        entry.st_blocks = -(-inode.allocated // 512) if inode.allocated else _blocks_of(inode)
        entry.st_atime_ns = inode.atime_ns
        entry.st_mtime_ns = inode.mtime_ns
        entry.st_ctime_ns = inode.ctime_ns
        return entry


def _blocks_of(inode: pb.Inode) -> int:
    """Return st_blocks of what has no slices: directories as one block, everything else none."""
    return BLOCK_SIZE // 512 if stat.S_ISDIR(inode.mode) else 0


def _is_direct(flags: int) -> bool:
    """Say whether reads and writes of a handle are to pass the kernel's page cache by.

    What was written into a shared mapping comes as a WRITE of the handle that it was made with, and with O_APPEND no
    WRITE says whether its offset means anything. With direct I/O the kernel refuses such a mapping (ENODEV).
    """
    return flags & os.O_ACCMODE == os.O_RDWR and bool(flags & os.O_APPEND)


def _stored_time(time_ns: int) -> int:
    """Return a time as it can be kept, from 1677 to 2262: the nearest, as local filesystems do."""
    return max(-(1 << 63), min(time_ns, (1 << 63) - 1))


def _credential(ctx: Any) -> pb.Credential:
    return pb.Credential(uid=ctx.uid, gid=ctx.gid)


def mount(binding: Binding, source: str, mountpoint: str, options: set[str]) -> None:
    """Attach to the kernel. Raises RuntimeError when the mount fails."""
    base = set(pyfuse3.default_options) | {f"fsname={source}", "subtype=curvefs", "default_permissions"}
    pyfuse3.init(binding, mountpoint, base | options)


async def serve(tasks_max: int) -> None:
    """Answer the kernel until the filesystem is unmounted."""
    await pyfuse3.main(min_tasks=4, max_tasks=tasks_max)


def stop() -> None:
    """Make serve() return soon."""
    pyfuse3.terminate()


def detach(*, unmount: bool) -> None:
    """Let go of the kernel, unmounting if it is still mounted."""
    pyfuse3.close(unmount=unmount)


def tune(mountpoint: str, *, read_ahead_kib: int, background_max: int) -> None:
    """Raise what the kernel reads ahead and how many requests it has under way; best effort.

    libfuse leaves 128 KiB and 12. Called from a thread once the mount answers.
    """
    device = os.stat(mountpoint).st_dev  # noqa: PTH116  # of the mount itself
    major, minor = os.major(device), os.minor(device)
    for path, value in (
        (f"/sys/class/bdi/{major}:{minor}/read_ahead_kb", read_ahead_kib),
        (f"/sys/fs/fuse/connections/{minor}/max_background", background_max),
        (f"/sys/fs/fuse/connections/{minor}/congestion_threshold", background_max * 3 // 4),
    ):
        try:
            with open(path, "w") as file:  # noqa: PTH123  # sysfs
                file.write(str(value))
        except OSError as error:
            log.info("kernel setting left as it is", path=path, reason=str(error))
