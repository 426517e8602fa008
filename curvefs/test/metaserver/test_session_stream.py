"""What one stream may cost the others, and one of its groups the others of the same stream.

A mount that asks for much and reads nothing is answered as it reads. A group that does not answer is waited for alone.
"""

import asyncio
import contextlib
import time

import pytest

from curvefs.proto import common_pb2, mds_pb2, state_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.errors import Overloaded, WrongPartition
from curvefs.src.common.tokens import sign
from curvefs.src.metaserver import session_outbox, session_stream
from curvefs.src.metaserver.metrics import Metrics
from curvefs.src.metaserver.session_outbox import SessionOutbox
from curvefs.src.metaserver.session_stream import SessionStream

pytestmark = pytest.mark.asyncio

SECRET, SESSION, FS, GROUP = b"s" * 32, b"i" * 16, 3, 7
PATIENCE_S = 20.0
ANSWER_SIZE, ANSWERS_MAX = 1000, 20  # what may wait to be sent


class Mount:
    """A connection, seen from the stream: what the mount sends, and takes while it reads."""

    def __init__(self):
        self.sent = asyncio.Queue()
        self.reads = asyncio.Event()
        self.taken = []

    async def read(self, _size_max):
        return await self.sent.get()

    async def write(self, frame):
        await self.reads.wait()
        self.taken.append(frame)

    def present(self, *groups):
        token = sign(SECRET, mds_pb2.SessionToken(fs_id=FS, session_id=SESSION, expires_ns=2**62))
        hello = pb.Hello(protocol_version=1, fs_id=FS, session_id=SESSION, token=token, groups=groups)
        self.sent.put_nowait(pb.ClientFrame(hello=hello))

    @property
    def answers(self):
        return [result for frame in self.taken for batch in frame.reads for result in batch.results]

    @property
    def welcomes(self):
        return [frame.welcome for frame in self.taken if frame.HasField("welcome")]

    @property
    def lanes(self):
        return [lane.group_id for frame in self.taken for lane in frame.lanes]


class Group:
    """Leads; its lease holds or does not. A majority confirms that at once, unless it is told to wait."""

    def __init__(self, *, lease, refused=None):
        self.is_leader = True
        self.lease = lease
        self.refused = refused
        self.waits = False
        self.waiting = []
        self.is_removed = False
        self.group_id = GROUP

    def get(self, _group_id):
        if self.is_removed:
            raise WrongPartition
        return self

    @contextlib.contextmanager
    def view(self):
        assert not self.is_removed, "its state is closed"
        yield self

    def may_answer(self):
        return self.lease

    def confirm_read(self, complete):
        if self.waits:
            self.waiting.append(complete)
        else:
            asyncio.get_running_loop().call_soon(complete, self.refused)

    def act(self):
        pass


class NoGroups:
    def get(self, _group_id):
        raise WrongPartition


@contextlib.asynccontextmanager
async def served(copysets):
    """A stream of an admitted session."""
    mount, metrics = Mount(), Metrics()
    stream = SessionStream(
        copysets,
        mount,
        secret=lambda: SECRET,
        mds_time_ns=time.time_ns,
        metrics=metrics,
        transact=lambda _: asyncio.sleep(0),
    )
    running = asyncio.create_task(stream.run())
    mount.present()
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield stream, mount, metrics
            stream.stop()
            await running
    finally:
        running.cancel()


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Little may be unsent, and a listing is answered."""
    for name, value in {"UNSENT_BYTES_MAX": ANSWERS_MAX * ANSWER_SIZE, "FRAME_BYTES": 2 * ANSWER_SIZE}.items():
        monkeypatch.setattr(session_outbox, name, value)

    def read(_view, _fs_id, request):
        return pb.ReadResult(read_id=request.read_id, failure=common_pb2.Failure(message=ANSWER_SIZE * "x"))

    monkeypatch.setattr(session_stream.reads, "read", read)


def listings(count, per_batch):
    frame = pb.ClientFrame()
    for first in range(0, count, per_batch):
        batch = frame.reads.add(fs_id=FS, group_id=GROUP)
        for number in range(first, min(count, first + per_batch)):
            batch.reads.add(read_id=number, read_dir=pb.ReadDir())
    return frame


async def quiet():
    """Let everything be done that can be."""
    await asyncio.sleep(0.2)


@pytest.mark.parametrize("per_batch", [1, 1000], ids=["many batches", "one batch"])
@pytest.mark.parametrize("lease", [True, False], ids=["lease", "confirmed"])
async def test_a_frame_of_listings_is_answered_as_the_mount_reads(lease, per_batch):
    async with served(Group(lease=lease)) as (_, mount, metrics):
        mount.sent.put_nowait(listings(1000, per_batch))
        await quiet()
        assert metrics.reads._value.get() <= ANSWERS_MAX + 5
        mount.reads.set()
        while len(mount.answers) < 1000:
            await asyncio.sleep(0.001)
        assert sorted(answer.read_id for answer in mount.answers) == list(range(1000))


async def test_batches_are_refused_as_the_mount_reads():
    async with served(NoGroups()) as (_, mount, metrics):
        frame = pb.ClientFrame()
        for _ in range(1000):
            frame.operations.add(fs_id=FS, session_id=SESSION, group_id=GROUP).operations.add()
        mount.sent.put_nowait(frame)
        await quiet()
        assert metrics.refused._value.get() < 200
        mount.reads.set()
        while sum(len(one.operations) for one in mount.taken) < 1000:
            await asyncio.sleep(0.001)


async def test_transactions_are_refused_as_the_mount_reads():
    async with served(NoGroups()) as (_, mount, _metrics):
        for _ in range(50):
            frame = pb.ClientFrame()
            for number in range(20):
                frame.transactions.add(fs_id=FS + 1, session_id=SESSION, group_id=GROUP, number=number)
            mount.sent.put_nowait(frame)
        await quiet()
        assert mount.sent.qsize() > 30
        mount.reads.set()
        while sum(len(one.transactions) for one in mount.taken) < 1000:
            await asyncio.sleep(0.001)


async def test_reads_that_wait_for_a_majority_are_bounded_also_within_one_frame(monkeypatch):
    monkeypatch.setattr(session_stream, "UNCONFIRMED_READS_MAX", 10)
    group = Group(lease=False)
    group.waits = True
    async with served(group) as (_, mount, _metrics):
        mount.reads.set()
        mount.sent.put_nowait(listings(50, 50))
        while len(mount.answers) < 40:
            await asyncio.sleep(0.001)
        assert {answer.failure.code for answer in mount.answers} == {common_pb2.OVERLOADED}
        assert len(group.waiting) == 10
        for complete in group.waiting:
            complete(None)
        while len(mount.answers) < 50:
            await asyncio.sleep(0.001)


async def test_reads_that_are_not_confirmed_are_refused():
    async with served(Group(lease=False, refused=Overloaded("busy"))) as (stream, mount, _):
        mount.reads.set()
        mount.sent.put_nowait(listings(5, 5))
        while len(mount.answers) < 5:
            await asyncio.sleep(0.001)
        assert {answer.failure.code for answer in mount.answers} == {common_pb2.OVERLOADED}
        assert not stream._unconfirmed


async def test_confirmed_reads_of_a_group_that_is_removed_before_they_are_answered_are_refused():
    group = Group(lease=False)
    async with served(group) as (_, mount, _metrics):
        mount.sent.put_nowait(listings(100, 100))
        await quiet()
        group.is_removed = True
        mount.reads.set()
        while len(mount.answers) < 100:
            await asyncio.sleep(0.001)
        codes = {answer.failure.code for answer in mount.answers}
        assert codes == {common_pb2.OK, common_pb2.WRONG_PARTITION}


# ------------------------------------------------------------------------------------------------------ opening


class ManyGroups:
    """The session is open in all of them; those that are stuck do not say so before they are freed."""

    def __init__(self, monkeypatch, *stuck):
        self.stuck = stuck
        self.freed = asyncio.Event()
        monkeypatch.setattr(session_stream, "_session", self._session)

    def get(self, group_id):
        return group_id

    async def _session(self, group, _session_id):
        if group in self.stuck:
            await self.freed.wait()
        return state_pb2.SessionRecord(fs_id=FS, expected_sequence=1)


async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)


async def test_a_group_that_does_not_answer_holds_up_no_other_and_no_sign_of_life(monkeypatch):
    groups = ManyGroups(monkeypatch, 2)
    async with served(groups) as (_, mount, _metrics):
        mount.reads.set()
        mount.present(1, 2, 3)
        await until(lambda: sorted(mount.lanes) == [1, 3])
        mount.present()
        await until(lambda: len(mount.welcomes) == 3)
        mount.present(4)
        await until(lambda: len(mount.welcomes) == 4 and 4 in mount.lanes)
        assert not any(welcome.HasField("failure") for welcome in mount.welcomes)
        groups.freed.set()
        await until(lambda: mount.lanes[3:] == [2])


async def test_a_stream_that_ends_in_order_waits_for_its_lanes(monkeypatch):
    groups = ManyGroups(monkeypatch, 2)
    async with served(groups) as (stream, mount, _):
        mount.reads.set()
        mount.present(2)
        await until(lambda: len(mount.welcomes) == 2)
        stream.stop()
        await quiet()
        groups.freed.set()
    assert mount.lanes == [2]


async def test_lanes_that_are_being_opened_are_bounded(monkeypatch):
    monkeypatch.setattr(session_stream, "LANES_MAX", 3)
    groups = ManyGroups(monkeypatch, 1, 2)
    async with served(groups) as (stream, mount, _):
        mount.reads.set()
        mount.present(1, 2)
        mount.present(3, 4)
        await until(lambda: len(mount.welcomes) == 3)
        assert [welcome.failure.code for welcome in mount.welcomes] == [0, 0, common_pb2.OVERLOADED]
        mount.present(3)
        mount.present()
        await until(lambda: len(mount.welcomes) == 5 and mount.lanes == [3])
        assert not mount.welcomes[4].HasField("failure")
        groups.freed.set()
        await until(lambda: not stream._greeting)
        mount.present(3, 4, 5)
        await until(lambda: len(mount.lanes) == 6)


@pytest.mark.parametrize("groups", [(), (1, 2)], ids=["signs of life", "lanes"])
async def test_hellos_are_answered_as_the_mount_reads(monkeypatch, groups):
    async with served(ManyGroups(monkeypatch)) as (_, mount, _metrics):
        for _ in range(500):
            mount.present(*groups)
        await quiet()
        answer_size = session_outbox.OVERHEAD_SIZE * (1 + len(groups))
        assert 500 - mount.sent.qsize() < ANSWERS_MAX * ANSWER_SIZE / answer_size + 20
        mount.reads.set()
        await until(lambda: len(mount.welcomes) == 501 and len(mount.lanes) == 500 * len(groups))


async def test_no_lane_overtakes_the_welcome_to_its_hello():
    outbox = SessionOutbox()
    for _ in range(3):
        outbox.put_welcome(pb.Welcome())
    outbox.put_lane(pb.Lane(group_id=1))
    frames = [outbox.take_frame() for _ in range(3)]
    assert [(frame.HasField("welcome"), len(frame.lanes)) for frame in frames] == [(True, 0), (True, 0), (True, 1)]
    assert not len(outbox)
    assert not outbox._size_bytes
