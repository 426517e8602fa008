"""``drain``, ``undrain``, ``retire``: metaservers are emptied, and taken out.

What a metaserver is for is stored by the MDS, and its schedulers do the work; the command waits and shows how far they
are. One that was interrupted, or not done in time, is given again.
"""

import time
from collections.abc import Callable
from pathlib import Path

import click

from curvefs.proto import schedule_pb2, schedule_pb2_grpc, topology_pb2, topology_pb2_grpc
from curvefs.src.common.errors import NotFound, StartupError, Unavailable
from curvefs.src.common.exits import ExitCode
from curvefs.src.rpc.blocking import BlockingClient

from ..cluster import cluster_options, command, mds_addresses
from ..copyset.options import metaserver_argument, tell, timeout_option_of

DRAIN_TIMEOUT_S = 3600.0
PAUSE_S = 0.5


def waiting_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options about waiting."""
    function = click.option("--no-wait", is_flag=True, help="Return when it has begun.")(function)
    return timeout_option_of(DRAIN_TIMEOUT_S, "How long to wait; it goes on all the same.")(function)


@click.command("drain")
@metaserver_argument("metaserver")
@waiting_options
@cluster_options
@command
def drain(metaserver: int, *, no_wait: bool, timeout_s: float, mds: str | None, data: Path | None, json: bool) -> None:
    """Move all replicas and leaders from METASERVER to others; it stays in the cluster and gets no new ones."""
    client = BlockingClient(mds_addresses(mds, data))
    _assign(client, metaserver, topology_pb2.DRAINS)
    if not no_wait:
        _wait(client, metaserver, timeout_s, quiet=json)
    verb = "is being drained" if no_wait else "is drained: it holds nothing"
    tell(_said(client, metaserver), f"metaserver {metaserver} {verb}", json=json)


@click.command("undrain")
@metaserver_argument("metaserver")
@cluster_options
@command
def undrain(metaserver: int, *, mds: str | None, data: Path | None, json: bool) -> None:
    """Have METASERVER serve again, after 'drain', or before 'retire' is done."""
    client = BlockingClient(mds_addresses(mds, data))
    _assign(client, metaserver, topology_pb2.SERVES)
    tell(_said(client, metaserver), f"metaserver {metaserver} serves", json=json)


@click.command("retire")
@metaserver_argument("metaserver")
@waiting_options
@cluster_options
@command
def retire(metaserver: int, *, no_wait: bool, timeout_s: float, mds: str | None, data: Path | None, json: bool) -> None:
    """Drain METASERVER and take it out of the cluster; then its process can be stopped and its folder removed."""
    client = BlockingClient(mds_addresses(mds, data))
    _assign(client, metaserver, topology_pb2.RETIRES)
    if not no_wait:
        _wait(client, metaserver, timeout_s, quiet=json, removed=True)
    verb = "is being retired" if no_wait else "is no longer part of the cluster"
    tell(_said(client, metaserver), f"metaserver {metaserver} {verb}", json=json)


def _assign(client: BlockingClient, metaserver_id: int, duty: topology_pb2.Duty) -> None:
    request = schedule_pb2.SetDutyRequest(metaserver_id=metaserver_id, duty=duty)
    stub = schedule_pb2_grpc.ScheduleServiceStub
    client.call(stub, "SetDuty", request)
    if duty != topology_pb2.SERVES:
        for one in client.call(stub, "GetSchedule", schedule_pb2.GetScheduleRequest()).switches:
            if one.scheduler == schedule_pb2.RECOVER and not one.enabled:
                click.echo("the scheduler recover is off: nothing moves until it is on", err=True)


def _wait(client: BlockingClient, metaserver_id: int, timeout_s: float, *, quiet: bool, removed: bool = False) -> None:
    """Wait until a metaserver holds nothing or is removed, and tell how far it is.

    Raises StartupError (TIMEOUT); NotFound when somebody has retired it who was only to be drained.
    """
    end = time.monotonic() + timeout_s
    told = ""
    while True:
        progress = _progress(client, metaserver_id, removed=removed)
        if progress == "":
            return
        if progress not in ("?", told) and not quiet:
            click.echo(f"metaserver {metaserver_id}: {progress}")
        told = told if progress == "?" else progress
        if time.monotonic() > end:
            raise StartupError(
                f"metaserver {metaserver_id}: {told or 'the MDS does not answer'}; it goes on", ExitCode.TIMEOUT
            )
        time.sleep(PAUSE_S)


def _progress(client: BlockingClient, metaserver_id: int, *, removed: bool) -> str:
    """Return what is left to do; '' for nothing, '?' while no MDS answers."""
    try:
        one = _find(client, metaserver_id)
    except Unavailable:
        return "?"
    if one is None:
        if removed:
            return ""
        raise NotFound(f"metaserver {metaserver_id} is no longer part of the cluster")
    if one.replica_count or one.leader_count:
        return f"{one.replica_count} replicas left, {one.leader_count} of them lead"
    return "gives up what its copysets no longer need" if removed else ""


def _find(client: BlockingClient, metaserver_id: int) -> topology_pb2.Metaserver | None:
    request = topology_pb2.ListMetaserversRequest()
    reply = client.call(topology_pb2_grpc.TopologyServiceStub, "ListMetaservers", request)
    return next((one for one in reply.metaservers if one.metaserver_id == metaserver_id), None)


def _said(client: BlockingClient, metaserver_id: int) -> dict[str, object]:
    one = _find(client, metaserver_id)
    duty = "gone" if one is None else topology_pb2.Duty.Name(one.duty).lower()
    return {"metaserver_id": metaserver_id, "duty": duty, "replicas": one.replica_count if one is not None else 0}
