"""``end-mount``: gives up what a write-back mount has staged and never published, e.g. because its disk is lost."""

from pathlib import Path

import click

from curvefs.proto import mds_pb2, mds_pb2_grpc
from curvefs.src.common.errors import NotFound, ResourceBusy
from curvefs.src.rpc.blocking import BlockingClient

from .cluster import cluster_options, command, mds_addresses, print_json


@click.command("end-mount")
@click.argument("session")
@click.option("--force", is_flag=True, help="Also a mount that may be alive: it begins a new session then.")
@cluster_options
@command
def end_mount(session: str, *, force: bool, mds: str | None, data: Path | None, json: bool) -> None:
    """End a mount whose session is retained for what it has staged (list-mounts); that is not published any more."""
    client = BlockingClient(mds_addresses(mds, data))
    reply = client.call(mds_pb2_grpc.MdsServiceStub, "ListSessions", mds_pb2.ListSessionsRequest())
    found = [one for one in reply.sessions if one.session_id.hex() == session]
    if not found:
        raise NotFound(f"no session {session}; list-mounts names them")
    if not (found[0].retained_since_ns or force):
        raise ResourceBusy(f"the mount at {found[0].host}:{found[0].mountpoint} may be alive; --force ends it as well")
    request = mds_pb2.CloseSessionRequest(session_id=found[0].session_id, end_identity=True)
    client.call(mds_pb2_grpc.MdsServiceStub, "CloseSession", request)
    if json:
        print_json({"session": session, "ending": True})
    else:
        click.echo(f"ending {session}")
