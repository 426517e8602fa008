"""A mount follows its groups' leaders: nothing is lost, nothing is done twice, order holds, and pauses are short."""

import random
import stat

import pytest
import trio
import trio.testing

from curvefs.proto import common_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.errors import FilesystemGone, IOFailure, SessionEnded

from .lab import ROOT, TIMEOUT_S, A, B, C, running

pytestmark = pytest.mark.trio

FILE = stat.S_IFREG | 0o644


def create(tag):
    return pb.Operation(create=pb.Create(parent=ROOT, name=b"%04d" % tag, mode=FILE, exclusive=True))


def get_root():
    return pb.Read(get_attr=pb.GetAttr(inode_id=ROOT))


async def create_many(lab, count, nursery, results):
    """Begin creates in order, each waiting by itself; ``results`` fills in the order in which effects came."""
    for tag in range(count):
        nursery.start_soon(lab.router.operate, 0, create(tag), results.append)
        await trio.sleep(0.0005)


def assert_done_in_order(lab, count, results):
    assert sorted(lab.names_applied()) == sorted(set(lab.names_applied())), "nothing twice"
    assert len(lab.names_applied()) == count == len(results)
    sequences = [sequence for _, sequence, _ in lab.group().applied]
    assert sequences == sorted(sequences)
    assert [result.sequence for result in results] == list(range(1, count + 1)), "effects in the order of the lane"


async def test_the_leader_the_mds_named_is_asked_and_nobody_else(autojump_clock):
    async with running() as lab:
        await lab.router.operate(0, create(1))
        assert lab.servers.servers[A].hellos == [[1]]
        assert not lab.servers.servers[B].frames
        assert not lab.servers.servers[C].frames


async def test_all_groups_of_a_metaserver_are_opened_by_one_hello(autojump_clock):
    async with running({group: [group - 1] for group in range(1, 13)}) as lab:
        await lab.router.read(5, pb.Read(stat_fs=pb.StatFs()))
        assert lab.servers.servers[A].hellos == [[1, 4, 7, 10]]
        assert lab.servers.servers[B].hellos == [[2, 5, 8, 11]]


async def test_a_redirect_is_followed_at_once(autojump_clock):
    async with running() as lab:
        await lab.router.operate(0, create(1))
        lab.group().led_by(B)
        began = trio.current_time()
        await lab.router.operate(0, create(2))
        assert trio.current_time() - began < 0.02
        assert lab.servers.servers[B].hellos == [[1]]
        assert not lab.servers.servers[C].frames


async def test_a_read_follows_a_redirect_too(autojump_clock):
    async with running() as lab:
        await lab.router.read(0, get_root())
        lab.group().led_by(C)
        assert (await lab.router.read(0, get_root())).inode.inode_id == ROOT


async def test_a_wrong_word_of_the_mds_costs_one_redirect(autojump_clock):
    async with running(run=False) as lab:
        lab.group().told, lab.group().leader = B, B
        partitions = lab.session.partitions
        partitions[0].leader = C
        lab.servers.groups[1].told = C  # what the MDS says when the mount begins
        async with trio.open_nursery() as nursery:
            await nursery.start(lab.router.run)
            lab.group().told = B
            await lab.router.operate(0, create(1))
            assert lab.names_applied() == [b"0001"]
            nursery.cancel_scope.cancel()


async def test_an_unknown_leader_is_found_among_the_peers(autojump_clock):
    async with running() as lab:
        await lab.router.operate(0, create(1))
        lab.group().leader, lab.group().told = C, ""
        began = trio.current_time()
        await lab.router.operate(0, create(2))
        assert trio.current_time() - began < 0.1


async def test_nobody_leads_for_a_while_and_the_pause_is_short_after_that(autojump_clock):
    async with running() as lab:
        await lab.router.operate(0, create(1))
        lab.group().led_by("")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lab.router.operate, 0, create(2))
            await trio.sleep(5.0)
            lab.group().led_by(B)
            began = trio.current_time()
        assert trio.current_time() - began < 0.6
        hellos = sum(len(server.hellos) for server in lab.servers.servers.values())
        assert hellos < 3 * 5 / 0.02 / 5, "with growing pauses"
        assert lab.session.listed >= 3, "the MDS was asked besides"


async def test_a_killed_leader_pauses_a_client_for_less_than_the_election_and_a_second(autojump_clock):
    election_s = 2.0
    for seed in range(20):
        async with running(seed=seed) as lab:
            await lab.router.operate(0, create(1))
            lab.servers.kill(A)  # the others still name it, until one is elected
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lab.router.operate, 0, create(2))
                began = trio.current_time()
                await trio.sleep(election_s)
                lab.group().led_by(C)
            assert trio.current_time() - began < 3.0
            assert lab.names_applied() == [b"0001", b"0002"]


async def test_a_killed_leader_whose_successor_leads_already_costs_nothing(autojump_clock):
    async with running() as lab:
        await lab.router.operate(0, create(1))
        lab.group().led_by(B)
        lab.servers.kill(A)
        began = trio.current_time()
        await lab.router.operate(0, create(2))
        assert trio.current_time() - began < 0.05


@pytest.mark.parametrize("pending", ["an operation", "a read"])
async def test_a_frozen_leader_is_left_after_a_second_and_a_half(autojump_clock, pending):
    async with running() as lab:
        await lab.router.operate(0, create(1))
        await trio.sleep(100.0)  # silence without anything to answer is no silence
        assert len(lab.servers.servers[A].hellos) == 1
        lab.servers.freeze(A)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            if pending == "an operation":
                nursery.start_soon(lab.router.operate, 0, create(2))
            else:
                nursery.start_soon(lab.router.read, 0, get_root())
            await trio.sleep(1.2)
            lab.group().led_by(B)
        assert 1.4 < trio.current_time() - began < 2.0
        lab.servers.thaw(A)
        await lab.router.operate(0, create(3))
        assert lab.names_applied() in ([b"0001", b"0002", b"0003"], [b"0001", b"0003"])


async def test_a_frozen_peer_does_not_hold_up_the_search(autojump_clock):
    async with running() as lab:
        await lab.router.operate(0, create(1))
        lab.servers.freeze(B)
        lab.group().leader, lab.group().told = C, B
        lab.servers.kill(A)
        began = trio.current_time()
        await lab.router.operate(0, create(2))
        assert trio.current_time() - began < 0.5


async def test_a_slow_answer_of_a_living_server_is_waited_for(autojump_clock):
    async with running() as lab:
        await lab.router.operate(0, create(1))
        lab.servers.deaf_transactions = 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lab.router.transact, 0, create(2))
            await trio.sleep(10.0)
            assert len(lab.servers.servers[A].connections) == 1
            assert not lab.servers.servers[B].frames, "signs of life keep the group where it is"
            lab.servers.kill(A)
            lab.group().led_by(B)
        assert [number for _, number, _ in lab.group().transacted] == [1]


async def test_a_window_of_operations_survives_changes_of_the_leader(autojump_clock):
    for seed in range(10):
        async with running(seed=seed) as lab:
            draw, results = random.Random(seed), []
            async with trio.open_nursery() as nursery:
                nursery.start_soon(create_many, lab, 300, nursery, results)
                for _ in range(12):
                    await trio.sleep(draw.random() * 0.05)
                    match draw.randrange(4):
                        case 0:
                            lab.group().led_by(draw.choice([A, B, C]))
                        case 1:
                            lab.group().leader, lab.group().told = draw.choice([A, B, C]), draw.choice([A, B, C, ""])
                        case 2:  # a restart: connections break, what was applied stays
                            address = draw.choice([A, B, C])
                            lab.servers.kill(address)
                            lab.servers.servers[address].alive = True
                        case _:
                            code = draw.choice([common_pb2.UNAVAILABLE, common_pb2.OVERLOADED])
                            lab.fail(draw.choice([A, B, C]), code, draw.randrange(1, 3))
                lab.group().led_by(draw.choice([A, B, C]))
            assert_done_in_order(lab, 300, results)


async def test_redirects_in_a_circle_end_by_the_deadline(autojump_clock):
    async with running() as lab:
        await lab.router.operate(0, create(1))
        lab.group().leader = ""
        lab.group().told = B
        began = trio.current_time()
        with pytest.raises(IOFailure):
            await lab.router.operate(0, create(2))
        assert trio.current_time() - began == pytest.approx(TIMEOUT_S)
        with pytest.raises(IOFailure):
            await lab.router.read(0, get_root())
        hellos = sum(len(server.hellos) for server in lab.servers.servers.values())
        assert hellos < 3 * 2 * TIMEOUT_S / 0.02 / 5, "with growing pauses"


async def test_a_server_that_welcomes_and_refuses_in_turn_is_not_asked_without_pause(autojump_clock):
    async with running() as lab:
        await lab.router.operate(0, create(1))
        lab.fail(A, common_pb2.UNAVAILABLE, 10_000)
        with pytest.raises(IOFailure):
            await lab.router.operate(0, create(2))
        assert len(lab.servers.servers[A].frames) < 20 * TIMEOUT_S


async def test_overloaded_is_waited_for_as_long_as_it_asks(autojump_clock):
    async with running() as lab:
        await lab.router.operate(0, create(1))
        lab.fail(A, common_pb2.OVERLOADED, retry_after_ms=3000)
        began = trio.current_time()
        await lab.router.operate(0, create(2))
        assert 3.0 <= trio.current_time() - began < 3.1
        assert not lab.servers.servers[B].frames, "an overloaded leader is the leader still"
        lab.fail(A, common_pb2.OVERLOADED, 5)
        began = trio.current_time()
        await lab.router.operate(0, create(3))
        assert trio.current_time() - began > 0.5


async def test_of_two_that_welcome_a_group_one_gets_its_calls(autojump_clock):
    async with running() as lab:
        await lab.router.operate(0, create(1))
        lab.servers.kill(A)
        lab.group().leader, lab.group().told, lab.group().also_leading = B, "", C
        await lab.router.operate(0, create(2))
        await trio.sleep(1.0)
        await lab.router.operate(0, create(3))
        carried = {
            address: [batch.first_sequence for _, frame in server.frames for batch in frame.operations]
            for address, server in lab.servers.servers.items()
        }
        assert sorted(carried.values()) == [[], [1], [2, 3]]


async def test_what_was_not_sent_before_its_deadline_never_happens(autojump_clock):
    async with running() as lab:
        await lab.router.operate(0, create(1))
        lab.group().led_by("")
        lab.servers.kill(A)
        await trio.sleep(0.1)
        effects = []
        for call in (lab.router.operate, lab.router.transact):
            with pytest.raises(IOFailure):
                await call(0, create(2), effects.append)
        with pytest.raises(IOFailure):
            await lab.router.read(0, get_root())
        lab.group().led_by(B)
        await lab.router.operate(0, create(3))
        assert lab.names_applied() == [b"0001", b"", b"0003"], "its number is filled with nothing"
        assert not lab.group().transacted
        assert not effects
        assert not lab.servers.reads


async def test_groups_move_without_one_another(autojump_clock):
    async with running({1: [0], 4: [1], 7: [2]}) as lab:
        for group in lab.servers.groups.values():
            group.led_by(A)
        for partition in range(3):
            await lab.router.read(partition, pb.Read(stat_fs=pb.StatFs()))
        (connection,) = lab.servers.servers[A].connections
        lab.group(4).led_by(B)
        await lab.router.read(1, pb.Read(stat_fs=pb.StatFs()))
        await lab.router.operate(0, create(1))
        assert lab.servers.servers[A].connections == [connection], "the others' stream lives on"


async def test_mounts_go_on_without_the_mds(autojump_clock):
    async with running() as lab:
        lab.session.away = True
        await lab.router.operate(0, create(1))
        lab.servers.kill(A)
        lab.group().led_by(C)
        await lab.router.operate(0, create(2))
        assert lab.names_applied() == [b"0001", b"0002"]


async def test_peers_that_are_new_are_learned_from_the_mds(autojump_clock):
    async with running() as lab:
        lab.group().peers = [A]
        async with trio.open_nursery() as nursery:
            await lab.router.operate(0, create(1))
            lab.servers.kill(A)
            lab.group().leader, lab.group().told = C, ""
            nursery.start_soon(lab.router.operate, 0, create(2))
            await trio.sleep(2.0)
            assert lab.names_applied() == [b"0001", b"0002"]


async def test_the_end_of_a_session_fails_what_was_sent_and_goes_on_with_the_rest(autojump_clock):
    async with running() as lab:
        await lab.router.operate(0, create(1))
        lab.servers.freeze(A)
        outcomes = {}

        async def note(name, call, *args):
            try:
                outcomes[name] = await call(*args)
            except SessionEnded as error:
                outcomes[name] = error

        async with trio.open_nursery() as nursery:
            nursery.start_soon(note, "operation", lab.router.operate, 0, create(2))
            nursery.start_soon(note, "transaction", lab.router.transact, 0, create(3))
            nursery.start_soon(note, "read", lab.router.read, 0, get_root())
            await trio.sleep(0.1)
            lab.session.over.set()
            await trio.sleep(0.0005)  # the next session is being opened
            nursery.start_soon(note, "later", lab.router.operate, 0, create(4))
            await trio.sleep(0.1)
            lab.servers.kill(A)
            lab.group().led_by(B)
        assert isinstance(outcomes["operation"], SessionEnded)
        assert isinstance(outcomes["transaction"], SessionEnded)
        assert outcomes["read"].inode.inode_id == ROOT
        assert not outcomes["later"].status
        assert outcomes["later"].sequence == 1, "a fresh lane"
        assert lab.names_applied()[-1] == b"0004"
        assert len(lab.new_sessions) == 1


async def test_a_group_that_says_the_session_ended_leads_to_a_new_one(autojump_clock):
    async with running() as lab:
        await lab.router.operate(0, create(1))
        lab.group().ended.add(lab.session.session_id)
        with pytest.raises(SessionEnded):
            await lab.router.operate(0, create(2))
        await lab.router.operate(0, create(3))
        assert lab.names_applied() == [b"0001", b"0003"]
        assert lab.session.opened == 1


async def test_a_refused_token_is_renewed_and_the_session_goes_on(autojump_clock):
    async with running() as lab:
        await lab.router.operate(0, create(1))
        lab.servers.refused_token = True
        lab.group().led_by(B)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lab.router.operate, 0, create(2))
            await trio.sleep(5.0)
            assert lab.session.hurried
            lab.servers.refused_token = False  # as if the MDS had given a fresh one
        assert lab.names_applied() == [b"0001", b"0002"]
        assert lab.session.opened == 0


async def test_an_unknown_partition_is_asked_for_once(autojump_clock):
    async with running() as lab:
        began = trio.current_time()
        with pytest.raises(IOFailure):
            await lab.router.read(9, get_root())
        assert trio.current_time() - began < 2.0
        assert lab.session.listed == 1
        lab.servers.partitions[9] = 1
        await lab.router.read(9, get_root())


async def test_a_deleted_filesystem_ends_everything_at_once_and_nothing_is_sent_any_more(autojump_clock):
    async with running() as lab:
        await lab.router.operate(0, create(1))
        lab.servers.servers[A].frozen = True
        refused = []

        async def expect_refusal(call, *arguments):
            with pytest.raises(FilesystemGone):
                await call(*arguments)
            refused.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_refusal, lab.router.read, 0, pb.Read(get_attr=pb.GetAttr(inode_id=ROOT)))
            await trio.sleep(0.01)
            lab.session.gone = True
            lab.session.over.set()
            await trio.testing.wait_all_tasks_blocked()  # no session, for the moment
            nursery.start_soon(expect_refusal, lab.router.operate, 0, create(2))
        assert refused[-1] < 0.1, "well before the deadline"
        lab.servers.servers[A].frozen = False
        frames = sum(len(one.frames) for one in lab.servers.servers.values())
        for partition_id in (0, 77):
            await expect_refusal(lab.router.transact, partition_id, create(3))
        await trio.sleep(100.0)
        assert sum(len(one.frames) for one in lab.servers.servers.values()) == frames
        assert lab.names_applied() == [b"0001"]
        assert (lab.session.opened, len(lab.gone)) == (0, 1)
