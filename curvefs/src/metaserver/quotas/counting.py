"""Charging to a quota what lies below its directory, or taking it off again, while all of it is in use.

First no partition refuses anything for the quota's sake. Then the tree is walked from the directory down: what lies in
a directory is charged, directories with it, before what lies in those. Whatever comes into a directory that is charged
is charged itself, and a directory comes only where its charges are those of what lies there: one that is not charged
yet may leave the tree, or come where the walk has still to go. So the walk goes into a directory, wherever that is by
then, only if it is charged itself.

Marking twice changes nothing: how far it is, is written down now and then, and a new leader goes on from there. Before
directories are charged it is written down that they are to be visited: they may be moved to where the walk has been.

Memory: a page of names for each level of the tree.
"""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field

from ....proto import metaserver_pb2 as pb
from ....proto import state_pb2
from ...common.errors import Locked, NotADirectory, NotFound, Skipped
from ...common.ids import partition_of
from ..metastore.quota_owner import Status
from ..metastore.quotas import FILESYSTEM, MARKED_MAX, below
from .lending import Lending
from .port import Port

PAGE = MARKED_MAX  # names
SAVED_EVERY = 32  # pages


@dataclass(slots=True)
class _Level:
    """A directory on the way down: where its listing is, and the directories of the last page still to be visited."""

    inode_id: int
    after_hash: int = 0
    after_name: bytes = b""
    end: bool = False
    below: list[int] = field(default_factory=list)


class Counting:
    """Of one quota. lock: held while allowances change, not while the tree is walked: others ask for them meanwhile."""

    def __init__(self, port: Port, fs_id: int, quota_id: int, inode_id: int, lock: asyncio.Lock) -> None:
        self._lock = lock
        self._port = port
        self._fs_id = fs_id
        self._quota_id = quota_id
        self._inode_id = inode_id
        self._lending = Lending(port, fs_id, quota_id)

    async def count(self) -> None:
        """Bring a new quota to where it limits."""
        if self._quota_id != FILESYSTEM:
            async with self._lock:
                await self._lending.release()
            await self._walk(remove=False)
        await self.settle()

    async def settle(self) -> None:
        """Have all partitions keep to a limit that was changed."""
        async with self._lock:
            await self._lending.settle()

    async def remove(self) -> None:
        """Take a quota's charges off, then forget it."""
        async with self._lock:
            await self._lending.release()
        if self._quota_id != FILESYSTEM:
            await self._walk(remove=True)
        command = state_pb2.AdvanceQuotaCommand(
            fs_id=self._fs_id, quota_id=self._quota_id, state=Status.DELETING, forget=True
        )
        await self._port.own(state_pb2.Entry(format=1, advance_quota=command))

    async def _walk(self, *, remove: bool) -> None:
        levels = await self._begun() or [_Level(self._inode_id)]
        pages = 0
        while levels:
            level = levels[-1]
            if level.below:
                levels.append(_Level(level.below.pop()))
            elif level.end:
                levels.pop()
            else:
                await self._page(levels, remove=remove)
                pages += 1
                if not pages % SAVED_EVERY:
                    await self._save(levels, remove=remove)

    async def _begun(self) -> list[_Level]:
        """Return where an earlier walk was."""
        record = await self._lending.record()
        if record is None:
            return []
        return [
            _Level(one.inode_id, one.after_hash, one.after_name, end=one.end, below=list(one.below))
            for one in record.progress.levels
        ]

    async def _save(self, levels: list[_Level], *, remove: bool) -> None:
        progress = state_pb2.QuotaProgress()
        for one in levels:
            progress.levels.add(
                inode_id=one.inode_id,
                after_hash=one.after_hash,
                after_name=one.after_name,
                end=one.end,
                below=one.below,
            )
        state = Status.DELETING if remove else Status.COUNTING
        command = state_pb2.AdvanceQuotaCommand(
            fs_id=self._fs_id, quota_id=self._quota_id, state=state, progress=progress
        )
        applied = await self._port.own(state_pb2.Entry(format=1, advance_quota=command))
        if applied.quota is None or applied.quota.state != state:
            raise Skipped("the quota was removed meanwhile")

    async def _page(self, levels: list[_Level], *, remove: bool) -> None:
        """Mark the next names of a directory, if it is marked itself: else it was moved before it could be."""
        level = levels[-1]
        found = await self._read(pb.Read(get_attr=pb.GetAttr(inode_id=level.inode_id)), level.inode_id)
        chain = [] if found is None else below(found.inode)
        if found is None or (self._quota_id in chain) == remove:
            level.end = True
            return
        wanted = pb.ReadDir(
            inode_id=level.inode_id, after_hash=level.after_hash, after_name=level.after_name, limit=PAGE
        )
        listed = await self._read(pb.Read(read_dir=wanted), level.inode_id)
        if listed is None:
            level.end = True
            return
        by_partition: dict[int, list[int]] = defaultdict(list)
        for entry in listed.entries:
            by_partition[partition_of(entry.inode_id)].append(entry.inode_id)
            if entry.type == pb.DIRECTORY:
                level.below.append(entry.inode_id)
        if level.below:
            await self._save(levels, remove=remove)
        for inodes in by_partition.values():
            command = state_pb2.MarkInodesCommand(
                fs_id=self._fs_id,
                quota_id=self._quota_id,
                parent=level.inode_id,
                inodes=sorted(set(inodes)),
                remove=remove,
                chain=chain,
            )
            await self._mark(command)
        if listed.entries:
            level.after_hash, level.after_name = listed.entries[-1].hash, listed.entries[-1].name
        level.end = listed.end

    async def _read(self, read: pb.Read, directory: int) -> pb.ReadResult | None:
        """Read a directory, when no name in it is locked; None when it is gone."""
        tries = 0
        while True:
            try:
                return await self._port.read(read, partition_of(directory))
            except Locked:
                tries += 1
                await self._port.pause(tries)
            except (NotFound, NotADirectory):
                return None

    async def _mark(self, command: state_pb2.MarkInodesCommand) -> None:
        tries = 0
        while locked := await self._port.mark(command):
            tries += 1
            command.inodes[:] = locked
            await self._port.pause(tries)
