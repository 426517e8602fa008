"""``copyset list`` and ``copyset query``: how copysets are."""

from pathlib import Path
from typing import Any

import click

from curvefs.proto import copyset_pb2
from curvefs.src.common.errors import CurveFSError

from ..cluster import cluster_options, command, mds_addresses, print_json, print_table
from .access import Copysets
from .options import group_argument
from .view import HEAD, as_json, row

_NUMBERS = ("term", "leader_id", "committed_index", "applied_index", "first_index", "last_index", "checkpoint_index")


@click.command("list")
@cluster_options
@command
def list_copysets(*, mds: str | None, data: Path | None, json: bool) -> None:
    """List the copysets with leader, peers, and how many entries each peer has still to apply."""
    with Copysets(mds_addresses(mds, data)) as copysets:
        found = copysets.all()
    shown = [as_json(one) for one in found]
    if json:
        print_json(shown)
    else:
        print_table(HEAD, [row(one) for one in shown])


@click.command("query")
@group_argument
@cluster_options
@command
def query(group_id: int, *, mds: str | None, data: Path | None, json: bool) -> None:
    """Ask every replica of copyset ID how it is."""
    with Copysets(mds_addresses(mds, data)) as copysets:
        answers = copysets.statuses(group_id)
        known = copysets.known(group_id)
    replicas = [_shown(metaserver_id, answer) for metaserver_id, answer in answers.items()]
    said: dict[str, Any] = {"group_id": group_id, "partitions": known.partition_count if known else 0}
    if json:
        print_json(said | {"replicas": replicas})
        return
    click.echo(f"copyset {group_id}, {said['partitions']} partitions" + ("" if known else ", unknown to the MDS"))
    rows = [
        [str(one["metaserver_id"]), *(str(one.get(name, "?")) for name in (*_NUMBERS, "configuration_index"))]
        for one in replicas
    ]
    head = [name.removesuffix("_index").removesuffix("_id").upper() for name in (*_NUMBERS, "configuration_index")]
    print_table(["METASERVER", *head], rows)
    for one in replicas:
        for line in _lines(one):
            click.echo(f"metaserver {one['metaserver_id']}: {line}")


def _shown(metaserver_id: int, answer: copyset_pb2.GetCopysetStatusReply | CurveFSError) -> dict[str, Any]:
    if isinstance(answer, CurveFSError):
        return {"metaserver_id": metaserver_id, "error": str(answer)}
    return {
        "metaserver_id": metaserver_id,
        **{name: getattr(answer, name) for name in _NUMBERS},
        "configuration_index": answer.configuration_index,
        "peers": [peer.metaserver_id for peer in answer.peers if not peer.learner],
        "learners": [peer.metaserver_id for peer in answer.peers if peer.learner],
        "outgoing_peers": [peer.metaserver_id for peer in answer.outgoing_peers],
        "progress": [
            {"metaserver_id": one.metaserver_id, "match_index": one.match_index, "state": one.state}
            for one in answer.progress
        ],
        "damage": (answer.damage or "damaged") if answer.damaged else "",
    }


def _lines(one: dict[str, Any]) -> list[str]:
    """Return what of a replica does not fit into the table."""
    if "error" in one:
        return [one["error"]]
    lines = [f"DAMAGED: {one['damage']}"] if one["damage"] else []
    lines += [
        f"{name.replace('_', ' ')} {', '.join(map(str, one[name]))}"
        for name in ("peers", "learners", "outgoing_peers")
        if one[name]
    ]
    lines += [
        f"{more['metaserver_id']} has entries up to {more['match_index']} ({more['state']})" for more in one["progress"]
    ]
    return lines
