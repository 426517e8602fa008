"""``quota check``: counts everything again. Ends with FAILED when a counter differs."""

import os
import sys
from pathlib import Path

import click

from curvefs.proto import quota_pb2
from curvefs.src.common.exits import ExitCode

from ..cluster import cluster_options, command, mds_addresses, print_json
from .access import Quotas

_COUNTING_S = 900.0


@click.command("check")
@click.argument("fs")
@cluster_options
@command
def check(fs: str, *, mds: str | None, data: Path | None, json: bool) -> None:
    """Count all inodes of the filesystem FS again, and say whether its counters equal that.

    Each partition is counted as it is at one moment, also while it is used. That every inode is charged to the quotas
    of its directory holds when no quota is being counted or removed and no rename is under way.
    """
    quotas = Quotas(mds_addresses(mds, data), fs)
    reply = quotas.call("CheckQuotas", quota_pb2.ListQuotasRequest(), try_s=_COUNTING_S)
    differing = [one for one in reply.quotas if one.counted != one.stored]
    if json:
        rows = [
            {
                "path": os.fsdecode(one.path),
                "quota_id": one.quota_id,
                "counted": {"bytes": one.counted.bytes, "inodes": one.counted.inodes},
                "stored": {"bytes": one.stored.bytes, "inodes": one.stored.inodes},
            }
            for one in reply.quotas
        ]
        print_json({"equal": not differing, "wrong_charges": reply.wrong_charges, "quotas": rows})
    else:
        for one in reply.quotas:
            name = os.fsdecode(one.path) or f"quota {one.quota_id}"
            counted, stored = (f"{at.bytes} bytes, {at.inodes} inodes" for at in (one.counted, one.stored))
            click.echo(
                f"{name}: {counted}: equal" if one not in differing else f"{name}: {counted}, but stored {stored}"
            )
        if reply.wrong_charges:
            click.echo(f"{reply.wrong_charges} inodes are charged to other quotas than those of their directory")
    if differing or reply.wrong_charges:
        sys.exit(ExitCode.FAILED)
