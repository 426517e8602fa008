"""What the commands about quotas share: which filesystem and directory a path means, and who answers."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from curvefs.proto import common_pb2, quota_pb2, quota_pb2_grpc, transaction_pb2
from curvefs.src.client import mountpoints
from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode

from ..cluster import print_json, print_table
from ..filesystems import any_metaserver

STATES = {
    transaction_pb2.QuotaStatus.COUNTING: "counting",
    transaction_pb2.QuotaStatus.ACTIVE: "active",
    transaction_pb2.QuotaStatus.DELETING: "deleting",
}
_DEADLINE_S = 20.0
_UNITS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


@dataclass(frozen=True, slots=True)
class Place:
    """A directory: the filesystem's name, and the path from its root on."""

    fs: str
    path: bytes


def path_argument(function: Callable[..., None]) -> Callable[..., None]:
    """Add the directory: a path in a mount, or with --fs one from the filesystem's root on."""
    option = click.option("--fs", help="The filesystem; PATH is from its root on, e.g. /home.")
    return click.argument("path", type=str)(option(function))


def place_of(path: str, fs: str | None) -> Place:
    """Return what a path means. Raises StartupError (USAGE) for one outside all mounts."""
    if fs:
        return Place(fs, os.fsencode("/" + path.strip("/")))
    # The mount is not looked into: the path is taken as it is written.
    absolute = os.path.normpath(Path.cwd() / path)
    mount = mountpoints.mount_of(absolute)
    if mount is None:
        raise StartupError(
            f"{path} is in no mount of CurveFS; with --fs NAME it is a path from its root", ExitCode.USAGE
        )
    mountpoint, name = mount
    return Place(name, os.fsencode("/" + absolute[len(mountpoint.rstrip("/")) :].strip("/")))


class Quotas:
    """The quotas of one filesystem. Any metaserver answers for all of it."""

    def __init__(self, mds: list[str], fs: str) -> None:
        """Raises NotFound for an unknown filesystem."""
        filesystem, self._client = any_metaserver(mds, fs)
        self.fs_id = filesystem.fs_id

    def call(self, method: str, request: Any, *, try_s: float | None = None) -> Any:
        """Call QuotaService. try_s: how long the answer may take, for what takes long."""
        request.fs_id = self.fs_id
        stub = quota_pb2_grpc.QuotaServiceStub
        return self._client.call(stub, method, request, deadline_s=_DEADLINE_S, try_s=try_s)

    def of(self, path: bytes) -> quota_pb2.DirectoryQuota:
        """Return a directory's quota. Raises NotFound."""
        found: quota_pb2.DirectoryQuota = self.call("GetQuota", quota_pb2.GetQuotaRequest(path=path)).quotas[0]
        return found


def as_json(one: quota_pb2.DirectoryQuota) -> dict[str, Any]:
    """Return a quota as JSON has it."""
    status = one.status
    return {
        "path": os.fsdecode(one.path),
        "quota_id": status.quota_id,
        "state": state_of(status),
        "capacity": status.limit.bytes or None,
        "inodes": status.limit.inodes or None,
        "used_bytes": status.used.bytes,
        "used_inodes": status.used.inodes,
        "reserved_bytes": status.reserved.bytes,
    }


def state_of(status: transaction_pb2.QuotaStatus) -> str:
    """Return a quota's state in a word; settling: it was changed, and not all partitions keep to it yet."""
    if status.state == transaction_pb2.QuotaStatus.ACTIVE and status.settling:
        return "settling"
    return STATES[status.state]


def show(quotas: list[quota_pb2.DirectoryQuota], *, json: bool) -> None:
    """Print quotas."""
    if json:
        print_json([as_json(one) for one in quotas])
        return
    rows = [
        [
            os.fsdecode(one.path) or f"(removed, {one.status.inode_id})",
            state_of(one.status),
            size(one.status.limit.bytes) if one.status.limit.bytes else "-",
            size(one.status.used.bytes),
            str(one.status.limit.inodes or "-"),
            str(one.status.used.inodes),
        ]
        for one in quotas
    ]
    print_table(["PATH", "STATE", "CAPACITY", "USED", "INODES", "USED"], rows)


def size(bytes_: int) -> str:
    """Return a size for people, exact where it is a multiple."""
    for unit, name in _UNITS:
        if bytes_ >= unit:
            return f"{bytes_ // unit} {name}" if not bytes_ % unit else f"{bytes_ / unit:.2f} {name}"
    return f"{bytes_} B"


def amount(bytes_: int, inodes: int) -> common_pb2.QuotaAmount:
    """Return an amount."""
    return common_pb2.QuotaAmount(bytes=bytes_, inodes=inodes)
