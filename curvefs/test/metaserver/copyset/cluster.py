"""Several managers of groups in one process, their messages handed over in memory: cut, crash and restart them."""

import asyncio
import contextlib

from curvefs.proto import common_pb2, raft_pb2, state_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.clock import SystemClock
from curvefs.src.common.errors import CurveFSError
from curvefs.src.metaserver.copyset import awaiting
from curvefs.src.metaserver.copyset.manager import CopysetManager, CopysetSettings
from curvefs.src.metaserver.copyset.service import digest
from curvefs.src.metaserver.metrics import Metrics
from curvefs.src.metaserver.wal.segments import LogSettings
from curvefs.src.raft.state import Settings as RaftSettings

from .lab import FS, GROUP, PATIENCE_S, SESSION

ELECTION_S = 0.5


class Links:
    """One manager's peers."""

    def __init__(self, cluster, me):
        self.cluster = cluster
        self.me = me
        self.addresses = {}
        self.heard = {}

    def send(self, to_id, message):
        data = message.SerializeToString()  # as the network does it
        asyncio.get_running_loop().call_soon(self.cluster.deliver, self.me, to_id, data)

    def know(self, peer_id, address):
        self.addresses[peer_id] = address

    def address_of(self, peer_id):
        return self.addresses.get(peer_id, "")

    def heard_at(self, peer_id):
        if peer_id in self.cluster.managers and (peer_id, self.me) not in self.cluster.cut:
            return SystemClock().boottime_s()  # processes that live say so all the time
        return self.heard.get(peer_id)

    def connected_at(self, peer_id):
        manager = self.cluster.managers.get(peer_id)
        return None if manager is None else float(id(manager))


class Cluster:
    """Managers 1 to ``count``. cut: pairs (from, to) between which nothing passes."""

    def __init__(self, folder, count=3, **raft):
        self.folder = folder
        self.ids = list(range(1, count + 1))
        self.raft = {"election_timeout_s": ELECTION_S, "heartbeat_s": ELECTION_S / 5, "quiet_after_s": 0.3} | raft
        self.managers = {}
        self.links = {}
        self.tasks = {}
        self.cut = set()
        self.sequence = 0

    def deliver(self, from_id, to_id, data):
        manager = self.managers.get(to_id)
        if manager is None or (from_id, to_id) in self.cut:
            return
        self.links[to_id].heard[from_id] = SystemClock().boottime_s()
        manager.receive(from_id, [raft_pb2.GroupMessage.FromString(data)])

    def start(self, id_):
        settings = CopysetSettings(
            map_size=1 << 28,
            checkpoint_log_size=1 << 30,
            log_size_max=1 << 40,
            log=LogSettings(1 << 20, 0),
            raft=RaftSettings(**self.raft),
        )
        links = self.links[id_] = Links(self, id_)
        manager = CopysetManager(
            self.folder / str(id_),
            settings,
            boot_id="boot",
            clock=SystemClock(),
            metrics=Metrics(),
            me=lambda: id_,
            peers=links,
        )
        manager.open()
        self.managers[id_] = manager
        self.tasks[id_] = asyncio.create_task(manager.run())

    async def crash(self, id_):
        """As kill -9: nobody is told, nothing is marked."""
        manager = self.managers.pop(id_)
        await self._end(id_)
        await manager._wal.close()
        for group in manager.all():
            group.close(CurveFSError("crashed"))
            group.environment._env.close()

    async def _end(self, id_):
        task = self.tasks.pop(id_)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def stop(self):
        for id_ in list(self.managers):
            manager = self.managers.pop(id_)
            await self._end(id_)
            await manager.close()

    def peers(self, ids):
        return [common_pb2.Peer(metaserver_id=id_, address=f"host:{id_}") for id_ in ids]

    async def begin(self, voters=(1, 2, 3)):
        """Start all, with one group on the voters, one partition, one session."""
        for id_ in self.ids:
            self.start(id_)
        for id_ in reversed(voters):
            await self.managers[id_].create(GROUP, self.peers(voters), first=id_ == voters[0])
        spec = pb.PartitionSpec(fs_id=FS, group_id=GROUP, hash_seed=b"h" * 16, chunk_size=64 << 20, block_size=4 << 20)
        await self.run(create_partition=state_pb2.CreatePartitionCommand(partition=spec))
        await self.run(open_session=state_pb2.OpenSessionCommand(fs_id=FS, session_id=SESSION))

    def group(self, id_):
        return self.managers[id_].get(GROUP)

    def groups(self):
        return {id_: manager._groups[GROUP] for id_, manager in self.managers.items() if GROUP in manager._groups}

    async def leader(self, *, among=None):
        """Wait for an established leader; return its id."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for id_, group in self.groups().items():
                    if group.is_leader and (among is None or id_ in among) and group.may_answer():
                        return id_
                await asyncio.sleep(0.005)

    async def run(self, **command):
        group = self.group(await self.leader())
        applied = await awaiting.run(group, state_pb2.Entry(format=1, **command), PATIENCE_S)
        assert applied.failure is None, applied.failure
        return applied

    async def create(self, count=1, *, at=None):
        """Create files in one batch; return their names."""
        first = self.sequence + 1
        self.sequence += count
        names = [f"f{first + n}" for n in range(count)]
        batch = pb.OperationBatch(
            fs_id=FS,
            session_id=SESSION,
            group_id=GROUP,
            first_sequence=first,
            acknowledged=first - 1,
            operations=[pb.Operation(create=pb.Create(parent=1, name=name.encode(), mode=0o100644)) for name in names],
        )
        group = self.group(await self.leader() if at is None else at)
        applied = await awaiting.run(
            group, state_pb2.Entry(format=1, operations=state_pb2.OperationsCommand(batch=batch)), 2
        )
        assert applied.failure is None or not applied.failure.code, applied.failure
        assert all(not result.status for result in applied.results.results), applied.results
        return names

    async def until(self, holds):
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                await asyncio.sleep(0.005)

    async def equal(self, ids=None):
        """Wait until all have applied the same, and compare their states; return the digest."""
        groups = {id_: group for id_, group in self.groups().items() if ids is None or id_ in ids}
        await self.until(lambda: len({group.applied_index for group in groups.values()}) == 1)
        digests = {digest(group.environment) for group in groups.values()}
        assert len(digests) == 1, digests
        return digests.pop()
