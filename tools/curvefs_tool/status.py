"""``status``: is the cluster healthy, and which processes is it made of.

What is asked of the cluster is asked of its MDS; --data adds what the supervisor has written down: itself, and
whether what should run does.
"""

import socket
from pathlib import Path
from typing import Any

import click

from curvefs.proto import mds_pb2, mds_pb2_grpc, topology_pb2, topology_pb2_grpc
from curvefs.src.client.runtime import start_time
from curvefs.src.common.errors import CurveFSError
from curvefs.src.rpc.blocking import BlockingClient

from .cluster import cluster_options, command, mds_addresses, print_json, print_table
from .state import ClusterState


@click.command("status")
@cluster_options
@command
def status(*, mds: str | None, data: Path | None, json: bool) -> None:
    """Say whether the cluster is healthy, and list its processes."""
    said = collect(mds_addresses(mds, data), data)
    if json:
        print_json(said)
        return
    click.echo("healthy" if said["healthy"] else f"NOT HEALTHY: {'; '.join(said['problems'])}")
    keys = ["role", "id", "pid", "address", "leaders", "metrics"]
    print_table([key.upper() for key in keys], [[str(one[key]) for key in keys] for one in said["processes"]])


def collect(addresses: list[str], data: Path | None) -> dict[str, Any]:
    """Return what `status --json` prints.

    With --data a cluster that does not answer is unhealthy; without it there is nothing to tell: raises Unreachable.
    """
    problems: list[str] = []
    processes: list[dict[str, Any]] = []
    leading = ""
    client = BlockingClient(addresses)
    try:
        leading = _from_mds(client, processes, problems)
    except CurveFSError as error:
        if data is None:
            raise
        problems.append(str(error))
    finally:
        client.close()
    if data is not None:
        _from_data(data, processes, problems)
    return {"healthy": not problems, "mds": leading, "processes": processes, "problems": problems}


def _from_mds(client: BlockingClient, processes: list[dict[str, Any]], problems: list[str]) -> str:
    stub = mds_pb2_grpc.MdsServiceStub
    me = client.call(stub, "GetStatus", mds_pb2.GetStatusRequest())
    processes.append(_process("mds", me.mds_id, me.pid, me.address, int(me.leading), metrics=me.metrics_address))
    metaservers = client.call(
        topology_pb2_grpc.TopologyServiceStub, "ListMetaservers", topology_pb2.ListMetaserversRequest()
    ).metaservers
    for one in metaservers:
        id_ = str(one.metaserver_id)
        processes.append(
            _process("metaserver", id_, one.pid, one.address, one.leader_count, metrics=one.metrics_address)
        )
        if one.health != topology_pb2.ONLINE:
            problems.append(f"metaserver {id_} is {topology_pb2.Health.Name(one.health).lower()}")
    if not metaservers:
        problems.append("there is no metaserver")
    for filesystem in client.call(stub, "ListFilesystems", mds_pb2.ListFilesystemsRequest()).filesystems:
        if filesystem.state != mds_pb2.ACTIVE:
            continue
        request = mds_pb2.ListPartitionsRequest(fs_id=filesystem.fs_id)
        partitions = client.call(stub, "ListPartitions", request).partitions
        problems += [
            f"partition {p.partition_id} of {filesystem.name} has no leader" for p in partitions if not p.leader
        ]
    for session in client.call(stub, "ListSessions", mds_pb2.ListSessionsRequest()).sessions:
        if not session.ending and not _has_died(session):
            more = _process(
                "client",
                session.session_id.hex(),
                session.pid,
                session.metrics_address,
                metrics=session.metrics_address,
            )
            processes.append(more | {"host": session.host, "mountpoint": session.mountpoint})
    leading: str = me.address if me.leading else me.leader
    return leading


def _has_died(session: mds_pb2.MountSession) -> bool:
    """True for a client of this machine that is gone; the MDS waits for the end of its lease."""
    return session.host == socket.gethostname() and start_time(session.pid) is None


def _from_data(data: Path, processes: list[dict[str, Any]], problems: list[str]) -> None:
    """Add the supervisor, and what should run and does not."""
    state = ClusterState.load(data)
    supervisor = state.processes.pop("supervisor", None)
    if supervisor is not None and supervisor.running:
        processes.append(_process("supervisor", "supervisor", supervisor.pid, ""))
    else:
        problems.append("the supervisor is not running")
    problems += [f"{name} is not running" for name, one in state.processes.items() if not one.running]
    problems += [f"{name} is starting" for name in state.starting]


def _process(role: str, id_: str, pid: int, address: str, leaders: int = 0, *, metrics: str = "") -> dict[str, Any]:
    url = f"http://{metrics}/metrics" if metrics else ""
    return {"role": role, "id": id_, "pid": pid, "address": address, "leaders": leaders, "metrics": url}
