"""When groups are checkpointed and the log is trimmed.

A group is checkpointed when its log since the last checkpoint outgrew a limit and a quarter of its state. So at most
four bytes are copied for each byte logged, and a rebuild applies again a bounded part of what made the state (some
80 bytes of log and 30 us a create: 16 MiB are 6 s). It is checkpointed too when it keeps the oldest segment of a log
that outgrew its own limit (rule 24).
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from ...common.errors import CurveFSError
from ..metrics import Metrics
from ..wal.log import WriteAheadLog
from .group import Group

_log = structlog.get_logger()
_ROUND_S = 1.0
_PAUSE_AFTER_FAILURE_S = 30.0
_STATE_SHARE = 4


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
    """See the module. groups: returns all groups. changing: held while one is checkpointed."""

    def __init__(
        self,
        groups: Callable[[], list[Group]],
        wal: WriteAheadLog,
        limits: CheckpointLimits,
        *,
        changing: asyncio.Lock,
        metrics: Metrics,
    ) -> None:
        self._groups = groups
        self._wal = wal
        self._limits = limits
        self._changing = changing
        self._metrics = metrics

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            await asyncio.sleep(_ROUND_S)
            try:
                await self.where_due()
            except (OSError, CurveFSError) as error:
                _log.error("a checkpoint could not be made", reason=str(error), again_in_s=_PAUSE_AFTER_FAILURE_S)
                await asyncio.sleep(_PAUSE_AFTER_FAILURE_S)

    async def where_due(self) -> None:
        """Checkpoint what outgrew its limit and trim the log. Raises OSError."""
        for group in self._groups():
            limit = max(self._limits.checkpoint_log_size, group.environment.used_bytes() // _STATE_SHARE)
            if group.bytes_since_checkpoint > limit:
                await self.make(group)
        status = await self._wal.trim(self._bases())
        if status.size_bytes > self._limits.log_size_max:
            pinning = set(status.oldest_needed_by)
            for group in self._groups():
                if group.group_id in pinning:
                    await self.make(group)
            status = await self._wal.trim(self._bases())
        self._metrics.log_bytes.set(status.size_bytes)

    async def make(self, group: Group) -> None:
        """Make a checkpoint of a group, in a thread, while it goes on. Raises OSError."""
        async with self._changing:
            if group not in self._groups():
                return
            before = group.bytes_since_checkpoint
            made = await asyncio.to_thread(group.checkpoints.make, group.environment)
            group.bytes_since_checkpoint -= before
            _log.info("checkpoint", group=group.group_id, index=made.index, bytes=made.size)

    def _bases(self) -> dict[int, int]:
        return {group.group_id: group.checkpoints.base_index for group in self._groups()}
