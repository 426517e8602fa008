"""A client of one metaserver, on asyncio: admin calls, and a session's stream with its lane."""

import asyncio
import contextlib
import itertools

from curvefs.proto import common_pb2, copyset_pb2, copyset_pb2_grpc, metaserver_pb2_grpc
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.rpc.asyncio_client import AsyncClient
from curvefs.src.rpc.asyncio_frames import open_frames
from curvefs.src.rpc.lane import Lane

PATIENCE_S = 30
METASERVER_ID = 7  # what FakeMds gives
_NOT_LED = {common_pb2.REDIRECT, common_pb2.UNAVAILABLE}


async def call(address, method, request):
    """Make a unary call; raises the error in the reply."""
    of_copysets = request.DESCRIPTOR.file.package == "curvefs.copyset"
    stub = copyset_pb2_grpc.CopysetServiceStub if of_copysets else metaserver_pb2_grpc.MetaServerServiceStub
    client = AsyncClient([address], deadline_s=PATIENCE_S)
    try:
        return await client.call(stub, method, request)
    finally:
        await client.close()


async def make_partition(address, fs_id, group_id, epoch=1):
    """Make a group and the root partition of a filesystem in it."""
    peers = [common_pb2.Peer(metaserver_id=METASERVER_ID, address=address)]
    request = copyset_pb2.CreateCopysetRequest(mds_epoch=epoch, group_id=group_id, peers=peers)
    await call(address, "CreateCopyset", request)
    spec = pb.PartitionSpec(
        fs_id=fs_id, group_id=group_id, hash_seed=b"h" * 16, chunk_size=64 << 20, block_size=4 << 20
    )
    await call(address, "CreatePartition", pb.CreatePartitionRequest(mds_epoch=epoch, partition=spec))


class SessionClient:
    """One session; its lane outlives connections."""

    def __init__(self, fs_id, session_id, group_id, token):
        self.lane = Lane(fs_id, session_id, group_id)
        self.hello = pb.Hello(protocol_version=1, fs_id=fs_id, session_id=session_id, token=token, groups=[group_id])
        self.read_ids = itertools.count(1)
        self.frames = []
        self.welcome, self.lanes = None, {}  # group -> where its lane stands

    @contextlib.asynccontextmanager
    async def connected(self, address, *, wait=True):
        """Present the session, until the group has a leader unless told not to; see ``welcome`` and ``lanes``."""
        async with open_frames(address) as self.stream:
            async with asyncio.timeout(PATIENCE_S):
                while True:  # a metaserver that just began listens before it leads
                    await self._present()
                    if not wait or not any(lane.failure.code in _NOT_LED for lane in self.lanes.values()):
                        break
                    await asyncio.sleep(0.02)
            self.lane.rewind()
            yield self

    async def _present(self):
        """Say Hello, and take all that answers it."""
        await self.send(pb.ClientFrame(hello=self.hello))
        frame = await self.receive()
        self.welcome, self.lanes = frame.welcome, {}
        while not self.welcome.HasField("failure"):
            self.lanes |= {lane.group_id: lane for lane in frame.lanes}
            if self.lanes.keys() >= {*self.hello.groups}:
                break
            frame = await self.receive()

    async def send(self, frame):
        await self.stream.write(frame)

    async def receive(self):
        async with asyncio.timeout(PATIENCE_S):  # wait_for() of Python 3.11 may swallow that the caller was cancelled
            frame = await self.stream.read()
        self.frames.append(frame)
        return frame

    def submit(self, **operation):
        """Put an operation into the lane; return a future of its result."""
        future = asyncio.get_running_loop().create_future()
        self.lane.submit(pb.Operation(**operation), future.set_result)
        return future

    async def flush(self):
        """Send what the lane has and take answers until every result has arrived. Raises what refused a batch."""
        while not self.lane.idle:
            await self.exchange()

    async def exchange(self):
        """Send what the lane has to send, and take one frame of answers. Raises what refused a batch."""
        frame = pb.ClientFrame()
        while (batch := self.lane.next_batch()) is not None:
            frame.operations.append(batch)
        if frame.operations:
            await self.send(frame)
        for results in (await self.receive()).operations:
            refusal = self.lane.on_results(results)
            if refusal is not None:
                raise refusal

    async def create(self, name):
        """Create a file in the root and return its result."""
        result = self.submit(create=pb.Create(parent=1, name=name.encode(), mode=0o100644, exclusive=True))
        await self.flush()
        return result.result()

    async def read(self, *reads):
        """Send reads in one frame and return their results in order."""
        wanted = [pb.Read(read_id=next(self.read_ids), **one) for one in reads]
        batch = pb.ReadBatch(fs_id=self.lane.fs_id, group_id=self.lane.group_id, reads=wanted)
        await self.send(pb.ClientFrame(reads=[batch]))
        found: dict[int, pb.ReadResult] = {}
        while len(found) < len(wanted):
            for results in (await self.receive()).reads:
                found |= {result.read_id: result for result in results.results}
        return [found[one.read_id] for one in wanted]

    async def names(self):
        """Return the names in the root, page by page."""
        names, after_hash, after_name = [], 0, b""
        while True:
            wanted = pb.ReadDir(inode_id=1, after_hash=after_hash, after_name=after_name, limit=500)
            (page,) = await self.read({"read_dir": wanted})
            assert not page.HasField("failure"), page.failure
            names += [entry.name.decode() for entry in page.entries]
            if page.end:
                return names
            after_hash, after_name = page.entries[-1].hash, page.entries[-1].name
