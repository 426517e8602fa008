"""The stream between metaservers on real gRPC over loopback: frames both ways, and what each side learns of its end."""

import asyncio
import contextlib
import socket

import pytest

from curvefs.src.common.errors import Unavailable
from curvefs.src.rpc.asyncio_peers import (
    FRAME_SIZE_MAX,
    FrameTooLarge,
    StreamEnded,
    StreamRefused,
    dialled,
    serving,
)
from curvefs.src.rpc.asyncio_server import start_server

pytestmark = pytest.mark.asyncio
PATIENCE_S = 20.0


@contextlib.asynccontextmanager
async def answered(accept, frame_size_max=FRAME_SIZE_MAX):
    """Give a dialled stream that ``accept`` answers."""
    server = await start_server("127.0.0.1:0", [serving(accept)])
    try:
        async with (
            asyncio.timeout(PATIENCE_S),
            dialled(server.address, frame_size_max=frame_size_max, deadline_s=PATIENCE_S) as stream,
        ):
            yield stream
    finally:
        await server.stop(0)


async def echo(stream):
    while True:
        await stream.write(await stream.read())


async def test_frames_go_both_ways_also_empty_ones():
    async with answered(echo) as stream:
        for frame in (b"one", b"", b"x" * (1 << 20)):
            await stream.write(frame)
            assert await stream.read() == frame


async def test_both_sides_know_the_address_of_the_other():
    remotes = []

    async def accept(stream):
        remotes.append(stream.remote)

    async with answered(accept) as stream:
        with pytest.raises(StreamEnded):
            await stream.read()
        assert stream.remote.startswith("127.0.0.1:")
    assert remotes[0].startswith("ipv4:127.0.0.1:")


@pytest.mark.parametrize("complaint", [StreamRefused("because"), Unavailable("because")])
async def test_what_the_answering_side_raises_is_raised_on_the_other(complaint):
    async def accept(stream):
        await stream.read()
        raise complaint

    async with answered(accept) as stream:
        await stream.write(b"hello")
        with pytest.raises(type(complaint), match="because"):
            await stream.read()
        # A writer learns the same, whoever asks first.
        with pytest.raises(type(complaint), match="because"):
            await stream.write(b"more")


async def test_the_answering_side_learns_that_the_stream_was_ended():
    ended = asyncio.Event()

    async def accept(stream):
        await stream.write(b"begun")
        try:
            await stream.read()
        except (Unavailable, asyncio.CancelledError):
            ended.set()
            raise

    async with answered(accept) as stream:
        assert await stream.read() == b"begun"
    await asyncio.wait_for(ended.wait(), PATIENCE_S)


async def test_a_frame_that_is_too_large_for_the_dialling_side_ends_the_stream():
    async def accept(stream):
        await stream.write(b"x" * 5000)
        await echo(stream)

    async with answered(accept, frame_size_max=4096) as stream:
        with pytest.raises(FrameTooLarge, match="5000 vs. 4096"):
            await stream.read()


async def test_a_frame_that_is_too_large_for_a_server_ends_the_stream():
    async with answered(echo) as stream:
        with pytest.raises(FrameTooLarge, match="larger than max"):
            await stream.write(b"x" * (FRAME_SIZE_MAX + 1))
            await stream.read()


async def test_a_refusal_of_a_stranger_is_one_bounded_line():
    async def accept(stream):
        raise StreamRefused("one\ntwo " + "x" * 1000)

    with pytest.raises(StreamRefused) as caught:  # it may be there before the connection is
        async with answered(accept) as stream:
            await stream.read()
    assert str(caught.value).startswith("one two xxx")
    assert len(str(caught.value)) == 200


async def test_nobody_at_the_address_is_unavailable():
    server = await start_server("127.0.0.1:0", [])
    await server.stop(0)
    with pytest.raises(Unavailable, match="UNAVAILABLE"):
        async with dialled(server.address, frame_size_max=4096, deadline_s=PATIENCE_S):
            pytest.fail("nobody answers")


async def test_who_takes_the_connection_and_says_nothing_is_given_up_at_the_deadline():
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(Unavailable, match=r"within 0\.3 s"):
        async with dialled(f"127.0.0.1:{mute.getsockname()[1]}", frame_size_max=4096, deadline_s=0.3):
            pytest.fail("nobody answers")
