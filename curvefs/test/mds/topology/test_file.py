"""The topology file is checked as a whole, and applied as a difference that removes nothing in use."""

import json
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curvefs.proto import topology_pb2 as pb
from curvefs.src.common.errors import InvalidArgument
from curvefs.src.mds.topology.file import (
    Kind,
    Mistake,
    Topology,
    host_of,
    plan_changes,
    read_topology,
    refusal,
)


def told(zones: int = 3, servers: int = 2, *, first_host: int = 1, replicas: int = 3):
    hosts = count(first_host)
    return {
        "pools": [
            {
                "name": "pool1",
                "replica_count": replicas,
                "zones": [
                    {
                        "name": f"zone{zone}",
                        "servers": [
                            {"name": f"server{host}", "address": f"10.0.0.{host}"}
                            for host in (next(hosts) for _ in range(servers))
                        ],
                    }
                    for zone in range(1, zones + 1)
                ],
            }
        ]
    }


def mistakes(told_) -> list[str]:
    with pytest.raises(InvalidArgument) as refused:
        read_topology(told_ if isinstance(told_, str) else json.dumps(told_))
    return str(refused.value).splitlines()


class Applied:
    """A topology that files are applied to."""

    def __init__(self, *told_):
        self.topology = Topology()
        self._ids = {kind: count(1) for kind in ("pool", "zone", "server")}
        for one in told_:
            self.apply(one)

    def plan(self, told_, *addresses: str):
        servers = [self.topology.server_at(one) for one in addresses]
        metaservers = [
            pb.Metaserver(metaserver_id=n, address=address, server_id=server.server_id if server else 0)
            for n, (address, server) in enumerate(zip(addresses, servers, strict=True), 1)
        ]
        file = read_topology(json.dumps(told_))
        return plan_changes(file, self.topology, metaservers, lambda kind: next(self._ids[kind]))

    def apply(self, told_, *addresses: str):
        changes = self.plan(told_, *addresses)
        self.topology = self.topology.after(changes)
        return [str(change) for change in changes]

    def refused(self, told_, *addresses: str) -> list[str]:
        with pytest.raises(InvalidArgument) as refused:
            self.plan(told_, *addresses)
        return str(refused.value).splitlines()


# ------------------------------------------------------------------------------------------------ mistakes


def test_all_mistakes_of_form_are_told_at_once_each_with_its_path():
    wrong = told()
    wrong["pools"][0]["zones"][2]["name"] = "zone three"
    wrong["pools"][0]["zones"][1]["servers"][1]["colour"] = "red"
    wrong["pools"][0]["replica_count"] = "3"
    del wrong["pools"][0]["zones"][0]["servers"][0]["name"]
    wrong["zones"] = []
    assert sorted(mistakes(wrong)) == [
        "pools[0].replica_count: input should be a valid integer",
        "pools[0].zones[0].servers[0].name: this field is missing",
        "pools[0].zones[1].servers[1].colour: this field is unknown",
        "pools[0].zones[2].name: not a valid name",
        "zones: this field is unknown",
    ]


def test_all_double_names_and_addresses_are_told_at_once():
    wrong = told()
    zones = wrong["pools"][0]["zones"]
    zones[2]["name"] = "zone1"
    zones[1]["servers"][0]["name"] = "server1"
    zones[2]["servers"][1]["external_address"] = "10.0.0.1"
    wrong["pools"].append({"name": "pool1", "replica_count": 1, "zones": [{"name": "zone1", "servers": []}]})
    assert mistakes(wrong) == [
        "pools[0].zones[1].servers[0].name: there is a server 'server1' already, at pools[0].zones[0].servers[0].name",
        "pools[0].zones[2].name: there is a zone 'zone1' already, at pools[0].zones[0].name",
        (
            "pools[0].zones[2].servers[1].external_address: there is a server of address '10.0.0.1' already, "
            "at pools[0].zones[0].servers[0].address"
        ),
        "pools[1].name: there is a pool 'pool1' already, at pools[0].name",
        "pools[1].zones: 0 with servers, but 1 replicas need as many zones",
    ]


def test_fewer_zones_than_replicas_are_refused_and_empty_ones_do_not_count():
    assert mistakes(told(zones=2)) == ["pools[0].zones: 2 with servers, but 3 replicas need as many zones"]
    hollow = told()
    hollow["pools"][0]["zones"][1]["servers"] = []
    assert mistakes(hollow) == ["pools[0].zones: 2 with servers, but 3 replicas need as many zones"]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ('{"pools": []}', "pools: at least one is needed"),
        ('{"pools": [{"name": "p", "zones": []}]}', "pools[0].zones: at least one is needed"),
        ('{"pools": [{"name": "p"}]}', "pools[0].zones: this field is missing"),
        ("{", "not a JSON file"),
        ("[" * 100_000, "not a JSON file"),
        ("[]", "input should be a valid dictionary or instance of TopologyFile"),
        ('{"pools": [], "pools": []}', "not a JSON file: the field 'pools' occurs twice in one object"),
    ],
)
def test_what_is_no_topology_is_refused(text, mistake):
    [found] = mistakes(text)
    assert found.startswith(mistake)


def test_the_error_is_one_line_for_each_mistake_and_bounded():
    error = refusal([Mistake(f"pools[{n}]", "wrong") for n in range(250)])
    lines = str(error).splitlines()
    assert (lines[0], lines[-1], len(lines)) == ("pools[0]: wrong", "and 150 more", 101)


# ------------------------------------------------------------------------------------------------- changes


def test_a_first_file_adds_everything_parents_first():
    applied = Applied()
    assert applied.apply(told(servers=1)) == [
        "add pool pool1",
        "add zone zone1",
        "add server server1",
        "add zone zone2",
        "add server server2",
        "add zone zone3",
        "add server server3",
    ]
    assert applied.topology.pools[1].zone_count == 3
    assert applied.topology.servers[3].zone_id == 3


@given(st.integers(1, 3), st.integers(3, 6), st.integers(1, 4))
def test_applying_the_same_file_again_changes_nothing(replicas, zones, servers):
    applied = Applied(told(zones, servers, replicas=replicas))
    assert applied.plan(told(zones, servers, replicas=replicas)) == []


@given(st.data())
def test_any_file_leads_from_any_topology_to_what_it_says(data):
    sizes = st.tuples(st.integers(3, 6), st.integers(1, 4), st.integers(1, 3))
    one, other = data.draw(sizes), data.draw(sizes)
    from_other = Applied(told(one[0], one[1], first_host=one[2]), told(other[0], other[1], first_host=other[2]))
    anew = Applied(told(other[0], other[1], first_host=other[2]))

    def names(topology: Topology):
        zones = {id_: (topology.pools[zone.pool_id].name, zone.name) for id_, zone in topology.zones.items()}
        return sorted((*zones[one.zone_id], one.name, one.internal_address) for one in topology.servers.values())

    assert names(from_other.topology) == names(anew.topology)
    assert len(from_other.topology.zones) == other[0]


def test_what_is_left_out_is_removed_children_first():
    applied = Applied(told(zones=4, servers=1))
    assert applied.apply(told(zones=3, servers=1)) == [
        "change pool pool1",
        "remove server server4",
        "remove zone zone4",
    ]
    assert {change.kind for change in applied.plan(told(zones=3, servers=1))} == set()


def test_ids_stay_when_names_stay_and_are_not_used_again():
    applied = Applied(told(zones=4, servers=1), told(zones=3, servers=1), told(zones=4, servers=1))
    assert sorted(applied.topology.zones) == [1, 2, 3, 5]


def test_other_numbers_change_the_pool_only():
    applied = Applied(told())
    [change] = applied.plan(told(replicas=2))
    assert (change.kind, change.record) == (
        Kind.CHANGE,
        pb.Pool(format=1, pool_id=1, name="pool1", replica_count=2, zone_count=3),
    )


# -------------------------------------------------------------------------------------------------- in use


def test_a_zone_in_use_is_not_removed():
    applied = Applied(told(zones=4, servers=1))
    assert applied.refused(told(zones=3, servers=1), "10.0.0.1:6800", "10.0.0.4:6800") == [
        "pools[0].zones: zone 'zone4' is left out, but metaserver 2 (10.0.0.4:6800) is in it"
    ]


def test_a_server_in_use_is_neither_removed_nor_moved_but_its_address_may_change():
    applied = Applied(told(zones=3, servers=2))
    without, moved, renumbered = told(), told(), told()
    without["pools"][0]["zones"][1]["servers"].pop()
    moved["pools"][0]["zones"][2]["servers"].append(moved["pools"][0]["zones"][1]["servers"].pop())
    renumbered["pools"][0]["zones"][1]["servers"][1]["address"] = "10.0.0.99"
    who = "metaserver 1 (10.0.0.4:1)"
    assert applied.refused(without, "10.0.0.4:1") == [
        f"pools[0].zones[1].servers: server 'server4' is left out, but {who} is on it"
    ]
    assert applied.refused(moved, "10.0.0.4:1") == [
        f"pools[0].zones[2].servers[2]: {who} would move from zone 'zone2' to zone 'zone3'; retire it and add it there"
    ]
    assert [str(one) for one in applied.plan(renumbered, "10.0.0.4:1")] == ["change server server4"]
    for one in (without, moved, renumbered):
        assert applied.plan(one)  # nobody is there: it may


def test_a_pool_in_use_is_not_removed():
    applied = Applied(told())
    other = told()
    other["pools"][0]["name"] = "pool2"
    for zone in other["pools"][0]["zones"]:
        for server in zone["servers"]:
            server["name"] += "b"
            server["address"] += "0"
    assert applied.refused(other, "10.0.0.1:1") == [
        "pools: pool 'pool1' is left out, but metaserver 1 (10.0.0.1:1) is in it"
    ]


def test_all_that_is_in_use_is_told_at_once():
    applied = Applied(told(zones=5, servers=1))
    assert len(applied.refused(told(zones=3, servers=1), "10.0.0.4:1", "10.0.0.5:1", "10.0.0.5:2")) == 3


def test_a_metaserver_that_no_server_names_is_in_nobodys_way():
    applied = Applied(told())
    assert applied.plan(told(), "192.168.0.1:1") == []
    assert applied.topology.server_at("192.168.0.1:1") is None


def test_servers_may_have_no_address_and_are_nobodys_then():
    nameless = told(servers=2)
    for zone in nameless["pools"][0]["zones"]:
        for server in zone["servers"]:
            del server["address"]
    applied = Applied(nameless)
    assert len(applied.topology.servers) == 6
    assert applied.topology.server_at("10.0.0.1:1") is None
    assert applied.topology.server_at("") is None
    assert applied.plan(nameless) == []


def test_the_name_of_the_default_pool_is_taken():
    wrong = told()
    wrong["pools"][0]["name"] = "default"
    assert mistakes(wrong) == ["pools[0].name: 'default' is the pool of metaservers without a server"]


# ------------------------------------------------------------------------------------------------ matching


def test_a_metaserver_belongs_to_the_server_with_its_host_or_more_exactly_its_address():
    local = told(servers=1)
    zones = local["pools"][0]["zones"]
    for zone, address in zip(zones, ["127.0.0.1", "127.0.0.1:6802", "[::1]:6803"], strict=True):
        zone["servers"][0]["address"] = address
    zones[2]["servers"][0]["external_address"] = "meta.example.org"
    topology = Applied(local).topology
    found = {
        one: server and topology.zones[server.zone_id].name
        for one in (
            "127.0.0.1:6801",
            "127.0.0.1:6802",
            "[::1]:6803",
            "[::1]:6804",
            "meta.example.org:7",
            "127.0.0.10:6801",
        )
        for server in [topology.server_at(one)]
    }
    assert found == {
        "127.0.0.1:6801": "zone1",
        "127.0.0.1:6802": "zone2",
        "[::1]:6803": "zone3",
        "[::1]:6804": None,
        "meta.example.org:7": "zone3",
        "127.0.0.10:6801": None,
    }


@pytest.mark.parametrize(
    ("address", "host"),
    [("a:1", "a"), ("a", "a"), ("[::1]:1", "[::1]"), ("[::1]", "[::1]"), ("10.0.0.1:6800", "10.0.0.1")],
)
def test_host_of(address, host):
    assert host_of(address) == host
