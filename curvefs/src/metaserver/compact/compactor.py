"""Decides what is compacted when, for the groups led here, and has it done.

Chunks that the state has on its list (metastore/tallies.py) are taken in the order of their keys, each round going on
behind the last; a file that an operator asks for is done besides, whatever it costs. A chunk is done in steps: its list
is read, merged slices are stored by the worker, one entry commits. Nothing is locked meanwhile: who comes in between
makes the commit fail, and the chunk has another turn. What was stored for nothing is given up by an entry, or found by
the next leader (metastore/compaction.py): an outcome that is not known deletes nothing.

A chunk that fails is left alone for a growing pause, as is all of a filesystem whose store fails.

Bounds: MERGES_MAX chunks at the same time, bytes per second (Pace), memory as the worker's (worker/runs.py).

Shared across awaits: `_busy`, the chunks being worked on; `_told`, the last answer of the MDS; `_after`, where each
group's list is gone on with; `_asked`, what operators asked for;
`_in_vain`, what is to be given up.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path

import structlog

from ....proto import files_pb2, state_pb2, transaction_pb2
from ...common.clock import Clock
from ...common.data_keys import find_key
from ...common.errors import (
    AlreadyDone,
    CorruptData,
    CurveFSError,
    IdRefused,
    InternalError,
    InvalidArgument,
    NotFound,
    ObjectStoreUnavailable,
    Overloaded,
    Redirect,
    Skipped,
    Unavailable,
)
from ...common.ids import partition_of
from ...rpc.asyncio_client import AsyncClient
from ...slices.compaction import LaterOn
from ...slices.merging import Plan
from ..calls import check
from ..copyset import awaiting
from ..copyset.group import Group
from ..copyset.manager import CopysetManager
from ..metastore.applied import Applied
from ..metastore.tallies import Listed, listed
from ..metrics import Metrics
from ..reclaim.filesystems import Filesystem, Told, ask
from ..reclaim.passing import Jobs
from ..reclaim.pauses import Pauses
from . import chunk as chunks
from .chunk import Chunk
from .leases import Leases
from .pace import Pace

_log = structlog.get_logger()

MERGES_MAX = 2
LISTED_MAX = 64  # of a group, looked at in one round
COUNTED_MAX = 10_000  # chunks of a group, for the metrics
ENTRY_DEADLINE_S = 5.0
JOB_DEADLINE_S = 600.0
CONFLICTS_MAX = 8  # of a chunk that is asked for
ASKED_MAX = 1000
ANSWER_S = 1.0  # less than the calls between metaservers take
KEPT_S = 30.0  # what came of what was asked for
_ROUND_S = 1.0
_COUNT_S = 10.0
_LONGEST_PAUSE_S = 900.0
_ASKING = "the MDS"

Key = tuple[int, int, int]  # filesystem, inode, chunk index
Compacted = tuple[files_pb2.CompactedChunk, CurveFSError | None]


@dataclass(frozen=True, slots=True)
class Merged:
    """What came of a step. outcome: done, nothing, gone, conflict."""

    outcome: str
    slices_before: int = 0
    slices_after: int = 0
    read_bytes: int = 0
    written_bytes: int = 0


@dataclass(frozen=True, slots=True)
class InVain:
    """Chunk ids of a term under which something may be stored that nothing will be published under."""

    group: Group
    term: int
    fs_id: int
    chunk_ids: list[int]


class Compactor:
    """See the module. run() it."""

    def __init__(
        self,
        copysets: CopysetManager,
        jobs: Jobs,
        mds: AsyncClient,
        *,
        clock: Clock,
        metrics: Metrics,
        bytes_per_s: float,
        key_dir: Path | None,
    ) -> None:
        """key_dir: of the keys of encrypted filesystems; one whose key is not there is not compacted here."""
        self._copysets = copysets
        self._jobs = jobs
        self._mds = mds
        self._clock = clock
        self._metrics = metrics
        self._key_dir = key_dir
        self._pace = Pace(bytes_per_s, clock.boottime_s, asyncio.sleep)
        self._pauses = Pauses(clock.boottime_s, longest_s=_LONGEST_PAUSE_S)
        self._leases = Leases()
        self._told = Told(0, {})
        self._busy: dict[Key, asyncio.Event] = {}
        self._slots = asyncio.Semaphore(MERGES_MAX)
        self._after: dict[int, Listed | None] = {}
        self._in_vain: list[InVain] = []  # as many as fail within a term while the log takes nothing
        self._tasks: asyncio.TaskGroup | None = None
        self._asked: dict[Key, asyncio.Task[Compacted]] = {}

    # ---------------------------------------------------------------------------------------- background

    async def run(self) -> None:
        """Compact what is on the lists, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._count_loop(), name="count of chunks to compact")
            self._tasks = tasks
            try:
                while True:
                    if not await self.round(tasks):
                        await asyncio.sleep(_ROUND_S)
            finally:
                self._tasks = None

    async def round(self, tasks: asyncio.TaskGroup) -> bool:
        """Begin with chunks of the lists, as there is room for them; say whether there were any."""
        await self._give_up()
        began = False
        for group in self._copysets.all():
            if not group.is_leader:
                continue
            for one in self._next(group):
                await self._slots.acquire()
                task = tasks.create_task(self._turn(group, one), name="compaction of a chunk")
                task.add_done_callback(lambda _: self._slots.release())
                began = True
        return began

    def _next(self, group: Group) -> list[Listed]:
        """Return what of a group's list has its turn; behind the end it begins anew."""
        after = self._after.get(group.group_id)
        with contextlib.suppress(CurveFSError), group.view() as view:
            found = listed(view, after, LISTED_MAX)
            self._after[group.group_id] = found[-1] if len(found) == LISTED_MAX else None
            return [one for one in found if self._may_begin(one)]
        return []

    def _may_begin(self, one: Listed) -> bool:
        key = one.fs_id, one.inode_id, one.chunk_index
        return key not in self._busy and self._pauses.is_over(key) and self._pauses.is_over(one.fs_id)

    async def _turn(self, group: Group, one: Listed) -> None:
        """Give a chunk of the list its turn."""
        key = one.fs_id, one.inode_id, one.chunk_index
        if not (group.is_leader and self._may_begin(one)):
            return
        try:
            merged = await self._step(group, key, thorough=False)
        except ObjectStoreUnavailable as error:  # which is an Unavailable, but not of the group
            self._failed(key, error)
        except (Redirect, Unavailable) as error:
            self._pauses.failed(key)
            _log.info("a chunk is not compacted yet", inode=one.inode_id, chunk=one.chunk_index, reason=str(error))
        except CurveFSError as error:
            self._failed(key, error)
        except Exception:  # noqa: BLE001  # a bug must not end the others
            self._pauses.failed(key)
            self._metrics.compactions.labels("failed").inc()
            _log.exception("a chunk cannot be compacted", inode=one.inode_id, chunk=one.chunk_index)
        else:
            if merged.outcome in {"conflict", "gone"}:
                self._pauses.failed(key)  # it is being written; or its partition goes, and the list with it
            else:
                self._pauses.went_well(key)
                if merged.outcome == "done":
                    self._pauses.went_well(one.fs_id)

    def _failed(self, key: Key, error: CurveFSError) -> None:
        """Leave a chunk alone for a while: its own object is at fault, or else the store of its filesystem."""
        fs_id, inode_id, index = key
        own = isinstance(error, NotFound | CorruptData)
        again_in_s = self._pauses.failed(key if own else fs_id)
        self._metrics.compactions.labels("failed").inc()
        report = _log.error if own else _log.warning
        report(
            "a chunk is not compacted", fs=fs_id, inode=inode_id, chunk=index, reason=str(error), again_in_s=again_in_s
        )

    # ------------------------------------------------------------------------------------------ on demand

    async def compact_chunk(self, request: transaction_pb2.CompactChunkRequest) -> transaction_pb2.CompactChunkReply:
        """Make a chunk's list as short as it can be; answer in about a second how far that is.

        Raises what hinders it, Redirect when another leads.
        """
        group = self._copysets.get(request.group_id)
        if not group.is_leader:
            raise group.redirect()
        key = request.fs_id, request.inode_id, request.chunk_index
        task = self._asked.get(key)
        if task is None:
            if self._tasks is None or len(self._asked) >= ASKED_MAX:
                raise Overloaded("too many chunks are asked for", retry_after_ms=1000)
            task = self._asked[key] = self._tasks.create_task(self._do_all(group, key), name="compaction on demand")
            task.add_done_callback(partial(self._answered, key))
        # It goes on when who asked does not: what it has stored must be committed or given up.
        done, _ = await asyncio.wait([task], timeout=ANSWER_S)
        if not done:
            return transaction_pb2.CompactChunkReply(pending=True)
        self._asked.pop(key, None)
        compacted, error = task.result()
        if error is not None:
            raise error
        return transaction_pb2.CompactChunkReply(compacted=compacted)

    def _answered(self, key: Key, task: asyncio.Task[Compacted]) -> None:
        """Keep a result for a while, for who asks again."""
        asyncio.get_running_loop().call_later(KEPT_S, self._forget, key, task)

    def _forget(self, key: Key, task: asyncio.Task[Compacted]) -> None:
        if self._asked.get(key) is task:
            del self._asked[key]

    async def _do_all(self, group: Group, key: Key) -> Compacted:
        """Take steps until nothing is left to be done, or something hinders it.

        A file that is written all the time is never done: it ends when so much was merged as there was at first.
        """
        total = files_pb2.CompactedChunk()
        conflicts = saved = 0
        try:
            async with self._slots:
                while conflicts < CONFLICTS_MAX:
                    if not group.is_leader:
                        raise group.redirect()
                    merged = await self._step(group, key, thorough=True)
                    total.slices_before = total.slices_before or merged.slices_before
                    total.slices_after = merged.slices_after
                    total.read_bytes += merged.read_bytes
                    total.written_bytes += merged.written_bytes
                    if merged.outcome == "conflict":
                        conflicts += 1
                        continue
                    saved += merged.slices_before - merged.slices_after
                    if merged.outcome != "done" or saved >= total.slices_before - 1:
                        return total, None
            raise Unavailable("the file is written so busily that compaction always came too late")
        except CurveFSError as error:
            return total, error
        except Exception:  # noqa: BLE001  # a bug must not end the others
            _log.exception("a chunk cannot be compacted", inode=key[1], chunk=key[2])
            return total, InternalError("a bug in the metaserver; its log says more")

    # ------------------------------------------------------------------------------------------ one step

    async def _step(self, group: Group, key: Key, *, thorough: bool) -> Merged:
        """Merge some slices of a chunk once, alone. Raises CurveFSError."""
        while (other := self._busy.get(key)) is not None:
            await other.wait()
        ended = self._busy[key] = asyncio.Event()
        try:
            merged = await self._merge(group, key, thorough=thorough)
        except CurveFSError:
            await self._give_up()
            raise
        finally:
            del self._busy[key]
            ended.set()
        if merged.outcome == "conflict":
            await self._give_up()
        self._metrics.compactions.labels(merged.outcome).inc()
        return merged

    async def _merge(self, group: Group, key: Key, *, thorough: bool) -> Merged:
        term = group.term
        chunk, plan = await self._plan(group, key, thorough=thorough)
        if isinstance(plan, Plan) and await self._leases.hold(group, key[0], partition_of(key[1])):
            # Commits of earlier terms may have come meanwhile, but none will any more.
            chunk, plan = await self._plan(group, key, thorough=thorough)
        if chunk is None:
            await self._run(group, chunks.look_again(*key, chunks.NEVER))
            return Merged("gone")
        count = len(chunk.slices) + chunk.more
        if isinstance(plan, LaterOn):
            if chunk.is_cut and not thorough:
                return Merged("conflict", count, count)  # what is hidden still counts: it has a turn when that is gone
            if not thorough:
                await self._run(group, chunks.look_again(*key, plan.slices + chunk.more))
            return Merged("nothing", count, count)
        filesystem = await self._filesystem(chunk.fs_id)
        data_key = await asyncio.to_thread(self._data_key, filesystem)
        await self._pace.take(plan.read_bytes + plan.written_bytes)
        _check_term(group, term)
        outcome = await self._carry_out(group, chunk, plan, filesystem, data_key)
        return Merged(outcome, count, count - plan.saved, plan.read_bytes, plan.written_bytes)

    async def _carry_out(self, group: Group, chunk: Chunk, plan: Plan, filesystem: Filesystem, data_key: bytes) -> str:
        """Store what becomes of the slices, and commit; returns the outcome."""
        partition_id, term = partition_of(chunk.inode_id), group.term
        ids = await self._leases.take(group, chunk.fs_id, partition_id, len(plan.runs))
        stored = InVain(group, term, chunk.fs_id, ids)
        try:
            if plan.runs:
                reply = await self._jobs.run_job(chunk.job(plan, ids, filesystem, data_key), JOB_DEADLINE_S)
                self._metrics.compaction_read_bytes.inc(reply.store_runs.read_bytes)
                self._metrics.compaction_written_bytes.inc(reply.store_runs.written_bytes)
            _check_term(group, term)
            applied = await self._run(group, chunk.commit(plan, ids, filesystem.block_format))
        except BaseException as error:
            self._in_vain.append(stored)
            # Something came in between; or the job read what was deleted meanwhile, long after its list was read.
            if isinstance(error, Skipped | IdRefused | AlreadyDone):
                return "conflict"
            if isinstance(error, CurveFSError) and self._has_changed(group, chunk):
                return "conflict"
            raise
        self._leases.add(group, chunk.fs_id, partition_id, list(applied.ranges or ()))
        return "done"

    async def _plan(self, group: Group, key: Key, *, thorough: bool) -> tuple[Chunk | None, Plan | LaterOn]:
        chunk = self._look(group, key)
        if chunk is None:
            return None, LaterOn(chunks.NEVER)
        return chunk, await asyncio.to_thread(chunk.plan, thorough=thorough)

    def _look(self, group: Group, key: Key) -> Chunk | None:
        with group.view() as view:
            return chunks.look(view, *key)

    def _has_changed(self, group: Group, chunk: Chunk) -> bool:
        """Say whether slices that were to be merged are there no more."""
        now = self._look(group, (chunk.fs_id, chunk.inode_id, chunk.index))
        same = (
            []
            if now is None
            else list(takewhile(lambda both: both[0] == both[1], zip(now.pairs, chunk.pairs, strict=False)))
        )
        return len(same) < len(chunk.pairs)

    async def _give_up(self) -> None:
        """Have what was stored in vain deleted. What cannot be said now is said later, or closed by the next leader."""
        waiting, self._in_vain = self._in_vain, []
        for one in waiting:
            if not one.chunk_ids or not one.group.is_leader or one.group.term != one.term:
                continue
            try:
                await self._run(one.group, chunks.give_up(one.fs_id, one.chunk_ids))
            except CurveFSError:
                self._in_vain.append(one)

    async def _run(self, group: Group, entry: state_pb2.Entry) -> Applied:
        applied = await awaiting.run(group, entry, ENTRY_DEADLINE_S)
        check(applied)
        return applied

    async def _filesystem(self, fs_id: int) -> Filesystem:
        """Return a filesystem as the MDS knows it. Raises Unavailable."""
        found = self._told.filesystems.get(fs_id)
        if found is None and self._pauses.is_over(_ASKING):
            try:
                self._told = await ask(self._mds)
            except CurveFSError:
                self._pauses.failed(_ASKING)
                raise
            self._pauses.went_well(_ASKING)
            found = self._told.filesystems.get(fs_id)
        if found is None:
            raise Unavailable(f"the MDS was not heard of filesystem {fs_id}")
        return found

    def _data_key(self, filesystem: Filesystem) -> bytes:
        """Return the key of a filesystem's blocks, b'' when they are not encrypted. Raises InvalidArgument; blocks."""
        if not filesystem.key_check:
            return b""
        if self._key_dir is None:
            raise InvalidArgument(f"filesystem '{filesystem.name}' is encrypted, and this metaserver has no key_dir")
        try:
            return find_key(self._key_dir, filesystem.name, filesystem.key_check)
        except NotFound as error:  # the filesystem is at fault, not the chunk
            raise InvalidArgument(str(error)) from error

    # -------------------------------------------------------------------------------------------- metrics

    async def _count_loop(self) -> None:
        while True:
            counts = [await asyncio.to_thread(self._count, group) for group in self._copysets.all() if group.is_leader]
            self._metrics.chunks_to_compact.set(sum(count for count, _ in counts))
            oldest_ns = min((since for _, since in counts if since), default=0)
            self._metrics.compaction_oldest_seconds.set(
                max(self._clock.time_ns() - oldest_ns, 0) / 1e9 if oldest_ns else 0
            )
            await asyncio.sleep(_COUNT_S)

    def _count(self, group: Group) -> tuple[int, int]:
        """Return how many chunks a group has on its list, and since when the oldest is there (0: none)."""
        try:
            with group.environment.read_at_length() as view:
                since = [one.since_ns for one in listed(view, None, COUNTED_MAX)]
        except CurveFSError:  # it is being closed
            return 0, 0
        return len(since), min(since, default=0)


def _check_term(group: Group, term: int) -> None:
    """Raise Redirect when there was an election: others may have merged what a plan takes for granted."""
    if group.term != term:
        raise Redirect(f"group {group.group_id} had an election just now", leader="")
