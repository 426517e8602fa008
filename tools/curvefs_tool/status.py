"""``status``: is the cluster healthy, and which processes is it made of."""

import sys
from pathlib import Path
from typing import Any

import click

from curvefs.proto import mds_pb2, mds_pb2_grpc, topology_pb2, topology_pb2_grpc
from curvefs.src.common.errors import CurveFSError
from curvefs.src.common.exits import ExitCode
from curvefs.src.rpc.blocking import BlockingClient

from .cluster import CALL_DEADLINE_S, cluster_options, command, mds_addresses, print_json, print_table
from .state import ClusterState


@click.command("status")
@cluster_options
@command
def status(*, mds: str | None, data: Path | None, as_json: bool) -> None:
    """Say whether the cluster is healthy, and list its processes. Exit code 1 when it is not."""
    addresses = mds_addresses(mds, data)
    said = collect(addresses, data)
    if as_json:
        print_json(said)
    else:
        click.echo("healthy" if said["healthy"] else f"NOT HEALTHY: {'; '.join(said['problems'])}")
        rows = [
            [one["role"], str(one["id"]), str(one["pid"]), one["address"], str(one["leaders"])]
            for one in said["processes"]
        ]
        print_table(["ROLE", "ID", "PID", "ADDRESS", "LEADERS"], rows)
    if not said["healthy"]:
        sys.exit(ExitCode.FAILED)


def collect(addresses: list[str], data: Path | None) -> dict[str, Any]:
    """Return what `status --json` prints. A cluster that does not answer is unhealthy, not an error with --data."""
    problems: list[str] = []
    processes: list[dict[str, Any]] = []
    leading = ""
    try:
        leading = _from_mds(BlockingClient(addresses, deadline_s=CALL_DEADLINE_S), processes, problems)
    except CurveFSError as error:
        if data is None:
            raise
        problems.append(str(error))
    if data is not None:
        _from_data(data, processes, problems)
    return {"healthy": not problems, "mds": leading, "processes": processes, "problems": problems}


def _from_mds(client: BlockingClient, processes: list[dict[str, Any]], problems: list[str]) -> str:
    stub = mds_pb2_grpc.MdsServiceStub
    me = client.call(stub, "GetStatus", mds_pb2.GetStatusRequest())
    processes.append(_process("mds", me.mds_id, me.pid, me.address, int(me.leading)))
    metaservers = client.call(
        topology_pb2_grpc.TopologyServiceStub, "ListMetaservers", topology_pb2.ListMetaserversRequest()
    ).metaservers
    for one in metaservers:
        processes.append(_process("metaserver", str(one.metaserver_id), one.pid, one.address, one.leader_count))
        if one.health != topology_pb2.ONLINE:
            problems.append(f"metaserver {one.metaserver_id} is {topology_pb2.Health.Name(one.health).lower()}")
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
        if not session.ending:
            where = f"{session.host}:{session.mountpoint}"
            processes.append(_process("client", session.session_id.hex(), session.pid, where, 0))
    leading: str = me.address if me.leading else me.leader
    return leading


def _from_data(data: Path, processes: list[dict[str, Any]], problems: list[str]) -> None:
    """Add the supervisor, and what should run and does not."""
    state = ClusterState.load(data)
    supervisor = state.processes.get("supervisor")
    if supervisor is not None and supervisor.running:
        processes.append(_process("supervisor", "supervisor", supervisor.pid, "", 0))
    elif state.processes:
        problems.append("the supervisor is not running")
    for name, one in state.processes.items():
        if name != "supervisor" and not one.running:
            problems.append(f"{name} is not running")


def _process(role: str, id_: str, pid: int, address: str, leaders: int) -> dict[str, Any]:
    return {"role": role, "id": id_, "pid": pid, "address": address, "leaders": leaders}
