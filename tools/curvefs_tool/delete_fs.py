"""``delete-fs``: gives a filesystem up for deletion."""

from pathlib import Path

import click

from curvefs.proto import mds_pb2, mds_pb2_grpc
from curvefs.src.rpc.blocking import BlockingClient

from .cluster import cluster_options, command, mds_addresses, print_json
from .filesystems import as_json


@click.command("delete-fs")
@click.argument("name")
@cluster_options
@command
def delete_fs(name: str, *, mds: str | None, data: Path | None, json: bool) -> None:
    """Delete a filesystem that is not mounted; its metadata and objects go in the background."""
    client = BlockingClient(mds_addresses(mds, data))
    reply = client.call(mds_pb2_grpc.MdsServiceStub, "DeleteFilesystem", mds_pb2.DeleteFilesystemRequest(name=name))
    if json:
        print_json(as_json(reply.filesystem))
    else:
        click.echo(f"deleting {name}")
