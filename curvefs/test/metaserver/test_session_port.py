"""Who connects to the port of session streams without being a mount of this cluster, and one who is."""

import asyncio
import contextlib
import random
import time

import pytest
import trio
from structlog.testing import capture_logs

from curvefs.proto import common_pb2, mds_pb2, state_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.common.errors import WrongPartition
from curvefs.src.common.tokens import sign
from curvefs.src.metaserver import session_port, session_stream
from curvefs.src.metaserver.metrics import Metrics
from curvefs.src.metaserver.session_port import SessionPort
from curvefs.src.rpc.connection import SessionsAt, dial
from curvefs.src.rpc.frames import LENGTH_SIZE, length_of, pack
from curvefs.src.rpc.frames import PREFACE as SPOKEN
from curvefs.src.rpc.trio_stream import Credentials, MetaserverStream, StreamListener

pytestmark = pytest.mark.asyncio

SECRET, SESSION, INSTANCE, FS = b"s" * 32, b"i" * 16, b"instance", 3
PREFACE = SPOKEN + INSTANCE
PATIENCE_S = 20.0


class NoGroups:
    def get(self, _):
        raise WrongPartition


@contextlib.asynccontextmanager
async def connected():
    """A port that leads no group, and a connection to it."""
    port = SessionPort(
        NoGroups(),
        INSTANCE,
        secret=lambda: SECRET,
        mds_time_ns=time.time_ns,
        metrics=Metrics(),
        transact=lambda _: asyncio.sleep(0),
    )
    await port.open("127.0.0.1:0")
    reader, writer = await asyncio.open_connection("127.0.0.1", port.port)
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield port, reader, writer
    finally:
        writer.close()
        await port.stop(0.0)


def hello(token, padding=0):
    frame = pb.ClientFrame(hello=pb.Hello(protocol_version=1, fs_id=FS, session_id=SESSION, token=token))
    frame.reads.add(fs_id=FS).reads.add(lookup=pb.Lookup(name=bytes(padding)))
    return pack(frame.SerializeToString())


def token(secret=SECRET, expires_ns=2**62):
    return sign(secret, mds_pb2.SessionToken(fs_id=FS, session_id=SESSION, expires_ns=expires_ns))


async def receive(reader):
    length = length_of(await reader.readexactly(LENGTH_SIZE))
    return pb.ServerFrame.FromString(await reader.readexactly(length))


async def lane(reader):
    """Return the next lane."""
    while not (frame := await receive(reader)).lanes:
        pass
    return frame.lanes[0]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "no CurveFS client"),
        (SPOKEN + b"restart!", "another metaserver"),
        (PREFACE + 20 * pack(pb.ClientFrame(hello=pb.Hello()).SerializeToString()), "session after session"),
        (PREFACE + b"\xff\xff\xff\xff", "a frame of 4294967295 bytes; at most 65536"),
        (PREFACE + hello(b"", 70_000), "at most 65536"),
        (PREFACE + pack(b"\xff\xff"), "cannot be read"),
    ],
)
async def test_what_a_stranger_says_ends_the_connection_and_is_logged(said, reason):
    with capture_logs() as logs:
        async with connected() as (_, reader, writer):
            writer.write(said)
            while await reader.read(65536):
                pass
    (line,) = [one for one in logs if one["event"] == "a connection was refused"]
    assert reason in line["reason"]
    assert line["peer"].startswith("127.0.0.1:")


async def test_a_false_token_admits_to_nothing():
    async with connected() as (_, reader, writer):
        writer.write(PREFACE + hello(token(b"x" * 32)))
        assert (await receive(reader)).welcome.failure.code == common_pb2.TOKEN_REFUSED
        writer.write(hello(token(b"x" * 32), 70_000))
        await writer.drain()
        while await reader.read(65536):
            pass


async def test_large_frames_are_taken_from_an_admitted_session():
    async with connected() as (port, reader, writer):
        writer.write(PREFACE + hello(token()))
        assert not (await receive(reader)).welcome.HasField("failure")
        writer.write(hello(token(), 70_000))
        while not (await receive(reader)).HasField("welcome"):
            pass
        assert len(port._streams) == 1


async def test_a_session_that_is_open_though_its_token_expired_sends_large_frames_at_once(monkeypatch):
    """The reader waits for the next frame already when the session is admitted."""

    async def known(_group, _session_id):
        return state_pb2.SessionRecord(fs_id=FS, expected_sequence=1)

    monkeypatch.setattr(session_stream, "_session", known)
    monkeypatch.setattr(NoGroups, "get", lambda *_: None)
    async with connected() as (port, reader, writer):
        old = pb.Hello(protocol_version=1, fs_id=FS, session_id=SESSION, token=token(expires_ns=1), groups=[1])
        writer.write(PREFACE + pack(pb.ClientFrame(hello=old).SerializeToString()))
        assert not (await lane(reader)).HasField("failure")
        writer.write(pack(pb.ClientFrame(hello=pb.Hello(token=bytes(70_000))).SerializeToString()))
        assert (await receive(reader)).HasField("welcome")
        assert len(port._streams) == 1


async def test_stopping_ends_streams_that_have_something_under_way_after_a_while(monkeypatch):
    async def for_ever(_group, _session_id):
        await asyncio.sleep(1000)

    monkeypatch.setattr(session_stream, "_session", for_ever)
    monkeypatch.setattr(NoGroups, "get", lambda *_: None)
    async with connected() as (port, _, writer):
        frame = pb.ClientFrame(
            hello=pb.Hello(protocol_version=1, fs_id=FS, session_id=SESSION, token=token(), groups=[1])
        )
        writer.write(PREFACE + pack(frame.SerializeToString()))
        while not any(stream._greeting for stream in port._streams):
            await asyncio.sleep(0.01)
        await port.stop(0.1)
        await asyncio.sleep(0)
        assert not port._streams
        assert not [task for task in asyncio.all_tasks() if task.get_name() in {"lane", "stream"}]


async def test_who_presents_no_session_in_time_is_cut_off(monkeypatch):
    monkeypatch.setattr(session_port, "ADMISSION_S", 0.1)
    async with connected() as (_, reader, writer):
        writer.write(PREFACE)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""


async def test_one_who_never_speaks_is_cut_off(monkeypatch):
    monkeypatch.setattr("curvefs.src.rpc.asyncio_frames.PREFACE_S", 0.1)
    async with connected() as (port, reader, _):
        assert await reader.read() == b""
        assert not port._streams


async def test_streams_beyond_the_bound_are_told_to_wait(monkeypatch):
    monkeypatch.setattr(session_port, "STREAMS_MAX", 1)
    async with connected() as (port, _, writer):
        writer.write(PREFACE)
        while not port._streams:
            await asyncio.sleep(0.01)
        reader, second = await asyncio.open_connection("127.0.0.1", port.port)
        second.write(PREFACE)
        assert (await receive(reader)).welcome.failure.code == common_pb2.OVERLOADED
        assert await reader.read() == b""
        second.close()


async def test_a_client_that_goes_leaves_nothing_behind():
    async with connected() as (port, reader, writer):
        writer.write(PREFACE + hello(token()))
        await receive(reader)
        writer.close()
        while port._streams:
            await asyncio.sleep(0.01)


class Opener(StreamListener):
    """A mount that presents its session in groups 1 and 2, and in 3 when one of them is open."""

    def __init__(self, port):
        self.told = []
        self._place = SessionsAt(f"127.0.0.1:{port}", INSTANCE)

    async def run(self):
        stream = MetaserverStream(
            "x:1", lambda: Credentials(FS, SESSION, token()), self, connect=self._connect, random=random.random
        )
        with trio.move_on_after(PATIENCE_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.run)
                for group in (1, 2):
                    stream.present(group)
                await self._until_told(1)
                stream.present(3)
                await self._until_told(2)
                nursery.cancel_scope.cancel()

    async def _connect(self, _, deliver):
        return await dial(self._place, deliver)

    async def _until_told(self, count):
        while len(self.told) < count:
            await trio.sleep(0.01)

    def on_welcome(self, address, group_id):
        self.told.append((group_id, "open"))

    def on_turned_away(self, address, group_id, error):
        self.told.append((group_id, error))


async def test_a_mount_comes_to_the_groups_that_answer_while_one_does_not(monkeypatch):
    async def session(group, _session_id):
        if group == 2:
            await asyncio.Event().wait()
        return state_pb2.SessionRecord(fs_id=FS, expected_sequence=1)

    monkeypatch.setattr(session_stream, "_session", session)
    monkeypatch.setattr(NoGroups, "get", lambda _, group_id: group_id)
    async with connected() as (port, _, __):
        mount = Opener(port.port)
        await asyncio.to_thread(trio.run, mount.run)
        assert mount.told == [(1, "open"), (3, "open")]
