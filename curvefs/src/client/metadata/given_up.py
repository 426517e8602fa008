"""Chunk ids that were taken and will not be used, told to their groups in the background (rule 3).

For write-back mounts: their identity keeps every range of ids until all of it is used. A session's ranges are closed,
at the latest with it. What cannot be told for long is left: then some ranges stay open until the identity ends.

Shared across awaits: the ids that wait, changed between awaits only.
"""

from collections.abc import Awaitable, Callable

import structlog
import trio

from ....proto import metaserver_pb2 as pb
from ...common.errors import ClusterError, CurveFSError, IOFailure
from ...common.ids import partition_of

log = structlog.get_logger()

IDS_PER_OPERATION = 400  # what the metaserver takes
WAITING_MAX = 65_536
TICK_S = 1.0

Operate = Callable[[int, pb.Operation], Awaitable[pb.OperationResult]]


class GivenUpIds:
    """See the module. ``operate``: has an operation applied in a partition."""

    def __init__(self, operate: Operate) -> None:
        self._operate = operate
        self._waiting: dict[int, list[int]] = {}
        self._count = 0
        self._some = trio.Event()

    def add(self, chunk_id: int) -> None:
        """Nothing will be published under an id."""
        if self._count < WAITING_MAX:
            self._waiting.setdefault(partition_of(chunk_id), []).append(chunk_id)
            self._count += 1
            self._some.set()

    async def run(self) -> None:
        """Tell the groups, until cancelled."""
        while True:
            await self._some.wait()
            await trio.sleep(TICK_S)  # more of them make one operation
            self._some = trio.Event()
            for partition_id in list(self._waiting):
                await self._tell(partition_id)
            if self._waiting:
                self._some.set()

    async def _tell(self, partition_id: int) -> None:
        """Tell a group; what it does not take now waits for the next time."""
        waiting = self._waiting.pop(partition_id)
        self._count -= len(waiting)
        for at in range(0, len(waiting), IDS_PER_OPERATION):
            some = waiting[at : at + IDS_PER_OPERATION]
            try:
                await self._operate(partition_id, pb.Operation(give_up_ids=pb.GiveUpIds(chunk_ids=some)))
            except (IOFailure, ClusterError):
                for chunk_id in waiting[at:]:
                    self.add(chunk_id)
                return
            except CurveFSError as error:
                log.warning("ids that are not used could not be given up", partition=partition_id, reason=str(error))
                return
