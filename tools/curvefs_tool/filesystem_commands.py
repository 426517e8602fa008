"""``create-fs``, ``list-fs``, ``query-fs``, ``delete-fs``."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import click

from curvefs.proto import mds_pb2, mds_pb2_grpc
from curvefs.src.client.options import parse_size
from curvefs.src.common.errors import (
    NoSpace,
    NotFound,
    PermissionDenied,
    StartupError,
    Unavailable,
    Unreachable,
)
from curvefs.src.common.exits import ExitCode
from curvefs.src.common.fsname import check_fs_name
from curvefs.src.object.url import parse_store_url
from curvefs.src.rpc.blocking import BlockingClient

from .cluster import cluster_options, command, mds_addresses, print_json, print_table

CREATE_DEADLINE_S = 60.0


def create_filesystem(client: BlockingClient, request: mds_pb2.CreateFilesystemRequest) -> mds_pb2.Filesystem:
    """Create a filesystem. Raises StartupError (OBJECT_STORE) when its object store is the reason."""
    check_fs_name(request.name)
    parse_store_url(request.object_store)
    try:
        # One call that may take as long as the store's check: sent again only when nobody answered.
        reply = client.call(mds_pb2_grpc.MdsServiceStub, "GetStatus", mds_pb2.GetStatusRequest())
        reply = client.call(mds_pb2_grpc.MdsServiceStub, "CreateFilesystem", request, deadline_s=CREATE_DEADLINE_S)
    except (PermissionDenied, NotFound, NoSpace) as error:
        raise StartupError(str(error), ExitCode.OBJECT_STORE) from error
    except Unreachable:
        raise
    except Unavailable as error:
        code = ExitCode.FAILED if "metaserver" in str(error) else ExitCode.OBJECT_STORE
        raise StartupError(str(error), code) from error
    filesystem: mds_pb2.Filesystem = reply.filesystem
    return filesystem


class _Size(click.ParamType):  # type: ignore[type-arg]  # generic only in new releases
    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return parse_size(value)
        except ValueError:
            self.fail(f"'{value}' is no size such as 64M", param, ctx)


@click.command("create-fs")
@click.argument("name")
@click.option("--object-store", required=True, help="file:///DIR or s3://BUCKET[/PREFIX]?endpoint=URL")
@click.option("--chunk-size", type=_Size(), default=0, help="Default 64M.")
@click.option("--block-size", type=_Size(), default=0, help="Default 4M.")
@click.option("--capacity", type=_Size(), default=0, help="What df shows as the size; default 1P.")
@click.option("--inodes", type=_Size(), default=0, help="What df -i shows; default 4G.")
@cluster_options
@command
def create_fs(
    name: str,
    object_store: str,
    *,
    chunk_size: int,
    block_size: int,
    capacity: int,
    inodes: int,
    mds: str | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Create the filesystem NAME with its blocks in an object store."""
    client = BlockingClient(mds_addresses(mds, data))
    request = mds_pb2.CreateFilesystemRequest(
        name=name,
        object_store=object_store,
        chunk_size=chunk_size,
        block_size=block_size,
        capacity_bytes=capacity,
        capacity_inodes=inodes,
    )
    filesystem = create_filesystem(client, request)
    if as_json:
        print_json(_as_json(filesystem))
    else:
        click.echo(f"created {name} ({UUID(bytes=filesystem.uuid)})")


@click.command("list-fs")
@cluster_options
@command
def list_fs(*, mds: str | None, data: Path | None, as_json: bool) -> None:
    """List the filesystems."""
    client = BlockingClient(mds_addresses(mds, data))
    reply = client.call(mds_pb2_grpc.MdsServiceStub, "ListFilesystems", mds_pb2.ListFilesystemsRequest())
    if as_json:
        print_json([_as_json(one) for one in reply.filesystems])
        return
    rows = [[one.name, _state(one), one.object_store, _time(one.created_ns)] for one in reply.filesystems]
    print_table(["NAME", "STATE", "OBJECT STORE", "CREATED"], rows)


@click.command("query-fs")
@click.argument("name")
@cluster_options
@command
def query_fs(name: str, *, mds: str | None, data: Path | None, as_json: bool) -> None:
    """Show one filesystem: settings, use, partitions, mounts."""
    client = BlockingClient(mds_addresses(mds, data))
    stub = mds_pb2_grpc.MdsServiceStub
    reply = client.call(stub, "GetFilesystem", mds_pb2.GetFilesystemRequest(name=name))
    sessions = client.call(stub, "ListSessions", mds_pb2.ListSessionsRequest(name=name)).sessions
    said = _as_json(reply.filesystem) | {
        "inodes": sum(one.inode_count for one in reply.partitions),
        "used_bytes": sum(one.used_bytes for one in reply.partitions),
        "partitions": [
            {
                "partition_id": one.partition_id,
                "group_id": one.group_id,
                "leader": one.leader,
                "peers": [peer.address for peer in one.peers],
                "inodes": one.inode_count,
            }
            for one in reply.partitions
        ],
        "mounts": [
            {"host": one.host, "pid": one.pid, "mountpoint": one.mountpoint, "read_only": one.read_only}
            for one in sessions
            if not one.ending
        ],
    }
    if as_json:
        print_json(said)
        return
    for key, value in said.items():
        if not isinstance(value, list):
            click.echo(f"{key:>16}: {value}")
    for key in ("partitions", "mounts"):
        for row in said[key]:
            click.echo(f"{key[:-1]:>16}: " + "  ".join(f"{k}={v}" for k, v in row.items()))


@click.command("delete-fs")
@click.argument("name")
@cluster_options
@command
def delete_fs(name: str, *, mds: str | None, data: Path | None, as_json: bool) -> None:
    """Delete a filesystem that is not mounted; its metadata and objects go in the background."""
    client = BlockingClient(mds_addresses(mds, data))
    reply = client.call(mds_pb2_grpc.MdsServiceStub, "DeleteFilesystem", mds_pb2.DeleteFilesystemRequest(name=name))
    if as_json:
        print_json(_as_json(reply.filesystem))
    else:
        click.echo(f"deleting {name}")


def filesystem_exists(client: BlockingClient, name: str) -> mds_pb2.Filesystem | None:
    """Return a filesystem, or None."""
    try:
        reply = client.call(mds_pb2_grpc.MdsServiceStub, "GetFilesystem", mds_pb2.GetFilesystemRequest(name=name))
    except NotFound:
        return None
    found: mds_pb2.Filesystem = reply.filesystem
    return found


def _as_json(one: mds_pb2.Filesystem) -> dict[str, Any]:
    return {
        "name": one.name,
        "fs_id": one.fs_id,
        "uuid": str(UUID(bytes=one.uuid)) if one.uuid else "",
        "state": _state(one),
        "object_store": one.object_store,
        "chunk_size": one.chunk_size,
        "block_size": one.block_size,
        "capacity_bytes": one.capacity_bytes,
        "created": _time(one.created_ns),
    }


def _state(one: mds_pb2.Filesystem) -> str:
    return mds_pb2.FilesystemState.Name(one.state).lower()


def _time(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
