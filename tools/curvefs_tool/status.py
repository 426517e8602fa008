"""``status``: is the cluster healthy, and which processes and copysets is it made of.

What is asked of the cluster is asked of its MDS; --data adds what the supervisor has written down: itself, etcd, and
whether what should run does.
"""

import contextlib
import socket
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click

from curvefs.proto import mds_pb2, mds_pb2_grpc, topology_pb2, topology_pb2_grpc
from curvefs.src.client.runtime import start_time
from curvefs.src.common.errors import CurveFSError, Unreachable
from curvefs.src.common.exits import ExitCode
from curvefs.src.rpc.blocking import BlockingClient

from .cluster import cluster_options, command, mds_addresses, print_json, print_table
from .copyset.view import HEAD, as_json, problems_of, row
from .settings import load_settings
from .state import ClusterState


@click.command("status")
@cluster_options
@command
def status(*, mds: str | None, data: Path | None, json: bool) -> None:
    """Say whether the cluster is healthy, and list its processes and copysets. Ends with 1 when it is not."""
    said = collect(mds_addresses(mds, data), data)
    if json:
        print_json(said)
    else:
        _show(said)
    if not said["healthy"]:
        sys.exit(ExitCode.FAILED)


def _show(said: dict[str, Any]) -> None:
    click.echo("healthy" if said["healthy"] else f"NOT HEALTHY: {'; '.join(said['problems'])}")
    keys = ["role", "id", "pid", "address", "leaders", "metrics"]
    print_table([key.upper() for key in keys], [[str(one[key]) for key in keys] for one in said["processes"]])
    if said["copysets"]:
        click.echo()
        print_table(HEAD, [row(one) for one in said["copysets"]])


def collect(addresses: list[str], data: Path | None) -> dict[str, Any]:
    """Return what `status --json` prints.

    With --data a cluster that does not answer is unhealthy; without it there is nothing to tell: raises Unreachable.
    """
    found = _Found()
    client = BlockingClient(addresses)
    try:
        _from_mds(client, found)
    except CurveFSError as error:
        if data is None:
            raise
        found.problems.append(str(error))
    finally:
        client.close()
    if data is not None:
        _from_data(data, found.processes, found.problems)
    return {"healthy": not found.problems} | asdict(found)


@dataclass(slots=True)
class _Found:
    """What there is. mds: the address of the one that serves."""

    mds: str = ""
    processes: list[dict[str, Any]] = field(default_factory=list)
    copysets: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def _from_mds(client: BlockingClient, found: _Found) -> None:
    stub = mds_pb2_grpc.MdsServiceStub
    _add_mds(client, found)
    _add_metaservers(client, found)
    for filesystem in client.call(stub, "ListFilesystems", mds_pb2.ListFilesystemsRequest()).filesystems:
        if filesystem.state != mds_pb2.ACTIVE:
            continue
        request = mds_pb2.ListPartitionsRequest(fs_id=filesystem.fs_id)
        leaderless = {one["group_id"] for one in found.copysets if not one["leader"]}  # said already
        found.problems += [
            f"partition {one.partition_id} of {filesystem.name} has no leader"
            for one in client.call(stub, "ListPartitions", request).partitions
            if not one.leader and one.group_id not in leaderless
        ]
    for session in client.call(stub, "ListSessions", mds_pb2.ListSessionsRequest()).sessions:
        if not session.ending and not session.retained_since_ns and not _has_died(session):
            metrics = session.metrics_address
            more = _process("client", session.session_id.hex(), session.pid, metrics, metrics=metrics)
            found.processes.append(more | {"host": session.host, "mountpoint": session.mountpoint})


def _add_mds(client: BlockingClient, found: _Found) -> None:
    """Add every MDS that was named: each one speaks for itself. Raises Unreachable when none does."""
    unheard = []
    for address in client.addresses:
        alone = BlockingClient([address]) if len(client.addresses) > 1 else client
        try:
            me = alone.call(mds_pb2_grpc.MdsServiceStub, "GetStatus", mds_pb2.GetStatusRequest())
        except Unreachable as error:
            unheard.append(error)
            continue
        finally:
            if alone is not client:
                alone.close()
        more = _process("mds", me.mds_id, me.pid, me.address, int(me.leading), metrics=me.metrics_address)
        found.processes.append(more)
        found.mds = me.address if me.leading else found.mds or me.leader
        found.problems += [me.recovery] if me.recovery else []
    if len(unheard) == len(client.addresses):
        raise unheard[0]
    found.problems += [f"an MDS does not answer: {error}" for error in unheard]


def _add_metaservers(client: BlockingClient, found: _Found) -> None:
    """Add the metaservers and their copysets."""
    stub = topology_pb2_grpc.TopologyServiceStub
    metaservers = client.call(stub, "ListMetaservers", topology_pb2.ListMetaserversRequest()).metaservers
    for one in metaservers:
        id_ = str(one.metaserver_id)
        more = _process("metaserver", id_, one.pid, one.address, one.leader_count, metrics=one.metrics_address)
        found.processes.append(more)
        if one.health != topology_pb2.ONLINE:
            found.problems.append(f"metaserver {id_} is {topology_pb2.Health.Name(one.health).lower()}")
    if not metaservers:
        found.problems.append("there is no metaserver")
    silent = {one.metaserver_id for one in metaservers if one.health != topology_pb2.ONLINE}
    for copyset in client.call(stub, "ListCopysets", topology_pb2.ListCopysetsRequest()).copysets:
        shown = as_json(copyset)
        found.copysets.append(shown)
        found.problems += problems_of(shown, silent)


def _has_died(session: mds_pb2.MountSession) -> bool:
    """True for a client of this machine that is gone; the MDS waits for the end of its lease."""
    return session.host == socket.gethostname() and start_time(session.pid) is None


def _from_data(data: Path, processes: list[dict[str, Any]], problems: list[str]) -> None:
    """Add the supervisor, etcd, and what should run and does not."""
    state = ClusterState.load(data)
    supervisor = state.processes.pop("supervisor", None)
    if supervisor is not None and supervisor.running:
        processes.append(_process("supervisor", "supervisor", supervisor.pid, ""))
    else:
        problems.append("the supervisor is not running")
    with contextlib.suppress(FileNotFoundError):
        settings = load_settings(data)
        for name in settings.etcd_names:
            if name in state.processes:
                metrics = settings.address(f"{name}-metrics")
                processes.append(
                    _process("etcd", name, state.processes[name].pid, settings.address(name), metrics=metrics)
                )
    problems += [f"{name} is not running" for name, one in state.processes.items() if not one.running]
    problems += [f"{name} is starting" for name in state.starting]


def _process(role: str, id_: str, pid: int, address: str, leaders: int = 0, *, metrics: str = "") -> dict[str, Any]:
    url = f"http://{metrics}/metrics" if metrics else ""
    return {"role": role, "id": id_, "pid": pid, "address": address, "leaders": leaders, "metrics": url}
