"""Where new copysets go, in small: peers are distinct, few replicas first, each leads its share."""

from collections import Counter
from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from curvefs.proto import topology_pb2 as pb
from curvefs.src.mds.schedule.create import create
from curvefs.src.mds.schedule.operators import Limits
from curvefs.src.mds.schedule.snapshot import CopysetInfo, MetaserverInfo, Snapshot


def plan(*servers, replicas, per=1, known=None, there=(), limit=1000):
    known = len(servers) if known is None else known
    copysets = [CopysetInfo(n, peers, peers[0], 1) for n, peers in enumerate(there, 1)]
    fleet = Snapshot.of(servers, copysets, replica_count=replicas)
    return create(fleet, Limits(), Random(1), wanted=per * known, known_count=known, count_max=limit)


def fresh(count):
    return [MetaserverInfo(id_, 0) for id_ in range(1, count + 1)]


def away(server):
    return replace(server, health=pb.UNSTABLE)


RING = ((1, 2, 3), (2, 3, 1), (3, 1, 2))


def test_with_one_replica_each_metaserver_has_a_copyset_of_its_own():
    assert plan(*fresh(3), replicas=1) == [(1,), (2,), (3,)]


def test_three_metaservers_lead_one_copyset_of_three_replicas_each():
    assert plan(*fresh(3), replicas=3) == list(RING)


def test_too_few_metaservers_get_none():
    assert plan(*fresh(2), replicas=3) == []
    assert plan(*fresh(2), away(MetaserverInfo(3, 0)), replicas=3) == []
    assert plan(*fresh(2), MetaserverInfo(3, 0, capacity_bytes=10, used_bytes=9), replicas=3) == []
    assert plan(replicas=3) == []


def test_a_metaserver_that_joins_later_leads_a_new_copyset_and_nothing_moves():
    assert plan(*fresh(3), replicas=3, there=RING) == []
    [peers] = plan(*fresh(4), replicas=3, there=RING)
    assert peers[0] == 4


def test_peers_are_those_with_the_fewest_replicas():
    [peers] = plan(*fresh(5), replicas=3, there=[(2, 1, 3), (3, 1, 2), (1, 3, 2), (5, 1, 3)])
    assert peers == (4, 5, 2)


def test_a_metaserver_whose_copysets_were_moved_away_gets_no_new_ones():
    there = [(1, 2, 4), (2, 4, 1), (4, 1, 2), (1, 4, 2)]
    assert plan(*fresh(4), replicas=3, there=there) == []


def test_a_metaserver_that_is_away_is_made_up_for_by_nobody():
    one, two = fresh(2)
    assert plan(one, away(two), replicas=1, there=[(1,)]) == []


def test_a_plan_is_made_in_bounded_steps():
    assert len(plan(*fresh(5), replicas=3, limit=2)) == 2


@given(st.integers(1, 9), st.integers(1, 7), st.integers(1, 3))
def test_first_leaders_are_spread_evenly_and_replicas_nearly(count, replicas, per):
    planned = plan(*reversed(fresh(count)), replicas=replicas, per=per)
    if count < replicas:
        assert planned == []
        return
    assert Counter(peers[0] for peers in planned) == dict.fromkeys(range(1, count + 1), per)
    assert all(len(set(peers)) == replicas for peers in planned)
    spread = Counter(peer for peers in planned for peer in peers)
    # The last ones may lack just those that lead them.
    assert max(spread.values()) - min(spread.values()) <= 2
