"""Metaservers that talk on loopback: messages, the address book, reconnecting, what is dropped."""

import asyncio

import pytest
from structlog.testing import capture_logs

from curvefs.src.metaserver.identity import Identity
from curvefs.test.metaserver.peers.nodes import (
    PATIENCE_S,
    SECRET,
    HandClock,
    Node,
    Proxy,
    RealClock,
    eventually,
    nodes,
    pair,
)

pytestmark = pytest.mark.asyncio


async def free_address():
    """Return an address at which nobody listens."""
    node = Node(99)
    async with nodes(node):
        return node.address


async def test_messages_go_both_ways_on_one_stream():
    async with pair() as (one, two):
        one.send(2, 5)
        two.send(1, 6)
        await eventually(lambda: two.tags == [5] and one.tags == [6])
        assert [from_id for from_id, _ in two.frames + one.frames] == [1, 2]
        assert [node.count("streams") for node in (one, two)] == [1, 1]
        await eventually(lambda: one.count("bytes_sent_total") == two.count("bytes_received_total") > 0)
        await eventually(lambda: two.count("bytes_sent_total") == one.count("bytes_received_total") > 0)
        assert min(node.count(f"frames_{done}_total") for node in (one, two) for done in ("sent", "received")) > 0


async def test_what_is_sent_in_one_step_is_received_in_one_call():
    async with pair() as (one, two):
        for tag in range(100):
            one.send(2, tag)
        await eventually(lambda: two.tags)
        assert [len(messages) for _, messages in two.frames] == [100]
        assert two.tags == list(range(100))
        assert one.count("messages_sent_total") == two.count("messages_received_total") == 100


async def test_much_goes_in_frames_of_a_bounded_size():
    async with pair(frame_size=100_000) as (one, two):
        for tag in range(10):
            one.send(2, tag, size=40_000)
        await eventually(lambda: len(two.tags) == 10)
        assert two.tags == list(range(10))
        assert max(len(messages) for _, messages in two.frames) <= 2


async def test_three_metaservers_have_a_stream_per_pair():
    three = [Node(id_) for id_ in (1, 2, 3)]
    async with nodes(*three):
        for node in three:
            for other in three:
                node.peers.know(other.id, other.address)  # oneself is no peer
        for node in three:
            others = [other.id for other in three if other is not node]
            await eventually(lambda node=node, others=others: node.has(*others))
            for other in others:
                node.send(other, node.id)
        for node in three:
            await eventually(lambda node=node: len(node.tags) == 2)
            assert node.count("streams") == 2


async def test_a_peer_that_is_idle_is_heard_all_the_same():
    async with pair() as (one, two):
        since = one.clock.boottime_s(), two.clock.boottime_s()
        await eventually(lambda: one.peers.heard_at(2) > since[0] and two.peers.heard_at(1) > since[1])
        assert (one.tags, two.tags) == ([], [])


async def test_of_a_peer_never_heard_nothing_is_known():
    async with nodes(Node(1)) as (one,):
        one.peers.know(2, await free_address())
        for peer_id in (2, 3):
            assert one.peers.heard_at(peer_id) is None
            assert one.peers.connected_at(peer_id) is None
            assert one.peers.clock_offset_ns(peer_id) is None


async def test_the_difference_of_the_clocks_is_known_and_follows_them():
    one, two = Node(1, hello_interval_s=0.1), Node(2, clock=RealClock(offset_ns=10**12), hello_interval_s=0.1)
    async with nodes(one, two):
        one.peers.know(2, two.address)
        await eventually(lambda: one.has(2))
        assert abs(one.peers.clock_offset_ns(2) - 10**12) < 10**10
        assert abs(two.peers.clock_offset_ns(1) + 10**12) < 10**10
        two.clock.offset_ns = 0
        await eventually(lambda: abs(one.peers.clock_offset_ns(2)) < 10**10, "another hello")


async def test_the_one_with_the_lower_id_may_be_the_only_one_to_know():
    async with nodes(Node(1), Node(2)) as (one, two):
        one.peers.know(2, two.address)
        await eventually(lambda: one.has(2) and two.has(1))
        two.send(1, 8)
        await eventually(lambda: one.tags == [8])


async def test_the_one_with_the_higher_id_may_be_the_only_one_to_know():
    async with nodes(Node(1), Node(2)) as (one, two):
        two.peers.know(1, one.address)
        await eventually(lambda: one.has(2) and two.has(1))
        one.send(2, 8)
        await eventually(lambda: two.tags == [8])


async def test_a_peer_that_moved_says_so_to_who_dials_the_old_address():
    one, two = Node(1), Node(2)
    async with nodes(one, two):
        old = await free_address()
        one.peers.know(2, old)
        two.peers.know(1, one.address)
        await eventually(lambda: one.has(2))
        since = one.peers.connected_at(2)
        one.peers.know(2, old)  # no news: what it said itself holds
        await asyncio.sleep(0.05)
        assert one.peers.connected_at(2) == since


async def test_another_address_reconnects_there():
    async with nodes(Node(1), Node(2)) as (one, two), Proxy(two.address) as first, Proxy(two.address) as second:
        one.peers.know(2, first.address)
        await eventually(lambda: one.has(2))
        one.peers.know(2, second.address)
        await eventually(lambda: second.connections and one.has(2) and two.has(1))
        assert first.connections == 1
        one.send(2, 3)
        await eventually(lambda: two.tags == [3])


async def test_a_peer_that_comes_back_is_connected_again():
    async with pair() as (one, two):
        await two.stop()
        await eventually(lambda: not one.has(2))
        await two.start()
        await eventually(lambda: one.has(2) and two.has(1))
        assert one.count("reconnects_total") == 1
        one.send(2, 4)
        await eventually(lambda: two.tags == [4])


async def test_a_peer_that_stays_away_is_logged_once():
    one = Node(1)
    async with nodes(one):
        with capture_logs() as logs:
            one.peers.know(2, await free_address())
            await eventually(lambda: logs)
            await asyncio.sleep(0.3)  # several attempts
        assert [(line["event"], line["peer"]) for line in logs if line.get("peer") == 2] == [("a peer is away", 2)]


async def test_who_dials_and_comes_back_is_connected_again():
    async with pair() as (one, two):
        before = two.peers.connected_at(1)
        await one.stop()
        await one.start()
        one.peers.know(2, two.address)
        await eventually(lambda: one.has(2) and two.has(1) and two.peers.connected_at(1) > before)
        two.send(1, 4)
        await eventually(lambda: one.tags == [4])


async def test_a_link_that_is_cut_silently_is_noticed_by_both_and_made_again():
    one, two = Node(1, silence_s=0.4), Node(2, silence_s=0.4)
    async with nodes(one, two), Proxy(two.address) as proxy:
        one.peers.know(2, proxy.address)
        await eventually(lambda: one.has(2) and two.has(1))
        with capture_logs() as logs:
            proxy.cut()
            await eventually(lambda: not one.has(2) and not two.has(1), "noticing")
        ended = [line for line in logs if line["event"] == "a peer is disconnected"]
        assert len(ended) == 2
        assert any("nothing was heard" in line["reason"] for line in ended)
        proxy.heal()
        await eventually(lambda: one.has(2) and two.has(1), "the stream")
        one.send(2, 4)
        await eventually(lambda: two.tags[-1:] == [4])


async def test_a_forgotten_peer_is_disconnected_and_not_dialled_again():
    async with pair() as (one, two):
        two.peers.forget(1)
        one.peers.forget(2)
        await eventually(lambda: not two.has(1) and one.count("streams") == two.count("streams") == 0)
        await asyncio.sleep(0.2)
        assert not two.has(1)
        assert one.peers.heard_at(2) is None
        one.peers.forget(2)  # again: nothing happens
        one.send(2)
        assert one.count("messages_dropped_total", reason="unknown_peer") == 1


async def test_who_is_gone_and_in_no_group_is_forgotten_after_a_while():
    clock = HandClock()
    async with nodes(Node(1, clock=clock)) as (one,):
        for peer_id in (2, 3):
            one.peers.know(peer_id, await free_address())
            one.send(peer_id)
        clock.now += one.settings.forget_after_s - 1
        one.peers.know(4, await free_address())
        one.peers.forget_others(())
        assert all(one.peers.address_of(peer_id) for peer_id in (2, 3, 4))
        clock.now += 2
        one.peers.forget_others({2})
        assert one.peers.address_of(2)
        assert not one.peers.address_of(3)  # in no group
        assert one.peers.address_of(4)  # named a moment ago: it may be about to join one
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "peer 3" and not task.cancelling()]
        assert one.count("messages_dropped_total", reason="unknown_peer") == 1


async def test_who_is_there_is_not_forgotten():
    clock = HandClock()
    async with pair(clock=clock, forget_after_s=0.0) as (one, two):
        clock.now += 0.01
        one.peers.forget_others(())
        two.peers.forget_others(())
        await asyncio.sleep(0.05)
        assert one.has(2)
        assert two.has(1)


async def test_before_registration_nobody_is_dialled_or_answered():
    one, two = Node(1, identity=Identity()), Node(2, identity=Identity())
    async with nodes(one, two):
        one.peers.know(2, two.address)
        one.identity = Identity("cluster", 1, b"", SECRET)
        await asyncio.sleep(0.1)
        assert not one.has(2)
        two.identity = Identity("cluster", 2, b"", SECRET)
        await eventually(lambda: one.has(2) and two.has(1))


async def test_who_knew_itself_before_registration_does_not_dial_itself():
    one = Node(1, identity=Identity())
    async with nodes(one):
        one.peers.know(1, one.address)
        one.identity = Identity("cluster", 1, b"", SECRET)
        await asyncio.sleep(0.2)
        assert one.count("refused_total", reason="from") == 0


# ----------------------------------------------------------------------------------------------- dropping


async def test_a_message_to_an_unknown_peer_is_dropped():
    async with nodes(Node(1)) as (one,):
        one.send(2)
        assert one.count("messages_dropped_total", reason="unknown_peer") == 1


async def test_a_full_buffer_drops_the_newest_and_says_so_once():
    async with nodes(Node(1, buffer_size=10_000, linger_s=60.0)) as (one,):
        one.peers.know(2, await free_address())
        with capture_logs() as logs:
            for tag in range(20):
                one.send(2, tag, size=1000)
        dropped = one.count("messages_dropped_total", reason="full")
        assert dropped == 11
        assert [line["reason"] for line in logs if line["log_level"] == "warning"] == ["too much waits"]
        two = Node(2)
        async with nodes(two):
            one.peers.know(2, two.address)
            await eventually(lambda: two.tags == list(range(9)))


async def test_a_message_that_fits_in_no_frame_is_dropped_and_the_stream_goes_on():
    async with pair(frame_size=4096, frame_size_max=4096) as (one, two):
        with capture_logs() as logs:
            one.send(2, 1, size=5000)
        assert [line["reason"] for line in logs] == ["too large for a frame"]
        assert one.count("messages_dropped_total", reason="too_large") == 1
        one.send(2, 2)
        await eventually(lambda: two.tags == [2])
        assert two.count("reconnects_total") == 0


async def test_what_was_said_just_before_the_stream_is_delivered():
    async with nodes(Node(1), Node(2)) as (one, two):
        one.peers.know(2, two.address)
        one.send(2, 1)
        await eventually(lambda: two.tags == [1])


async def test_what_was_said_long_before_the_stream_is_dropped():
    clock = HandClock()
    one, two = Node(1, clock=clock, linger_s=1.0), Node(2)
    async with nodes(one):
        one.peers.know(2, await free_address())
        one.send(2, 1)
        clock.now += 0.5
        one.send(2, 2)
        clock.now += 1.0
        one.send(2, 3)
        assert one.count("messages_dropped_total", reason="no_stream") == 2
        async with nodes(two):
            one.peers.know(2, two.address)
            await eventually(lambda: two.tags == [3])


async def test_a_stream_that_comes_late_finds_nothing_old_to_send():
    clock = HandClock()
    one, two = Node(1, clock=clock, linger_s=1.0), Node(2)
    async with nodes(one):
        one.peers.know(2, await free_address())
        one.send(2, 1)
        clock.now += 1.5
        async with nodes(two):
            one.peers.know(2, two.address)
            await eventually(lambda: one.has(2) and two.has(1))
            one.send(2, 2)
            await eventually(lambda: two.tags[-1:] == [2])
            assert two.tags == [2]


# -------------------------------------------------------------------------------------------------- owning


async def test_what_receive_raises_ends_run():
    for failing, sender in ((1, 2), (2, 1)):  # who dials, and who answers
        async with pair() as both:
            node = both[failing - 1]
            node.failing = ZeroDivisionError("a bug")
            both[sender - 1].send(failing)
            with pytest.raises(ExceptionGroup) as raised:
                await asyncio.wait_for(node.running, PATIENCE_S)
            assert raised.value.exceptions == (node.failing,)


async def test_when_run_is_cancelled_its_streams_end_and_no_new_ones_begin():
    for stopping in (0, 1):
        async with pair() as both:
            node, other = both[stopping], both[1 - stopping]
            node.running.cancel()
            await eventually(lambda node=node, other=other: not node.has(other.id) and not other.has(node.id))
            await asyncio.sleep(0.1)
            assert not other.has(node.id)
            assert node.count("streams") == other.count("streams") == 0
