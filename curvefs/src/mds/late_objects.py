"""Objects that come after the filesystem they belong to was removed with all its others, and go later.

A mount that was cut off, or a compaction under way, may still put objects below a deleted filesystem's prefix. So the
filesystem's place is kept for a day, and its prefix swept again after an hour and after a day: a LIST of nothing,
nearly always. What is kept is stored, so another MDS goes on with it. A store that refuses for a week is given up. A
sweep is due only when the MDS's clock and the metaservers' both say so: one clock may be wrong.

Shared across awaits: `_begun`, the filesystems whose sweep is being pursued.
"""

from collections.abc import Callable
from uuid import UUID

import structlog

from ...proto import mds_pb2 as pb
from ..common.clock import Clock
from ..slices.names import filesystem_prefix
from .heartbeat.reports import Reports
from .metrics import Metrics
from .object_stores import ObjectStores
from .retries import RetryQueue
from .state import FORMAT, Change, State, changed

_log = structlog.get_logger()

SWEPT_AFTER_S = (3600, 24 * 3600)
GIVEN_UP_AFTER_S = 7 * 24 * 3600
_NS = 10**9


class LateObjects:
    """See the module. Its background work is ``sweeps.run()``; begin_due() about once a second."""

    def __init__(
        self,
        state: State,
        reports: Reports,
        stores: ObjectStores,
        metrics: Metrics,
        *,
        clock: Clock,
        random: Callable[[], float],
    ) -> None:
        self._state = state
        self._reports = reports
        self._stores = stores
        self._metrics = metrics
        self._clock = clock
        self._begun: set[int] = set()
        self.sweeps: RetryQueue[int] = RetryQueue("sweep deleted filesystem", self._sweep, random=random, parallel=2)

    def expect(self, change: Change, filesystem: pb.Filesystem) -> None:
        """Keep the place of a filesystem that is just removed."""
        record = pb.DeletedFilesystem(
            format=FORMAT,
            fs_id=filesystem.fs_id,
            name=filesystem.name,
            uuid=filesystem.uuid,
            object_store=filesystem.object_store,
            deleted_ns=max(self._clock.time_ns(), self._told_ns() or 0),
        )
        change.put(self._state.deleted_filesystems, filesystem.fs_id, record)

    def are_expected(self, name: str) -> bool:
        """Say whether a filesystem that had this name is to be swept again."""
        return any(record.name == name for record in self._state.deleted_filesystems.values())

    def knows(self, uuid: bytes) -> bool:
        """Say whether a filesystem that had this UUID is to be swept again."""
        return any(record.uuid == uuid for record in self._state.deleted_filesystems.values())

    def begin_due(self) -> None:
        """Begin with the sweeps that are due."""
        now_ns = self._now_ns()
        for fs_id, record in self._state.deleted_filesystems.items():
            due_ns = record.deleted_ns + SWEPT_AFTER_S[record.sweeps] * _NS
            if due_ns <= now_ns and fs_id not in self._begun:
                self._begun.add(fs_id)
                self.sweeps.add(fs_id)

    def _told_ns(self) -> int | None:
        return self._reports.time_ns(self._clock.boottime_s())

    def _now_ns(self) -> int:
        """Return the earlier of both times; 0 while no metaserver has told one."""
        return min(self._clock.time_ns(), self._told_ns() or 0)

    async def _sweep(self, fs_id: int) -> None:
        record = self._state.deleted_filesystems.get(fs_id)
        if record is not None:
            now_ns = self._now_ns()
            if now_ns - record.deleted_ns < GIVEN_UP_AFTER_S * _NS:
                count = await self._stores.remove_all(record.object_store, filesystem_prefix(UUID(bytes=record.uuid)))
                self._metrics.late_objects(count)
                _log.info("a deleted filesystem was swept again", fs=record.name, fs_id=fs_id, objects=count)
            else:
                _log.error("a deleted filesystem is not swept again", fs=record.name, fs_id=fs_id)
            await self._state.change(lambda change: self._note_swept(change, record, now_ns))
        self._begun.discard(fs_id)

    def _note_swept(self, change: Change, record: pb.DeletedFilesystem, now_ns: int) -> None:
        """Note that all sweeps which were due are done; the last one is the end of it."""
        swept = sum(record.deleted_ns + after_s * _NS <= now_ns for after_s in SWEPT_AFTER_S)
        if swept == len(SWEPT_AFTER_S):
            change.delete(self._state.deleted_filesystems, record.fs_id)
        else:
            change.put(self._state.deleted_filesystems, record.fs_id, changed(record, sweeps=swept))
