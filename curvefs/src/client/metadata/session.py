"""The mount's session with the MDS: opened, renewed and closed.

The lease is counted from before a renewal was sent, on the boot-time clock, so that this side gives up first
(rule 8). A renewal says what the session is, so that an MDS whose store was restored can take it up again (rule 6). A
session that the MDS answers to be over is over: the owner opens a new one, of the same filesystem: when that was
deleted, there is none, also if another one has its name.

Shared across awaits: the attributes; they change only in open() and renew(), between awaits.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog
import trio

from ....proto import mds_pb2, mds_pb2_grpc
from ...common.clock import Clock
from ...common.errors import CurveFSError, FilesystemGone, SessionEnded, Unavailable
from ...common.ids import SESSION_ID_SIZE
from ...rpc.blocking import BlockingClient
from ...rpc.trio_stream import Credentials

log = structlog.get_logger()

CALL_TIMEOUT_S = 10.0
HURRY_S = 0.25  # before a renewal out of turn: many streams may ask for it


@dataclass(slots=True)
class MountSession:
    """One session after the other of one mount."""

    mds: BlockingClient
    request: mds_pb2.OpenSessionRequest
    clock: Clock
    filesystem: mds_pb2.Filesystem = field(default_factory=mds_pb2.Filesystem)
    partitions: list[mds_pb2.Partition] = field(default_factory=list)
    session_id: bytes = b""
    token: bytes = b""
    lease_s: float = 0.0
    lease_end_s: float = 0.0  # on the boot-time clock
    random_bytes: Callable[[int], bytes] = os.urandom
    new_identity: Callable[[], bytes] = bytes  # of a write-back mount, when the one before is over
    _opened_as: mds_pb2.MountSession = field(default_factory=mds_pb2.MountSession)
    _hurry: trio.Event = field(default_factory=trio.Event)

    def __post_init__(self) -> None:
        self.request.nonce = self.random_bytes(SESSION_ID_SIZE)

    def open_blocking(self) -> None:
        """Open a session; for before the event loop runs. Raises as open(), and NotFound."""
        sent_s = self.clock.boottime_s()
        try:
            reply = self.mds.call(mds_pb2_grpc.MdsServiceStub, "OpenSession", self.request)
        except SessionEnded:
            self._renew_identity()
            reply = self.mds.call(mds_pb2_grpc.MdsServiceStub, "OpenSession", self.request)
        self._opened(reply, sent_s)

    async def open(self) -> None:
        """Open a session; the one before is forgotten. Raises FilesystemGone (for good), ResourceBusy, Unavailable."""
        sent_s = self.clock.boottime_s()
        try:
            reply = await self._call("OpenSession", self.request)
        except SessionEnded:
            await trio.to_thread.run_sync(self._renew_identity)
            reply = await self._call("OpenSession", self.request)
        self._opened(reply, sent_s)

    async def renew(self) -> None:
        """Renew the lease. Raises SessionEnded when the session is over, Unavailable when nobody answers."""
        sent_s = self.clock.boottime_s()
        request = mds_pb2.RenewSessionRequest(session_id=self.session_id, token=self.token, session=self._opened_as)
        reply = await self._call("RenewSession", request)
        self.token = reply.token
        self.lease_s = reply.lease_ms / 1000
        self.lease_end_s = sent_s + self.lease_s

    async def renew_until_over(self) -> None:
        """Renew the lease four times per lease; return when the session is over."""
        answering = True
        while True:
            pause_s = self.lease_s / 4 if answering else min(1.0, self.lease_s / 4)
            with trio.move_on_after(pause_s):
                await self._hurry.wait()
                await trio.sleep(HURRY_S)
            self._hurry = trio.Event()
            try:
                await self.renew()
            except SessionEnded:
                log.warning("the session is over", filesystem=self.filesystem.name)
                return
            except CurveFSError as error:
                if answering:
                    log.warning("the lease could not be renewed", reason=str(error))
                answering = False
            else:
                if not answering:
                    log.info("the lease is renewed again")
                answering = True

    def renew_soon(self) -> None:
        """Have renew_until_over() renew the lease now: a metaserver refused the token."""
        self._hurry.set()

    async def list_partitions(self) -> list[mds_pb2.Partition]:
        """Ask where the partitions are now. Raises Unavailable."""
        request = mds_pb2.ListPartitionsRequest(fs_id=self.filesystem.fs_id)
        reply = await self._call("ListPartitions", request)
        self.partitions = list(reply.partitions)
        return self.partitions

    async def close(self, *, end_identity: bool = True) -> bool:
        """Tell the MDS that the mount is gone; if nobody hears it, the lease runs out. Returns whether it was heard.

        end_identity: nothing is staged any more that another mount should publish.
        """
        try:
            request = mds_pb2.CloseSessionRequest(session_id=self.session_id, end_identity=end_identity)
            await self._call("CloseSession", request, 3.0)
        except Unavailable:
            log.warning("nobody heard the end of the session; its lease runs out")
            return False
        return True

    def credentials(self) -> Credentials:
        """Return what is presented to metaservers."""
        return Credentials(self.filesystem.fs_id, self.session_id, self.token)

    def _renew_identity(self) -> None:
        log.error("the write-back identity is over; another one is taken", filesystem=self.request.name)
        self.request.identity = self.new_identity()
        self.request.continues = False

    def _opened(self, reply: mds_pb2.OpenSessionReply, sent_s: float) -> None:
        if self.request.uuid not in (b"", reply.filesystem.uuid):  # whatever the MDS was asked for
            raise FilesystemGone  # the session just opened ends with its lease
        self.filesystem = reply.filesystem
        self.request.uuid = reply.filesystem.uuid
        self.request.nonce = self.random_bytes(SESSION_ID_SIZE)  # that of the tries before, until one is answered
        self.request.continues = bool(self.request.identity)
        self.partitions = list(reply.partitions)
        self.session_id = reply.session.session_id
        self._opened_as = reply.session
        self.token = reply.token
        self.lease_s = reply.session.lease_ms / 1000
        self.lease_end_s = sent_s + self.lease_s

    async def _call(self, method: str, request: Any, timeout_s: float = CALL_TIMEOUT_S) -> Any:
        call = partial(self.mds.call, mds_pb2_grpc.MdsServiceStub, method, request, deadline_s=timeout_s)
        return await trio.to_thread.run_sync(call, abandon_on_cancel=True)
