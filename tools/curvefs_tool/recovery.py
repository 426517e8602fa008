"""``recovery show`` and ``recovery end``: an MDS whose store was restored from a copy, and what it waits for."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from curvefs.proto import mds_pb2, mds_pb2_grpc
from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode
from curvefs.src.rpc.blocking import BlockingClient

from .cluster import cluster_options, command, mds_addresses, print_json


@click.group("recovery")
def recovery() -> None:
    """See what an MDS waits for whose store was restored from a copy, or have it wait no longer."""


@recovery.command("show")
@cluster_options
@command
def show(*, mds: str | None, data: Path | None, json: bool) -> None:
    """Say whether the MDS is in recovery, and what it waits for."""
    _tell(_ask(mds, data, "GetRecovery", mds_pb2.GetRecoveryRequest()), json=json)


@recovery.command("end")
@click.option("--yes", is_flag=True, help="Do it: what was never reported counts as gone.")
@cluster_options
@command
def end(*, yes: bool, mds: str | None, data: Path | None, json: bool) -> None:
    """End the recovery, though not everything is known again. Sessions and partitions left out are lost to the MDS."""
    if not yes:
        raise StartupError("what was never reported will count as gone; say --yes", ExitCode.USAGE)
    _tell(_ask(mds, data, "EndRecovery", mds_pb2.EndRecoveryRequest()), json=json)


def _ask(mds: str | None, data: Path | None, method: str, request: Any) -> mds_pb2.RecoveryReply:
    client = BlockingClient(mds_addresses(mds, data))
    try:
        reply: mds_pb2.RecoveryReply = client.call(mds_pb2_grpc.MdsServiceStub, method, request)
    finally:
        client.close()
    return reply


def _tell(reply: mds_pb2.RecoveryReply, *, json: bool) -> None:
    said = {
        "recovering": reply.recovering,
        "reason": reply.reason,
        "since": datetime.fromtimestamp(reply.since_ns / 1e9, UTC).isoformat() if reply.since_ns else "",
        "silent_metaservers": list(reply.silent_metaservers),
        "unknown": list(reply.unknown),
        "unknown_sessions": reply.unknown_sessions,
        "missing": list(reply.missing),
    }
    if json:
        print_json(said)
        return
    if not reply.recovering:
        click.echo("not in recovery")
        return
    click.echo(f"in recovery since {said['since']}: {reply.reason}")
    for one in reply.silent_metaservers:
        click.echo(f"waits for metaserver {one} to report")
    for line in reply.unknown:
        click.echo(f"not known yet: {line}")
    if reply.unknown_sessions:
        click.echo(f"waits for {reply.unknown_sessions} sessions to be renewed, at most for a lease")
    for line in reply.missing:
        click.echo(f"lost since the copy, or not reported yet: {line}")
