"""Load on a metaserver's session stream: creates in one directory, at 1, 16 and 64 in flight.

It takes what a mount takes (a session of the MDS, one stream, one lane) and prints, per depth: operations a second,
p50 and p99 in microseconds, operations per fdatasync.

    python tools/bench/metaserver_load.py --mds 127.0.0.1:6700 --fs demo [--count 20000] [--depths 1,16,64]
"""

# ruff: noqa: INP001 -- a script, in no package

import argparse
import asyncio
import time
import urllib.request

from curvefs.proto import mds_pb2, mds_pb2_grpc, topology_pb2, topology_pb2_grpc
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.errors import CurveFSError
from curvefs.src.rpc.asyncio_client import AsyncClient
from curvefs.src.rpc.asyncio_frames import ClientFrames, open_frames
from curvefs.src.rpc.lane import Lane

ROOT = 1


class Load:
    """One session, one lane."""

    def __init__(self, call: ClientFrames, lane: Lane) -> None:
        self.call, self.lane = call, lane
        self.latencies: list[float] = []
        self.failed = 0

    async def run(self, count: int, depth: int, prefix: str) -> float:
        """Create ``count`` files, ``depth`` in flight; return the seconds it took. Raises what refused a batch."""
        submitted = 0

        def submit() -> None:
            nonlocal submitted
            began = time.perf_counter()

            def complete(result: pb.OperationResult | CurveFSError) -> None:
                self.latencies.append(time.perf_counter() - began)
                if not isinstance(result, pb.OperationResult) or result.status:
                    self.failed += 1

            name = f"{prefix}-{submitted}".encode()
            self.lane.submit(pb.Operation(create=pb.Create(parent=ROOT, name=name, mode=0o100644)), complete)
            submitted += 1

        self.latencies = []
        began = time.perf_counter()
        while len(self.latencies) < count:
            while submitted < count and submitted - len(self.latencies) < depth:
                submit()
            frame = pb.ClientFrame()
            while (batch := self.lane.next_batch()) is not None:
                frame.operations.append(batch)
            if frame.operations:
                await self.call.write(frame)
            answer = await self.call.read()
            for results in answer.operations:
                refusal = self.lane.on_results(results)
                if refusal is not None:
                    raise refusal
        return time.perf_counter() - began


def metric(page: str, name: str) -> float:
    """Return a metric of the metaserver."""
    text = urllib.request.urlopen(f"http://{page}/metrics").read().decode()
    return sum(float(line.split()[1]) for line in text.splitlines() if line.split()[0] == name)


async def main() -> None:
    """Open a session and put load on it."""
    options = argparse.ArgumentParser()
    options.add_argument("--mds", required=True)
    options.add_argument("--fs", required=True)
    options.add_argument("--count", type=int, default=20000)
    options.add_argument("--depths", default="1,16,64")
    given = options.parse_args()
    mds = AsyncClient([given.mds])
    stub = mds_pb2_grpc.MdsServiceStub
    opened = await mds.call(stub, "OpenSession", mds_pb2.OpenSessionRequest(name=given.fs, host="load", mountpoint="-"))
    root = next(one for one in opened.partitions if one.partition_id == 0)
    servers = await mds.call(
        topology_pb2_grpc.TopologyServiceStub, "ListMetaservers", topology_pb2.ListMetaserversRequest()
    )
    address = root.leader or root.peers[0].address
    page = next(one.metrics_address for one in servers.metaservers if one.address == address)
    fs_id, session_id = opened.session.fs_id, opened.session.session_id
    async with open_frames(address) as call:
        hello = pb.Hello(
            protocol_version=1, fs_id=fs_id, session_id=session_id, token=opened.token, groups=[root.group_id]
        )
        await call.write(pb.ClientFrame(hello=hello))
        answer = await call.read()
        assert not answer.welcome.HasField("failure"), answer
        while not answer.lanes:
            answer = await call.read()
        assert not answer.lanes[0].HasField("failure"), answer
        load = Load(call, Lane(fs_id, session_id, root.group_id))
        print(f"{'in flight':>9} {'ops/s':>9} {'p50 us':>8} {'p99 us':>8} {'ops/sync':>9} {'failed':>7}")
        for depth in map(int, given.depths.split(",")):
            before = [metric(page, f"metaserver_{name}_total") for name in ("operations", "log_syncs")]
            count = given.count if depth > 1 else max(1, given.count // 10)
            seconds = await load.run(count, depth, f"f{time.time_ns()}")
            after = [metric(page, f"metaserver_{name}_total") for name in ("operations", "log_syncs")]
            ordered = sorted(load.latencies)
            per_sync = (after[0] - before[0]) / max(1, after[1] - before[1])
            print(
                f"{depth:>9} {count / seconds:>9.0f} {ordered[len(ordered) // 2] * 1e6:>8.0f} "
                f"{ordered[len(ordered) * 99 // 100] * 1e6:>8.0f} {per_sync:>9.1f} {load.failed:>7}"
            )
    await mds.call(stub, "CloseSession", mds_pb2.CloseSessionRequest(session_id=session_id))
    await mds.close()


asyncio.run(main())
