"""Orders: removals count by the configuration they were made for; changes run beside heartbeats, one per group."""

import asyncio

import pytest

from curvefs.proto import heartbeat_pb2 as pb
from curvefs.src.common.errors import StaleEpoch, Unavailable
from curvefs.src.metaserver import orders as orders_module
from curvefs.src.metaserver.orders import Orders

pytestmark = pytest.mark.asyncio
GROUP, ME = 3, 1


class Groups:
    """Notes what is made, what is removed, whether by force, and for which configuration."""

    def __init__(self):
        self.removed = []
        self.made = []
        self.go_on = asyncio.Event()

    async def create(self, group_id, peers, *, first, term):
        await self.go_on.wait()
        self.made.append((group_id, first, term))

    async def remove(self, group_id, *, damaged, made_for):
        self.removed.append((group_id, damaged, made_for))


@pytest.mark.parametrize(
    ("ordered_for", "removed"),
    [
        (9, [(GROUP, True, 9)]),  # it may still think that it votes
        (0, [(GROUP, False, 0)]),
    ],
)
async def test_a_replica_is_removed_by_what_its_group_decided_later(ordered_for, removed):
    groups = Groups()
    orders = Orders(groups, None)
    order = pb.Order(group_id=GROUP, configuration_index=ordered_for, remove_copyset=pb.RemoveCopysetOrder())
    orders.begin(order, ME)
    await settle()
    assert groups.removed == removed


async def test_replicas_that_take_long_to_be_made_hold_up_no_heartbeat_and_are_made_once():
    groups = Groups()
    orders = Orders(groups, None)
    create = pb.CreateCopysetOrder(first_metaserver_id=ME, term=5)
    for _ in range(2):
        orders.begin(pb.Order(group_id=8, create_copyset=create), ME)
        await settle()
    assert groups.made == []
    groups.go_on.set()
    await settle()
    assert groups.made == [(8, True, 5)]


class Members:
    """Notes the changes it is asked for; each takes until ``go_on`` is set."""

    def __init__(self, configuration_index):
        self.configuration_index = configuration_index
        self.go_on = asyncio.Event()
        self.done = []

    def get(self, group_id):
        return group_id

    def check(self, group, configuration_index):
        if configuration_index != self.configuration_index:
            raise StaleEpoch

    async def change(self, group, peers, deadline_s):
        await self.go_on.wait()
        self.done.append((group, [peer.metaserver_id for peer in peers]))

    async def transfer(self, group, to, deadline_s):
        await self.go_on.wait()
        self.done.append((group, to))


def change(group_id, *ids, index=7):
    order = pb.Order(group_id=group_id, configuration_index=index)
    for id_ in ids:
        order.change_peers.peers.add(metaserver_id=id_)
    return order


def hand_over(group_id, to, index=7):
    transfer = pb.TransferLeaderOrder(metaserver_id=to)
    return pb.Order(group_id=group_id, configuration_index=index, transfer_leader=transfer)


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_change_that_takes_long_holds_up_no_other_group_and_is_begun_once():
    members = Members(7)
    orders = Orders(members, members)
    for order in (change(3, 1, 2), change(3, 1, 2), hand_over(3, 2), hand_over(4, 5)):
        orders.begin(order, ME)
    await settle()
    assert members.done == []
    members.go_on.set()
    await settle()
    assert members.done == [(3, [1, 2]), (4, 5)]
    orders.begin(change(3, 1, 2), ME)  # ordered again later, it is begun again
    await settle()
    assert len(members.done) == 3


async def test_an_order_made_for_another_configuration_is_not_carried_out():
    members = Members(8)
    members.go_on.set()
    orders = Orders(members, members)
    orders.begin(change(3, 1, 2), ME)
    orders.begin(hand_over(4, 5), ME)
    await settle()
    assert members.done == []
    orders.begin(change(3, 1, 2, index=8), ME)
    await settle()
    assert members.done == [(3, [1, 2])]


async def test_what_is_under_way_is_given_up_at_the_end():
    members = Members(7)
    orders = Orders(members, members)
    orders.begin(change(3, 1, 2), ME)
    await settle()
    await orders.close()
    members.go_on.set()
    await settle()
    assert members.done == []


async def test_sessions_are_ended_beside_heartbeats_and_other_orders_each_once(monkeypatch):
    members, ended, go_on = Members(7), [], asyncio.Event()

    async def end_session(_copysets, group_id, session_id):
        await go_on.wait()
        if group_id == 4:
            raise Unavailable("no majority")
        ended.append((group_id, session_id))

    monkeypatch.setattr(orders_module, "end_session", end_session)
    orders = Orders(members, members)
    orders.begin(change(3, 1, 2), ME)
    wanted = [(3, b"1"), (3, b"2"), (4, b"3"), (4, b"4"), (3, b"1"), (5, b"5")]
    for group_id, session_id in wanted:
        orders.begin(pb.Order(group_id=group_id, end_session=pb.EndSessionOrder(session_id=session_id)), ME)
    await settle()
    assert ended == []
    go_on.set()
    await settle()
    assert sorted(ended) == [(3, b"1"), (3, b"2"), (5, b"5")]
    orders.begin(pb.Order(group_id=3, end_session=pb.EndSessionOrder(session_id=b"6")), ME)
    await settle()
    assert (ended[-1], members.done) == ((3, b"6"), [])
