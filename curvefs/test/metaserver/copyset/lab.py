"""A manager of groups without network, and how tests talk to it."""

import asyncio
import contextlib
import itertools
import time

from curvefs.proto import common_pb2, state_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.errors import CurveFSError
from curvefs.src.metaserver.copyset import awaiting
from curvefs.src.metaserver.copyset.manager import CopysetManager, CopysetSettings
from curvefs.src.metaserver.copyset.service import digest
from curvefs.src.metaserver.metastore import reads
from curvefs.src.metaserver.metrics import Metrics
from curvefs.src.metaserver.wal.segments import LogSettings
from curvefs.src.raft.state import Settings as RaftSettings

GROUP, FS, ME = 5, 1, 1
SESSION = b"s" * 16
PATIENCE_S = 20


class Clock:
    """The time of day stands still, so that entry times must rise by themselves."""

    def time_ns(self):
        return 1_000_000

    def boottime_s(self):
        return time.monotonic()


class NoPeers:
    """There is nobody else."""

    def send(self, to_id, message):
        raise AssertionError(message)

    def know(self, peer_id, address):
        raise AssertionError(peer_id)

    def address_of(self, _):
        return ""

    def heard_at(self, _):
        return None

    def connected_at(self, _):
        return None


async def until_leads(group):
    async with asyncio.timeout(PATIENCE_S):
        while not group.is_leader:
            await asyncio.sleep(0.001)


class Lab:
    """One metaserver's groups; crash() and boot() as a machine does."""

    def __init__(self, folder, *, segment_size=1 << 20, checkpoint_log_size=1 << 30, log_size_max=1 << 40, reserve=0):
        self.folder = folder
        self.settings = CopysetSettings(
            map_size=1 << 28,
            checkpoint_log_size=checkpoint_log_size,
            log_size_max=log_size_max,
            log=LogSettings(segment_size, reserve),
            raft=RaftSettings(),
        )
        self.boot_id = "boot 1"
        self.sequences = itertools.count(1)

    def start(self):
        self.metrics = Metrics()
        self.manager = CopysetManager(
            self.folder,
            self.settings,
            boot_id=self.boot_id,
            clock=Clock(),
            metrics=self.metrics,
            me=lambda: ME,
            peers=NoPeers(),
        )
        self.manager.open()
        self.running = asyncio.create_task(self.manager.run())

    async def _end(self):
        self.running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.running

    async def started(self):
        """Start, and wait until every group leads itself."""
        self.start()
        for group in self.manager.all():
            await until_leads(group)

    async def make(self, group_id):
        """Make a group with one replica."""
        await self.manager.create(group_id, [common_pb2.Peer(metaserver_id=ME)])
        await until_leads(self.manager.get(group_id))

    async def checkpoint(self):
        await self.manager.checkpointing().make(self.group)

    async def checkpoint_where_due(self):
        await self.manager.checkpointing().where_due()

    async def begin(self):
        """Start with one group, one partition and one session."""
        self.start()
        await self.make(GROUP)
        spec = pb.PartitionSpec(fs_id=FS, group_id=GROUP, hash_seed=b"h" * 16, chunk_size=64 << 20, block_size=4 << 20)
        await self.run(create_partition=state_pb2.CreatePartitionCommand(partition=spec))
        await self.run(open_session=state_pb2.OpenSessionCommand(fs_id=FS, session_id=SESSION))

    @property
    def group(self):
        return self.manager.get(GROUP)

    async def run(self, **command):
        applied = await awaiting.run(self.group, state_pb2.Entry(format=1, **command), PATIENCE_S)
        assert applied.failure is None, applied.failure
        return applied

    async def stop(self):
        await self.manager.drain(PATIENCE_S)
        await self._end()
        await self.manager.close()

    async def crash(self):
        """As kill -9: nothing is flushed or marked; what the kernel has stays."""
        await self.manager.drain(PATIENCE_S)
        await self._end()
        for group in self.manager.all():
            group.environment._env.close()
        assert self.manager._wal is not None
        await self.manager._wal.close()

    async def lose_power(self):
        await self.crash()
        self.boot_id += "+"

    def noops(self, count):
        """Return a batch that lengthens the log and not the state."""
        batch = self.batch(count)
        for operation in batch.operations:
            operation.noop.SetInParent()
        return batch

    def batch(self, count, prefix="f", unacknowledged=0):
        """Return the session's next batch; unacknowledged: how many earlier results have not arrived."""
        first = next(self.sequences)
        for _ in range(count - 1):
            next(self.sequences)
        creates = [
            pb.Operation(create=pb.Create(parent=1, name=f"{prefix}{first + n}".encode(), mode=0o100644))
            for n in range(count)
        ]
        return pb.OperationBatch(
            fs_id=FS,
            session_id=SESSION,
            group_id=GROUP,
            first_sequence=first,
            acknowledged=max(0, first - 1 - unacknowledged),
            operations=creates,
        )

    def take_up_lane(self):
        """Go on where the lane stands, as a client does after a Hello."""
        with self.group.view() as view:
            record = reads.session(view, SESSION)
        assert record is not None
        self.sequences = itertools.count(record.expected_sequence)

    def propose(self, batch):
        """Return a future of the outcome: Applied, or the error."""
        future = asyncio.get_running_loop().create_future()
        try:
            self.group.propose_batch(batch, future.set_result)
        except CurveFSError as error:
            future.set_result(error)
        return future

    async def create(self, count=1, prefix="f"):
        """Create files, in one batch; raise what refused it."""
        outcome = await asyncio.wait_for(self.propose(self.batch(count, prefix)), PATIENCE_S)
        if isinstance(outcome, CurveFSError):
            raise outcome
        assert outcome.failure is None, outcome.failure
        assert not outcome.results.HasField("failure"), outcome.results.failure
        assert all(not result.status for result in outcome.results.results), outcome.results
        return outcome.results

    def names(self):
        wanted = pb.Read(read_dir=pb.ReadDir(inode_id=1))
        with self.group.view() as view:
            return {entry.name.decode() for entry in reads.read(view, FS, wanted).entries}

    def digest(self):
        return digest(self.group.environment)[1]
