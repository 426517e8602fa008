"""One stream's link, on a stream and a clock in the test's hand: batching, being alive, silence, rules."""

import asyncio
import contextlib

import pytest
from prometheus_client import CollectorRegistry

from curvefs.proto import raft_pb2 as pb
from curvefs.src.common.errors import Unavailable
from curvefs.src.metaserver.peers.hello import Reason, Refused
from curvefs.src.metaserver.peers.link import Ends, Link
from curvefs.src.metaserver.peers.metrics import PeerMetrics
from curvefs.src.metaserver.peers.outbox import Outbox
from curvefs.src.metaserver.peers.settings import PeerSettings
from curvefs.test.metaserver.peers.nodes import HandClock, eventually, message

pytestmark = pytest.mark.asyncio


class HandStream:
    """Frames that the test gives; frames written, each waiting for ``room``."""

    remote = "test"

    def __init__(self):
        self.written = []
        self.to_read = asyncio.Queue()
        self.room = asyncio.Event()
        self.room.set()

    async def write(self, frame):
        self.written.append(pb.RaftFrame.FromString(frame))
        await self.room.wait()

    async def read(self):
        frame = await self.to_read.get()
        if isinstance(frame, Exception):
            raise frame
        return frame


class Bench:
    """Metaserver 1's end of a link with 2."""

    def __init__(self, **settings):
        # Intervals are of the hand's clock; the watch looks every quarter of the first.
        self.settings = PeerSettings(
            **{"alive_interval_s": 0.02, "silence_s": 100.0, "hello_interval_s": 1e9} | settings
        )
        self.stream = HandStream()
        self.clock = HandClock()
        self.outbox = Outbox(frame_size=1 << 20, message_size_max=1 << 20, buffer_size=1 << 24)
        self.heard = []
        self.frames = []
        ends = Ends(
            1,
            2,
            hello=lambda: pb.PeerHello(time_ns=self.clock.time_ns()),
            on_hello=self.on_hello,
            on_heard=self.heard.append,
            deliver=self.frames.append,
        )
        self.metrics = PeerMetrics(CollectorRegistry())
        self.link = Link(self.stream, ends, self.outbox, settings=self.settings, clock=self.clock, metrics=self.metrics)
        self.hellos = []

    def on_hello(self, hello):
        self.hellos.append(hello)

    def send(self, *tags):
        for tag in tags:
            self.outbox.put(message(1, 2, tag))
            self.link.wake()

    def take(self, *messages, **fields):
        self.stream.to_read.put_nowait(pb.RaftFrame(messages=messages, **fields).SerializeToString())

    @property
    def tags_written(self):
        tags = [[said.message.log_index for said in frame.messages] for frame in self.stream.written]
        return [frame for frame in tags if frame]

    @contextlib.asynccontextmanager
    async def running(self):
        self.task = asyncio.create_task(self.link.run())
        try:
            yield self
        finally:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)

    async def ended(self):
        async with self.running():
            return await asyncio.wait_for(self.task, 20)


async def test_what_is_sent_in_one_step_goes_in_one_frame():
    async with Bench().running() as bench:
        await asyncio.sleep(0)
        bench.send(1, 2, 3)
        await eventually(lambda: bench.tags_written == [[1, 2, 3]])


async def test_what_waits_while_a_frame_is_written_goes_in_the_next():
    async with Bench().running() as bench:
        bench.stream.room.clear()
        bench.send(1)
        await eventually(lambda: bench.tags_written == [[1]])
        for tag in (2, 3, 4):
            bench.send(tag)
            await asyncio.sleep(0)
        assert bench.tags_written == [[1]]
        bench.stream.room.set()
        await eventually(lambda: bench.tags_written == [[1], [2, 3, 4]])


async def test_what_waited_before_the_link_is_sent_by_it():
    bench = Bench()
    bench.send(1, 2)
    async with bench.running():
        await eventually(lambda: bench.tags_written == [[1, 2]])


async def test_an_empty_frame_says_alive_when_nothing_was_sent_for_the_interval():
    async with Bench().running() as bench:
        bench.send(1)
        await eventually(lambda: len(bench.stream.written) == 1)
        await asyncio.sleep(0.05)
        assert len(bench.stream.written) == 1  # the clock stands still
        bench.clock.now += 0.03
        await eventually(lambda: len(bench.stream.written) == 2)
        assert bench.stream.written[1] == pb.RaftFrame()


async def test_hello_is_said_again_after_its_interval_with_the_new_time():
    async with Bench(hello_interval_s=10.0).running() as bench:
        bench.clock.now += 5
        await eventually(lambda: len(bench.stream.written) == 1)
        bench.clock.now += 6
        await eventually(lambda: bench.stream.written[-1].HasField("hello"))
        assert bench.stream.written[-1].hello.time_ns == bench.clock.time_ns()
        bench.send(1)
        await eventually(lambda: bench.tags_written == [[1]])
        assert sum(frame.HasField("hello") for frame in bench.stream.written) == 1


async def test_messages_of_a_frame_are_handed_on_together_and_the_time_is_noted():
    async with Bench().running() as bench:
        bench.clock.now = 1001.0
        bench.take(message(2, 1, 5), message(2, 1, 6))
        await eventually(lambda: bench.frames == [[message(2, 1, 5), message(2, 1, 6)]])
        bench.clock.now = 1002.0
        bench.take()
        await eventually(lambda: bench.heard == [1001.0, 1002.0])
        assert len(bench.frames) == 1


async def test_a_later_hello_is_handed_on():
    async with Bench().running() as bench:
        bench.take(hello=pb.PeerHello(time_ns=9))
        await eventually(lambda: bench.hellos == [pb.PeerHello(time_ns=9)])


@pytest.mark.parametrize(("source", "to"), [(3, 1), (2, 3), (1, 2)])
async def test_a_message_that_is_not_from_the_peer_to_me_ends_it_and_none_of_its_frame_is_handed_on(source, to):
    bench = Bench()
    bench.take(message(2, 1), message(source, to))
    with pytest.raises(Refused, match=f"from {source} to {to}") as refused:
        await bench.ended()
    assert (refused.value.reason, bench.frames) == (Reason.MESSAGE, [])


async def test_a_frame_above_the_bound_ends_it():
    bench = Bench(frame_size=100, frame_size_max=100)
    bench.take(message(2, 1, size=100))
    with pytest.raises(Refused) as refused:
        await bench.ended()
    assert refused.value.reason is Reason.TOO_LARGE


async def test_bytes_that_are_no_frame_end_it():
    bench = Bench()
    bench.stream.to_read.put_nowait(b"\xff\xff")
    with pytest.raises(Refused) as refused:
        await bench.ended()
    assert refused.value.reason is Reason.UNREADABLE


async def test_why_the_stream_ended_is_why_the_link_did():
    bench = Bench()
    bench.stream.to_read.put_nowait(Unavailable("cable chewed"))
    with pytest.raises(Unavailable, match="cable chewed"):
        await bench.ended()


async def test_stopping_ends_it_also_while_a_write_hangs():
    bench = Bench()
    bench.stream.room.clear()
    bench.send(1)
    async with bench.running():
        await eventually(lambda: bench.tags_written)
        bench.link.stop("enough")
        with pytest.raises(Unavailable, match="enough"):
            await asyncio.wait_for(bench.task, 20)


async def test_a_stopped_link_takes_nothing_more_out_of_the_outbox():
    bench = Bench()
    bench.stream.room.clear()
    bench.send(1)
    async with bench.running():
        await eventually(lambda: bench.tags_written)
        bench.send(2)
        bench.link.stop("enough")
        bench.stream.room.set()
        await asyncio.wait([bench.task])
    assert len(bench.outbox) == 1


async def test_cancelling_it_holds_although_the_stream_ends_at_the_same_moment():
    bench = Bench()
    async with bench.running():
        await asyncio.sleep(0.01)
        bench.stream.to_read.put_nowait(Unavailable("cable chewed"))
        await asyncio.sleep(0)
        bench.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await bench.task


async def test_silence_ends_it():
    async with Bench(alive_interval_s=0.02, silence_s=0.1).running() as bench:
        with pytest.raises(Unavailable, match="nothing was heard"):
            while True:
                # A clock that runs, without frames from the peer.
                bench.clock.now += 0.005
                await asyncio.wait([bench.task], timeout=0.005)
                if bench.task.done():
                    await bench.task


async def test_who_is_heard_is_not_silent():
    async with Bench(alive_interval_s=0.02, silence_s=0.1).running() as bench:
        for _ in range(40):
            bench.take()
            bench.clock.now += 0.005
            await asyncio.wait([bench.task], timeout=0.005)
            assert not bench.task.done()


async def test_a_pause_of_this_process_is_not_the_peers_silence():
    async with Bench(alive_interval_s=0.02, silence_s=0.1).running() as bench:
        await asyncio.sleep(0.01)  # the watch sleeps
        bench.clock.now += 50.0  # nothing ran here meanwhile; what the peer sent has yet to be read
        await eventually(lambda: bench.stream.written)  # the watch has looked
        bench.take()
        await eventually(lambda: bench.heard)
        await asyncio.sleep(0.05)
        assert not bench.task.done()
