"""Several real metaserver processes with groups of three replicas, and an MDS in this process; each can be killed.

    async with Metaservers() as servers:
        ...

Partition n lies in the group LAYOUT[n]; server n leads the n-th group to begin with. A process that dies is started
again at once, without failpoints, as a supervisor does it; `deaths` says who died.
"""
# ruff: noqa: N802

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from curvefs.proto import common_pb2, copyset_pb2, mds_pb2, topology_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.proto.heartbeat_pb2_grpc import add_HeartbeatServiceServicer_to_server
from curvefs.proto.mds_pb2_grpc import MdsServiceServicer, add_MdsServiceServicer_to_server
from curvefs.proto.topology_pb2_grpc import add_TopologyServiceServicer_to_server
from curvefs.src.common import failpoints
from curvefs.src.common.errors import CurveFSError
from curvefs.src.rpc.asyncio_server import start_server

from . import guard
from .fake_mds import FakeMds
from .metaserver_client import call

FS = 3
GROUPS = (1, 2, 3)
LAYOUT = (1, 2, 3, 1, 2)
SEED = b"h" * 16
PATIENCE_S = 90.0
SETTINGS = "heartbeat_interval_ms = 500\n"


class SeveralMds(FakeMds, MdsServiceServicer):
    """Registers any number of metaservers, and says where partitions are."""

    def __init__(self):
        super().__init__()
        self.addresses = {}  # by metaserver
        self.leaders = {}  # group: (term, metaserver)

    async def start(self):
        self._server = await start_server(
            self.address,
            [
                partial(add_TopologyServiceServicer_to_server, self),
                partial(add_HeartbeatServiceServicer_to_server, self),
                partial(add_MdsServiceServicer_to_server, self),
            ],
        )
        self.address = self._server.address

    async def RegisterMetaserver(self, request, context):
        number = request.metaserver_id or len(self.addresses) + 1
        self.addresses[number] = request.address
        return topology_pb2.RegisterMetaserverReply(
            epoch=1, cluster_id=self.cluster_id, metaserver_id=number, token=b"t" * 16, session_secret=self.secret
        )

    async def Heartbeat(self, request, context):
        for one in request.copysets:
            if one.leading and one.term > self.leaders.get(one.group_id, (0, 0))[0]:
                self.leaders[one.group_id] = one.term, request.metaserver_id
        reply = await super().Heartbeat(request, context)
        reply.next_heartbeat_ms = 500
        del self.heartbeats[:]
        return reply

    def _peers(self):
        return [common_pb2.Peer(metaserver_id=n, address=address) for n, address in sorted(self.addresses.items())]

    def _leader(self, group_id):
        return self.leaders.get(group_id, (0, 0))[1]

    async def ListPartitions(self, request, context):
        partitions = [
            mds_pb2.Partition(
                fs_id=FS,
                partition_id=n,
                group_id=group_id,
                peers=self._peers(),
                leader=self.addresses.get(self._leader(group_id), ""),
            )
            for n, group_id in enumerate(LAYOUT)
        ]
        return mds_pb2.ListPartitionsReply(epoch=1, partitions=partitions)

    async def ListCopysets(self, request, context):
        copysets = [
            topology_pb2.Copyset(group_id=one, peers=self._peers(), leader_id=self._leader(one))
            for one in request.group_ids
        ]
        return topology_pb2.ListCopysetsReply(epoch=1, copysets=copysets)


class Server:
    """One metaserver: its process, started again whenever it dies."""

    def __init__(self, number, folder, mds):
        self.number = number
        self.data = folder / f"metaserver{number}"
        self.log = folder / f"metaserver{number}.log"
        self.settings = folder / "metaserver.toml"
        self.mds = mds
        self.address = ""
        self.deaths = 0
        self._is_asked = False
        self.ready = asyncio.Event()
        self._process = None
        self._keeper = None

    async def start(self, armed=""):
        """Start it, with failpoints; they hold for this life only."""
        self._keeper = asyncio.create_task(self._keep(armed))
        async with asyncio.timeout(PATIENCE_S):
            await self.ready.wait()

    async def stop(self):
        """Kill it, and leave it so."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None

    async def restart(self, armed=""):
        """Kill it, and start it with failpoints."""
        await self.stop()
        await self.start(armed)

    async def die(self, number=signal.SIGKILL):
        """Have it end by a signal, and wait until it has been started again."""
        self._is_asked = number != signal.SIGKILL
        assert self._process is not None
        self._process.send_signal(number)
        deaths = self.deaths
        async with asyncio.timeout(PATIENCE_S):
            while self.deaths == deaths and self.failure is None:
                await asyncio.sleep(0.05)
            await self.ready.wait()

    async def _keep(self, armed):
        try:
            while True:
                self.ready.clear()
                await self._live(armed)
                armed = ""
        finally:
            self.ready.clear()

    async def _live(self, armed):
        words = ["--config", self.settings, "--data", self.data, "--mds", self.mds.address]
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "curvefs.src.metaserver.main",
                *map(str, words),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=os.environ | {failpoints.VARIABLE: armed},
            )
        self._process = process
        self._is_asked = False
        assert process.stdout is not None
        try:
            line = (await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)).decode()
            if line.startswith("listening on "):
                self.address = line.removeprefix("listening on ").strip()
                self.ready.set()
            code = await process.wait()
            ends = 0 if self._is_asked else -signal.SIGKILL
            assert code == ends, f"metaserver {self.number} ended with {code}:\n{self.tail()}"
            self.deaths += 1
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    @property
    def failure(self):
        """What went wrong with it, other than being killed."""
        if self._keeper is not None and self._keeper.done() and not self._keeper.cancelled():
            return self._keeper.exception()
        return None

    def tail(self, size=6000):
        return self.log.read_bytes()[-size:].decode(errors="replace")


class Metaservers:
    """See the module."""

    def __init__(self, count=3):
        self.folder = Path(tempfile.mkdtemp(prefix="curvefs-test-"))
        # It cleans up when this process is killed, too.
        self._guard = subprocess.Popen(
            [sys.executable, "-m", "curvefs.test.support.guard"],
            stdin=subprocess.PIPE,
            env=os.environ | {"CURVEFS_TEST_ROOT": str(self.folder)},
            start_new_session=True,
        )
        self.mds = SeveralMds()
        self.servers = {n: Server(n, self.folder, self.mds) for n in range(1, count + 1)}

    async def __aenter__(self):
        await self.mds.start()
        (self.folder / "metaserver.toml").write_text(SETTINGS)
        try:
            for server in self.servers.values():  # one after the other: they get their numbers so
                await server.start()
            await self._make_groups()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(self, *_):
        for server in self.servers.values():
            await server.stop()
        await self.mds.stop()
        guard.clean(self.folder)
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait(30)

    @property
    def addresses(self):
        return {n: server.address for n, server in self.servers.items()}

    async def _make_groups(self):
        peers = self.mds._peers()
        for first, group_id in enumerate(GROUPS, 1):
            for server in self.servers.values():
                request = copyset_pb2.CreateCopysetRequest(
                    mds_epoch=1, group_id=group_id, peers=peers, first_metaserver_id=first
                )
                await call(server.address, "CreateCopyset", request)
        for n, group_id in enumerate(LAYOUT):
            spec = pb.PartitionSpec(
                fs_id=FS,
                partition_id=n,
                group_id=group_id,
                hash_seed=SEED,
                chunk_size=64 << 20,
                block_size=4 << 20,
            )
            await self.at_leader(group_id, "CreatePartition", pb.CreatePartitionRequest(mds_epoch=1, partition=spec))

    async def status(self, number, group_id, **asked):
        request = copyset_pb2.GetCopysetStatusRequest(group_id=group_id, **asked)
        return await call(self.servers[number].address, "GetCopysetStatus", request)

    async def leader_of(self, group_id):
        """Wait for a leader; returns its number."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for number, server in self.servers.items():
                    if server.ready.is_set():
                        with contextlib.suppress(CurveFSError):
                            if (await self.status(number, group_id)).leader_id == number:
                                return number
                await asyncio.sleep(0.05)

    async def at_leader(self, group_id, method, request):
        """Call the leader, whoever it is at last."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return await call(self.servers[await self.leader_of(group_id)].address, method, request)
            except CurveFSError:
                if time.monotonic() >= end:
                    raise
                await asyncio.sleep(0.05)

    async def lead(self, group_id, number):
        """Make a server the leader of a group."""
        async with asyncio.timeout(PATIENCE_S):
            while await self.leader_of(group_id) != number:
                with contextlib.suppress(CurveFSError):
                    leader = await self.leader_of(group_id)
                    index = (await self.status(leader, group_id)).configuration_index
                    request = copyset_pb2.TransferLeaderRequest(
                        mds_epoch=1, group_id=group_id, to_metaserver_id=number, configuration_index=index
                    )
                    await call(self.servers[leader].address, "TransferLeader", request)

    async def all_ready(self):
        """Wait until every process serves."""
        async with asyncio.timeout(PATIENCE_S):
            for server in self.servers.values():
                await server.ready.wait()

    def check_alive(self):
        """Raise when a process ended otherwise than by being killed."""
        for server in self.servers.values():
            if server.failure is not None:
                raise server.failure

    def logs(self):
        return "\n".join(f"--- metaserver {n}\n{server.tail()}" for n, server in self.servers.items())
