"""A topology is stored by the MDS, metaservers lie in it, and what is in use does not move."""

import pytest

from curvefs.proto import mds_pb2, topology_pb2, topology_pb2_grpc
from curvefs.src.common.errors import AlreadyExists, InvalidArgument, NotFound, PermissionDenied, Unavailable
from curvefs.src.rpc.asyncio_client import AsyncClient
from curvefs.test.mds.groups import members
from curvefs.test.mds.lab import MdsLab
from curvefs.test.mds.topology.topologies import THREE_ZONES, pool, text
from curvefs.test.support.fake_metaserver import FakeMetaserver

pytestmark = pytest.mark.asyncio
TOPOLOGY = topology_pb2_grpc.TopologyServiceStub


async def apply(lab, *pools):
    return [str(one) for one in await lab.mds.places.apply(text(*pools))]


async def refused(lab, *pools):
    before = await lab.keys()
    with pytest.raises(InvalidArgument) as error:
        await apply(lab, *pools)
    assert await lab.keys() == before
    return str(error.value).splitlines()


async def register(lab, metaserver):
    record = await lab.mds.registration.register(metaserver.registration())
    metaserver.registered(record)
    return record


def zones(lab):
    """Return the zones of each copyset's replicas."""
    names = {id_: zone.name for id_, zone in lab.mds.state.zones.items()}
    at = {
        id_: names.get(lab.mds.state.servers.get(one.server_id).zone_id)
        for id_, one in lab.mds.state.metaservers.items()
    }
    return {group_id: sorted(at[peer] for peer in peers) for group_id, peers in members(lab).items()}


# ------------------------------------------------------------------------------------------------- files


async def test_a_topology_is_applied_over_the_wire_and_again_changes_nothing(lab):
    client = AsyncClient([await lab.listen()])
    try:
        request = topology_pb2.ApplyTopologyRequest(file=text(pool("p", THREE_ZONES)))
        reply = await client.call(TOPOLOGY, "ApplyTopology", request)
        assert list(reply.changes)[:3] == ["add pool p", "add zone zone1", "add server a"]
        revision = (await lab.kv.get(b"counter/server")).mod_revision
        keys = await lab.keys()
        assert [key.split(b"/")[0] for key in keys] == [b"pool", *[b"server"] * 3, *[b"zone"] * 3]
        assert list((await client.call(TOPOLOGY, "ApplyTopology", request)).changes) == []
        assert (await lab.kv.get(b"counter/server")).mod_revision == revision
        stored = await client.call(TOPOLOGY, "GetTopology", topology_pb2.GetTopologyRequest())
        assert [one.name for one in stored.servers] == ["a", "b", "c"]
        request.file = b'{"pools": [{"name": "p", "zonse": []}]}'
        with pytest.raises(InvalidArgument, match=r"pools\[0\].zones: this field is missing\npools\[0\].zonse: this"):
            await client.call(TOPOLOGY, "ApplyTopology", request)
        assert await lab.keys() == keys
    finally:
        await client.close()


async def test_a_topology_is_there_after_a_restart(lab):
    await apply(lab, pool("p", THREE_ZONES))
    await lab.restart()
    assert await apply(lab, pool("p", THREE_ZONES)) == []


async def test_a_large_topology_is_applied_in_transactions_that_etcd_takes(lab):
    sizes = []
    write = lab.kv.txn

    async def counted(compares, then, otherwise=()):
        sizes.append(len(then))
        return await write(compares, then, otherwise)

    lab.kv.txn = counted
    large = pool("p", {f"z{zone}": [f"s{zone}-{n}" for n in range(50)] for zone in range(6)})
    assert len(await apply(lab, large)) == 1 + 6 + 300
    assert max(sizes) <= 100
    assert await apply(lab, large) == []
    assert len(await apply(lab, pool("p", {f"z{zone}": [f"s{zone}-0"] for zone in range(3)}))) == 1 + 3 + 297
    assert len(await lab.keys()) == 1 + 3 + 3


async def test_what_is_in_use_is_not_removed_and_nothing_else_is_done(lab):
    four = THREE_ZONES | {"zone4": ["d"]}
    await apply(lab, pool("p", four))
    await lab.join("d")
    assert await refused(lab, pool("p", THREE_ZONES | {"zone5": ["e"]})) == [
        f"pools[0].zones: zone 'zone4' is left out, but metaserver 1 ({lab.metaservers[0].address}) is in it"
    ]
    moved = THREE_ZONES | {"zone1": ["a", "d"]}
    [line] = await refused(lab, pool("p", moved))
    assert "would move from zone 'zone4' to zone 'zone1'; retire it and add it there" in line
    assert await apply(lab, pool("p", four)) == []


# ----------------------------------------------------------------------------------------- metaservers


async def test_a_metaserver_is_on_the_server_it_names_else_on_the_one_with_its_address(lab):
    one, two = await lab.join(), await lab.join()  # while there is no topology
    assert [record.server_id for record in lab.mds.views.metaservers()] == [0, 0]
    host = f"127.0.0.1:{one.address.rpartition(':')[2]}"
    await apply(lab, pool("p", {"zone1": [f"a={host}"], "zone2": ["b"], "zone3": ["c=127.0.0.1"]}))
    assert [record.server_id for record in lab.mds.views.metaservers()] == [1, 3]
    three = await lab.join("b")
    assert [record.server_id for record in lab.mds.views.metaservers()] == [1, 3, 2]
    for metaserver in (one, two, three):
        metaserver.server = ""
        before = lab.mds.state.metaservers.get(metaserver.metaserver_id)
        if metaserver is not three:
            assert (await register(lab, metaserver)).server_id == before.server_id


async def test_an_unknown_server_is_refused_with_those_that_there_are(lab):
    stranger = FakeMetaserver()
    stranger.address, stranger.server = "10.0.0.9:1", "x"
    with pytest.raises(NotFound, match="there is no server 'x' in the topology: there is no topology"):
        await register(lab, stranger)
    await apply(lab, pool("p", THREE_ZONES))
    with pytest.raises(NotFound, match="there is no server 'x' in the topology; there are a, b, c$"):
        await register(lab, stranger)
    stranger.server = ""
    with pytest.raises(
        NotFound, match="no server of the topology has the address 10.0.0.9:1, and none was named; ther"
    ):
        await register(lab, stranger)
    assert lab.mds.views.metaservers() == []
    stranger.server = "c"
    assert (await register(lab, stranger)).server_id == 3


async def test_what_holds_replicas_stays_in_its_zone_and_what_holds_none_may_move(lab):
    await apply(lab, pool("p", {"zone1": ["a", "a2"], "zone2": ["b"], "zone3": ["c"]}))
    early = await lab.join("a")
    early.server = "b"
    assert (await register(lab, early)).server_id == 3
    early.server = "a"
    await register(lab, early)
    lab.beat(early)
    await lab.add_metaservers(2, ["b", "c"])
    assert len(members(lab)) == 3
    early.server = "b"
    with pytest.raises(PermissionDenied, match="holds replicas in zone 'zone1', and server 'b' is in zone 'zone2'"):
        await register(lab, early)
    early.server = "a2"
    assert (await register(lab, early)).server_id == 2


async def test_copysets_are_taken_over_into_a_pool_as_a_whole_or_not_at_all(lab):
    three = await lab.add_metaservers(3)
    by_address = [f"s{n}={one.address}" for n, one in enumerate(three)]
    some = {"zone1": by_address[:1], "zone2": by_address[1:2], "zone3": ["elsewhere"]}
    [line] = await refused(lab, pool("p", some))
    assert "in pool 'p' and metaserver" in line or "in the default pool and metaserver" in line
    assert "would share copyset 1" in line
    await apply(lab, pool("p", THREE_ZONES))  # none of them is in it
    three[0].server = "a"
    with pytest.raises(PermissionDenied, match="would share copyset 1; apply a topology with the addresses of all"):
        await register(lab, three[0])
    three[0].server = ""
    await register(lab, three[0])
    await apply(lab, pool("p", {f"zone{n}": [one] for n, one in enumerate(by_address)}))
    assert set(map(tuple, zones(lab).values())) == {("zone0", "zone1", "zone2")}
    assert {one.pool_id for one in lab.mds.views.copysets([])} == {1}


# ------------------------------------------------------------------------------------------- placement


async def test_copysets_wait_for_as_many_zones_as_replicas_and_are_spread_over_them(lab):
    spread = {"zone1": ["a1", "a2"], "zone2": ["b1", "b2"], "zone3": ["c1", "c2"]}
    await apply(lab, pool("p", spread))
    await lab.add_metaservers(4, ["a1", "a2", "b1", "b2"])
    assert members(lab) == {}
    await lab.add_metaservers(2, ["c1", "c2"])
    assert len(members(lab)) == 6
    assert set(map(tuple, zones(lab).values())) == {("zone1", "zone2", "zone3")}


async def test_pools_are_kept_apart_each_with_its_number_of_replicas_and_copysets(lab):
    await apply(
        lab,
        pool("p", THREE_ZONES),
        pool("single", {"z": ["d"]}, replicas=1, copyset_count=4),
    )
    await lab.add_metaservers(4, ["a", "b", "c", "d"])
    shown = {one.group_id: (one.pool_id, len(one.peers)) for one in lab.mds.views.copysets([])}
    assert sorted(shown.values()) == [(1, 3)] * 3 + [(2, 1)] * 4
    assert {peer for group, peers in members(lab).items() if shown[group][0] == 2 for peer in peers} == {4}
    assert (await lab.create()).state == mds_pb2.ACTIVE


# ---------------------------------------------------------------------------------- one address, two metaservers


async def test_a_second_metaserver_at_an_address_is_refused_while_the_first_is_heard(lab, three):
    other = FakeMetaserver()
    other.address = three[0].address
    before = await lab.keys()
    with pytest.raises(AlreadyExists, match=f"metaserver 1 is at {other.address} already: it was heard 0 s ago"):
        await register(lab, other)
    three[1].address = three[0].address
    with pytest.raises(AlreadyExists):
        await register(lab, three[1])
    assert await lab.keys() == before
    assert lab.mds.views.address(2) != three[0].address


async def test_a_new_mds_hears_those_it_knows_before_somebody_takes_their_place(lab, three):
    await lab.restart()
    other = FakeMetaserver()
    other.address = three[0].address
    with pytest.raises(Unavailable, match="this MDS has just begun"):
        await register(lab, other)
    lab.beat_all()
    lab.clock.advance(9)
    with pytest.raises(AlreadyExists):
        await register(lab, other)


async def test_one_that_comes_back_with_an_empty_disk_is_another_and_what_it_held_counts_as_lost(lab, three):
    await lab.create()
    wiped = FakeMetaserver()
    wiped.address = three[0].address
    lab.clock.advance(11)
    lab.beat(three[1])
    lab.beat(three[2])
    await register(lab, wiped)
    lab.beat(wiped)
    assert wiped.metaserver_id == 4
    assert [one.metaserver_id for one in lab.mds.views.metaservers()] == [1, 2, 3, 4]
    assert lab.mds.views.health(1) == topology_pb2.OFFLINE
    # Nobody takes the new one for the old one.
    assert [peer.address for peer in lab.mds.views.peers(1)] == ["", three[1].address, three[2].address]
    assert not lab.mds.copysets.may_create(1)
    with pytest.raises(PermissionDenied, match="metaserver 4 has registered at the address of metaserver 1"):
        lab.beat(three[0])


async def test_the_old_one_that_comes_back_after_all_takes_its_place_again(lab, three):
    await lab.create()
    wiped = FakeMetaserver()
    wiped.address = three[0].address
    lab.clock.advance(11)
    await register(lab, wiped)
    lab.beat(wiped)
    with pytest.raises(AlreadyExists):
        await register(lab, three[0])
    lab.clock.advance(11)
    assert (await register(lab, three[0])).superseded_by == 0
    lab.beat(three[0])
    assert lab.mds.views.health(1) == topology_pb2.ONLINE
    with pytest.raises(PermissionDenied):
        lab.beat(wiped)
    await lab.mds.tick()
    assert [one.metaserver_id for one in lab.mds.views.metaservers()] == [1, 2, 3]


async def test_default_pool_needs_no_file(tmp_path):
    lab = MdsLab(tmp_path / "mds")
    await lab.start()
    try:
        await lab.add_metaserver()
        assert (await lab.create()).state == mds_pb2.ACTIVE
    finally:
        await lab.close()
