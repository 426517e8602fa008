"""``list-fs``: the filesystems of a cluster."""

from pathlib import Path

import click

from curvefs.proto import mds_pb2, mds_pb2_grpc
from curvefs.src.rpc.blocking import BlockingClient

from .cluster import cluster_options, command, mds_addresses, print_json, print_table
from .filesystems import as_json, state_name, time_text


@click.command("list-fs")
@cluster_options
@command
def list_fs(*, mds: str | None, data: Path | None, json: bool) -> None:
    """List the filesystems."""
    client = BlockingClient(mds_addresses(mds, data))
    reply = client.call(mds_pb2_grpc.MdsServiceStub, "ListFilesystems", mds_pb2.ListFilesystemsRequest())
    if json:
        print_json([as_json(one) for one in reply.filesystems])
        return
    rows = [[one.name, state_name(one), one.object_store, time_text(one.created_ns)] for one in reply.filesystems]
    print_table(["NAME", "STATE", "OBJECT STORE", "CREATED"], rows)
