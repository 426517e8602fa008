"""Empties the trash of the groups led here of what is older than the filesystem's retention.

It is over when this metaserver's clock says so, while that is trusted, and a time that the MDS has just told (rule 19):
without the MDS nothing goes. What goes is queued for deletion, so the grace for readers comes on top. One entry after
the other, with a pause between, so that clients of the group hardly notice. A new leader begins with what it finds.

Shared across awaits: `_mds_time_ns`, a time that has passed for the MDS.
"""

import asyncio

import structlog

from ....proto import state_pb2
from ...common.clock import Clock
from ...common.errors import CurveFSError
from ...rpc.asyncio_client import AsyncClient
from ..calls import check
from ..copyset import awaiting
from ..copyset.group import Group
from ..copyset.manager import CopysetManager
from ..metrics import Metrics
from ..reclaim.filesystems import ask
from ..reclaim.pauses import Pauses
from .looking import count, heads, retention_ns

_log = structlog.get_logger()

COUNTED_MAX = 100_000  # inodes of one group, for the metrics
ENTRIES_PER_ROUND = 50  # of one filesystem in one group
_ROUND_S = 1.0
_COUNT_S = 10.0
_ENTRY_S = 5.0
_PAUSE_S = 0.02
_ASKING = "the MDS"


class TrashPurger:
    """See the module. run() it."""

    def __init__(self, copysets: CopysetManager, mds: AsyncClient, *, clock: Clock, metrics: Metrics) -> None:
        self._copysets = copysets
        self._mds = mds
        self._clock = clock
        self._metrics = metrics
        self._pauses = Pauses(clock.boottime_s)
        self._mds_time_ns = 0

    async def run(self) -> None:
        """Empty it, and count what is in it, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._count_loop(), name="size of the trash")
            while True:
                await self.round()
                await asyncio.sleep(_ROUND_S)

    async def round(self) -> None:
        """Have purged what is due now, or a part of it."""
        led = [group for group in self._copysets.all() if group.is_leader and self._pauses.is_over(group.group_id)]
        now_ns = self._clock.time_ns()
        due = [(group, fs_id, upto_ns) for group in led for fs_id, upto_ns in self._due(group, now_ns)]
        if not due or not self._copysets.may_lead or not await self._ask():
            return
        for group, fs_id, upto_ns in due:
            # What has been in there long enough by this clock may not be so by the MDS's.
            late_ns = max(0, now_ns - self._mds_time_ns)
            try:
                await self._purge(group, fs_id, upto_ns - late_ns)
            except CurveFSError as error:
                self._pauses.failed(group.group_id)
                _log.info("the trash is not emptied now", group=group.group_id, reason=str(error))
            except Exception:  # noqa: BLE001  # a bug must not end the other groups, nor the metaserver
                self._pauses.failed(group.group_id)
                _log.exception("the trash cannot be emptied", group=group.group_id)

    def _due(self, group: Group, now_ns: int) -> list[tuple[int, int]]:
        """Return each filesystem of which something is due in a group, and up to when it was removed."""
        due = []
        with group.view() as view:
            for fs_id, oldest_ns in heads(view):
                kept_ns = retention_ns(view, fs_id)
                if kept_ns is not None and oldest_ns + kept_ns <= now_ns:
                    due.append((fs_id, now_ns - kept_ns))
        return due

    async def _ask(self) -> bool:
        if not self._pauses.is_over(_ASKING):
            return False
        try:
            self._mds_time_ns = (await ask(self._mds)).time_ns
        except CurveFSError as error:
            again_in_s = self._pauses.failed(_ASKING)
            _log.warning("the trash is not emptied without the MDS", reason=str(error), again_in_s=again_in_s)
            return False
        self._pauses.went_well(_ASKING)
        return True

    async def _purge(self, group: Group, fs_id: int, upto_ns: int) -> None:
        command = state_pb2.PurgeTrashCommand(fs_id=fs_id, upto_ns=max(upto_ns, 0))
        for _ in range(ENTRIES_PER_ROUND):
            if not group.is_leader or not self._copysets.may_lead:
                return
            applied = await awaiting.run(group, state_pb2.Entry(format=1, purge_trash=command), _ENTRY_S)
            check(applied)
            self._metrics.trash_purged.inc(applied.purged)
            if not applied.purged:
                # Nothing was due after all, or what is due is just being restored: no entry a second for that.
                self._pauses.failed(group.group_id)
                return
            self._pauses.went_well(group.group_id)
            await asyncio.sleep(_PAUSE_S)

    # -------------------------------------------------------------------------------------------- metrics

    async def _count_loop(self) -> None:
        while True:
            total, oldest_ns = 0, self._clock.time_ns()
            for group in self._copysets.all():
                if group.is_leader:
                    counted, since_ns = await asyncio.to_thread(self._count, group)
                    total += counted
                    oldest_ns = min(oldest_ns, since_ns)
            self._metrics.trash_inodes.set(total)
            self._metrics.trash_oldest_seconds.set((self._clock.time_ns() - oldest_ns) / 1e9 if total else 0)
            await asyncio.sleep(_COUNT_S)

    def _count(self, group: Group) -> tuple[int, int]:
        """Return how much is in a group's trash, and since when its oldest."""
        now_ns = self._clock.time_ns()
        try:
            with group.environment.read_at_length() as view:
                return count(view, COUNTED_MAX), min((at for _, at in heads(view)), default=now_ns)
        except CurveFSError:  # it is being closed
            return 0, now_ns
