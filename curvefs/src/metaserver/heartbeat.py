"""What a metaserver says to the MDS: who it is, and, every two seconds, how its groups are. It carries out the orders.

The MDS may be away for any time: registration and heartbeats are tried again, and the metaserver serves meanwhile.
It never deletes a group because an MDS does not know it (rule 6), and obeys no MDS older than one it obeyed before. To
one that has forgotten it, because its store was restored, it proves that it belongs to the cluster, and it reports in
full while it is asked to.

Shared across awaits: `identity`, replaced when the MDS answered a registration.
"""

import asyncio
import os
import shutil
from collections.abc import Callable

import structlog

from ...proto import heartbeat_pb2 as pb
from ...proto import heartbeat_pb2_grpc, topology_pb2, topology_pb2_grpc
from ..common import tokens
from ..common.clock import Clock
from ..common.errors import AlreadyExists, CurveFSError, NotFound, PermissionDenied, StartupError
from ..common.exits import ExitCode
from ..process.data_folder import DataFolder
from ..rpc.asyncio_client import AsyncClient
from . import clocks
from .copyset.group import Group
from .copyset.manager import CopysetManager
from .epochs import Epochs
from .identity import Identity, keep_identity, load_identity
from .metastore import reads
from .orders import Orders

_log = structlog.get_logger()

SESSIONS_REPORTED_MAX = 10_000
_PAUSE_S = 0.5
_PAUSE_S_MAX = 5.0
# Longer than one that sends no more heartbeats counts as being there: another metaserver, or what this one was before.
_ADDRESS_PATIENCE_S = 20.0
_REFUSALS: dict[type[CurveFSError], ExitCode] = {
    PermissionDenied: ExitCode.REFUSED,
    NotFound: ExitCode.NOT_FOUND,
    AlreadyExists: ExitCode.ADDRESS_IN_USE,
}


class MdsLink:
    """The metaserver's side of registration and heartbeats. ``identity``: who it is, once it is registered."""

    def __init__(
        self,
        client: AsyncClient,
        folder: DataFolder,
        copysets: CopysetManager,
        epochs: Epochs,
        orders: Orders,
        *,
        clock: Clock,
        instance: bytes,
        server: str,
        peer_clocks: Callable[[], list[int]],
        know: Callable[[int, str], None],
        interval_ms: int,
        deadline_s: float,
    ) -> None:
        """instance: of this process, drawn at its start. server: of the topology, by name; empty: found by the address.

        peer_clocks: how far those of peers are ahead, in ns. know: notes where one is. deadline_s: of one call.

        Raises StartupError for a damaged identity.
        """
        self._client = client
        self._folder = folder
        self._copysets = copysets
        self._epochs = epochs
        self._orders = orders
        self._clock = clock
        self._instance = instance
        self._server = server
        self._peer_clocks = peer_clocks
        self._interval_s = interval_ms / 1000
        self._deadline_s = deadline_s
        self.identity: Identity = load_identity(folder)
        self._know = know
        self._addresses = ("", "")  # where it listens, and its metrics page; as registered
        self._in_full = False  # whether to report all that an MDS in recovery wants to know
        self._clock_is_off = False
        self._heard: tuple[int, float] | None = None  # the MDS's time, and this boot time then

    async def register(self, address: str, metrics_address: str) -> None:
        """Register, trying again until the MDS answers.

        Raises StartupError when it says no: REFUSED, NOT_FOUND (no such server), ADDRESS_IN_USE (by another metaserver,
        or another process is this one; it may have ended a moment ago, so that is tried for a while).
        """
        self._addresses = address, metrics_address
        pause_s = _PAUSE_S
        began_s = self._clock.boottime_s()
        while True:
            try:
                await self._register()
            except tuple(_REFUSALS) as error:
                code = _REFUSALS[type(error)]
                waited_s = self._clock.boottime_s() - began_s
                if code is not ExitCode.ADDRESS_IN_USE or waited_s > _ADDRESS_PATIENCE_S:
                    raise StartupError(f"the MDS refused the registration: {error}", code) from error
                self._copysets.take_part(allowed=False)  # each replica would vote twice
                _log.warning("another metaserver or process may be in the way", reason=str(error), again_in_s=pause_s)
            except (CurveFSError, OSError) as error:
                _log.warning("not registered with the MDS yet", reason=str(error), again_in_s=pause_s)
            else:
                self._copysets.take_part(allowed=True)
                return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _PAUSE_S_MAX)

    async def run(self) -> None:
        """Send heartbeats until cancelled. Raises StartupError when another process is this metaserver now."""
        while True:
            try:
                reply = await self.beat()
                if reply.next_heartbeat_ms:
                    self._interval_s = reply.next_heartbeat_ms / 1000
                self._carry_out(reply)
            except PermissionDenied as error:
                _log.warning("the MDS does not know this metaserver", reason=str(error))
                await self._register_again()
            except AlreadyExists as error:
                # With two logs of each replica it would vote twice.
                raise StartupError(f"the MDS refused a heartbeat: {error}", ExitCode.ADDRESS_IN_USE) from error
            except CurveFSError as error:
                _log.warning("a heartbeat failed", reason=str(error))
            await asyncio.sleep(self._interval_s)

    async def beat(self) -> pb.HeartbeatReply:
        """Send one heartbeat. Raises CurveFSError; StaleEpoch for the answer of a deposed MDS."""
        disk = shutil.disk_usage(self._folder.path)
        request = pb.HeartbeatRequest(
            metaserver_id=self.identity.metaserver_id,
            token=self.identity.token,
            highest_epoch=self._epochs.highest,
            time_ns=self._clock.time_ns(),
            disk_total_bytes=disk.total,
            disk_used_bytes=disk.used,
            copysets=[
                *(report(group, in_full=self._in_full) for group in self._copysets.all()),
                *(pb.CopysetReport(group_id=group_id, damaged=True) for group_id in self._copysets.damaged),
            ],
            in_full=self._in_full,
            instance=self._instance,
            changes_told=self._epochs.changes,
        )
        stub = heartbeat_pb2_grpc.HeartbeatServiceStub
        reply: pb.HeartbeatReply = await self._client.call(stub, "Heartbeat", request, deadline_s=self._deadline_s)
        self._epochs.obey(reply.epoch, answered=True)
        if reply.mds_time_ns:
            self._heard = reply.mds_time_ns, self._clock.boottime_s()
        self._compare_clocks(reply.mds_time_ns)
        self._in_full = reply.recovering
        for peer in reply.moved:
            self._know(peer.metaserver_id, peer.address)
        await self._epochs.note_changes(reply.changes)
        return reply

    def mds_time_ns(self) -> int:
        """Return the MDS's time of day, which tokens expire by; this clock's until it has told it."""
        if self._heard is None:
            return self._clock.time_ns()
        told_ns, heard_s = self._heard
        return told_ns + int((self._clock.boottime_s() - heard_s) * 1e9)

    async def _register_again(self) -> None:
        try:
            await self._register()
        except (CurveFSError, OSError) as error:
            _log.warning("not registered again", reason=str(error))

    async def _register(self) -> None:
        address, metrics_address = self._addresses
        request = topology_pb2.RegisterMetaserverRequest(
            cluster_id=self.identity.cluster_id,
            metaserver_id=self.identity.metaserver_id,
            token=self.identity.token,
            address=address,
            pid=os.getpid(),
            instance=self._instance,
            metrics_address=metrics_address,
            server=self._server,
            highest_epoch=self._epochs.highest,
            changes_told=self._epochs.changes,
        )
        if self.identity.metaserver_id:
            known = self.identity
            request.proof = tokens.membership_proof(known.session_secret, known.metaserver_id, known.token)
        stub = topology_pb2_grpc.TopologyServiceStub
        reply = await self._client.call(stub, "RegisterMetaserver", request, deadline_s=self._deadline_s)
        self._epochs.obey(reply.epoch, answered=True)
        given = Identity(reply.cluster_id, reply.metaserver_id, reply.token, reply.session_secret)
        if given != self.identity:
            await asyncio.to_thread(keep_identity, self._folder, given)
            self.identity = given
        _log.info("registered", metaserver_id=given.metaserver_id, cluster=given.cluster_id)

    def _carry_out(self, reply: pb.HeartbeatReply) -> None:
        for order in reply.orders:
            if order.WhichOneof("order") is None:
                _log.warning("an order is not understood", group=order.group_id)
            else:
                self._orders.begin(order, self.identity.metaserver_id)

    def _compare_clocks(self, mds_time_ns: int) -> None:
        """Lead no group with a clock that is off; alone in a group there is nobody else, so it goes on there."""
        offset_ns = mds_time_ns - self._clock.time_ns() if mds_time_ns else 0
        is_off = clocks.is_off(offset_ns, self._peer_clocks())
        if is_off and not self._clock_is_off:
            _log.error("this clock is off: the metaserver does not lead", ahead_s=round(-offset_ns / 1e9, 3))
        elif not is_off and abs(offset_ns) > clocks.OFFSET_NS_MAX:
            _log.warning("the clock of the MDS is off", ahead_s=round(offset_ns / 1e9, 3))
        self._clock_is_off = is_off
        self._copysets.allow_leading(allowed=not is_off)


def report(group: Group, *, in_full: bool = False) -> pb.CopysetReport:
    """Return what a heartbeat says of a group; what only the leader knows, from the leader.

    in_full: also what an MDS that has forgotten a filesystem needs to know it again.
    """
    log = group.raft.log
    addresses = dict(log.configuration.addresses)
    said = pb.CopysetReport(
        group_id=group.group_id,
        leading=group.is_leader,
        term=group.term,
        configuration_index=log.configuration_index,
        committed_index=log.committed,
        applied_index=group.applied_index,
        damaged=group.broken is not None,
    )
    for id_ in log.configuration.voters:
        said.peers.add(metaserver_id=id_, address=addresses.get(id_, ""))
    for id_ in log.configuration.learners:
        said.peers.add(metaserver_id=id_, address=addresses.get(id_, ""), learner=True)
    if not group.is_leader:
        return said
    with group.view() as view:
        partitions = reads.partitions(view)
        sessions = reads.open_sessions(view, SESSIONS_REPORTED_MAX)
    for record in partitions:
        partition = said.partitions.add(
            fs_id=record.spec.fs_id,
            partition_id=record.spec.partition_id,
            inode_count=record.inode_count,
            used_bytes=record.used_bytes,
            deleting=record.deleting,
        )
        if in_full and record.spec.partition_id == 0:
            partition.spec.CopyFrom(record.spec)
    for session_id, session in sessions.items():
        said.sessions.add(session_id=session_id, fs_id=session.fs_id, durable=session.durable)
    return said
