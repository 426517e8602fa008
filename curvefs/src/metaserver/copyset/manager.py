"""All groups of a metaserver over one write-ahead log: recovery, the write loop, checkpoints.

One write is under way at a time; what is proposed meanwhile, by all groups, goes in the next. When a write is durable
its entries are committed; the next write begins first, and then they are applied, so that the disk works while the
state machine does.

Shared across awaits: the table of groups, and the flag that a write is under way; both change between awaits only.
"""

import asyncio
import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import structlog

from ....proto import common_pb2, raft_pb2, state_pb2
from ...common.clock import Clock
from ...common.errors import CurveFSError, NoSpace, StartupError, Unavailable
from ...common.exits import ExitCode
from ..metastore.unfinished import unfinished
from ..metrics import GroupMetrics
from ..storage.checkpoint import Checkpoints
from ..storage.environment import Environment
from ..wal.format import Record, RecordType
from ..wal.log import WriteAheadLog
from ..wal.recovery import records, segments
from .group import Complete, Group, Logged

log = structlog.get_logger()

RETRY_APPLY_S = 0.5
CHECKPOINT_TICK_S = 5.0
REPLAY_BATCH = 512


@dataclass(frozen=True, slots=True)
class CopysetLimits:
    """Sizes in bytes."""

    map_size: int
    reserve_bytes: int
    checkpoint_log_bytes: int


class CopysetManager:
    """See the module. ``folder``: groups/ and wal/ lie in it."""

    def __init__(self, folder: Path, limits: CopysetLimits, clock: Clock, metrics: GroupMetrics) -> None:
        self._folder = folder
        self._limits = limits
        self._clock = clock
        self._metrics = metrics
        self._groups: dict[int, Group] = {}
        self._log: WriteAheadLog | None = None
        self._writing = False
        self._stuck = asyncio.Event()

    # ----------------------------------------------------------------------------------------- groups

    def get(self, group_id: int) -> Group | None:
        """Return a group that is here."""
        return self._groups.get(group_id)

    def groups(self) -> list[Group]:
        """Return all groups."""
        return list(self._groups.values())

    def create(self, group_id: int, peers: list[common_pb2.Peer]) -> Group:
        """Make a group, or return it if it is here. Raises NoSpace."""
        group = self._groups.get(group_id)
        if group is not None:
            return group
        try:
            folder = self._group_folder(group_id)
            folder.mkdir(parents=True, exist_ok=True)
            _write_json(folder / "group.json", {"format": 1, "group_id": group_id, "peers": _peers_json(peers)})
            group = self._open_group(group_id, peers)
        except OSError as error:
            raise NoSpace(f"the group cannot be made: {error.strerror}") from error
        group.term = 1
        self._append_hard_state(group)
        self._groups[group_id] = group
        return group

    def propose(self, group: Group, entry: state_pb2.Entry, complete: Complete, operations: int = 1) -> None:
        """Have an entry logged and applied; see Group.propose."""
        group.propose(entry, complete, operations)
        if not self._writing:
            self._write_next()

    async def propose_and_wait(self, group: Group, entry: state_pb2.Entry) -> None:
        """Propose and wait until it is applied. Raises what refused it."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def complete(outcome: object) -> None:
            if future.done():
                return
            if isinstance(outcome, CurveFSError):
                future.set_exception(outcome)
            else:
                future.set_result(None)

        self.propose(group, entry, complete)
        await future

    # ------------------------------------------------------------------------------------------- start

    def recover(self) -> None:
        """Open every group and apply what the log has beyond its state. Blocks; for before the loop is busy.

        Raises StartupError: DAMAGED, DATA_FOLDER.
        """
        wal = self._folder / "wal"
        wal.mkdir(parents=True, exist_ok=True)
        for file in sorted((self._folder / "groups").glob("*/group.json")):
            said = json.loads(file.read_text())
            peers = [common_pb2.Peer(**one) for one in said["peers"]]
            self._groups[said["group_id"]] = self._open_group(said["group_id"], peers)
        indexes = self._replay(wal)
        self._log = WriteAheadLog(
            wal,
            asyncio.get_running_loop().call_soon_threadsafe,
            reserve_bytes=self._limits.reserve_bytes,
            indexes=indexes,
        )
        for group in self._groups.values():
            group.term += 1
            self._append_hard_state(group)
            with group.environment.read() as view:
                follow_ups = unfinished(view)
            self._propose_follow_ups(group, follow_ups)

    async def run(self) -> None:
        """Do the background work until cancelled: apply again after a full disk, checkpoints."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._unstick(), name="apply again")
            tasks.create_task(self._checkpoint_loop(), name="checkpoints")

    def close(self) -> None:
        """Finish the log and close every state cleanly. Blocks; no proposal may be under way."""
        if self._log is not None:
            self._log.close()
        for group in self._groups.values():
            group.fail_queued(Unavailable("the metaserver is stopping"))
            group.environment.close()

    async def drain(self, deadline_s: float) -> None:
        """Wait until nothing is under way, at most so long."""
        end = time.monotonic() + deadline_s
        while (self._writing or any(group.queued for group in self._groups.values())) and time.monotonic() < end:
            await asyncio.sleep(0.01)

    # ---------------------------------------------------------------------------------------- write loop

    def _write_next(self) -> None:
        """Hand everything that waits to the log, as one write."""
        taken: list[tuple[Group, list[Logged]]] = []
        all_records: list[Record] = []
        for group in self._groups.values():
            if group.queued and not group.unapplied:
                logged, new = group.take_for_log()
                taken.append((group, logged))
                all_records += new
        if not taken:
            self._writing = False
            return
        self._writing = True
        assert self._log is not None, "recovered"
        self._log.append(all_records, lambda error, seconds: self._written(taken, error, seconds))

    def _written(self, taken: list[tuple[Group, list[Logged]]], error: NoSpace | None, seconds: float) -> None:
        """A write is durable, or never happened."""
        if error is not None:
            for group, logged in taken:
                group.not_logged(logged, error)
            for group, _ in taken:
                group.fail_queued(error)
            self._writing = False
            return
        entries = sum(len(logged) for _, logged in taken)
        operations = sum(one.operations for _, logged in taken for one in logged)
        self._metrics.synced(entries, operations, seconds)
        for group, logged in taken:
            group.committed(logged)
        self._write_next()
        for group, _ in taken:
            self._apply(group)
        if not self._writing:
            self._write_next()

    def _apply(self, group: Group) -> None:
        began = time.perf_counter()
        try:
            follow_ups = group.apply_committed()
        except NoSpace as error:
            log.error("applying waits for room on the disk", group=group.group_id, reason=str(error))
            self._stuck.set()
            return
        self._metrics.applied(time.perf_counter() - began)
        self._propose_follow_ups(group, follow_ups)

    def _propose_follow_ups(self, group: Group, entries: Iterable[state_pb2.Entry]) -> None:
        for entry in entries:
            try:
                self.propose(group, entry, lambda _: None)
            except CurveFSError as error:
                # The state still says what is unfinished; a restart goes on with it.
                log.warning("a follow-up waits for a restart", group=group.group_id, reason=str(error))

    async def _unstick(self) -> None:
        """Apply again what is logged and found no room."""
        while True:
            await self._stuck.wait()
            self._stuck.clear()
            await asyncio.sleep(RETRY_APPLY_S)
            for group in self._groups.values():
                if group.unapplied:
                    self._apply(group)
            if not self._writing:
                self._write_next()

    # --------------------------------------------------------------------------------------- checkpoints

    async def _checkpoint_loop(self) -> None:
        while True:
            await asyncio.sleep(CHECKPOINT_TICK_S)
            for group in self.groups():
                enough = max(self._limits.checkpoint_log_bytes, group.environment.used_bytes())
                if group.bytes_since_checkpoint >= enough:
                    await self.checkpoint(group)

    async def checkpoint(self, group: Group) -> None:
        """Make a durable base of a group, and let go of the log before the older one."""
        group.bytes_since_checkpoint = 0
        began = time.perf_counter()
        try:
            made = await asyncio.to_thread(group.checkpoints.make, group.environment)
        except OSError as error:
            log.error("no checkpoint", group=group.group_id, reason=error.strerror)
            return
        assert self._log is not None, "recovered"
        bases = {one.group_id: one.checkpoints.base_index() for one in self._groups.values()}
        removed = await asyncio.to_thread(self._log.release, bases)
        log.info(
            "checkpoint",
            group=group.group_id,
            index=made.applied_index,
            bytes=made.size,
            seconds=round(time.perf_counter() - began, 3),
            segments_removed=removed,
        )

    # ------------------------------------------------------------------------------------------ recovery

    def _open_group(self, group_id: int, peers: list[common_pb2.Peer]) -> Group:
        folder = self._group_folder(group_id)
        environment = Environment(folder, map_size=self._limits.map_size)
        checkpoints = Checkpoints(folder / "checkpoints")
        if not environment.is_trustworthy():
            base = checkpoints.newest_good()
            log.warning(
                "the machine stopped uncleanly: rebuilding the state",
                group=group_id,
                checkpoint=base.applied_index if base else 0,
            )
            environment.replace(base.path if base else None)
        environment.mark_used()
        group = Group(group_id, peers, environment, checkpoints, self._clock)
        group.last_index, group.last_time_ns = environment.applied_index, environment.last_time_ns
        group.term = environment.applied_term
        return group

    def _replay(self, wal: Path) -> dict[int, dict[int, int]]:
        """Apply what the log has beyond each state. Returns the highest index of each group in each segment."""
        indexes: dict[int, dict[int, int]] = {}
        waiting: dict[int, list[Record]] = {}
        found = segments(wal)
        for number, path in found:
            highest = indexes.setdefault(number, {})
            for record in records(path, last=number == found[-1][0]):
                group = self._groups.get(record.group_id)
                if group is None:
                    continue
                highest[record.group_id] = max(record.index, highest.get(record.group_id, 0))
                if record.type == RecordType.HARD_STATE:
                    group.term = max(group.term, raft_pb2.HardState.FromString(record.payload).term)
                elif record.index > group.applied_index:
                    batch = waiting.setdefault(record.group_id, [])
                    batch.append(record)
                    if len(batch) >= REPLAY_BATCH:
                        self._replay_batch(group, batch)
                        waiting[record.group_id] = []
        for group_id, batch in waiting.items():
            if batch:
                self._replay_batch(self._groups[group_id], batch)
        return indexes

    @staticmethod
    def _replay_batch(group: Group, batch: list[Record]) -> None:
        if batch[0].index != group.last_index + 1:
            raise StartupError(
                f"the log has no entry {group.last_index + 1} of group {group.group_id}", ExitCode.DAMAGED
            )
        try:
            group.replay(batch)
        except NoSpace as error:
            raise StartupError(f"cannot apply the log: {error}", ExitCode.DATA_FOLDER) from error

    def _append_hard_state(self, group: Group) -> None:
        """Make the group's term durable; every write after it is as well."""
        assert self._log is not None, "recovered"
        payload = raft_pb2.HardState(term=group.term).SerializeToString()
        record = Record(RecordType.HARD_STATE, group.group_id, group.term, 0, payload)
        self._log.append([record], lambda _error, _seconds: None)

    def _group_folder(self, group_id: int) -> Path:
        return self._folder / "groups" / str(group_id)


def _peers_json(peers: list[common_pb2.Peer]) -> list[dict[str, object]]:
    return [{"metaserver_id": p.metaserver_id, "address": p.address, "learner": p.learner} for p in peers]


def _write_json(path: Path, value: object) -> None:
    beside = path.with_suffix(".new")
    with beside.open("w") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)
