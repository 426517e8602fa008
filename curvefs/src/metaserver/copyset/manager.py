"""All groups of a metaserver: made, recovered, checkpointed, removed. Their entries share one log.

    DATA/wal/                        the log
    DATA/groups/<id>/group.json      that the group is here, and its peers; written last when it is made
    DATA/groups/<id>/state/          its environment
    DATA/groups/<id>/checkpoints/    its durable base

Shared across awaits: the table of groups. `_changing` is held while groups are made, removed or checkpointed.
"""

import asyncio
import gc
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from ....proto import common_pb2
from ...common.clock import Clock
from ...common.errors import CurveFSError, NoSpace, ResourceBusy, StartupError, Unavailable, WrongPartition
from ...common.exits import ExitCode
from ..metastore import reads
from ..metrics import Metrics
from ..storage.environment import write_durably
from ..wal import recovery as wal_recovery
from ..wal.format import Record, RecordType
from ..wal.log import WriteAheadLog
from ..wal.segments import LogSettings
from .group import Group
from .recovery import GroupSettings, open_group, replay

_log = structlog.get_logger()

FORMAT = 1
_FILE = "group.json"
_TICK_S = 1.0
_PAUSE_AFTER_FAILURE_S = 30.0


@dataclass(frozen=True, slots=True)
class CopysetSettings:
    """Sizes in bytes.

    checkpoint_log_size: a group is checkpointed when its log since the last one outgrew this and its state.
    log_size_max: when the whole log outgrew this, the groups that keep its oldest segment are checkpointed.
    """

    map_size: int
    checkpoint_log_size: int
    log_size_max: int
    log: LogSettings


class CopysetManager:
    """The groups of one metaserver. open() it, run() it, close() it."""

    def __init__(
        self, folder: Path, settings: CopysetSettings, *, boot_id: str, clock: Clock, metrics: Metrics
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._metrics = metrics
        self._group_settings = GroupSettings(settings.map_size, boot_id, clock, metrics)
        self._groups: dict[int, Group] = {}
        self._changing = asyncio.Lock()
        self._wal: WriteAheadLog | None = None

    # ------------------------------------------------------------------------------------------- groups

    def get(self, group_id: int) -> Group:
        """Return a group. Raises WrongPartition when it is not here."""
        group = self._groups.get(group_id)
        if group is None:
            raise WrongPartition(f"group {group_id} is not on this metaserver")
        return group

    def all(self) -> list[Group]:
        """Return all groups."""
        return list(self._groups.values())

    async def create(self, group_id: int, peers: Sequence[common_pb2.Peer]) -> None:
        """Make a group, durably; nothing when it is here. Raises NoSpace."""
        async with self._changing:
            if group_id in self._groups:
                return
            assert self._wal is not None, "open"
            # First, so that entries of an earlier group of this id are not taken for its own.
            await self._wal.append([Record(RecordType.BEGIN, group_id, 0, 0)])
            try:
                group = await asyncio.to_thread(self._make, group_id, list(peers))
            except OSError as error:
                raise NoSpace(f"group {group_id} cannot be made: {error.strerror}") from error
            group.serve(self._wal, 1)
            self._groups[group_id] = group
            _log.info("a group was made", group=group_id)

    async def remove(self, group_id: int) -> None:
        """Remove a group that holds no partition; nothing when it is not here. Raises ResourceBusy, OSError."""
        async with self._changing:
            group = self._groups.get(group_id)
            if group is None:
                return
            with group.view() as view:
                if reads.partitions(view):
                    raise ResourceBusy(f"group {group_id} holds partitions")
            del self._groups[group_id]
            group.close(Unavailable(f"group {group_id} was removed"))
            await group.until_idle()
            assert self._wal is not None, "open"
            await self._wal.forget(group_id)
            await asyncio.to_thread(self._unmake, group)
            _log.info("a group was removed", group=group_id)

    # --------------------------------------------------------------------------------- beginning and end

    def open(self) -> None:
        """Recover every group; blocks the event loop, which has nothing to do yet.

        Raises StartupError: DAMAGED, DATA_FOLDER, FAILED (full disk).
        """
        try:
            outline = self._recover()
        except NoSpace as error:
            raise StartupError(f"cannot use {self._folder}: {error}", ExitCode.FAILED) from error
        except OSError as error:
            raise StartupError(f"cannot use {self._folder}: {error}", ExitCode.DATA_FOLDER) from error
        _log.info("recovered", groups=len(self._groups), log_segments=len(outline.segments))
        # What was loaded stays: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()

    async def run(self) -> None:
        """Make checkpoints and trim the log, until cancelled."""
        while True:
            await asyncio.sleep(_TICK_S)
            self._metrics.groups.set(len(self._groups))
            self._metrics.queue_depth.set(sum(group.queued for group in self.all()))
            try:
                await self.checkpoint_where_due()
            except (OSError, CurveFSError) as error:
                _log.error("a checkpoint could not be made", reason=str(error), again_in_s=_PAUSE_AFTER_FAILURE_S)
                await asyncio.sleep(_PAUSE_AFTER_FAILURE_S)

    async def checkpoint_where_due(self) -> None:
        """Checkpoint what outgrew its limit and trim the log. Raises OSError."""
        assert self._wal is not None, "open"
        for group in self.all():
            limit = max(self._settings.checkpoint_log_size, group.environment.used_bytes())
            if group.bytes_since_checkpoint > limit:
                await self.checkpoint(group)
        status = await self._wal.trim(self._bases())
        if status.size_bytes > self._settings.log_size_max:
            for group_id in status.oldest_needed_by:
                if (pinning := self._groups.get(group_id)) is not None:
                    await self.checkpoint(pinning)
            status = await self._wal.trim(self._bases())
        self._metrics.log_bytes.set(status.size_bytes)

    async def checkpoint(self, group: Group) -> None:
        """Make a checkpoint of a group, in a thread, while it goes on. Raises OSError."""
        async with self._changing:
            if self._groups.get(group.group_id) is not group:
                return
            before = group.bytes_since_checkpoint
            made = await asyncio.to_thread(group.checkpoints.make, group.environment)
            group.bytes_since_checkpoint -= before
            _log.info("checkpoint", group=group.group_id, index=made.index, bytes=made.size)

    async def drain(self, deadline_s: float) -> None:
        """Wait until nobody waits for an answer, at most so long."""
        try:
            async with asyncio.timeout(deadline_s):
                for group in self.all():
                    await group.until_idle()
        except TimeoutError:
            _log.warning("some operations are left unanswered", waited_s=deadline_s)

    async def close(self) -> None:
        """End cleanly: what is acknowledged is applied and synced, so that the next start need not rebuild."""
        for group in self.all():
            group.close(Unavailable("the metaserver is stopping"))
        if self._wal is not None:
            await self._wal.close()
        for group in self.all():
            try:
                await asyncio.to_thread(group.environment.close)
            except Exception as error:  # noqa: BLE001  # the log has it all; the others are closed all the same
                _log.error("a state could not be closed cleanly", group=group.group_id, reason=str(error))

    # ------------------------------------------------------------------------------------------ blocking

    def _recover(self) -> wal_recovery.Outline:
        wal_folder, groups_folder = self._folder / "wal", self._folder / "groups"
        for made in (wal_folder, groups_folder):
            made.mkdir(parents=True, exist_ok=True)
        wal_recovery.sync_folder(self._folder)
        outline = wal_recovery.recover(wal_folder)
        groups: dict[int, Group] = {}
        for folder in sorted(groups_folder.iterdir()):
            if (folder / _FILE).exists():
                group_id, peers = _read_group(folder / _FILE)
                groups[group_id] = open_group(folder, group_id, peers, self._group_settings)
            else:
                shutil.rmtree(folder)  # its making or its removal was interrupted
        recovered = replay(groups, outline)
        for group_id in outline.groups.keys() - groups.keys():
            for segment in outline.segments:
                segment.last_index.pop(group_id, None)
            del outline.groups[group_id]
        self._wal = WriteAheadLog(wal_folder, outline, self._settings.log, observer=self._metrics)
        for one in recovered:
            one.group.serve(self._wal, one.last_term + 1, begin=one.begin)
        self._groups = groups
        return outline

    def _make(self, group_id: int, peers: list[common_pb2.Peer]) -> Group:
        folder = self._group_folder(group_id)
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        group = open_group(folder, group_id, peers, self._group_settings)
        said = {
            "format": FORMAT,
            "group_id": group_id,
            "peers": [{"metaserver_id": one.metaserver_id, "address": one.address} for one in peers],
        }
        write_durably(folder / _FILE, json.dumps(said).encode("ascii"))
        wal_recovery.sync_folder(folder.parent)
        return group

    def _unmake(self, group: Group) -> None:
        group.environment.close()
        folder = self._group_folder(group.group_id)
        (folder / _FILE).unlink()
        wal_recovery.sync_folder(folder)
        shutil.rmtree(folder)

    def _group_folder(self, group_id: int) -> Path:
        return self._folder / "groups" / str(group_id)

    def _bases(self) -> dict[int, int]:
        return {group.group_id: group.checkpoints.base_index for group in self.all()}


def _read_group(file: Path) -> tuple[int, list[common_pb2.Peer]]:
    try:
        said = json.loads(file.read_text(encoding="ascii"))
        if said["format"] > FORMAT:
            raise StartupError(
                f"{file} is of version {said['format']}; this version of curvefs-metaserver knows up to {FORMAT}",
                ExitCode.DATA_FOLDER,
            )
        peers = [common_pb2.Peer(metaserver_id=one["metaserver_id"], address=one["address"]) for one in said["peers"]]
        return int(said["group_id"]), peers
    except (ValueError, KeyError, TypeError) as error:
        raise StartupError(f"{file} is damaged: {error}", ExitCode.DAMAGED) from error
