"""Placement is a pure function that spreads partitions over what is online."""

from hypothesis import given
from hypothesis import strategies as st

from curvefs.proto import topology_pb2 as pb
from curvefs.src.mds.topology.placement import GroupLoad, choose_group

LOADS = st.lists(
    st.builds(
        GroupLoad,
        st.integers(1, 50),
        st.sampled_from([pb.ONLINE, pb.UNSTABLE, pb.OFFLINE]),
        st.integers(0, 5),
        st.integers(0, 3),
    ),
    unique_by=lambda load: load.group_id,
)


def test_group_with_the_fewest_partitions_is_chosen():
    assert choose_group([GroupLoad(1, pb.ONLINE, 2, 9), GroupLoad(2, pb.ONLINE, 1, 0)]) == 2


def test_room_then_id_break_ties():
    assert choose_group([GroupLoad(1, pb.ONLINE, 1, 5), GroupLoad(2, pb.ONLINE, 1, 6)]) == 2
    assert choose_group([GroupLoad(2, pb.ONLINE, 1, 5), GroupLoad(1, pb.ONLINE, 1, 5)]) == 1


@given(LOADS)
def test_choice_is_online_and_least_loaded_in_any_order(loads):
    online = {load.group_id: load.partition_count for load in loads if load.health == pb.ONLINE}
    chosen = choose_group(loads)
    assert chosen == choose_group(reversed(loads))
    if online:
        assert chosen in online
        assert online[chosen] == min(online.values())
    else:
        assert chosen is None
