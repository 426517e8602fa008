"""A pass over what is due in the delete queue of one filesystem in one group.

Kind by kind, page by page; what is done is forgotten by an entry. A kind that fails is left out for a growing pause
(Pauses), the others go on; the next pass begins where this one ended. Every step may be repeated: after a crash, by
another leader, or after an answer was lost.

Bounds: PAGE records in memory, one job at a time with the worker, OBJECTS_PER_S.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from ....proto import metaserver_pb2, state_pb2, transaction_pb2
from ....proto import worker_pb2 as pb
from ...common import failpoints
from ...common.errors import CurveFSError, InvalidArgument, Redirect
from ...common.ids import partition_of
from ...slices.names import parse_block_name, range_prefix
from ..calls import check
from ..copyset import awaiting
from ..copyset.group import Group
from ..metastore.references import RELEASES_PER_ENTRY_MAX
from ..metrics import Metrics
from ..transactions.calls import Calls
from .filesystems import Filesystem
from .looking import Waiting, page
from .pauses import Pauses

_log = structlog.get_logger()

PAGE = 1000
PAGES_MAX = 20  # that something is done of, in one pass: then the MDS is asked for its time again
LOOKED_MAX = 200  # also pages with nothing but what is left out; about a second of the event loop, in short steps
BATCH = 1000  # objects of one job
OBJECTS_PER_S = 2000
ENTRY_DEADLINE_S = 5.0
CALL_DEADLINE_S = 5.0
JOB_DEADLINE_S = 120.0  # longer than the stores' own

DELETED = failpoints.point("reclaim.deleted")


class Jobs(Protocol):
    """What does the work on objects (worker/worker.py)."""

    async def run_job(self, job: pb.Job, deadline_s: float) -> pb.JobReply:
        """Have a job done. Raises CurveFSError."""
        ...


@dataclass(frozen=True, slots=True)
class Means:
    """What every pass uses."""

    jobs: Jobs
    calls: Calls
    pauses: Pauses
    metrics: Metrics
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Pass:
    """See the module."""

    def __init__(self, group: Group, fs_id: int, filesystem: Filesystem, means: Means) -> None:
        self._group = group
        self._fs_id = fs_id
        self._filesystem = filesystem
        self._means = means
        self._work: dict[str, Callable[[list[Waiting]], Awaitable[None]]] = {
            "inode": self._forget_inodes,
            "slice": self._delete_slices,
            "release_slice": self._send_home,
            "never_published": self._look_for,
        }

    async def run(self, now_ns: int, may_go_on: Callable[[], bool], after: bytes = b"") -> tuple[int, bytes]:
        """Do what is due at a time that has surely passed, from a key on, as far as one pass goes.

        Returns of how many pages, and where to go on (empty: from the beginning). Raises Redirect when another leads.
        """
        upto_ns = now_ns - self._filesystem.grace_ns
        done = looked = 0
        while done < PAGES_MAX and looked < LOOKED_MAX and may_go_on() and self._group.is_leader:
            await self._means.sleep(0)  # a page may have nothing but what is left out
            with self._group.view() as view:
                found = page(view, self._fs_id, after, upto_ns, PAGE)
            looked += 1
            if not found:
                return done, b""
            by_kind: dict[str, list[Waiting]] = defaultdict(list)
            for one in found:
                by_kind[one.record.WhichOneof("what") or ""].append(one)
            if "inode" in by_kind and await self._try("inode", by_kind.pop("inode")):
                done += 1
                continue  # their slices are due, too, and lie before what follows
            by_kind.pop("inode", None)
            done += sum([await self._try(kind, waiting) for kind, waiting in by_kind.items()]) > 0
            after = found[-1].key
        return done, after

    async def _try(self, kind: str, waiting: list[Waiting]) -> bool:
        """Do one kind of work unless it failed just now; say whether it is done."""
        work, pauses, key = self._work.get(kind), self._means.pauses, (self._fs_id, kind)
        if work is None or not pauses.is_over(key):
            return False
        try:
            await work(waiting)
        except Redirect:
            raise
        except CurveFSError as error:
            self._means.metrics.reclaim_failures.labels(kind).inc()
            again_in_s = pauses.failed(key)
            _log.warning("not reclaimed yet", fs=self._fs_id, kind=kind, reason=str(error), again_in_s=again_in_s)
            return False
        pauses.went_well(key)
        return True

    # ---------------------------------------------------------------------------------------- kind by kind

    async def _forget_inodes(self, waiting: list[Waiting]) -> None:
        """Have slices of purged inodes queued, some with each entry, until none are left."""
        left = [one.key for one in waiting]
        while left:
            await self._done(left)
            with self._group.view() as view:
                left = [key for key in left if view.get(key) is not None]

    async def _delete_slices(self, waiting: list[Waiting]) -> None:
        """Delete the objects of slices that nothing refers to."""
        names: list[str] = []
        done: list[bytes] = []
        for one in waiting:
            gone = one.record.slice
            names += self._filesystem.blocks(gone.chunk_id, gone.compaction, gone.size)
            done.append(one.key)
            if len(names) >= BATCH:
                await self._delete(names)
                await self._done(done)
                names, done = [], []
        await self._delete(names)
        await self._done(done)

    async def _send_home(self, waiting: list[Waiting]) -> None:
        """Have references given up in the groups of their chunk ids."""
        by_home: dict[int, list[Waiting]] = defaultdict(list)
        for one in waiting:
            place = await self._means.calls.place(self._fs_id, partition_of(one.record.release_slice.chunk_id))
            by_home[place.group_id].append(one)
        for group_id, together in by_home.items():
            for first in range(0, len(together), RELEASES_PER_ENTRY_MAX):
                some = together[first : first + RELEASES_PER_ENTRY_MAX]
                await self._release(group_id, [one.record.release_slice for one in some])
                await self._done([one.key for one in some])

    async def _release(self, group_id: int, slices: list[metaserver_pb2.Slice]) -> None:
        request = transaction_pb2.ReleaseRequest(group_id=group_id, fs_id=self._fs_id, slices=slices)
        await self._means.calls.call("Release", request, self._fs_id, CALL_DEADLINE_S)

    async def _look_for(self, waiting: list[Waiting]) -> None:
        """Delete what was stored under ids that are never published. Those of one range are looked for together."""
        by_prefix: dict[str, list[Waiting]] = defaultdict(list)
        for one in waiting:
            by_prefix[range_prefix(self._filesystem.uuid, one.record.never_published.first)].append(one)
        for prefix, together in by_prefix.items():
            in_vain = set[int]().union(*(_never_published(one.record) for one in together))
            after, names = "", [""] * BATCH
            while len(names) == BATCH:
                names = await self._list(prefix, after)
                await self._delete([name for name in names if _chunk_of(name) in in_vain])
                after = names[-1] if names else ""
            await self._done([one.key for one in together])

    # -------------------------------------------------------------------------------------------- its steps

    async def _list(self, prefix: str, after: str) -> list[str]:
        job = pb.ListObjects(prefix=prefix, after=after, limit=BATCH)
        reply = await self._run(pb.Job(list=job))
        return list(reply.list.names)

    async def _delete(self, names: list[str]) -> None:
        for first in range(0, len(names), BATCH):
            batch = names[first : first + BATCH]
            await self._run(pb.Job(delete=pb.DeleteObjects(names=batch)))
            failpoints.hit(DELETED)
            self._means.metrics.objects_deleted.inc(len(batch))
            await self._means.sleep(len(batch) / OBJECTS_PER_S)

    async def _run(self, job: pb.Job) -> pb.JobReply:
        job.object_store = self._filesystem.object_store
        return await self._means.jobs.run_job(job, JOB_DEADLINE_S)

    async def _done(self, done: list[bytes]) -> None:
        """Have what is done forgotten."""
        if done:
            command = state_pb2.ReclaimCommand(fs_id=self._fs_id, keys=done)
            entry = state_pb2.Entry(format=1, reclaim=command)
            check(await awaiting.run(self._group, entry, ENTRY_DEADLINE_S))


def _never_published(record: state_pb2.DeleteRecord) -> list[int]:
    """Return the ids of a range that were never published."""
    span, published = record.never_published, int.from_bytes(record.published, "little")
    return [one for one in range(span.first, span.end) if not published >> one - span.first & 1]


def _chunk_of(name: str) -> int | None:
    try:
        return parse_block_name(name).chunk_id
    except InvalidArgument:
        return None
