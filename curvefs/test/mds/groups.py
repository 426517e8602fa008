"""Looking at copysets, and having them do what groups do."""

from curvefs.proto import common_pb2
from curvefs.test.mds.lab import PATIENCE_S, MdsLab
from curvefs.test.support.fake_metaserver import FakeMetaserver


def members(lab: MdsLab) -> dict[int, list[int]]:
    return {one.group_id: [peer.metaserver_id for peer in one.peers] for one in lab.mds.views.copysets([])}


def orders(reply, kind: str) -> list[int]:
    return [order.group_id for order in reply.orders if order.WhichOneof("order") == kind]


def place(metaservers, group_id: int, leader: FakeMetaserver, *, term: int) -> None:
    """Have a group elect somebody."""
    for one in metaservers:
        one.following.pop(group_id, None)
        if one is not leader:
            one.following[group_id] = leader.address
        one.terms[group_id] = term


async def move(lab: MdsLab, group_id: int, members: list[FakeMetaserver], *, index: int) -> None:
    """Have a group change its members, the first of whom leads and reports it; the MDS follows."""
    peers = [common_pb2.Peer(metaserver_id=one.metaserver_id, address=one.address) for one in members]
    for one in members:
        one.groups.add(group_id)
        one.members[group_id], one.configurations[group_id] = peers, index
    place(lab.metaservers, group_id, members[0], term=index)
    lab.beat(members[0])
    assert await lab.mds.copysets.memberships.finished(group_id, PATIENCE_S)
