"""``copyset transfer-leader``: which replica leads."""

from pathlib import Path

import click

from ..cluster import cluster_options, command, mds_addresses
from .access import Copysets
from .membership import transfer
from .options import group_argument, metaserver_argument, tell


@click.command("transfer-leader")
@group_argument
@metaserver_argument("metaserver")
@cluster_options
@command
def transfer_leader(group_id: int, metaserver: int, *, mds: str | None, data: Path | None, json: bool) -> None:
    """Have copyset ID led by the replica on METASERVER."""
    with Copysets(mds_addresses(mds, data)) as copysets:
        leader = transfer(copysets, group_id, metaserver)
    said = {"group_id": group_id, "leader": metaserver, "term": leader.status.term}
    tell(said, f"copyset {group_id} is led by metaserver {metaserver}", json=json)
