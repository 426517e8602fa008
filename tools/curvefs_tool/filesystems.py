"""What the commands about filesystems share: creating one, and how one is shown."""

import re
import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import click

from curvefs.proto import mds_pb2, mds_pb2_grpc, topology_pb2, topology_pb2_grpc
from curvefs.src.client.options import parse_size
from curvefs.src.common.errors import (
    NoSpace,
    NotFound,
    ObjectStoreUnavailable,
    PermissionDenied,
    StartupError,
    Unavailable,
)
from curvefs.src.common.exits import ExitCode
from curvefs.src.common.fsname import check_fs_name
from curvefs.src.object.url import parse_store_url
from curvefs.src.rpc.blocking import BlockingClient
from curvefs.src.slices.block_formats import FORMATS
from curvefs.src.slices.compression import Compression

COMPRESSIONS = [one.value for one in Compression]
CREATE_DEADLINE_S = 60.0
JOIN_DEADLINE_S = 30.0  # for metaservers that have just started to register
_PAUSE_S = 0.2
DURATION_S_MAX = (1 << 32) - 1  # what a protobuf's field holds
BYTES_MAX = (1 << 63) - 1
_DURATION = re.compile(r"([0-9]{1,20})([smhd]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 24 * 3600}


def create_filesystem(client: BlockingClient, request: mds_pb2.CreateFilesystemRequest) -> mds_pb2.Filesystem:
    """Create a filesystem.

    Raises StartupError (OBJECT_STORE) when its object store is the reason, InvalidArgument, AlreadyExists,
    Unreachable, Unavailable (too few metaservers).
    """
    check_fs_name(request.name)
    parse_store_url(request.object_store)
    request.uuid = uuid4().bytes  # the call may be sent again
    try:  # it takes as long as the check of the store
        reply = client.call(mds_pb2_grpc.MdsServiceStub, "CreateFilesystem", request, try_s=CREATE_DEADLINE_S)
    except (PermissionDenied, NotFound, NoSpace, ObjectStoreUnavailable) as error:
        raise StartupError(str(error), ExitCode.OBJECT_STORE) from error
    filesystem: mds_pb2.Filesystem = reply.filesystem
    return filesystem


def ensure_filesystem(mds: list[str], request: mds_pb2.CreateFilesystemRequest, metaservers: int) -> None:
    """Create a filesystem if it is not there. Raises what create_filesystem() raises.

    Metaservers that have just started need a moment to be known, and to have copysets. So many are waited for, that
    the filesystem is spread over all of them.
    """
    client = BlockingClient(mds)
    end = time.monotonic() + JOIN_DEADLINE_S
    try:
        while not _exists(client, request.name):
            try:
                if _copyset_count(client) >= metaservers or time.monotonic() > end:
                    create_filesystem(client, request)
                    return
            except Unavailable:
                if time.monotonic() > end:
                    raise
            time.sleep(_PAUSE_S)
    finally:
        client.close()


def _exists(client: BlockingClient, name: str) -> bool:
    try:
        client.call(mds_pb2_grpc.MdsServiceStub, "GetFilesystem", mds_pb2.GetFilesystemRequest(name=name))
    except NotFound:
        return False
    return True


def _copyset_count(client: BlockingClient) -> int:
    stub = topology_pb2_grpc.TopologyServiceStub
    return len(client.call(stub, "ListCopysets", topology_pb2.ListCopysetsRequest()).copysets)


def as_json(one: mds_pb2.Filesystem) -> dict[str, Any]:
    """Return what --json shows of a filesystem. Sizes in bytes."""
    return {
        "name": one.name,
        "fs_id": one.fs_id,
        "uuid": str(UUID(bytes=one.uuid)) if one.uuid else "",
        "state": state_name(one),
        "object_store": one.object_store,
        "chunk_size": one.chunk_size,
        "block_size": one.block_size,
        "compression": compression_of(one),
        "key_check": one.key_check.hex(),
        "capacity_bytes": one.capacity_bytes,
        "capacity_inodes": one.capacity_inodes,
        "trash_retention_s": one.trash_retention_s,
        "trash_replaced": one.trash_replaced,
        "delete_grace_s": one.delete_grace_s,
        "created": time_text(one.created_ns),
    }


def compression_of(one: mds_pb2.Filesystem) -> str:
    """Return none, zstd or lz4; the number of a block format that only a newer version knows."""
    known = FORMATS.get(one.block_format)
    return known.compression.value if known else f"format {one.block_format}"


def state_name(one: mds_pb2.Filesystem) -> str:
    """Return active, creating or deleting."""
    return mds_pb2.FilesystemState.Name(one.state).lower()


def time_text(time_ns: int) -> str:
    """Return a time as ISO 8601 in UTC."""
    return datetime.fromtimestamp(time_ns / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Size(click.ParamType):  # type: ignore[type-arg]  # generic only in new releases
    """A size such as 64M, 10GiB or 4096, for options."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes."""
        if isinstance(value, int):
            return value
        try:
            found = parse_size(value)
        except ValueError:
            self.fail(f"'{value}' is no size such as 64M or 10GiB", param, ctx)
        if found > BYTES_MAX:
            self.fail(f"'{value}' is too large: at most {BYTES_MAX >> 40}T", param, ctx)
        return found


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic only in new releases
    """A time such as 90s, 10m, 12h or 1d, for options; a bare number is in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the seconds."""
        if isinstance(value, int):
            return value
        match = _DURATION.fullmatch(value)
        if match is None:
            self.fail(f"'{value}' is no time such as 90s, 10m or 1d", param, ctx)
        found = int(match[1]) * _SECONDS[match[2]]
        if found > DURATION_S_MAX:
            self.fail(f"'{value}' is too long: at most {DURATION_S_MAX // _SECONDS['d']}d", param, ctx)
        return found


def filesystem_of(mds: list[str], name: str) -> mds_pb2.FilesystemReply:
    """Return a filesystem and its partitions. Raises NotFound, Unreachable."""
    client = BlockingClient(mds)
    try:
        request = mds_pb2.GetFilesystemRequest(name=name)
        reply: mds_pb2.FilesystemReply = client.call(mds_pb2_grpc.MdsServiceStub, "GetFilesystem", request)
        return reply
    finally:
        client.close()


def any_metaserver(mds: list[str], name: str) -> tuple[mds_pb2.Filesystem, BlockingClient]:
    """Return a filesystem, and a client of the metaservers that hold it. Raises NotFound, Unreachable, Unavailable."""
    reply = filesystem_of(mds, name)
    addresses = [peer.address for one in reply.partitions for peer in one.peers if peer.address]
    if not addresses:
        raise Unavailable(f"no metaserver is known for filesystem '{name}'")
    return reply.filesystem, BlockingClient(list(dict.fromkeys(addresses)))
