"""``list-pools``, ``list-zones``, ``list-servers``, ``list-metaservers``, ``list-partitions``, ``list-mounts``.

``list-copysets`` is ``copyset list``.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import click

from curvefs.src.rpc.blocking import BlockingClient

from ..cluster import cluster_options, command, mds_addresses, print_json, print_table
from .fleet import Fleet, Row


def _listing(kind: str, rows_of: Callable[[Fleet], list[Row]], columns: Sequence[str], help_: str) -> click.Command:
    """Return the command ``list-KIND``; columns: those of the table."""

    @click.command(f"list-{kind}", help=help_)
    @cluster_options
    @command
    def listing(*, mds: str | None, data: Path | None, json: bool) -> None:
        client = BlockingClient(mds_addresses(mds, data))
        rows = rows_of(Fleet(client))
        if json:
            print_json(rows)
        else:
            print_table([column.upper() for column in columns], [[_cell(row[one]) for one in columns] for row in rows])

    return listing


def _cell(value: object) -> str:
    return {True: "yes", False: "no"}.get(value, "") if isinstance(value, bool) else str(value)


list_pools = _listing(
    "pools",
    lambda fleet: fleet.pools,
    ["name", "replicas", "zones", "servers", "metaservers", "copysets"],
    "List the pools: metaservers among which copysets are spread.",
)
list_zones = _listing(
    "zones",
    lambda fleet: fleet.zones,
    ["name", "pool", "servers", "metaservers", "online"],
    "List the zones: what fails together.",
)
list_servers = _listing(
    "servers", lambda fleet: fleet.servers, ["name", "zone", "pool", "address", "metaservers"], "List the servers."
)
list_metaservers = _listing(
    "metaservers",
    lambda fleet: fleet.metaservers,
    ["metaserver_id", "address", "server", "zone", "pool", "health", "replicas", "leaders", "duty"],
    "List the metaservers: online; unstable, silent for 30 s; offline, silent for 30 min, when others take over.",
)
list_partitions = _listing(
    "partitions",
    lambda fleet: fleet.partitions,
    ["filesystem", "partition_id", "copyset", "leader", "inodes", "used_bytes"],
    "List the partitions of all filesystems.",
)
list_mounts = _listing(
    "mounts",
    lambda fleet: fleet.mounts,
    ["session", "filesystem", "host", "mountpoint", "pid", "version", "read_only", "ending", "retained_since"],
    "List the mounts.",
)
