"""An MDS in this process, over a real embedded store, with a clock, object stores and faults that the test decides."""

import asyncio
import random
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curvefs.proto import common_pb2
from curvefs.proto import mds_pb2 as pb
from curvefs.src.common.errors import CurveFSError, NoSpace, Unavailable
from curvefs.src.mds.authority import begin_serving
from curvefs.src.mds.config import MdsConfig
from curvefs.src.mds.election import Candidacy
from curvefs.src.mds.front import Front
from curvefs.src.mds.metrics import Metrics
from curvefs.src.mds.recovery.recovery import asked_for
from curvefs.src.mds.server import Mds, World
from curvefs.src.mds.service import Identity
from curvefs.src.mds.state import State
from curvefs.src.mds.storage.lmdb_store import LmdbStore
from curvefs.src.mds.storage.protocol import Compare, Event, KeyValue, LeaseStatus, Operation, Page, TxnResult
from curvefs.src.object.check import check_store
from curvefs.src.object.fault import FaultStore
from curvefs.src.object.memory import MemoryStore
from curvefs.src.object.protocol import ObjectStore
from curvefs.test.mds.clock import FakeClock
from curvefs.test.support.fake_metaserver import FakeMetaserver

if TYPE_CHECKING:
    from curvefs.src.rpc.asyncio_server import AsyncServer

PATIENCE_S = 20.0
LEASE_S = 10**8  # so that a test may let any time pass
URL = "s3://bucket?endpoint=http://127.0.0.1:1"


class FaultyKeyValueStore:
    """Passes calls on; the write number ``fail_at`` (from 1, counted from then on) fails as planned."""

    def __init__(self, inner: LmdbStore) -> None:
        self._inner = inner
        self._writes_left = 0
        self._mode = ""

    def plan(self, mode: str, write: int) -> None:
        """mode: ``full`` (refused), ``lost`` (outcome unknown, not applied), ``lost reply`` (unknown, applied)."""
        self._mode, self._writes_left = mode, write

    async def txn(
        self, compares: Sequence[Compare], then: Sequence[Operation], otherwise: Sequence[Operation] = ()
    ) -> TxnResult:
        self._writes_left -= 1
        if self._writes_left == 0:
            if self._mode == "full":
                raise NoSpace("injected")
            if self._mode == "lost":
                raise Unavailable("injected")
            await self._inner.txn(compares, then, otherwise)
            raise Unavailable("injected")
        return await self._inner.txn(compares, then, otherwise)

    async def get(self, key: bytes) -> KeyValue | None:
        return await self._inner.get(key)

    async def range(self, start: bytes, end: bytes, *, limit: int = 1000) -> Page:
        return await self._inner.range(start, end, limit=limit)

    async def lease_grant(self, ttl_s: int) -> int:
        return await self._inner.lease_grant(ttl_s)

    async def lease_keep_alive(self, lease: int) -> int:
        return await self._inner.lease_keep_alive(lease)

    async def lease_revoke(self, lease: int) -> None:
        await self._inner.lease_revoke(lease)

    async def lease_time_to_live(self, lease: int) -> LeaseStatus:
        return await self._inner.lease_time_to_live(lease)

    def watch(self, start: bytes, end: bytes, *, from_revision: int) -> AsyncIterator[Event]:
        return self._inner.watch(start, end, from_revision=from_revision)

    async def close(self) -> None:
        await self._inner.close()


class MdsLab:
    """start() and stop() it as often as needed: the data folder stays."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.clock = FakeClock()
        defaults = {"metaserver_deadline_s": 0.5, "orders_after_s": 10.0, "partition_count": 1}
        self.config = MdsConfig(data=folder, **defaults | config)
        self.objects = MemoryStore()
        self.object_store = FaultStore(self.objects)
        self._random = random.Random(1)
        self.metaservers: list[FakeMetaserver] = []
        self.mds: Mds
        self.kv: FaultyKeyValueStore
        self.candidacy: Candidacy
        self._elections: list[asyncio.Task[None]] = []
        self._background: asyncio.Task[None] | None = None
        self._server: AsyncServer | None = None

    async def start(self, *, background: bool = True, recover: bool = False) -> Mds:
        """Begin to serve, as a process would that just started. recover: as its flag of that name."""
        store = LmdbStore(self.config.data / "kv", self.clock)
        self.kv = FaultyKeyValueStore(store)
        world = World(self.clock, self._open_store, check_store, self._random.randbytes, lambda: 0.0)
        self.candidacy = await self.elect("mds")
        marks = [asked_for(self.clock.time_ns())] if recover else []
        authority = await begin_serving(self.kv, self.candidacy, world.random_bytes, marks)
        identity = Identity("mds", self.clock.time_ns(), "127.0.0.1:1", authority.cluster.id)
        self.mds = Mds(await State.load(authority), self.config, world, Metrics(), identity)
        if background:
            self._background = asyncio.create_task(self.mds.run())
        return self.mds

    async def elect(self, mds_id: str) -> Candidacy:
        """Have an MDS stand for election and win it; the one that leads has to be out of the way."""
        candidacy = Candidacy(self.kv, self.clock, mds_id, f"{mds_id}:1", lease_s=LEASE_S)
        await candidacy.stand()
        self._elections.append(asyncio.create_task(candidacy.run()))
        async with asyncio.timeout(PATIENCE_S):
            await candidacy.elected()
        return candidacy

    async def depose(self) -> Candidacy:
        """Have the lease of the MDS end in the store, unknown to it, and elect another one."""
        for task in self._elections:
            task.cancel()
        item = await self.kv.get(b"election/mds")
        assert item is not None
        await self.kv.lease_revoke(item.lease)
        return await self.elect("other")

    async def listen(self) -> str:
        """Serve over gRPC and return the address."""
        front = Front(self.mds.identity)
        front.serve(self.mds)
        self._server = await front.listen("127.0.0.1:0")
        return self._server.address

    async def stop(self) -> None:
        """End; nothing that is only in memory is saved, so this is also a crash."""
        if self._server is not None:
            await self._server.stop(0.0)
            self._server = None
        await self.mds.calls.finish(0.0)
        if self._background is not None:
            self._background.cancel()
            await asyncio.wait([self._background])
            self._background = None
        await self.mds.fleet.close()
        for task in self._elections:
            task.cancel()
        await asyncio.wait(self._elections)
        self._elections.clear()
        await self.kv.close()

    async def restart(self) -> Mds:
        """Crash and begin again."""
        await self.stop()
        return await self.start()

    async def copy_store(self) -> Path:
        """Take a copy of the store, while the MDS is stopped; it goes on."""
        await self.stop()
        copy = self.config.data / "copy"
        shutil.copytree(self.config.data / "kv", copy)
        await self.start()
        self.beat_all()
        return copy

    async def restore(self, copy: Path, *, recover: bool = False) -> Mds:
        """Put a copy of the store back."""
        await self.stop()
        shutil.rmtree(self.config.data / "kv")
        shutil.copytree(copy, self.config.data / "kv")
        return await self.start(recover=recover)

    async def settle_configurations(self) -> None:
        """Have every copyset report a configuration with its peers, so that it may be changed."""
        for one in self.metaservers:
            one.configurations |= dict.fromkeys(one.groups, 1)
            for group_id in one.groups:
                peers = self.mds.views.peers(group_id)
                one.members[group_id] = [common_pb2.Peer(metaserver_id=peer.metaserver_id) for peer in peers]
        self.beat_all()
        for group_id, _ in list(self.mds.state.copysets.items()):
            assert await self.mds.copysets.memberships.finished(group_id, PATIENCE_S)

    async def close(self) -> None:
        """End everything."""
        await self.stop()
        for metaserver in self.metaservers:
            await metaserver.stop()

    async def join(self, server: str = "") -> FakeMetaserver:
        """Have a metaserver join, on a server of the topology, and send its first heartbeat."""
        metaserver = FakeMetaserver()
        metaserver.server = server
        await metaserver.start()
        try:
            metaserver.registered(await self.mds.registration.register(metaserver.registration()))
        except CurveFSError:
            await metaserver.stop()
            raise
        self.metaservers.append(metaserver)
        metaserver.secret = self.mds.state.authority.cluster.secret
        self.beat(metaserver)
        return metaserver

    async def add_metaserver(self) -> FakeMetaserver:
        """Have a metaserver join, and wait for the copyset of its own."""
        metaserver = await self.join()
        await metaserver.until(lambda: bool(metaserver.groups))
        self.beat(metaserver)
        return metaserver

    async def add_metaservers(self, count: int, servers: Sequence[str] = ()) -> list[FakeMetaserver]:
        """Have several join, on these servers, and wait until all copysets are made and reported."""
        added = [await self.join(*servers[n : n + 1]) for n in range(count)]
        await self.mds.copysets.plan()
        for group_id, _ in list(self.mds.state.copysets.items()):
            assert await self.mds.copysets.creations.finished(group_id, PATIENCE_S)
        self.beat_all()
        return added

    def beat_all(self) -> None:
        """Have every metaserver send a heartbeat."""
        for metaserver in self.metaservers:
            self.beat(metaserver)

    def beat(self, metaserver: FakeMetaserver) -> Any:
        """Have a metaserver send a heartbeat, and return the reply; it heeds what is not an order."""
        reply = self.mds.heartbeats.beat(metaserver.heartbeat(time_ns=self.clock.true_ns()))
        metaserver.highest_epoch = max(metaserver.highest_epoch, self.mds.state.authority.epoch)
        metaserver.changes_told = max(metaserver.changes_told, reply.changes)
        metaserver.in_full = reply.recovering
        return reply

    async def create(self, name: str = "demo", **fields: Any) -> pb.Filesystem:
        """Create a filesystem."""
        return await self.mds.filesystems.create(pb.CreateFilesystemRequest(name=name, object_store=URL, **fields))

    async def open(self, name: str = "demo", **fields: Any) -> pb.MountSession:
        """Open a session."""
        request = pb.OpenSessionRequest(name=name, host="host", pid=7, mountpoint="/mnt", **fields)
        session, _ = await self.mds.sessions.open(request)
        return session

    async def pass_time(self, seconds: float) -> int:
        """Let time pass in steps, as an MDS that looks now and then sees it; return how many sessions ended."""
        ended = 0
        while seconds > 0:
            step = min(seconds, 5.0)
            self.clock.advance(step)
            ended += await self.mds.sessions.expire()
            seconds -= step
        return ended

    async def keys(self, prefix: bytes = b"") -> list[bytes]:
        """Return the stored keys from a prefix on, without counters and the cluster's own."""
        page = await self.kv.range(prefix or b"\0", b"\xff")
        return [item.key for item in page.items if not item.key.startswith((b"counter/", b"cluster/", b"election/"))]

    def _open_store(self, url: str, *, make: bool = False) -> ObjectStore:
        return self.object_store
