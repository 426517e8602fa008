"""``query-fs``: one filesystem, with its settings, use, partitions and mounts."""

from pathlib import Path

import click

from curvefs.proto import mds_pb2, mds_pb2_grpc
from curvefs.src.rpc.blocking import BlockingClient

from .cluster import cluster_options, command, mds_addresses, print_json
from .filesystems import as_json


@click.command("query-fs")
@click.argument("name")
@cluster_options
@command
def query_fs(name: str, *, mds: str | None, data: Path | None, json: bool) -> None:
    """Show one filesystem: settings, use, partitions, mounts."""
    client = BlockingClient(mds_addresses(mds, data))
    stub = mds_pb2_grpc.MdsServiceStub
    reply = client.call(stub, "GetFilesystem", mds_pb2.GetFilesystemRequest(name=name))
    sessions = client.call(stub, "ListSessions", mds_pb2.ListSessionsRequest(name=name)).sessions
    partitions = [
        {
            "partition_id": one.partition_id,
            "group_id": one.group_id,
            "leader": one.leader,
            "peers": [peer.address for peer in one.peers],
            "inodes": one.inode_count,
            "used_bytes": one.used_bytes,
        }
        for one in reply.partitions
    ]
    mounts = [
        {"host": one.host, "pid": one.pid, "mountpoint": one.mountpoint, "read_only": one.read_only}
        for one in sessions
        if not one.ending
    ]
    said = as_json(reply.filesystem) | {
        "inodes": sum(one.inode_count for one in reply.partitions),
        "used_bytes": sum(one.used_bytes for one in reply.partitions),
        "partitions": partitions,
        "mounts": mounts,
    }
    if json:
        print_json(said)
        return
    for key, value in said.items():
        if not isinstance(value, list):
            click.echo(f"{key:>16}: {value}")
    for kind, rows in (("partition", partitions), ("mount", mounts)):
        for row in rows:
            click.echo(f"{kind:>16}: " + "  ".join(f"{key}={value}" for key, value in row.items()))
