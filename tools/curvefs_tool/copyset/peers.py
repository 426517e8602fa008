"""``copyset change-peers, add-peer, remove-peer, replace-peer``: which metaservers have a copyset's replicas."""

from collections.abc import Callable
from pathlib import Path

import click

from curvefs.src.common.errors import AlreadyExists, InvalidArgument

from ..cluster import cluster_options, command, mds_addresses
from .access import Copysets
from .membership import change_peers as change
from .options import PeerList, group_argument, metaserver_argument, tell, timeout_option


@click.command("change-peers")
@group_argument
@click.option("--peers", type=PeerList(), required=True, help="Metaservers such as 1,2,4.")
@timeout_option
@cluster_options
@command
def change_peers(
    group_id: int, *, peers: list[int], timeout_s: float, mds: str | None, data: Path | None, json: bool
) -> None:
    """Give copyset ID exactly these peers."""
    _change(mds_addresses(mds, data), group_id, lambda _: peers, timeout_s, json=json)


@click.command("add-peer")
@group_argument
@metaserver_argument("metaserver")
@timeout_option
@cluster_options
@command
def add_peer(
    group_id: int, metaserver: int, *, timeout_s: float, mds: str | None, data: Path | None, json: bool
) -> None:
    """Give copyset ID one more replica, on METASERVER."""
    _change(
        mds_addresses(mds, data),
        group_id,
        lambda before: [*_without(before, metaserver), metaserver],
        timeout_s,
        json=json,
    )


@click.command("remove-peer")
@group_argument
@metaserver_argument("metaserver")
@timeout_option
@cluster_options
@command
def remove_peer(
    group_id: int, metaserver: int, *, timeout_s: float, mds: str | None, data: Path | None, json: bool
) -> None:
    """Take the replica on METASERVER out of copyset ID."""
    _change(mds_addresses(mds, data), group_id, lambda before: _without(before, metaserver), timeout_s, json=json)


@click.command("replace-peer")
@group_argument
@metaserver_argument("old")
@metaserver_argument("new")
@timeout_option
@cluster_options
@command
def replace_peer(
    group_id: int, old: int, new: int, *, timeout_s: float, mds: str | None, data: Path | None, json: bool
) -> None:
    """Move a replica of copyset ID from metaserver OLD to metaserver NEW."""

    def target_of(before: list[int]) -> list[int]:
        if old == new:
            raise InvalidArgument("OLD and NEW are the same metaserver")
        if old in before and new in before:
            raise AlreadyExists(f"metaserver {new} is a peer of copyset {group_id} already")
        if old not in before and new not in before:
            raise InvalidArgument(f"metaserver {old} is no peer of copyset {group_id}")
        return [new if one == old else one for one in before]

    _change(mds_addresses(mds, data), group_id, target_of, timeout_s, json=json)


def _without(before: list[int], metaserver: int) -> list[int]:
    return [one for one in before if one != metaserver]


def _change(
    mds: list[str], group_id: int, target_of: Callable[[list[int]], list[int]], timeout_s: float, *, json: bool
) -> None:
    with Copysets(mds) as copysets:
        done = change(copysets, group_id, target_of, timeout_s)
    said = {
        "group_id": group_id,
        "peers": done.peers,
        "configuration_index": done.configuration_index,
        "left_over": done.left_over,
    }
    tell(said, f"copyset {group_id}: peers {', '.join(map(str, done.peers))}", json=json)
    for one in done.left_over:
        line = f"metaserver {one} was not told; the MDS has its replica removed when it is back"
        click.echo(f"curvefs-tool: {line}", err=True)
