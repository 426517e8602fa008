"""Who is refused, on either side: one warning line that names the address and no secret, and the stream ends."""

import asyncio
import contextlib

import pytest
from structlog.testing import capture_logs

from curvefs.proto import raft_pb2 as pb
from curvefs.src.common.errors import Unavailable
from curvefs.src.metaserver.identity import Identity
from curvefs.src.metaserver.peers.peers import _STRANGERS_MAX
from curvefs.src.rpc.asyncio_peers import FRAME_SIZE_MAX, StreamRefused, dialled, serving
from curvefs.src.rpc.asyncio_server import start_server
from curvefs.test.metaserver.peers.nodes import PATIENCE_S, SECRET, Node, eventually, message, nodes, pair

pytestmark = pytest.mark.asyncio


def stranger():
    """Return who is no metaserver of the cluster, or a broken one; not started, it only signs."""
    return Node(1)


def frame(hello=None, messages=()):
    return pb.RaftFrame(hello=hello, messages=messages).SerializeToString()


def dial(node):
    return dialled(node.address, frame_size_max=FRAME_SIZE_MAX, deadline_s=PATIENCE_S)


def warnings_in(logs):
    return [line for line in logs if line["log_level"] in {"warning", "error"}]


def forged(hello):
    hello.proof = b"0" * 32
    return hello


def of_version(hello, version):
    hello.protocol_version = version
    return hello


FIRST_FRAMES = {
    "version": lambda: frame(of_version(stranger().hello(2), 7)),
    "cluster": lambda: frame(stranger().hello(2, cluster_id="other")),
    "proof": lambda: frame(forged(stranger().hello(2))),
    "to": lambda: frame(stranger().hello(3)),
    "from": lambda: frame(stranger().hello(2, source=2)),
    "no_hello": lambda: frame(messages=[message(1, 2)]),
    "unreadable": lambda: b"\xff\xff\xff",
    "too_large": lambda: b"x" * 5000,
}


@pytest.mark.parametrize("reason", FIRST_FRAMES)
async def test_a_stranger_that_dials_is_refused_by_name_and_learns_why(reason):
    two = Node(2, frame_size=4096, frame_size_max=4096)
    async with nodes(two):
        with capture_logs() as logs:
            async with dial(two) as stream:
                await stream.write(FIRST_FRAMES[reason]())
                with pytest.raises(StreamRefused) as refused:
                    await stream.read()
            await eventually(lambda: warnings_in(logs))
        (line,) = warnings_in(logs)
        assert line["address"].startswith("ipv4:127.0.0.1:")
        assert line["reason"] == str(refused.value)
        assert SECRET.decode() not in str(logs) + str(refused.value)
        assert two.count("refused_total", reason=reason) == 1
        assert (two.frames, two.has(1)) == ([], False)


async def test_a_version_that_is_not_spoken_is_named():
    async with nodes(Node(2)) as (two,), dial(two) as stream:
        await stream.write(FIRST_FRAMES["version"]())
        with pytest.raises(StreamRefused, match="the peer speaks version 7 of the protocol, this metaserver 1"):
            await stream.read()


async def test_who_says_nothing_is_refused_at_the_deadline_and_counted_no_longer():
    two = Node(2, hello_deadline_s=0.1)
    async with nodes(two), dial(two) as stream:
        with pytest.raises(StreamRefused, match="no hello came in time"):
            await stream.read()
        assert two.count("refused_total", reason="no_hello") == 1
        await eventually(lambda: two.peers._strangers == 0)


async def test_those_who_say_nothing_are_bounded_and_others_come_in_when_they_have_gone():
    one, two = Node(1), Node(2, hello_deadline_s=PATIENCE_S)
    async with nodes(two):
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(_STRANGERS_MAX):
                await stack.enter_async_context(dial(two))
            await eventually(lambda: two.peers._strangers == _STRANGERS_MAX)
            async with dial(two) as stream:
                with pytest.raises(StreamRefused, match="too many streams"):
                    await stream.read()
        async with nodes(one):
            one.peers.know(2, two.address)
            await eventually(lambda: one.has(2))


async def test_a_stranger_that_comes_again_is_counted_each_time_and_logged_once():
    async with nodes(Node(2)) as (two,):
        with capture_logs() as logs:
            for _ in range(5):
                async with dial(two) as stream:
                    await stream.write(FIRST_FRAMES["proof"]())
                    with pytest.raises(StreamRefused):
                        await stream.read()
        assert two.count("refused_total", reason="proof") == 5
        assert len(warnings_in(logs)) == 1


@contextlib.asynccontextmanager
async def impostor(answer):
    """Give the address of a server that answers the first frame of a stream with another one."""

    async def accept(stream):
        await stream.read()
        await stream.write(answer)
        await asyncio.sleep(PATIENCE_S)

    server = await start_server("127.0.0.1:0", [serving(accept)])
    try:
        yield server.address
    finally:
        await server.stop(0)


ANSWERS = {
    "version": lambda: frame(of_version(Node(2).hello(1), 7)),
    "cluster": lambda: frame(Node(2).hello(1, cluster_id="other")),
    "proof": lambda: frame(Node(2).hello(1, secret=b"guessed")),
    "to": lambda: frame(Node(2).hello(3)),
    "from": lambda: frame(Node(3).hello(1)),
    "no_hello": lambda: b"",
    "unreadable": lambda: b"\xff\xff\xff",
}


@pytest.mark.parametrize("reason", ANSWERS)
async def test_a_stranger_that_answers_is_refused(reason):
    one = Node(1)
    async with nodes(one), impostor(ANSWERS[reason]()) as address:
        with capture_logs() as logs:
            one.send(2)
            one.peers.know(2, address)
            await eventually(lambda: one.count("refused_total", reason=reason) >= 2)
        (line,) = warnings_in(logs)
        assert line["address"] == address
        assert SECRET.decode() not in str(logs)
        assert not one.has(2)


async def test_who_is_refused_says_so_once():
    """The metaserver that has another secret, say: both sides name it."""
    one, two = Node(1, identity=Identity("cluster", 1, b"", b"another secret")), Node(2)
    async with nodes(one, two):
        with capture_logs() as logs:
            one.peers.know(2, two.address)
            await eventually(lambda: two.count("refused_total", reason="proof") >= 3)
        lines = {line["event"]: line for line in warnings_in(logs)}
        assert lines["a peer ended the stream"]["reason"] == lines["a peer was refused"]["reason"]
        assert len(warnings_in(logs)) == 2


async def test_a_message_of_somebody_else_ends_the_stream():
    async with nodes(Node(2)) as (two,):
        with capture_logs() as logs:
            async with dial(two) as stream:
                await stream.write(frame(stranger().hello(2)))
                await stream.read()
                await stream.write(frame(messages=[message(3, 2)]))
                with pytest.raises(StreamRefused, match="from 3 to 2"):
                    while True:
                        await stream.read()
        assert len(warnings_in(logs)) == 1
        assert two.count("refused_total", reason="message") == 1
        assert two.frames == []


async def test_a_later_hello_is_checked_too():
    for again in (forged(stranger().hello(2)), Node(4).hello(2)):
        async with nodes(Node(2)) as (two,), dial(two) as stream:
            await stream.write(frame(stranger().hello(2)))
            await stream.read()
            await stream.write(frame(again))
            with pytest.raises(StreamRefused):
                while True:
                    await stream.read()


async def test_a_second_stream_of_a_peer_replaces_the_first():
    async with nodes(Node(2)) as (two,), dial(two) as first, dial(two) as second:
        for stream in (first, second):
            await stream.write(frame(stranger().hello(2)))
            assert pb.RaftFrame.FromString(await stream.read()).HasField("hello")
        with pytest.raises(Unavailable, match="a newer stream replaced it"):
            while True:
                await first.read()
        assert two.has(1)
        two.send(1, 5)
        while not (messages := pb.RaftFrame.FromString(await second.read()).messages):
            pass
        assert list(messages) == [message(2, 1, 5)]
        await second.write(frame(messages=[message(1, 2, 6)]))
        await eventually(lambda: two.tags == [6])
        assert two.count("streams") == 1


async def test_a_frame_too_large_from_who_dialled_is_refused_and_the_stream_comes_back():
    one, two = Node(1), Node(2, frame_size=4096, frame_size_max=4096)
    async with nodes(one, two):
        one.peers.know(2, two.address)
        await eventually(lambda: one.has(2))
        with capture_logs() as logs:
            one.send(2, 1, size=5000)
            await eventually(lambda: two.count("reconnects_total") == 1)
        assert any("at most 4096 are taken" in line["reason"] for line in warnings_in(logs))
        one.send(2, 2)
        await eventually(lambda: two.tags == [2])


async def test_a_frame_too_large_for_who_dialled_ends_the_stream_and_it_comes_back():
    one, two = Node(1, frame_size=4096, frame_size_max=4096), Node(2)
    async with nodes(one, two):
        one.peers.know(2, two.address)
        await eventually(lambda: one.has(2) and two.has(1))
        with capture_logs() as logs:
            two.send(1, 1, size=5000)
            await eventually(lambda: one.count("reconnects_total") == 1)
        assert any("larger than max" in line["reason"] for line in warnings_in(logs))
        two.send(1, 2)
        await eventually(lambda: one.tags == [2])


async def test_between_honest_metaservers_nothing_is_warned_of():
    with capture_logs() as logs:
        async with pair() as (one, two):
            one.send(2, 1)
            await eventually(lambda: two.tags == [1])
    assert warnings_in(logs) == []
