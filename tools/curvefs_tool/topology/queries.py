"""``query-pool``, ``query-zone``, ``query-server``, ``query-metaserver``, ``query-partition``, ``query-mount``.

``query-copyset`` is ``copyset query``. Each shows one thing, and what lies in it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from curvefs.src.common.errors import InvalidArgument, NotFound
from curvefs.src.rpc.blocking import BlockingClient

from ..cluster import cluster_options, command, mds_addresses, print_json
from .fleet import Fleet, Row, select

_Find = Callable[[Fleet, str], Row]


def _query(kind: str, metavar: str, find: _Find, help_: str) -> click.Command:
    """Return the command ``query-KIND``."""

    @click.command(f"query-{kind}", help=help_)
    @click.argument("which", metavar=metavar)
    @cluster_options
    @command
    def query(which: str, *, mds: str | None, data: Path | None, json: bool) -> None:
        row = find(Fleet(BlockingClient(mds_addresses(mds, data))), which)
        if json:
            print_json(row)
        else:
            _print(row)

    return query


def _print(row: Row) -> None:
    for key, value in row.items():
        if not isinstance(value, list):
            click.echo(f"{key:>16}: {value}")
    for key, value in row.items():
        for child in value if isinstance(value, list) else ():
            click.echo(f"{key.removesuffix('s'):>16}: " + "  ".join(f"{name}={cell}" for name, cell in child.items()))


def _one(kind: str, which: str, rows: list[Row], *matches: Callable[[Row], Any]) -> Row:
    """Return the row of which one of the names, the most telling first, is ``which``.

    Raises NotFound, InvalidArgument (several).
    """
    for match in matches:
        found = [row for row in rows if str(match(row)) == which]
        if len(found) > 1:
            raise InvalidArgument(f"'{which}' names {len(found)} {kind}s: {', '.join(map(str, map(_named, found)))}")
        if found:
            return found[0]
    raise NotFound(f"no {kind} '{which}'")


def _named(row: Row) -> str:
    return f"{row['pool']}/{row['name']}" if "pool" in row else str(row.get("session", ""))


def _pool(fleet: Fleet, which: str) -> Row:
    row = _one("pool", which, fleet.pools, lambda row: row["name"], lambda row: row["pool_id"])
    inside = {"pool_id": row["pool_id"]}
    return row | {"zones": select(fleet.zones, **inside), "servers": select(fleet.servers, **inside)}


def _zone(fleet: Fleet, which: str) -> Row:
    row = _one(
        "zone", which, fleet.zones, lambda row: row["name"], lambda row: f"{row['pool']}/{row['name']}",
        lambda row: row["zone_id"],
    )  # fmt: skip
    inside = {"zone_id": row["zone_id"]}
    return row | {"servers": select(fleet.servers, **inside), "metaservers": select(fleet.metaservers, **inside)}


def _server(fleet: Fleet, which: str) -> Row:
    row = _one("server", which, fleet.servers, lambda row: row["name"], lambda row: row["server_id"])
    return row | {"metaservers": select(fleet.metaservers, server_id=row["server_id"])}


def _metaserver(fleet: Fleet, which: str) -> Row:
    row = _one("metaserver", which, fleet.metaservers, lambda row: row["metaserver_id"], lambda row: row["address"])
    copysets = [
        {"copyset": copyset["group_id"], "state": peer["state"], "lag": peer["lag"]}
        for copyset in fleet.copysets
        for peer in select(copyset["peers"], metaserver_id=row["metaserver_id"])
    ]
    return row | {"copysets": copysets}


def _partition(fleet: Fleet, which: str) -> Row:
    return _one(
        "partition", which, fleet.partitions, lambda row: f"{row['filesystem']}/{row['partition_id']}"
    )  # fmt: skip


def _mount(fleet: Fleet, which: str) -> Row:
    return _one(
        "mount", which, fleet.mounts, lambda row: row["session"], lambda row: f"{row['host']}:{row['mountpoint']}"
    )  # fmt: skip


query_pool = _query("pool", "NAME|ID", _pool, "Show one pool with its zones and servers.")
query_zone = _query("zone", "[POOL/]NAME|ID", _zone, "Show one zone with its servers and metaservers.")
query_server = _query("server", "NAME|ID", _server, "Show one server with its metaservers.")
query_metaserver = _query("metaserver", "ID|ADDRESS", _metaserver, "Show one metaserver with its replicas.")
query_partition = _query("partition", "FILESYSTEM/NUMBER", _partition, "Show one partition of a filesystem.")
query_mount = _query("mount", "SESSION|HOST:MOUNTPOINT", _mount, "Show one mount.")
