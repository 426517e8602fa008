"""The operations of POSIX on one filesystem.

Every operation is one call; it raises FilesystemError (or another CurveFSError, which the binding turns into EIO).
Attributes come back as metaserver Inode messages, with what this mount has written but not yet published on top.
Permission checks are the kernel's (default_permissions); the caller's uid and gid only own what is created.

Shared across awaits: the open files and directories, and the kernel view; each changes between awaits only.
"""

import os
import stat
from dataclasses import dataclass

import trio

from ....proto import mds_pb2
from ....proto import metaserver_pb2 as pb
from ...common.errors import (
    AlreadyExists,
    InvalidArgument,
    IsADirectory,
    NameTooLong,
    NotPermitted,
    StaleHandle,
)
from ...common.ids import NAME_SIZE_MAX, SYMLINK_TARGET_SIZE_MAX
from ..data.data_path import DataPath
from ..metadata.client import MetadataClient
from .directories import DirectoryHandle, entries_after
from .extended_attributes import ExtendedAttributes
from .files import FileHandle, may_write
from .handles import OpenHandles
from .kernel_pages import KernelPages
from .kernel_view import KernelView
from .removals import Removals
from .stale import stale_if_gone
from .trash import TRASH_INODE, Trash
from .trash_listing import TrashHandle

CAPACITY_BYTES_DEFAULT = 1 << 50
CAPACITY_INODES_DEFAULT = 1 << 32
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2


@dataclass(frozen=True, slots=True)
class Statistics:
    """What statvfs(3) wants: bytes and inodes."""

    capacity_bytes: int
    used_bytes: int
    capacity_inodes: int
    inode_count: int


class Vfs:
    """One mounted filesystem, but for its ``extended_attributes``.

    ``view`` and ``pages``: what the kernel was told, and has of file content.
    """

    def __init__(
        self,
        filesystem: mds_pb2.Filesystem,
        metadata: MetadataClient,
        data: DataPath,
        view: KernelView,
        pages: KernelPages,
    ) -> None:
        self._filesystem = filesystem
        self._metadata = metadata
        self._data = data
        self.view = view
        self.pages = pages
        self._files: OpenHandles[FileHandle] = OpenHandles()
        self._directories: OpenHandles[DirectoryHandle | TrashHandle] = OpenHandles()
        self._removals = Removals(metadata, view, self._files, self._directories)
        self._trash = Trash(filesystem, metadata)
        self.extended_attributes = ExtendedAttributes(metadata, self._trash, self._removals)

    # --------------------------------------------------------------------------------------- attributes

    def attributes_left_s(self, inode_id: int) -> float:
        """Return for how long the attributes that were just returned may be trusted."""
        return self._metadata.cache.attributes_left_s(inode_id, trio.current_time())

    def name_left_s(self, parent: int, name: bytes, inode_id: int) -> float:
        """Return for how long a name may be trusted to lead to an inode; 0: to be absent."""
        return self._metadata.cache.name_left_s(parent, name, inode_id, trio.current_time())

    async def lookup(self, parent: int, name: bytes) -> pb.Inode:
        """Return what a name leads to. Raises NotFound, NotADirectory, NameTooLong.

        '.' may be asked of anything: it is how the kernel finds what a file handle says. Raises StaleHandle.
        """
        if name in (b".", b".."):
            inode = await self.getattr(parent)
            inode = inode if name == b"." else await self.getattr(inode.parent)
            if self._is_gone(inode):
                raise StaleHandle
            return inode
        if self._trash.is_top(parent, name) or await self._trash.covers(parent):
            return await self._trash.lookup(parent, name)
        _check_name(name)
        inode = await self._metadata.reads.lookup(parent, name)
        if await self._removals.over(inode.inode_id):
            inode = await self._metadata.reads.lookup(parent, name)
        return self._as_now(inode)

    async def getattr(self, inode_id: int) -> pb.Inode:
        """Return attributes, as fstat(2)."""
        with stale_if_gone(self._metadata.cache, inode_id):
            if not self._removals.is_orphan(inode_id) and await self._trash.covers(inode_id):
                return await self._trash.attributes(inode_id)
            return self._as_now(await self._metadata.reads.get_attr(inode_id))

    async def setattr(self, changes: pb.SetAttr) -> pb.Inode:
        """Change mode, owner, times, length: chmod, chown, utimensat, truncate."""
        with stale_if_gone(self._metadata.cache, changes.inode_id):
            if not self._removals.is_orphan(changes.inode_id):
                await self._trash.refuse(changes.inode_id)
            if not changes.HasField("length"):
                return self._as_now(await self._setattr(changes))
            with self.pages.barred(changes.inode_id):
                await self.pages.quiet(changes.inode_id)
                inode = await self._setattr(changes)
        file = self._data.file(changes.inode_id)
        if file is not None:
            file.revalidate(inode)  # it may have been opened meanwhile, as it was before
        return self._as_now(inode)

    async def _setattr(self, changes: pb.SetAttr) -> pb.Inode:
        file = self._data.file(changes.inode_id)
        inode: pb.Inode | None = None
        if file is not None and changes.HasField("length"):
            inode = await file.truncate(changes.length)
            changes.ClearField("length")
        if file is not None and (changes.mtime_now or changes.HasField("mtime_ns")):
            # What is still to be published carries its own mtime; it must not undo this one.
            await file.publish()
        if inode is None or _changes_something(changes):
            inode = await self._metadata.set_attr(changes)
        return inode

    async def readlink(self, inode_id: int) -> bytes:
        """Return the target of a symbolic link. Raises InvalidArgument for anything else."""
        with stale_if_gone(self._metadata.cache, inode_id):
            inode = await self._metadata.reads.get_attr(inode_id)
        if not stat.S_ISLNK(inode.mode):
            raise InvalidArgument
        return inode.symlink_target

    async def statfs(self) -> Statistics:
        """Return capacity and use: a quota of the filesystem is its capacity."""
        counters = await self._metadata.reads.stat_fs()
        return Statistics(
            counters.limit.bytes or self._filesystem.capacity_bytes or CAPACITY_BYTES_DEFAULT,
            counters.used_bytes,
            counters.limit.inodes or self._filesystem.capacity_inodes or CAPACITY_INODES_DEFAULT,
            counters.inode_count,
        )

    # ------------------------------------------------------------------------------------------- names

    async def mknod(self, parent: int, name: bytes, mode: int, credential: pb.Credential, rdev: int = 0) -> pb.Inode:
        """Create a regular file, fifo, socket or device. ``mode`` has the type and the final permission bits."""
        _check_name(name)
        with stale_if_gone(self._metadata.cache, parent):
            await self._trash.refuse(parent)
            return (await self._metadata.names.create(parent, name, mode, credential, rdev=rdev))[0]

    async def mkdir(self, parent: int, name: bytes, mode: int, credential: pb.Credential) -> pb.Inode:
        """Create a directory."""
        _check_name(name)
        mode = stat.S_IFDIR | stat.S_IMODE(mode)
        with stale_if_gone(self._metadata.cache, parent):
            await self._trash.refuse(parent)
            return await self._metadata.names.make_directory(parent, name, mode, credential)

    async def symlink(self, parent: int, name: bytes, target: bytes, credential: pb.Credential) -> pb.Inode:
        """Create a symbolic link."""
        _check_name(name)
        if len(target) > SYMLINK_TARGET_SIZE_MAX:
            raise NameTooLong(f"a target of {len(target)} bytes")
        mode = stat.S_IFLNK | 0o777
        with stale_if_gone(self._metadata.cache, parent):
            await self._trash.refuse(parent)
            return (await self._metadata.names.create(parent, name, mode, credential, symlink_target=target))[0]

    async def link(self, inode_id: int, new_parent: int, new_name: bytes) -> pb.Inode:
        """Give a file another name."""
        _check_name(new_name)
        with stale_if_gone(self._metadata.cache, inode_id, new_parent):
            await self._trash.refuse(inode_id, new_parent)
            return self._as_now(await self._metadata.names.link(inode_id, new_parent, new_name))

    async def unlink(self, parent: int, name: bytes, uid: int = 0) -> None:
        """Remove a name that is no directory; an open file stays usable until its last close. uid: the caller's."""
        if await self._trash.covers(parent, fresh=True):
            await self._purge(parent, name, uid)
            return
        _check_name(name)
        async with self._removals.under_way(await self._removals.named(parent, name)) as held:
            await self._removals.note(await self._metadata.names.unlink(parent, name, held), held)

    async def rmdir(self, parent: int, name: bytes, uid: int = 0) -> None:
        """Remove an empty directory; one that is open stays there, empty, until its last close. uid: the caller's."""
        if self._trash.is_top(parent, name):
            raise NotPermitted
        if await self._trash.covers(parent, fresh=True):
            await self._purge(parent, name, uid)
            return
        _check_name(name)
        async with self._removals.under_way(await self._removals.named(parent, name)) as held:
            await self._removals.note(await self._metadata.names.rmdir(parent, name, held), held)

    async def rename(
        self, parent: int, name: bytes, new_parent: int, new_name: bytes, flags: int, *, uid: int = 0
    ) -> None:
        """Rename, as renameat2(2) with RENAME_NOREPLACE or RENAME_EXCHANGE; restore what was in the trash.

        uid: the caller's.
        """
        if self._trash.is_top(parent, name) or self._trash.is_top(new_parent, new_name):
            raise NotPermitted
        await self._trash.refuse(new_parent)
        if await self._trash.covers(parent, fresh=True):
            await self._restore((parent, name), new_parent, new_name, flags, uid)
            return
        _check_name(name)
        _check_name(new_name)
        if flags not in (0, RENAME_NOREPLACE, RENAME_EXCHANGE):
            raise InvalidArgument(f"rename flags {flags:#x}")
        names = (parent, name, new_parent, new_name)
        if flags:  # nothing is replaced
            no_replace, exchange = flags == RENAME_NOREPLACE, flags == RENAME_EXCHANGE
            await self._metadata.names.rename(*names, no_replace=no_replace, exchange=exchange)
            return
        async with self._removals.under_way(await self._removals.named(new_parent, new_name)) as held:
            await self._removals.note(await self._metadata.names.rename(*names, held_inode=held), held)

    # ------------------------------------------------------------------------------------------- files

    async def create(
        self, parent: int, name: bytes, mode: int, flags: int, credential: pb.Credential
    ) -> tuple[pb.Inode, int]:
        """Create and open a regular file. Raises StaleHandle when somebody else just created it.

        The kernel then looks the name up again and opens it with its permission checks; EEXIST with O_EXCL.
        """
        _check_name(name)
        mode = stat.S_IFREG | stat.S_IMODE(mode)
        exclusive = bool(flags & os.O_EXCL)
        with stale_if_gone(self._metadata.cache, parent):
            await self._trash.refuse(parent)
            try:
                inode, existed = await self._metadata.names.create(parent, name, mode, credential, exclusive=exclusive)
            except AlreadyExists:  # something else than a regular file
                if exclusive:
                    raise
                self._metadata.cache.forget_name(parent, name)
                raise StaleHandle from None
        if existed:
            raise StaleHandle
        self.view.created(inode.inode_id, inode.change)
        return inode, self._open(inode, flags)

    async def open(self, inode_id: int, flags: int, uid: int = 0) -> tuple[int, bool]:
        """Open a regular file as it is now. Returns the handle, and whether the kernel may keep its pages.

        uid: the caller's.
        """
        self._expect(inode_id, flags)
        async with self._removals.opening(self._files, inode_id):
            inode, slices = await self._openable(inode_id, flags)
            opening = self.view.opened(inode_id, inode.change)
            number = self._open(inode, flags, slices)
        handle = self._files.get(number)
        try:
            if handle.writes or not opening.keep:
                await self.pages.quiet(inode_id)
            if opening.stale:
                await self.pages.drop_inode(inode_id)
                self.view.told_attributes(inode_id, inode.change)
            if flags & os.O_TRUNC:  # an empty file gets new times
                await handle.file.truncate(0)
                if uid and (mode := _without_set_id(inode.mode)) != inode.mode:  # the kernel leaves it to us
                    await self._metadata.set_attr(pb.SetAttr(inode_id=inode_id, mode=stat.S_IMODE(mode)))
        except BaseException:
            if self._close(number):
                await self._removals.let_go(inode_id)
            raise
        handle.opening = opening
        if slices and not handle.writes and not opening.keep:
            handle.reader.expect()
        return number, opening.keep and not flags & os.O_TRUNC

    async def _openable(self, inode_id: int, flags: int) -> tuple[pb.Inode, list[pb.Slice] | None]:
        """Return a regular file that may be opened, and its slices if they are few."""
        with stale_if_gone(self._metadata.cache, inode_id):
            inode, slices = await self._metadata.reads.get_attr_and_slices(inode_id)
        if self._is_gone(inode):
            if not await self._trash.covers(inode_id):
                raise StaleHandle
            if may_write(flags):
                raise NotPermitted
        if stat.S_ISDIR(inode.mode):
            raise IsADirectory
        return inode, slices

    def _expect(self, inode_id: int, flags: int) -> None:
        """Begin to fetch a small file whose place was told with its name, beside asking whether that still holds."""
        only_slice = self._metadata.reads.hints.take(inode_id)
        if only_slice is not None and not (may_write(flags) or self.view.may_have_pages(inode_id)):
            self._data.expect(only_slice)

    async def read(self, number: int, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes; short only at the end of the file."""
        handle = self._used(number)
        with stale_if_gone(self._metadata.cache, handle.inode_id):
            data = await handle.reader.read(offset, size)
        if self.pages.may_put(handle.inode_id):
            for at, arrival in handle.arrivals_of_pages(offset):
                if self.pages.want(handle.inode_id, handle.file.region_at(at)):
                    self._data.start(handle.give_pages, self.pages, at, arrival)
        return data

    async def write(self, number: int, offset: int, data: bytes) -> int:
        """Take bytes; with O_APPEND at the end, wherever that is. Durable after fsync, close, or with O_SYNC."""
        handle = self._used(number)
        with stale_if_gone(self._metadata.cache, handle.inode_id):
            if handle.append:
                await handle.file.append(data, offset)
            else:
                await handle.file.write(offset, data)
        if handle.synchronous:
            await self._flush(handle)
        return len(data)

    async def flush(self, number: int) -> None:
        """One close(2) of a handle: what was written is stored and published, or the close fails."""
        handle = self._used(number)
        if not self._files.is_doomed(handle.inode_id):
            await self._flush(handle)

    async def fsync(self, number: int) -> None:
        """Make everything written to the file durable, attributes included."""
        await self._flush(self._used(number))

    async def release(self, number: int) -> None:
        """The last reference to a handle is gone."""
        handle = self._used(number)
        if self._close(number):
            await self._removals.let_go(handle.inode_id)

    # -------------------------------------------------------------------------------------- directories

    async def opendir(self, inode_id: int, uid: int) -> int:
        """Open a directory for reading. uid: whose request it is."""
        async with self._removals.opening(self._directories, inode_id) as waited:
            if await self._trash.covers(inode_id):
                return self._directories.add(TrashHandle(inode_id, uid))
            if waited:
                await self._require_there(inode_id)
            return self._directories.add(DirectoryHandle(inode_id))

    async def _require_there(self, inode_id: int) -> None:
        """Raise StaleHandle for what was removed."""
        with stale_if_gone(self._metadata.cache, inode_id):
            inode = await self._metadata.reads.get_attr(inode_id, fresh=True)
        if self._is_gone(inode):
            raise StaleHandle

    async def readdir(self, number: int, cursor: int) -> list[pb.DirectoryEntry]:
        """Return entries with attributes after a cursor (0: the beginning); an empty list is the end.

        An entry's ``hash`` is the cursor after it.
        """
        handle = self._directories.get(number)
        with stale_if_gone(self._metadata.cache, handle.inode_id):
            if isinstance(handle, TrashHandle):
                return await handle.after(cursor, self._trash, self._metadata)
            return [self._entry_as_now(entry) for entry in await entries_after(handle, cursor, self._metadata)]

    def _entry_as_now(self, entry: pb.DirectoryEntry) -> pb.DirectoryEntry:
        if not entry.HasField("inode"):
            return entry
        read = entry.inode
        now = self._as_now(read)
        if now is read:
            return entry
        told = pb.DirectoryEntry()
        told.CopyFrom(entry)
        told.inode.CopyFrom(now)
        return told

    def directory_of(self, number: int) -> int:
        """Return the directory that a handle is of."""
        return self._directories.get(number).inode_id

    async def releasedir(self, number: int) -> None:
        """Close a directory."""
        handle, last_of_orphan = self._directories.remove(number)
        if last_of_orphan:
            await self._removals.let_go(handle.inode_id)

    # -------------------------------------------------------------------------------------------- mount

    async def close(self) -> None:
        """Store and publish everything; the mount is going away."""
        await self._data.flush_all()

    # ------------------------------------------------------------------------------------------- shared

    def _as_now(self, inode: pb.Inode) -> pb.Inode:
        """Return attributes as they are to be told now; those given stay as they are.

        An operation of this mount may have been answered since they were read, and what it has written and not yet
        published is on top. Whatever is told, the kernel believes: with a length of before it would drop what it has of
        the file past that, and append there.
        """
        newer = self._metadata.cache.newer(inode)
        file = self._data.file(inode.inode_id)
        if file is None or not file.unpublished:
            return newer or inode
        now = pb.Inode()
        now.CopyFrom(newer or inode)
        file.revalidate(now)
        now.length = file.length
        now.mtime_ns = file.mtime_ns
        now.ctime_ns = max(now.ctime_ns, file.mtime_ns)
        return now

    def _is_gone(self, inode: pb.Inode) -> bool:
        """Say whether an inode has no names, and nobody here has it open."""
        inode_id = inode.inode_id
        if inode.nlink or self._removals.is_orphan(inode_id):
            return False
        return not (self._files.has_handle(inode_id) or self._directories.has_handle(inode_id))

    async def _restore(self, source: tuple[int, bytes], new_parent: int, new_name: bytes, flags: int, uid: int) -> None:
        """Take something out of the trash; what has the new name stays. Raises AlreadyExists."""
        _check_name(new_name)
        if flags & ~RENAME_NOREPLACE or source[0] == TRASH_INODE:
            raise NotPermitted
        inode = await self._trash.find_own(*source, uid)
        await self._trash.restore(inode, new_parent, new_name)
        await self.pages.drop_inode(inode.inode_id)

    async def _purge(self, parent: int, name: bytes, uid: int) -> None:
        """Remove something from the trash, for good."""
        if parent == TRASH_INODE:
            await self._trash.require_empty((await self._trash.lookup(parent, name)).inode_id)
            return  # without anything in it an hour is not shown any more
        inode = await self._trash.find_own(parent, name, uid)
        async with self._removals.under_way(inode.inode_id) as held:
            await self._trash.purge(inode, held=bool(held))
            if held:
                await self._removals.orphaned(held, doomed=True)

    def _open(self, inode: pb.Inode, flags: int, slices: list[pb.Slice] | None = None) -> int:
        file = self._data.open_file(inode)
        file.revalidate(inode)
        if slices is not None:
            file.offer_slices(inode, slices)
        handle = FileHandle(inode.inode_id, flags, file, file.reader(), file.error_count)
        if handle.writes:
            self.pages.bar(inode.inode_id)
        return self._files.add(handle)

    def _used(self, number: int) -> FileHandle:
        """Return a handle that the kernel makes use of: whatever its open had to drop is dropped."""
        handle = self._files.get(number)
        if handle.opening is not None:
            self.view.settled(handle.inode_id, handle.opening)
            handle.opening = None
        return handle

    def _close(self, number: int) -> bool:
        """Forget a handle; says whether an orphan is open no more."""
        was_doomed = self._files.is_doomed(self._files.get(number).inode_id)
        handle, last_of_orphan = self._files.remove(number)
        handle.closed = True
        if handle.writes:
            self.pages.unbar(handle.inode_id)
        if last_of_orphan and was_doomed:
            handle.file.discard()
        self._data.close_file(handle.file)
        return last_of_orphan

    async def _flush(self, handle: FileHandle) -> None:
        with stale_if_gone(self._metadata.cache, handle.inode_id):
            await handle.file.flush()
        error, handle.errors_seen = handle.file.error_since(handle.errors_seen)
        if error is not None:
            raise error


def _without_set_id(mode: int) -> int:
    """Return a mode as it is after somebody else than root has changed the content."""
    return mode & ~(stat.S_ISUID | (stat.S_ISGID if mode & stat.S_IXGRP else 0))


def _check_name(name: bytes) -> None:
    if len(name) > NAME_SIZE_MAX:
        raise NameTooLong


def _changes_something(changes: pb.SetAttr) -> bool:
    return any(changes.HasField(name) for name in ("mode", "uid", "gid", "length", "atime_ns", "mtime_ns")) or bool(
        changes.atime_now or changes.mtime_now
    )
