"""The transactions of one metaserver: coordinator, participant, quotas and calls between metaservers, put together."""

import asyncio
from collections.abc import Callable
from functools import partial

from ....proto.quota_pb2_grpc import add_QuotaServiceServicer_to_server
from ....proto.transaction_pb2_grpc import add_TransactionServiceServicer_to_server
from ...common.clock import Clock
from ...rpc.asyncio_client import AsyncClient
from ...rpc.asyncio_server import AddServicer
from ..copyset.manager import CopysetManager
from ..quotas.owner import QuotaOwner
from ..quotas.service import QuotaService
from ..reclaim.home import Home
from ..scans import Scans
from .calls import Calls
from .coordinator import Coordinator
from .participant import Participant
from .service import TransactionCalls, TransactionService


class Transactions:
    """operate: carries out an operation across partitions. servicer: to be added to the server.

    calls: to the leaders of other groups. answer_with: has another part answer a method of theirs.
    """

    def __init__(
        self,
        copysets: CopysetManager,
        mds: AsyncClient,
        secret: Callable[[], bytes],
        *,
        scans: Scans,
        clock: Clock,
        mds_deadline_s: float,
    ) -> None:
        """secret: the cluster's, once it is known."""
        self.calls = Calls(mds, secret, mds_deadline_s=mds_deadline_s)
        self._quotas = QuotaOwner(copysets, self.calls, scans)
        self._coordinator = Coordinator(copysets, self.calls, clock=clock, ask=self._quotas.ask)
        self._participant = Participant(copysets, self.calls)
        answers = TransactionCalls(copysets, self._coordinator, self._participant, self._quotas, Home(copysets))
        self.calls.local = answers
        self.answer_with = answers.add
        self.operate = self._coordinator.operate
        service = TransactionService(answers, secret)
        self.servicer: AddServicer = partial(add_TransactionServiceServicer_to_server, service)
        self.quota_servicer: AddServicer = partial(add_QuotaServiceServicer_to_server, QuotaService(self.calls))

    async def run(self) -> None:
        """Carry out transactions, and resolve those of which the end does not come, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._coordinator.run(), name="coordinator")
            tasks.create_task(self._participant.run(), name="participant")
            tasks.create_task(self._quotas.run(), name="quotas")

    async def close(self) -> None:
        """Close the connections to other metaservers."""
        await self.calls.close()
