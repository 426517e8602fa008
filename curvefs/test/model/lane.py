"""The calls of one mount to the group, in the place of the router: in order, with answers that may not come.

As the router does it: what fails for a while was tried again until its deadline, so what comes out is final, or leaves
the outcome unknown. When the session is over, another is opened, and what was sent under the first has failed.
"""

import random

import trio

from curvefs.proto import common_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.errors import IOFailure, SessionEnded
from curvefs.src.common.status import error_of, error_of_code

from .faults import Faults
from .server import SESSION_ENDED, Server

LATENCY_S = 0.001
TIMEOUT_S = 30.0
FLOOD = 64  # ranges: as many as a session may have open


class Lane:
    """identity: of a write-back mount.

    on_new_session: called when another session is open. forget_ids: called to have no ids left.
    """

    one_of_each_group = (0,)

    def __init__(self, server: Server, faults: Faults, identity: bytes) -> None:
        self._server = server
        self._faults = faults
        self._identity = identity
        self.on_new_session = lambda: None
        self.forget_ids = lambda: None
        self.session_id = server.open_session(identity)
        self.random = random.Random(1).random

    def deadline(self) -> float:
        return trio.current_time() + TIMEOUT_S

    async def operate(self, partition_id, operation, effect=None, *, deadline=None):
        await trio.sleep(LATENCY_S)
        how = self._faults.next(operation.WhichOneof("operation"))
        if how == "before":
            raise IOFailure("injected: no metaserver answers")
        if how == "late":
            self._server.later(self.session_id, operation)
            raise IOFailure("injected: no answer yet")
        if how == "ended":
            self._server.end(self.session_id)
        session_id = self.session_id
        result, failure = self._server.operate(session_id, operation)
        await trio.sleep(LATENCY_S)
        if how == "applied":
            raise IOFailure("injected: no answer")
        if how == "applied and ended":
            self._server.end(session_id)
        if failure is not None and failure.code != SESSION_ENDED:
            raise error_of(failure)
        if failure is not None or how == "applied and ended" or session_id != self.session_id:
            if session_id == self.session_id:
                self.session_id = self._server.open_session(self._identity)
                self.on_new_session()
            self._faults.hit()
            raise SessionEnded("the session was over")
        if result.status:
            raise error_of_code(result.status, result.message)
        if effect is not None:
            effect(result)
        return result

    async def read(self, partition_id, request):
        (result,) = await self.read_many(partition_id, [request])
        if result.HasField("failure"):
            raise error_of(result.failure)
        return result

    async def read_many(self, partition_id, requests):
        await trio.sleep(LATENCY_S)
        if any(self._faults.next(one.WhichOneof("read")) for one in requests):
            raise IOFailure("injected: no metaserver answers")
        results = [self._server.read(one) for one in requests]
        await trio.sleep(LATENCY_S)
        return results

    def flood(self) -> None:
        """Close the ranges of chunk ids that this mount uses, as when it had taken many ids and published none of them.

        Those of an identity stay.
        """
        if self._identity:
            return
        request = pb.AllocateIds(partition_id=0, kind=common_pb2.CHUNK)
        for _ in range(FLOOD):
            self._server.operate(self.session_id, pb.Operation(allocate_ids=request))
        self.forget_ids()
        self._faults.hit()

    def knows(self, partition_id) -> bool:
        return partition_id == 0

    def inode_counts(self):
        return {}

    def count_inode(self, partition_id) -> None:
        """One partition has them all."""
