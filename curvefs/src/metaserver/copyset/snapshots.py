"""Snapshots of groups, as files: made and read for followers that lag too far, received and installed for this server.

A follower is sent the newest file of its group if the log still reaches back to it, else a new one is made. A file goes
when nobody has read it for a while. What comes in is written to a file, verified, made a checkpoint (the durable base
of the group), and then takes the state's place; the log is told that it begins behind it. A stop between any two of
these is made good at the next start (recovery.py).

The work of one group is done in order; different groups do not wait for one another, but only one snapshot is made or
installed at a time, so that the disk and the memory are not asked for all of them at once.

Shared across awaits: `_queues`, each emptied by the one task of its group.
"""

import asyncio
import os
import shutil
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from ...common.errors import CorruptData, CurveFSError, InternalError, Unavailable
from ...raft.codec import decode_configuration, encode_configuration, encode_hard_state
from ...raft.configuration import Configuration
from ...raft.core import SnapshotWork
from ...raft.follower import StoreChunk
from ...raft.leader import MakeSnapshot, ReadChunk
from ...raft.log import Base
from ...raft.messages import SnapshotChunk
from ..storage.snapshot import load_snapshot, write_snapshot
from ..storage.snapshot_format import Header
from ..wal.format import Record, RecordType
from ..wal.log import WriteAheadLog
from .folders import GroupFolders
from .group import Group

_log = structlog.get_logger()

CHUNK_SIZE = 1 << 20
_KEPT_S = 60.0
_QUEUE_MAX = 64
_ROUND_S = 5.0


@dataclass(slots=True)
class _Made:
    """A snapshot file of a group that this server leads."""

    path: Path
    base: Base
    configuration: Configuration
    size: int
    used_at: float


class Snapshots:
    """See the module. changing: held while a state is replaced. holds: whether a group is still here."""

    def __init__(
        self, folders: GroupFolders, wal: WriteAheadLog, *, changing: asyncio.Lock, holds: Callable[[Group], bool]
    ) -> None:
        self._folders = folders
        self._wal = wal
        self._changing = changing
        self._holds = holds
        self._one_at_a_time = asyncio.Lock()
        self._queues: dict[Group, deque[SnapshotWork]] = {}
        self._made: dict[Group, _Made] = {}
        self._tasks: asyncio.TaskGroup | None = None

    def add(self, group: Group, work: list[SnapshotWork]) -> None:
        """Have work done; what is too much is asked for again by raft, which is told of chunks that are not stored."""
        queue = self._queues.get(group)
        if queue is None:
            if self._tasks is None:  # not running yet, or not any more
                _give_up(group, work)
                return
            queue = self._queues[group] = deque()
            self._tasks.create_task(self._serve(group, queue), name=f"snapshots of group {group.group_id}")
        for one in work:
            if len(queue) < _QUEUE_MAX:
                queue.append(one)
            else:
                _give_up(group, [one])

    async def run(self) -> None:
        """Do the work, and remove files that are not used any more, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                while True:
                    await asyncio.sleep(_ROUND_S)
                    await self._remove_unused()
            finally:
                self._tasks = None

    async def _serve(self, group: Group, queue: deque[SnapshotWork]) -> None:
        while queue and self._holds(group):
            work = queue.popleft()
            try:
                match work:
                    case MakeSnapshot():
                        await self._make(group, work.to)
                    case ReadChunk():
                        await self._read(group, work)
                    case StoreChunk():
                        await self._store(group, work.chunk)
            except (OSError, CurveFSError) as error:
                _log.error("a snapshot did not get on", group=group.group_id, reason=str(error))
                _give_up(group, [work])
            group.act()
        del self._queues[group]

    # ------------------------------------------------------------------------------------------- sending

    async def _make(self, group: Group, to: int) -> None:
        made = self._made.get(group)
        if made is None or made.base.index < group.raft.log.base.index:
            async with self._one_at_a_time:
                made = await self._write(group)
        made.used_at = time.monotonic()
        group.raft.snapshot_made(to, made.base, made.configuration)

    async def _write(self, group: Group) -> _Made:
        folder = self._folders.snapshots(group.group_id)
        path = folder / f"{group.applied_index}.snapshot"
        began = time.monotonic()
        header = await asyncio.to_thread(self._write_file, group, path)
        old = self._made.pop(group, None)
        if old is not None and old.path != path:
            await asyncio.to_thread(old.path.unlink, missing_ok=True)  # freeing much takes long
        configuration = decode_configuration(header.configuration)
        size = path.stat().st_size
        made = _Made(path, Base(header.index, header.term), configuration, size, time.monotonic())
        self._made[group] = made
        took = round(time.monotonic() - began, 3)
        _log.info("a snapshot was made", group=group.group_id, index=header.index, bytes=size, seconds=took)
        return made

    def _write_file(self, group: Group, path: Path) -> Header:
        path.parent.mkdir(parents=True, exist_ok=True)
        first = encode_configuration(group.raft.log.configuration)
        return write_snapshot(group.environment, path, configuration=first, should_stop=lambda: not self._holds(group))

    async def _read(self, group: Group, work: ReadChunk) -> None:
        made = self._made.get(group)
        if made is None or made.base.index != work.index:
            group.raft.snapshot_gone(work.to, work.index)
            return
        made.used_at = time.monotonic()
        data = await asyncio.to_thread(_read_at, made.path, work.offset)
        last = work.offset + len(data) >= made.size
        group.raft.chunk_read(work.to, work.index, work.offset, data, last=last)

    async def _remove_unused(self) -> None:
        for group, made in list(self._made.items()):
            if time.monotonic() - made.used_at > _KEPT_S or not self._holds(group):
                del self._made[group]
                await asyncio.to_thread(made.path.unlink, missing_ok=True)

    # ----------------------------------------------------------------------------------------- receiving

    async def _store(self, group: Group, chunk: SnapshotChunk) -> None:
        if not group.raft.expects(chunk):
            return  # another snapshot is coming in by now, or none
        path = self._folders.snapshots(group.group_id) / "incoming"
        await asyncio.to_thread(_write_at, path, chunk.offset, chunk.data, last=chunk.last)
        if not chunk.last:
            group.raft.chunk_stored(chunk)
            return
        async with self._one_at_a_time, self._changing:
            if not self._holds(group):
                raise Unavailable("the group was removed")
            try:
                await self._install(group, path, chunk)
            except (OSError, CurveFSError):
                await asyncio.to_thread(_remove, path)  # what failed for want of room needs what it took
                raise

    async def _install(self, group: Group, path: Path, chunk: SnapshotChunk) -> None:
        began = time.monotonic()
        state = path.with_name("state")
        header = await asyncio.to_thread(self._load, group, path, state, (chunk.index, chunk.snapshot_term))
        hard_state = group.raft.hard_state.at(header.index)
        await self._wal.append(
            [
                Record(RecordType.BEGIN, group.group_id, header.term, header.index),
                Record(RecordType.HARD_STATE, group.group_id, hard_state.term, 0, encode_hard_state(hard_state)),
            ]
        )
        # From here on the log and the old state do not fit together: a restart makes it good (recovery.py).
        try:
            await asyncio.to_thread(group.environment.replace, state)
        except (OSError, CurveFSError) as error:
            group.break_(InternalError(f"a snapshot could not take the state's place: {error}"))
            return
        group.bytes_since_checkpoint = 0
        group.installed(Base(header.index, header.term), decode_configuration(header.configuration))
        await asyncio.to_thread(path.unlink)
        took = round(time.monotonic() - began, 3)
        _log.info("a snapshot was installed", group=group.group_id, index=header.index, seconds=took)

    def _load(self, group: Group, path: Path, state: Path, wanted: tuple[int, int]) -> Header:
        """Build the new state, and make it the durable base; blocks. wanted: index and term. Raises CorruptData."""
        header = load_snapshot(path, state, map_size=self._folders.map_size, should_stop=lambda: not self._holds(group))
        if (header.index, header.term) != wanted:
            raise CorruptData(f"{path} is the snapshot of entry {header.index}, not of {wanted[0]}")
        group.checkpoints.adopt(state, header.index)
        return header


def _give_up(group: Group, works: list[SnapshotWork]) -> None:
    """Let raft know which chunks are not stored."""
    for work in works:
        if isinstance(work, StoreChunk):
            group.raft.snapshot_failed(work.chunk)


def _remove(incoming: Path) -> None:
    """Remove a snapshot that came in and what was made of it."""
    incoming.unlink(missing_ok=True)
    shutil.rmtree(incoming.with_name("state"), ignore_errors=True)


def _read_at(path: Path, offset: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(CHUNK_SIZE)


def _write_at(path: Path, offset: int, data: bytes, *, last: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("r+b" if offset else "wb") as file:
        file.truncate(offset)
        file.seek(offset)
        file.write(data)
        if last:
            file.flush()
            os.fsync(file.fileno())
