"""``copyset create, remove, rebuild``: single replicas, by hand.

What these do to a group that is in use is the operator's to know; where it could lose metadata they refuse.
"""

from pathlib import Path

import click

from curvefs.proto import copyset_pb2, topology_pb2
from curvefs.src.common.errors import AlreadyExists, CurveFSError, NotFound, Unavailable

from ..cluster import cluster_options, command, mds_addresses
from .access import Copysets
from .membership import rebuild as rebuild_replica
from .options import ID, PeerList, group_argument, on_option, tell, timeout_option, yes_option


@click.command("create")
@group_argument
@click.option("--peers", type=PeerList(), required=True, help="Metaservers such as 1,2,3; the first leads.")
@cluster_options
@command
def create(group_id: int, *, peers: list[int], mds: str | None, data: Path | None, json: bool) -> None:
    """Make copyset ID by hand. The MDS makes its own by itself, and puts nothing on others."""
    with Copysets(mds_addresses(mds, data)) as copysets:
        _refuse_in_use(copysets.known(group_id), peers)
        request = copyset_pb2.CreateCopysetRequest(
            group_id=group_id, peers=copysets.peers(peers), first_metaserver_id=peers[0]
        )
        for one in peers:
            copysets.ask(one, "CreateCopyset", request)
    ids = ", ".join(map(str, peers))
    tell({"group_id": group_id, "peers": peers}, f"created copyset {group_id} on metaservers {ids}", json=json)


@click.command("remove")
@group_argument
@on_option
@click.option("--damaged", is_flag=True, help="Also if it votes in a group in use: it cannot be repaired.")
@yes_option
@cluster_options
@command
def remove(
    group_id: int,
    *,
    metaserver_id: int,
    damaged: bool,
    yes: bool,
    mds: str | None,
    data: Path | None,
    json: bool,
) -> None:
    """Remove one replica of copyset ID with all it holds. The group's other replicas go on counting it as a peer."""
    if damaged and not yes:
        click.confirm(
            f"Remove the replica on metaserver {metaserver_id} although copyset {group_id} needs it?", abort=True
        )
    with Copysets(mds_addresses(mds, data)) as copysets:
        request = copyset_pb2.RemoveCopysetRequest(
            group_id=group_id, configuration_index=_configuration_index(copysets, group_id), damaged=damaged
        )
        copysets.ask(metaserver_id, "RemoveCopyset", request)
    said = {"group_id": group_id, "metaserver_id": metaserver_id}
    tell(said, f"removed copyset {group_id} from metaserver {metaserver_id}", json=json)


@click.command("rebuild")
@click.argument("group_id", metavar="[ID]", type=ID, required=False)
@click.option("--all", "everything", is_flag=True, help="Every replica there that is damaged or missing.")
@on_option
@yes_option
@timeout_option
@cluster_options
@command
def rebuild(
    group_id: int | None,
    *,
    everything: bool,
    metaserver_id: int,
    yes: bool,
    timeout_s: float,
    mds: str | None,
    data: Path | None,
    json: bool,
) -> None:
    """Throw away what one replica of copyset ID holds, and have it get everything from the group's leader."""
    if everything == (group_id is not None):
        raise click.UsageError("either the ID of a copyset or --all")
    with Copysets(mds_addresses(mds, data)) as copysets:
        wanted = _lost(copysets, metaserver_id) if group_id is None else [group_id]
        which = f"copyset {wanted[0]}" if len(wanted) == 1 else f"copysets {', '.join(map(str, wanted))}"
        if wanted and not yes:
            click.confirm(f"Throw away the replica of {which} on metaserver {metaserver_id}?", abort=True)
        for one in wanted:
            index = rebuild_replica(copysets, one, metaserver_id, timeout_s)
            said = {"group_id": one, "metaserver_id": metaserver_id, "configuration_index": index}
            tell(said, f"rebuilt copyset {one} on metaserver {metaserver_id}", json=json)
    if not wanted:
        click.echo(f"no replica on metaserver {metaserver_id} is damaged or missing", err=True)


def _lost(copysets: Copysets, metaserver_id: int) -> list[int]:
    """Return the copysets whose replica on a metaserver is damaged, or is not there although it should be.

    Raises NotFound for an unknown metaserver.
    """
    copysets.peers([metaserver_id])
    lost = []
    request = copyset_pb2.GetCopysetStatusRequest()
    for known in copysets.all():
        if any(peer.metaserver_id == metaserver_id for peer in known.peers):
            request.group_id = known.group_id
            try:
                is_lost = copysets.ask(metaserver_id, "GetCopysetStatus", request).damaged
            except NotFound:
                is_lost = True
            if is_lost:
                lost.append(known.group_id)
    return lost


def _refuse_in_use(known: topology_pb2.Copyset | None, peers: list[int]) -> None:
    """Raise AlreadyExists for a copyset of the MDS that is in use, or has other peers.

    An empty replica under the name of a lost one would vote, and forget what it has voted and promised before.
    """
    if known is None:
        return
    if known.sealed:
        reason = "a lost replica of it is taken out with remove-peer, and put back with add-peer"
        raise AlreadyExists(f"copyset {known.group_id} is in use; {reason}")
    made_with = [peer.metaserver_id for peer in known.peers]
    if sorted(made_with) != sorted(peers):
        raise AlreadyExists(f"copyset {known.group_id} is the MDS's, with peers {', '.join(map(str, made_with))}")


def _configuration_index(copysets: Copysets, group_id: int) -> int:
    """Return the index of the newest configuration that anybody knows."""
    try:
        return copysets.leader(group_id, deadline_s=0.0).status.configuration_index
    except Unavailable:
        answers = copysets.statuses(group_id).values()
    return max((one.configuration_index for one in answers if not isinstance(one, CurveFSError)), default=0)
