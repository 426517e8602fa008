"""``quota set`` and ``quota delete``. Both wait until every partition keeps to it."""

import time
from pathlib import Path

import click

from curvefs.proto import quota_pb2
from curvefs.src.common.errors import NotFound, StartupError
from curvefs.src.common.exits import ExitCode

from ..cluster import cluster_options, command, mds_addresses
from ..filesystems import BYTES_MAX, Size
from .access import Quotas, amount, path_argument, place_of, show, state_of

_PAUSE_S = 0.1
WAIT_S = 3600.0

wait_option = click.option("--no-wait", is_flag=True, help="Return at once; `quota get` says when it is done.")


@click.command("set")
@path_argument
@click.option("--capacity", type=Size(), default=0, help="Bytes of regular files, e.g. 10GiB; none: no limit.")
@click.option(
    "--inodes", type=click.IntRange(1, BYTES_MAX), default=None, help="Files, directories and others; none: no limit."
)
@wait_option
@cluster_options
@command
def set_quota(
    path: str,
    fs: str | None,
    *,
    capacity: int,
    inodes: int | None,
    no_wait: bool,
    mds: str | None,
    data: Path | None,
    json: bool,
) -> None:
    """Limit what lies below the directory PATH. What is there already is counted first, and may be more."""
    if not capacity and not inodes:
        raise StartupError("--capacity or --inodes: a quota limits something", ExitCode.USAGE)
    place = place_of(path, fs)
    quotas = Quotas(mds_addresses(mds, data), place.fs)
    request = quota_pb2.SetQuotaRequest(path=place.path, limit=amount(capacity, inodes or 0))
    (said,) = quotas.call("SetQuota", request).quotas
    end = time.monotonic() + WAIT_S
    while not no_wait and (now := state_of(said.status)) != "active":
        _go_on_waiting(end, f"the quota is {now} still; it goes on, `quota get` says when it is done")
        said = quotas.of(place.path)
    show([said], json=json)


@click.command("delete")
@path_argument
@wait_option
@cluster_options
@command
def delete(path: str, fs: str | None, *, no_wait: bool, mds: str | None, data: Path | None, json: bool) -> None:
    """Remove the quota of the directory PATH."""
    place = place_of(path, fs)
    quotas = Quotas(mds_addresses(mds, data), place.fs)
    (said,) = quotas.call("DeleteQuota", quota_pb2.GetQuotaRequest(path=place.path)).quotas
    end = time.monotonic() + WAIT_S
    while not no_wait and _is_there(quotas, said.status.quota_id):
        _go_on_waiting(end, "the quota is being removed still; it goes on, `quota list` says when it is done")
    show([said], json=json)


def _go_on_waiting(end: float, reason: str) -> None:
    """Wait a moment. Raises StartupError (TIMEOUT) at the end of the time."""
    if time.monotonic() > end:
        raise StartupError(reason, ExitCode.TIMEOUT)
    time.sleep(_PAUSE_S)


def _is_there(quotas: Quotas, quota_id: int) -> bool:
    try:
        listed = quotas.call("ListQuotas", quota_pb2.ListQuotasRequest()).quotas
    except NotFound:
        return False
    return any(one.status.quota_id == quota_id for one in listed)
