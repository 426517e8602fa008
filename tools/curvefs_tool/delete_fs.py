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
    stub = mds_pb2_grpc.MdsServiceStub
    found = client.call(stub, "GetFilesystem", mds_pb2.GetFilesystemRequest(name=name)).filesystem
    # A call that is sent again must not delete what was made under the name since.
    request = mds_pb2.DeleteFilesystemRequest(name=name, uuid=found.uuid)
    reply = client.call(stub, "DeleteFilesystem", request)
    if json:
        print_json(as_json(reply.filesystem))
    else:
        click.echo(f"deleting {name}")
