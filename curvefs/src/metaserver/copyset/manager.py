"""All groups of a metaserver: made, recovered, driven, removed. Their entries share one log, their messages one stream.

Groups in which nothing happens are quiet and cost nothing; they wake when a peer that leads them falls silent or begins
anew.

Shared across awaits: the tables of groups. `_changing` is held while groups are made, removed, checkpointed or replaced
by a snapshot.
"""

import asyncio
import gc
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from ....proto import common_pb2, raft_pb2
from ...common.clock import Clock
from ...common.errors import (
    CorruptData,
    NoSpace,
    Redirect,
    ResourceBusy,
    StaleEpoch,
    StartupError,
    Unavailable,
    WrongPartition,
)
from ...common.exits import ExitCode
from ...raft import codec
from ...raft.configuration import Configuration
from ...raft.core import SnapshotWork
from ...raft.log import Base
from ...raft.messages import HardState, Message
from ...raft.state import Settings as RaftSettings
from ..metastore import reads
from ..metrics import Metrics
from ..wal.log import WriteAheadLog
from ..wal.segments import LogSettings
from .checkpointing import Checkpointing
from .folders import GroupFolders, GroupSettings, Recovered, beginning, first_configuration
from .group import Group, Tools
from .snapshots import Snapshots

_log = structlog.get_logger()

_TICK_S = 0.05
_ROUND_S = 1.0


@dataclass(frozen=True, slots=True)
class CopysetSettings:
    """Sizes in bytes.

    checkpoint_log_size: a group is checkpointed when its log since then outgrew this and a quarter of its state.
    log_size_max: when the whole log outgrew this, the groups that keep its oldest segment are checkpointed.
    """

    map_size: int
    checkpoint_log_size: int
    log_size_max: int
    log: LogSettings
    raft: RaftSettings


class PeerLinks(Protocol):
    """How messages reach the other metaservers (peers/)."""

    def send(self, to_id: int, message: raft_pb2.GroupMessage) -> None:
        """Send a message, or drop it."""
        ...

    def know(self, peer_id: int, address: str) -> None:
        """Note where a metaserver is."""
        ...

    def address_of(self, peer_id: int) -> str:
        """Return where a metaserver is; empty when unknown."""
        ...

    def heard_at(self, peer_id: int) -> float | None:
        """Return when something was last heard of a metaserver, on the boot-time clock."""
        ...

    def connected_at(self, peer_id: int) -> float | None:
        """Return when the present stream with a metaserver began."""
        ...


class CopysetManager:
    """The groups of one metaserver. open() it, run() it, close() it."""

    def __init__(
        self,
        folder: Path,
        settings: CopysetSettings,
        *,
        boot_id: str,
        clock: Clock,
        metrics: Metrics,
        me: Callable[[], int],
        peers: PeerLinks,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """me: returns this metaserver's id; 0 as long as it has none, and then it has no groups."""
        self._folder = folder
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._me = me
        self._peers = peers
        self._folders = GroupFolders(
            folder,
            GroupSettings(settings.map_size, boot_id, settings.raft, jitter),
            Tools(clock, metrics, self),
        )
        self._groups: dict[int, Group] = {}
        self._damaged: dict[int, CorruptData] = {}
        self._closed: dict[int, Group] = {}  # whose removal is not finished
        self._changing = asyncio.Lock()
        self._wal: WriteAheadLog | None = None
        self._snapshots: Snapshots | None = None
        self._may_lead = True
        self._takes_part = True
        self._watchers: list[Callable[[Group], None]] = []
        self._streams: dict[int, float] = {}  # of peers that lead quiet groups: when the stream began

    # ------------------------------------------------------------------------------------------- groups

    def get(self, group_id: int) -> Group:
        """Return a group. Raises WrongPartition when it is not here, Redirect when its replica here is damaged."""
        group = self._groups.get(group_id)
        if group is None:
            if group_id in self._damaged:
                raise Redirect(str(self._damaged[group_id]))
            raise WrongPartition(f"group {group_id} is not on this metaserver")
        return group

    def all(self) -> list[Group]:
        """Return all groups."""
        return list(self._groups.values())

    @property
    def may_lead(self) -> bool:
        """False while this clock is off (rule 19)."""
        return self._may_lead

    @property
    def damaged(self) -> dict[int, CorruptData]:
        """Return the replicas that serve nothing until they are rebuilt, and why."""
        return self._damaged

    def on_group(self, callback: Callable[[Group], None]) -> None:
        """Have it called for each group, those that are here and those to come."""
        self._watchers.append(callback)
        for group in self._groups.values():
            callback(group)

    async def create(
        self, group_id: int, peers: Sequence[common_pb2.Peer], *, first: bool = False, term: int = 0
    ) -> None:
        """Make a replica of a group, durably; nothing when it is here. Raises NoSpace, Unavailable.

        peers: the voters it begins with; none for a replica that joins. first: stand for election at once.
        term: leaders of earlier ones may know a replica that was here before; this one must not answer for it.
        """
        if not self._me():
            raise Unavailable("this metaserver has not registered with the MDS yet")
        async with self._changing:
            if group_id in self._groups:
                return
            if group_id in self._damaged:
                raise ResourceBusy(str(self._damaged[group_id]))
            assert self._wal is not None, "open"
            # First, so that entries of an earlier group of this id are not taken for its own.
            configuration = first_configuration([(peer.metaserver_id, peer.address) for peer in peers])
            hard_state = HardState(term, joining=not peers)
            await self._wal.append(beginning(group_id, Base(), hard_state))
            try:
                group = await asyncio.to_thread(self._folders.make, group_id, self._me(), configuration, hard_state)
            except OSError as error:
                raise NoSpace(f"group {group_id} cannot be made: {error.strerror}") from error
            self._add(group)
            _log.info("a group was made", group=group_id, voters=configuration.voters)
            if first:
                group.campaign()

    async def remove(self, group_id: int, *, damaged: bool = False, made_for: int = 0) -> None:
        """Remove a replica; nothing when it is not here. Raises ResourceBusy, StaleEpoch, OSError.

        One that is a voter is removed only when it holds no partition, or is to be given up as ``damaged``. One whose
        removal failed half-way counts as damaged: it serves nothing, says so, and is removed when that is asked again.
        made_for: the configuration that was known to who asks, 0 for any; with a newer one it may have joined again.
        """
        async with self._changing:
            group = self._groups.get(group_id)
            if group is None:
                if group_id in self._damaged:
                    await self._throw_away(group_id)
                return
            # Looked at here: the wait before may have been long.
            at = group.raft.log.configuration_index
            if 0 < made_for < at:
                raise StaleEpoch(f"made for configuration {made_for}; the replica is at {at}")
            if not damaged and group.raft.log.configuration.is_voter(self._me()):
                with group.view() as view:
                    if reads.partitions(view):
                        raise ResourceBusy(f"group {group_id} holds partitions")
            del self._groups[group_id]
            self._closed[group_id] = group
            group.close(Unavailable(f"group {group_id} was removed"))
            await group.until_idle()
            try:
                await self._throw_away(group_id)
            except OSError as error:
                self._damaged[group_id] = CorruptData(f"the removal of group {group_id} is not finished: {error}")
                raise

    async def _throw_away(self, group_id: int) -> None:
        """Remove what there is of a replica that serves nothing. Raises OSError; then it is done again."""
        assert self._wal is not None, "open"
        group = self._closed.get(group_id)
        if group is not None:
            await asyncio.to_thread(group.environment.close, keep=False)
        # Its folder first: a group that is there must have its log.
        await asyncio.to_thread(self._folders.remove, group_id)
        await self._wal.forget(group_id)
        self._closed.pop(group_id, None)
        self._damaged.pop(group_id, None)
        _log.info("a group was removed", group=group_id)

    # --------------------------------------------------------------------------------- beginning and end

    def open(self) -> None:
        """Recover every group; blocks the event loop, which has nothing to do yet.

        Raises StartupError: DAMAGED, DATA_FOLDER, FAILED (full disk).
        """
        try:
            found = self._folders.recover(self._me())
            self._wal = WriteAheadLog(self._folders.wal, found.outline, self._settings.log, observer=self._metrics)
            if found.records:
                self._wal.append_first(found.records)
        except NoSpace as error:
            raise StartupError(f"cannot use {self._folder}: {error}", ExitCode.FAILED) from error
        except OSError as error:
            raise StartupError(f"cannot use {self._folder}: {error}", ExitCode.DATA_FOLDER) from error
        self._snapshots = Snapshots(self._folders, self._wal, changing=self._changing, holds=self._holds)
        self._begin(found)
        _log.info("recovered", groups=len(self._groups), log_segments=len(found.outline.segments))
        # What was loaded stays: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()

    def _begin(self, found: Recovered) -> None:
        self._damaged = found.damaged
        for group in found.groups.values():
            self._add(group)

    async def run(self) -> None:
        """Drive the groups, make checkpoints and trim the log, until cancelled."""
        assert self._wal is not None, "open"
        assert self._snapshots is not None, "open"
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tick_loop(), name="raft ticks")
            tasks.create_task(self._look_loop(), name="groups' metrics")
            tasks.create_task(self.checkpointing().run(), name="checkpoints")
            tasks.create_task(self._snapshots.run(), name="snapshots")

    def checkpointing(self) -> Checkpointing:
        """Return what makes checkpoints."""
        assert self._wal is not None, "open"
        return Checkpointing(
            self.all,
            lambda: self._damaged,
            self._wal,
            self._settings,
            changing=self._changing,
            metrics=self._metrics,
        )

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

    def allow_leading(self, *, allowed: bool) -> None:
        """Let groups be led here, or not (rule 19)."""
        self._may_lead = allowed
        for group in self.all():
            group.allow_leading(allowed=allowed)

    def take_part(self, *, allowed: bool) -> None:
        """Let groups heed their peers and be led here, or neither: another process may be these replicas."""
        self._takes_part = allowed
        self.allow_leading(allowed=allowed)

    def _add(self, group: Group) -> None:
        self._groups[group.group_id] = group
        group.allow_leading(allowed=self._may_lead)
        self._introduce(group.raft.log.configuration)
        for callback in self._watchers:
            callback(group)
        group.act()

    def _holds(self, group: Group) -> bool:
        return self._groups.get(group.group_id) is group

    # --------------------------------------------------------------------------------------- driving them

    def receive(self, from_id: int, messages: Sequence[raft_pb2.GroupMessage]) -> None:
        """Take what a peer says. Called on the event loop."""
        if not self._takes_part:
            return
        touched: dict[Group, None] = {}
        for said in messages:
            group = self._groups.get(said.group_id)
            if group is None:
                continue
            try:
                group.step(codec.decode(said.message))
            except CorruptData as error:
                _log.error("a message was not understood", group=said.group_id, peer=from_id, reason=str(error))
                continue
            touched[group] = None
        for group in touched:
            group.act()

    def tick(self) -> None:
        """Time has come on."""
        lives: dict[int, bool] = {self._me(): True}
        for group in list(self._groups.values()):
            leader = group.raft.leader
            if leader and leader != self._me() and self._peers.connected_at(leader) is None:
                group.suspect_leader()
            if not group.needs_ticks:
                if leader not in lives:
                    lives[leader] = self._is_the_same(leader)
                if lives[leader]:
                    continue
                group.wake()
            group.tick()

    def _is_the_same(self, leader: int) -> bool:
        """Say whether the process that leads a quiet group is surely there still."""
        heard_at, connected_at = self._peers.heard_at(leader), self._peers.connected_at(leader)
        if heard_at is None or connected_at is None:
            return False
        # A stream that began while the group was quiet may be with another process, which leads nothing.
        if self._streams.setdefault(leader, connected_at) != connected_at:
            self._streams[leader] = connected_at
            return False
        return self._clock.boottime_s() - heard_at < self._settings.raft.election_timeout_s

    async def _tick_loop(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self.tick()

    async def _look_loop(self) -> None:
        while True:
            self._metrics.groups.set(len(self._groups))
            self._metrics.queue_depth.set(sum(group.queued for group in self.all()))
            for group in self.all():
                self._introduce(group.raft.log.configuration)
            await asyncio.sleep(_ROUND_S)

    def _introduce(self, configuration: Configuration) -> None:
        for peer_id, address in configuration.addresses:
            if peer_id != self._me() and address and not self._peers.address_of(peer_id):
                self._peers.know(peer_id, address)

    # ---------------------------------------------------------------------------- what groups need: Outside

    def announce(self, group: Group) -> None:
        """Have the log ask the group for what it has."""
        assert self._wal is not None, "open"
        self._wal.ready(group)

    def send(self, group_id: int, messages: list[Message]) -> None:
        """Send messages to peers."""
        for message in messages:
            self._peers.send(message.to, raft_pb2.GroupMessage(group_id=group_id, message=codec.encode(message)))

    def address_of(self, metaserver_id: int) -> str:
        """Return where a metaserver is."""
        return self._peers.address_of(metaserver_id)

    def go_on_soon(self, group: Group) -> None:
        """Have a group go on after others had their turn."""
        asyncio.get_running_loop().call_soon(group.act)

    def snapshot_work(self, group: Group, work: list[SnapshotWork]) -> None:
        """Have work with snapshots done."""
        assert self._snapshots is not None, "open"
        self._snapshots.add(group, work)
