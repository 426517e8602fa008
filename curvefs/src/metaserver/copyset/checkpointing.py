"""When groups are checkpointed and the log is trimmed.

A group is checkpointed when its log since the last checkpoint outgrew a limit and a quarter of its state. So at most
four bytes are copied for each byte logged, and a rebuild applies again a bounded part of what made the state (some
80 bytes of log and 30 us a create: 16 MiB are 6 s). It is checkpointed too when it keeps the oldest segment of a log
that outgrew its own limit (rule 24), unless it stands still: then it is its entries that are needed, and another copy
of the same state would free nothing. A group whose checkpoint fails is left alone for a while; the others go on.

A damaged replica keeps no segment: it is rebuilt from its peers, never from its log. What the log repeats of its end,
and its hard state, is enough for the next start to find it damaged again.
"""

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Protocol

import structlog

from ...common.errors import CurveFSError, InternalError
from ..metrics import Metrics
from ..wal.log import WriteAheadLog
from .group import Group

_log = structlog.get_logger()
_ROUND_S = 1.0
_PAUSE_AFTER_FAILURE_S = 30.0
_STATE_SHARE = 4
_ALL = 1 << 64  # beyond every index


class CheckpointLimits(Protocol):
    """Sizes in bytes; see CopysetSettings."""

    @property
    def checkpoint_log_size(self) -> int:
        """Of one group's log."""
        ...

    @property
    def log_size_max(self) -> int:
        """Of the whole log."""
        ...


class Checkpointing:
    """See the module. groups: returns all groups. damaged: returns the ids of damaged replicas.

    changing: held while a group is checkpointed.
    """

    def __init__(
        self,
        groups: Callable[[], list[Group]],
        damaged: Callable[[], Collection[int]],
        wal: WriteAheadLog,
        limits: CheckpointLimits,
        *,
        changing: asyncio.Lock,
        metrics: Metrics,
    ) -> None:
        self._groups = groups
        self._damaged = damaged
        self._wal = wal
        self._limits = limits
        self._changing = changing
        self._metrics = metrics
        self._not_before: dict[int, float] = {}  # of groups whose last checkpoint failed

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            await asyncio.sleep(_ROUND_S)
            try:
                await self.where_due()
            except (OSError, CurveFSError) as error:
                _log.error("the log could not be trimmed", reason=str(error), again_in_s=_PAUSE_AFTER_FAILURE_S)
                await asyncio.sleep(_PAUSE_AFTER_FAILURE_S)

    async def where_due(self) -> None:
        """Checkpoint what outgrew its limit and trim the log. Raises OSError when it cannot be trimmed."""
        for group in self._groups():
            limit = max(self._limits.checkpoint_log_size, group.environment.used_bytes() // _STATE_SHARE)
            if group.bytes_since_checkpoint > limit:
                await self._try(group)
        status = await self._wal.trim(self._bases())
        if status.size_bytes > self._limits.log_size_max:
            pinning = set(status.oldest_needed_by)
            for group in self._groups():
                if group.group_id in pinning:
                    await self._try(group)
            status = await self._wal.trim(self._bases())
        self._metrics.log_bytes.set(status.size_bytes)

    async def _try(self, group: Group) -> None:
        """Make a checkpoint of a group if it raises what the log is kept from, and the last one has not just failed."""
        if group.checkpoints.base_index >= group.applied_index:
            return
        if time.monotonic() < self._not_before.get(group.group_id, 0):
            return
        try:
            await self.make(group)
        except (OSError, CurveFSError) as error:
            self._not_before[group.group_id] = time.monotonic() + _PAUSE_AFTER_FAILURE_S
            _log.error(
                "a checkpoint could not be made",
                group=group.group_id,
                reason=str(error),
                again_in_s=_PAUSE_AFTER_FAILURE_S,
            )
        else:
            self._not_before.pop(group.group_id, None)

    async def make(self, group: Group) -> None:
        """Make a checkpoint of a group, in a thread, while it goes on. Raises OSError."""
        async with self._changing:
            if group not in self._groups():
                return
            before = group.bytes_since_checkpoint
            try:
                made = await asyncio.to_thread(group.checkpoints.make, group.environment)
            except OSError:
                if group.environment.is_lost:
                    group.break_(InternalError(f"the disk has not taken the state of group {group.group_id}"))
                raise
            group.bytes_since_checkpoint -= before
            _log.info("checkpoint", group=group.group_id, index=made.index, bytes=made.size)

    def _bases(self) -> dict[int, int]:
        # Never beyond the state: snapshots that were adopted, and then not installed, are ahead of it.
        bases = {group.group_id: min(group.checkpoints.base_index, group.applied_index) for group in self._groups()}
        return bases | dict.fromkeys(self._damaged(), _ALL)
