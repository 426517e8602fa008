"""Works off the delete queues of the groups led here.

Something is deleted when its grace is over by this metaserver's clock, while that is trusted (rule 19), and by a time
that the MDS has just told: without the MDS nothing is deleted. One task works on a group at a time, GROUPS_MAX in all;
groups have their turns in the order of their numbers, so none waits for the same others for ever. A new leader begins
with what it finds in the state.

Shared across awaits: `_working`, the groups being worked on; `_last`, the group that was begun with last; `_told`, the
last answer of the MDS; `_after`, where the next pass over a filesystem's queue in a group begins, set by its task.
"""

import asyncio
from collections import Counter

import structlog

from ...common.clock import Clock
from ...common.errors import CurveFSError
from ...rpc.asyncio_client import AsyncClient
from ..copyset.group import Group
from ..copyset.manager import CopysetManager
from ..metrics import Metrics
from ..transactions.calls import Calls
from .filesystems import Told, ask
from .looking import KINDS, heads, lengths
from .passing import Jobs, Means, Pass
from .pauses import Pauses

_log = structlog.get_logger()

GROUPS_MAX = 4
COUNTED_MAX = 10_000  # records of one group, for the metrics
_ROUND_S = 1.0
_COUNT_S = 10.0
_ASKING = "the MDS"


class Reclaimer:
    """See the module. run() it."""

    def __init__(
        self, copysets: CopysetManager, calls: Calls, jobs: Jobs, mds: AsyncClient, *, clock: Clock, metrics: Metrics
    ) -> None:
        self._copysets = copysets
        self._mds = mds
        self._clock = clock
        self._metrics = metrics
        self._pauses = Pauses(clock.boottime_s)
        self._means = Means(jobs, calls, self._pauses, metrics)
        self._told = Told(0, {})
        self._working: set[Group] = set()
        self._last = 0
        self._after: dict[tuple[int, int], bytes] = {}

    async def run(self) -> None:
        """Work off queues, and count what is in them, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._count_loop(), name="length of delete queues")
            while True:
                await self.round(tasks)
                await asyncio.sleep(_ROUND_S)

    async def round(self, tasks: asyncio.TaskGroup) -> None:
        """Begin to work on groups in which something is due."""
        led = [group for group in self._copysets.all() if group.is_leader and group not in self._working]
        waiting = [(group, due) for group in led if self._pauses.is_over(group.group_id) and (due := self._due(group))]
        if not waiting or not self._copysets.may_lead or not await self._ask():
            return
        waiting.sort(key=lambda one: (one[0].group_id <= self._last, one[0].group_id))
        for group, due in waiting[: GROUPS_MAX - len(self._working)]:
            self._last = group.group_id
            self._working.add(group)
            task = tasks.create_task(self._work(group, due), name="delete queue")
            task.add_done_callback(lambda _, group=group: self._working.discard(group))  # type: ignore[misc]

    def _due(self, group: Group) -> list[int]:
        """Return the filesystems of which something is due in a group, or unknown yet how long it stays."""
        now_ns = self._clock.time_ns()
        known = self._told.filesystems
        with group.view() as view:
            return [
                fs_id
                for fs_id, queued_ns in heads(view)
                if fs_id not in known or queued_ns + known[fs_id].grace_ns <= now_ns
            ]

    async def _ask(self) -> bool:
        """Ask the MDS what it knows; say whether it answered."""
        if not self._pauses.is_over(_ASKING):
            return False
        try:
            self._told = await ask(self._mds)
        except CurveFSError as error:
            again_in_s = self._pauses.failed(_ASKING)
            _log.warning("nothing is deleted without the MDS", reason=str(error), again_in_s=again_in_s)
            return False
        self._pauses.went_well(_ASKING)
        return True

    async def _work(self, group: Group, due: list[int]) -> None:
        told = self._told
        now_ns = min(self._clock.time_ns(), told.time_ns)
        done = 0
        try:
            for fs_id in due:
                filesystem = told.filesystems.get(fs_id)
                if filesystem is not None:
                    one = Pass(group, fs_id, filesystem, self._means)
                    at = group.group_id, fs_id
                    pages, after = await one.run(now_ns, lambda: self._copysets.may_lead, self._after.pop(at, b""))
                    done += pages
                    if after:
                        self._after[at] = after
        except CurveFSError as error:
            _log.info("another goes on with the delete queue", group=group.group_id, reason=str(error))
        except Exception:  # noqa: BLE001  # a bug must not end the others
            _log.exception("a delete queue cannot be worked off", group=group.group_id)
            self._metrics.reclaim_failures.labels("bug").inc()
        if done:
            self._pauses.went_well(group.group_id)
        else:
            self._pauses.failed(group.group_id)

    # -------------------------------------------------------------------------------------------- metrics

    async def _count_loop(self) -> None:
        while True:
            await self.count()
            await asyncio.sleep(_COUNT_S)

    async def count(self) -> None:
        """Set the metrics of what waits in the groups led here."""
        total: Counter[str] = Counter()
        overdue_ns = 0
        for group in self._copysets.all():
            if group.is_leader:
                counted, oldest_ns = await asyncio.to_thread(self._count, group)
                total += counted
                overdue_ns = max(overdue_ns, oldest_ns)
        for kind in KINDS:
            self._metrics.delete_queue.labels(kind).set(total[kind])
        self._metrics.delete_overdue_seconds.set(overdue_ns / 1e9)

    def _count(self, group: Group) -> tuple[Counter[str], int]:
        """Return how much waits in a group, and for how long its oldest record is due, in ns."""
        now_ns, known = self._clock.time_ns(), self._told.filesystems
        try:
            with group.environment.read_at_length() as view:
                overdue = (now_ns - at - known[fs_id].grace_ns for fs_id, at in heads(view) if fs_id in known)
                return lengths(view, COUNTED_MAX), max(overdue, default=0)
        except CurveFSError:  # it is being closed
            return Counter(), 0
