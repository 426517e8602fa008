"""The stored membership follows what a group's leader reports as committed, and nothing else."""

import pytest

from curvefs.proto import common_pb2, heartbeat_pb2, topology_pb2
from curvefs.src.mds.topology.membership import followed, has_left


def peers(*ids, learners=()):
    return [common_pb2.Peer(metaserver_id=one, address="a:1", learner=one in learners) for one in ids]


def record(*ids, index=5):
    return topology_pb2.Copyset(format=1, group_id=9, configuration_index=index, peers=peers(*ids))


def report(*ids, index, committed=100, learners=()):
    return heartbeat_pb2.CopysetReport(
        group_id=9, configuration_index=index, committed_index=committed, peers=peers(*ids, learners=learners)
    )


def test_a_newer_membership_is_taken_over_and_seals_the_group():
    new = followed(record(1, 2, 3), report(1, 2, 4, index=6, learners=[4]))
    assert [(peer.metaserver_id, peer.learner, peer.address) for peer in new.peers] == [
        (1, False, ""),
        (2, False, ""),
        (4, True, ""),
    ]
    assert (new.configuration_index, new.sealed, new.group_id, new.format) == (6, True, 9, 1)


def test_the_same_peers_at_a_newer_index_seal_nothing():
    new = followed(record(1, 2, 3, index=0), report(3, 2, 1, index=1))
    assert ([peer.metaserver_id for peer in new.peers], new.configuration_index, new.sealed) == ([1, 2, 3], 1, False)


def test_who_was_first_stays_first():
    new = followed(record(3, 1, 2), report(1, 2, 3, 4, index=8))
    assert [peer.metaserver_id for peer in new.peers] == [3, 1, 2, 4]


@pytest.mark.parametrize(
    "said",
    [
        report(1, 2, 4, index=5),
        report(1, 2, 4, index=4),
        report(1, 2, 4, index=7, committed=6),  # proposed, and perhaps never committed
        report(index=7),
    ],
)
def test_an_old_an_uncommitted_or_an_empty_membership_changes_nothing(said):
    assert followed(record(1, 2, 3), said) is None


@pytest.mark.parametrize(
    ("said", "left"),
    [
        (report(1, 2, 3, index=4), True),  # it never heard of its removal
        (report(1, 2, 4, index=5), True),  # it did
        (report(1, 2, 3, index=6), False),  # it joined again, and the record does not know yet
        (report(index=0), False),  # it waits to join
        (heartbeat_pb2.CopysetReport(group_id=9, damaged=True), True),  # as one that a start found damaged
    ],
)
def test_a_replica_that_its_group_left_behind_is_told_from_one_that_joins(said, left):
    assert has_left(record(1, 2, 4), said, 3) is left
    assert has_left(record(1, 2, 3, 4), said, 3) is False
