"""``curvefs-tool copyset`` against metaservers that keep the contract: what is asked of whom, and what is printed."""

import itertools
import json

import pytest
from click.testing import CliRunner
from curvefs_tool.copyset import access, membership
from curvefs_tool.copyset.view import as_json, problems_of, row
from curvefs_tool.main import main

from curvefs.proto import common_pb2, topology_pb2
from curvefs.src.common import errors
from curvefs.src.common.exits import ExitCode

from ..support.fake_cluster import FakeCluster
from ..support.fake_replicas import FakeReplicas, Replica


@pytest.fixture
def group(monkeypatch):
    """Copyset 3 on metaservers 1, 2, 3 of four, led by 1; commands find its MDS by CURVEFS_MDS."""
    monkeypatch.setattr(access, "STATUS_DEADLINE_S", 0.5)
    with FakeCluster() as cluster, FakeReplicas(cluster) as made:
        monkeypatch.setenv("CURVEFS_MDS", cluster.address)
        yield made


def run(*words, answer=""):
    return CliRunner().invoke(main, ["copyset", *(str(word) for word in words)], prog_name="curvefs-tool", input=answer)


class _Lazily:
    """Errors to fail with, one, which happens together with something else."""

    def __init__(self, make):
        self._make = make

    def __bool__(self):
        return self._make is not None

    def pop(self, _):
        make, self._make = self._make, None
        return make()


def done(*words, answer=""):
    result = run(*words, answer=answer)
    assert result.exit_code == 0, result.output
    return result.stdout


def run_json(*words):
    return json.loads(done(*words, "--json"))


def refused(result, code, words):
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_every_command_has_help():
    listed = done("--help")
    for name in (
        *("list", "query", "create", "remove", "change-peers", "add-peer", "remove-peer", "replace-peer"),
        *("transfer-leader", "rebuild", "compare"),
    ):
        assert name in listed
        assert f"copyset {name}" in done(name, "--help")


# ------------------------------------------------------------------------------------------------------ shown


def copyset(**more):
    replicas = [
        topology_pb2.Replica(metaserver_id=1, heard=True, leading=True, committed_index=70, applied_index=70),
        topology_pb2.Replica(metaserver_id=2, heard=True, committed_index=65, applied_index=60),
        topology_pb2.Replica(metaserver_id=3, heard=True, committed_index=65, applied_index=65),
    ]
    peers = [common_pb2.Peer(metaserver_id=one, address=f"h:{one}") for one in (1, 2, 3)]
    fields = {"group_id": 9, "leader_id": 1, "peers": peers, "replicas": replicas, "partition_count": 4}
    return topology_pb2.Copyset(**fields | more)


def test_a_copyset_is_shown_with_leader_peers_and_lag():
    said = as_json(copyset(configuration_index=12))
    assert (said["group_id"], said["leader"], said["configuration_index"], said["partitions"]) == (9, 1, 12, 4)
    assert said["peers"][1] == {"metaserver_id": 2, "address": "h:2", "state": "follower", "lag": 10}
    assert row(said) == ["9", "1", "1, 2, 3", "0, 10, 5", "4"]
    assert problems_of(said) == []


def test_what_is_wrong_with_a_copyset_is_said():
    wrong = copyset(leader_id=0)
    wrong.replicas[0].heard = False
    wrong.replicas[1].damaged = True
    wrong.replicas[2].loading = True
    shown = as_json(wrong)
    assert row(shown)[1:4] == ["none", "1 (missing), 2 (damaged), 3 (loading)", "?, 5, 0"]
    assert problems_of(shown) == [
        "copyset 9 has no leader",
        "copyset 9: the replica on metaserver 1 was not heard of",
        "copyset 9: the replica on metaserver 2 is damaged",
        "copyset 9: the replica on metaserver 3 is loading",
    ]
    assert len(problems_of(shown, {1})) == 3


def test_a_learner_is_named_and_no_problem():
    joining = copyset()
    joining.peers[2].learner = True
    assert row(as_json(joining))[2] == "1, 2, 3 (learner)"
    assert problems_of(as_json(joining)) == []


def test_copysets_are_listed_as_the_mds_knows_them(group):
    group.cluster.copysets = [copyset(), copyset(group_id=10, leader_id=0)]
    assert [one["group_id"] for one in run_json("list")] == [9, 10]
    lines = done("list").splitlines()
    assert lines[0].split() == ["COPYSET", "LEADER", "PEERS", "LAG", "PARTITIONS"]
    assert lines[2].startswith("10       none    1, 2, 3")


def test_every_replica_is_queried(group):
    group.replicas[2].damage = "segment 4, offset 77: bad checksum"
    group.stop(3)
    said = run_json("query", 3)
    leader, damaged, away = said["replicas"]
    assert (leader["leader_id"], leader["term"], leader["configuration_index"]) == (1, 4, 10)
    assert (leader["committed_index"], leader["checkpoint_index"], leader["peers"]) == (50, 20, [1, 2, 3])
    assert leader["progress"][2] == {"metaserver_id": 3, "match_index": 50, "state": "replicate"}
    assert damaged["damage"] == "segment 4, offset 77: bad checksum"
    assert "no answer" in away["error"]
    text = done("query", 3)
    assert "metaserver 2: DAMAGED: segment 4, offset 77: bad checksum" in text
    assert "metaserver 3: no answer" in text


def test_an_unknown_copyset_is_not_found(group):
    refused(run("query", 77), ExitCode.NOT_FOUND, "no metaserver has a replica of copyset 77")
    refused(run("add-peer", 77, 1), ExitCode.NOT_FOUND, "copyset 77")


# ------------------------------------------------------------------------------------------------------ peers


def test_a_peer_is_added_after_its_replica_was_made(group):
    assert run_json("add-peer", 3, 4) == {
        "group_id": 3,
        "peers": [1, 2, 3, 4],
        "configuration_index": 17,
        "left_over": [],
    }
    assert group.changes == [(4, "CreateCopyset"), (1, "ChangePeers")]
    [(_, request)] = group.asked("CreateCopyset")
    assert (list(request.peers), request.first_metaserver_id, request.mds_epoch) == ([], 0, 5)
    [(_, request)] = group.asked("ChangePeers")
    assert (request.configuration_index, request.mds_epoch) == (10, 5)
    assert group.voters == [1, 2, 3, 4]


def test_a_removed_peer_gives_up_its_replica(group):
    assert done("remove-peer", 3, 2) == "copyset 3: peers 1, 3\n"
    assert group.changes == [(1, "ChangePeers"), (2, "RemoveCopyset")]
    [(_, request)] = group.asked("RemoveCopyset")
    assert (request.configuration_index, request.damaged) == (17, True)  # it may think that it votes
    assert sorted(group.replicas) == [1, 3]


def test_a_peer_is_replaced_in_one_change(group):
    assert done("replace-peer", 3, 2, 4) == "copyset 3: peers 1, 4, 3\n"
    assert group.changes == [(4, "CreateCopyset"), (1, "ChangePeers"), (2, "RemoveCopyset")]


def test_peers_are_changed_to_exactly_what_is_said(group):
    assert done("change-peers", 3, "--peers", "1,4") == "copyset 3: peers 1, 4\n"
    assert group.voters == [1, 4]
    assert [one for one, _ in group.asked("RemoveCopyset")] == [2, 3]


def test_a_leader_that_leaves_hands_over_to_the_furthest_peer_first(group):
    group.replicas[3].applied = 51
    assert done("replace-peer", 3, 1, 4) == "copyset 3: peers 4, 2, 3\n"
    assert group.changes == [
        (4, "CreateCopyset"),
        (1, "TransferLeader"),
        (3, "ChangePeers"),
        (1, "RemoveCopyset"),
    ]


def test_what_is_so_already_asks_for_nothing(group):
    assert done("add-peer", 3, 2) == "copyset 3: peers 1, 3, 2\n"
    assert done("change-peers", 3, "--peers", "3,1,2") == "copyset 3: peers 3, 1, 2\n"
    assert group.changes == []


def test_an_interrupted_replacement_can_be_given_again(group):
    done("replace-peer", 3, 2, 4)
    group.known()
    assert done("replace-peer", 3, 2, 4) == "copyset 3: peers 1, 4, 3\n"
    assert len(group.asked("ChangePeers")) == 1


def test_a_peer_that_is_away_is_replaced_and_its_replica_left_to_the_mds(group, monkeypatch):
    monkeypatch.setattr(membership, "REMOVAL_DEADLINE_S", 0.3)
    group.stop(2)
    result = run("replace-peer", 3, 2, 4)
    assert (result.exit_code, result.stdout) == (0, "copyset 3: peers 1, 4, 3\n")
    assert "metaserver 2 was not told; the MDS has its replica removed when it is back" in result.stderr


def test_the_leader_is_who_says_so_itself_whatever_the_mds_has_heard(group):
    group.leader = 2
    assert group.cluster.copysets[0].leader_id == 1
    done("add-peer", 3, 4)
    assert group.changes[-1] == (2, "ChangePeers")


def test_a_leader_that_the_mds_does_not_know_yet_is_found(group):
    group.replicas[4], group.voters, group.leader = Replica(), [2, 3, 4], 4
    done("remove-peer", 3, 2)
    assert group.changes == [(4, "ChangePeers"), (2, "RemoveCopyset")]


def test_a_change_goes_on_when_the_leader_falls(group):
    group.fail[1, "ChangePeers"] = [errors.Unavailable("stepping down")]
    done("add-peer", 3, 4)
    assert group.changes == [(4, "CreateCopyset"), (1, "ChangePeers"), (1, "ChangePeers")]


def test_a_change_whose_answer_was_lost_is_seen_to_be_done(group, monkeypatch):
    def change(metaserver_id, request, reply):
        type(group).change(group, metaserver_id, request, reply)
        raise errors.Unavailable("the answer is lost")

    monkeypatch.setattr(group, "change", change)
    assert run_json("add-peer", 3, 4)["configuration_index"] == 17
    assert len(group.asked("ChangePeers")) == 1


def test_a_group_that_was_changed_meanwhile_is_left_as_it_is(group):
    def changed():
        group.voters = [1, 3]
        return errors.StaleEpoch("the configuration is 12, not 10")

    group.fail[1, "ChangePeers"] = _Lazily(changed)
    refused(run("add-peer", 3, 4), ExitCode.REFUSED, "the configuration is 12, not 10")
    assert group.voters == [1, 3]


def test_a_configuration_that_an_election_repeated_is_the_same(group):
    def elected():
        group.index = 12
        return errors.StaleEpoch("the configuration is 12, not 10")

    group.fail[1, "ChangePeers"] = _Lazily(elected)
    done("add-peer", 3, 4)
    assert [request.configuration_index for _, request in group.asked("ChangePeers")] == [10, 12]


def test_a_change_that_does_not_come_about_ends_with_its_time(group):
    group.fail[1, "ChangePeers"] = [errors.Unavailable("it does not catch up")] * 100
    refused(run("add-peer", 3, 4, "--timeout", 0.5), ExitCode.TIMEOUT, "it does not catch up")


def test_without_a_leader_nothing_is_changed(group, monkeypatch):
    monkeypatch.setattr(access, "ELECTION_DEADLINE_S", 0.3)
    group.leader = 0
    refused(run("add-peer", 3, 4), ExitCode.FAILED, "copyset 3 has no leader")
    assert group.changes == []


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("add-peer", 3, 9), ExitCode.NOT_FOUND, "no metaserver 9"),
        (("replace-peer", 3, 4, 4), ExitCode.USAGE, "the same metaserver"),
        (("replace-peer", 3, 1, 2), ExitCode.EXISTS, "metaserver 2 is a peer of copyset 3 already"),
        (("transfer-leader", 3, 4), ExitCode.USAGE, "metaserver 4 is no peer of copyset 3"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(group, words, code, told):
    refused(run(*words), code, told)
    assert group.changes == []


def test_the_last_peer_is_not_removed(group):
    group.voters = [1]
    refused(run("remove-peer", 3, 1), ExitCode.USAGE, "copyset 3 must keep a peer")
    assert group.changes == []


@pytest.mark.parametrize("peers", ["", "1,x", "1,1", "0", "1,,2", f"1,{1 << 64}", "9" * 5000])
def test_a_list_of_peers_must_be_one(peers):
    result = run("change-peers", 3, "--peers", peers)
    assert result.exit_code == ExitCode.USAGE
    assert "is no list of metaservers" in result.stderr


def test_leadership_is_transferred(group):
    assert run_json("transfer-leader", 3, 2) == {"group_id": 3, "leader": 2, "term": 4}
    [(asked, request)] = group.asked("TransferLeader")
    assert (asked, request.to_metaserver_id, request.configuration_index, request.mds_epoch) == (1, 2, 10, 5)
    assert done("transfer-leader", 3, 2) == "copyset 3 is led by metaserver 2\n"
    assert len(group.asked("TransferLeader")) == 1


def test_a_transfer_that_does_not_come_about_is_told(group, monkeypatch):
    monkeypatch.setattr(membership, "TRANSFER_DEADLINE_S", 0.5)
    group.stubborn = True
    refused(run("transfer-leader", 3, 2), ExitCode.TIMEOUT, "still led by metaserver 1")


def test_a_request_of_an_old_mds_is_refused(group):
    group.cluster.epoch = 4
    refused(run("transfer-leader", 3, 2), ExitCode.REFUSED, "epoch 4")


# --------------------------------------------------------------------------------------------------- replicas


def test_a_copyset_is_made_by_hand_on_every_peer(group):
    group.cluster.copysets = []
    assert done("create", 8, "--peers", "2,3,4") == "created copyset 8 on metaservers 2, 3, 4\n"
    assert [one for one, _ in group.asked("CreateCopyset")] == [2, 3, 4]
    request = group.asked("CreateCopyset")[0][1]
    assert (request.group_id, request.first_metaserver_id, request.mds_epoch) == (8, 2, 5)
    assert [peer.metaserver_id for peer in request.peers] == [2, 3, 4]


def test_a_copyset_in_use_is_never_made_again(group):
    refused(run("create", 3, "--peers", "1,2,3"), ExitCode.EXISTS, "copyset 3 is in use")
    group.known(sealed=False)
    refused(run("create", 3, "--peers", "1,2,4"), ExitCode.EXISTS, "with peers 1, 2, 3")
    assert group.changes == []
    done("create", 3, "--peers", "2,1,3")


def test_a_replica_is_removed_unless_it_is_needed(group):
    group.fail[2, "RemoveCopyset"] = [errors.ResourceBusy("it is a voter of a group in use")]
    refused(run("remove", 3, "--on", 2), ExitCode.BUSY, "it is a voter of a group in use")
    assert done("remove", 3, "--on", 2) == "removed copyset 3 from metaserver 2\n"
    _, request = group.asked("RemoveCopyset")[-1]
    assert (request.configuration_index, request.damaged) == (10, False)


def test_a_needed_replica_is_removed_only_on_the_operators_word(group):
    assert run("remove", 3, "--on", 2, "--damaged", answer="n\n").exit_code == 1
    assert group.changes == []
    done("remove", 3, "--on", 2, "--damaged", "--yes")
    [(_, request)] = group.asked("RemoveCopyset")
    assert request.damaged


def test_a_replica_is_removed_also_without_a_leader(group):
    group.leader = 0
    done("remove", 3, "--on", 2)
    assert group.asked("RemoveCopyset")[0][1].configuration_index == 10


def test_a_replica_is_rebuilt_on_the_operators_word(group):
    assert run("rebuild", 3, "--on", 2, answer="n\n").exit_code == 1
    assert group.changes == []
    assert "rebuilt copyset 3 on metaserver 2\n" in done("rebuild", 3, "--on", 2, answer="y\n")
    [(asked, request)] = group.asked("RebuildReplica")
    assert (asked, request.metaserver_id, request.configuration_index, request.mds_epoch) == (1, 2, 10, 5)
    assert run_json("rebuild", 3, "--on", 3, "--yes")["configuration_index"] == 38


def test_an_unknown_metaserver_has_nothing_rebuilt(group):
    refused(run("rebuild", "--all", "--on", 7, "--yes"), ExitCode.NOT_FOUND, "no metaserver 7")


@pytest.mark.parametrize(
    "words",
    [
        ("query", 1 << 64),
        ("rebuild", 1 << 64, "--on", 1),
        ("rebuild", "--all", "--on", 1 << 64),
        ("add-peer", 3, 1 << 64),
        ("transfer-leader", 3, 1 << 64),
    ],
)
def test_an_id_that_none_can_have_is_refused(group, words):
    result = run(*words)
    assert result.exit_code == ExitCode.USAGE
    assert "is not in the range 1<=x<=18446744073709551615" in result.stderr


def test_a_rebuilding_that_takes_long_is_carried_on_and_not_begun_again(group):
    def begun():
        group.voters, group.learners = [1, 3], [2]
        return errors.Unavailable("not in time: who joins catches up")

    group.fail[1, "RebuildReplica"] = _Lazily(begun)
    done("rebuild", 3, "--on", 2, "--yes")
    assert group.changes == [(1, "RebuildReplica"), (1, "ChangePeers")]
    assert group.voters == [1, 2, 3]


def test_a_rebuilding_that_was_left_half_done_is_finished(group):
    def taken_out():
        group.voters = [1, 3]
        return errors.Unavailable("the leader fell")

    group.fail[1, "RebuildReplica"] = _Lazily(taken_out)
    done("rebuild", 3, "--on", 2, "--yes")
    expected = [(1, "RebuildReplica"), (2, "RemoveCopyset"), (2, "CreateCopyset"), (1, "ChangePeers")]
    assert group.changes == expected
    assert group.voters == [1, 2, 3]


def test_a_rebuilding_that_was_not_begun_is_asked_for_again(group):
    group.fail[1, "RebuildReplica"] = [errors.Unavailable("not in time")]
    done("rebuild", 3, "--on", 2, "--yes")
    assert group.changes == [(1, "RebuildReplica"), (1, "RebuildReplica")]


def test_the_leader_is_not_rebuilt(group):
    refused(run("rebuild", 3, "--on", 1, "--yes"), ExitCode.BUSY, "transfer the leadership first")
    assert group.changes == []


# ---------------------------------------------------------------------------------------------------- compare


def test_equal_replicas_are_found_equal_where_the_leader_has_committed(group):
    group.committed = 60
    said = run_json("compare", 3)
    assert (said["same"], said["index"], said["differing"]) == (True, 60, [])
    assert said["digests"] == dict.fromkeys("123", b"same at 60".hex())
    digests = [request for _, request in group.asked("GetCopysetStatus") if request.with_digest]
    assert {request.at_index for request in digests} == {60}
    assert len(digests) == 3


def test_a_replica_that_differs_is_named(group):
    group.replicas[2].digest = lambda index: b"other"
    result = run("compare", 3)
    refused(result, ExitCode.DAMAGED, "copyset 3 differs or is damaged on metaserver 2")
    assert b"other".hex() in result.stdout
    said = json.loads(run("compare", 3, "--json").stdout)
    assert (said["same"], said["differing"]) == (False, [2])


def test_without_a_majority_all_differ(group):
    for one in (2, 3):
        group.replicas[one].digest = lambda index, one=one: b"%d" % one
    refused(run("compare", 3), ExitCode.DAMAGED, "on metaserver 1, 2, 3")


def test_replicas_of_a_busy_group_are_compared_at_one_place(group):
    steps = itertools.count()
    replicas = group.replicas

    class Busy(Replica):
        """Goes on between the questions, for a while."""

        @property
        def applied(self):
            return 50 + min(next(steps), 9)

        @applied.setter
        def applied(self, value):
            pass

    for one in (1, 2):
        replicas[one] = Busy()
    said = run_json("compare", 3)
    assert said["same"]
    assert said["index"] > 50
    assert said["digests"]["1"] == (b"same at %d" % said["index"]).hex()


def test_a_group_that_never_rests_is_not_said_to_differ(group):
    steps = itertools.count(100)
    for one in group.replicas.values():
        one.digest = lambda index: b"x"
    original = group.status

    def status(metaserver_id, request, reply):
        original(metaserver_id, request, reply)
        reply.applied_index = next(steps)

    group.status = status
    refused(run("compare", 3), ExitCode.TIMEOUT, "copyset 3 is too busy")


def test_a_replica_that_cannot_be_asked_is_no_proof(group):
    group.fail[3, "GetCopysetStatus"] = [errors.Unavailable("it is loading")] * 9
    result = run("compare", 3)
    refused(result, ExitCode.UNREACHABLE, "could not be compared on metaserver 3")
    assert "it is loading" in result.stdout


def test_a_damaged_replica_is_named(group):
    group.replicas[3].damage = "bad checksum"
    result = run("compare", 3)
    refused(result, ExitCode.DAMAGED, "on metaserver 3")
    assert "damaged: bad checksum" in result.stdout
