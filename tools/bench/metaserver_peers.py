"""How fast messages go between two metaservers: two processes on loopback, beside a plain grpc.aio stream.

    python tools/bench/metaserver_peers.py [SECONDS]

Prints the round trip of one small message, round trips with many under way, and the throughput of appends one way.
"""

# ruff: noqa: INP001 -- a script, in no package

import asyncio
import multiprocessing
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from multiprocessing.connection import Connection

import grpc.aio
from prometheus_client import CollectorRegistry

from curvefs.proto import raft_pb2 as pb
from curvefs.src.common.clock import SystemClock
from curvefs.src.metaserver.identity import Identity
from curvefs.src.metaserver.peers.metrics import PeerMetrics
from curvefs.src.metaserver.peers.peers import Peers
from curvefs.src.rpc.asyncio_server import AsyncServer, start_server

_WARM_UP = 200
_WINDOW = 64  # messages under way
_ENTRY = 64 << 10

_Send = Callable[[pb.GroupMessage], None]


def _message(source: int, to: int, index: int, data: bytes = b"") -> pb.GroupMessage:
    entries = [pb.Entry(term=1, index=index, data=data)] if data else []
    message = pb.Message(type=pb.APPEND, to=to, term=1, log_index=index, entries=entries)
    setattr(message, "from", source)
    return pb.GroupMessage(group_id=1, message=message)


async def _peers(me: int, receive: Callable[[int, Sequence[pb.GroupMessage]], None]) -> tuple[Peers, AsyncServer]:
    identity = Identity("bench", me, b"", b"secret")
    peers = Peers(
        lambda: identity,
        lambda: server.address,
        receive,
        clock=SystemClock(),
        metrics=PeerMetrics(CollectorRegistry()),
    )
    server = await start_server("127.0.0.1:0", [peers.servicer])
    return peers, server


async def _serve_peers(pipe: Connection) -> None:
    """Metaserver 2: answers each message with a small one."""

    def receive(from_id: int, messages: Sequence[pb.GroupMessage]) -> None:
        for message in messages:
            peers.send(from_id, _message(2, from_id, message.message.log_index))

    peers, server = await _peers(2, receive)
    pipe.send(server.address)
    await peers.run()


async def _serve_plain(pipe: Connection) -> None:
    """Answer each frame of a plain stream with itself."""

    async def echo(_: object, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        while (frame := await context.read()) is not grpc.aio.EOF:
            await context.write(frame)

    def add(server: grpc.aio.Server) -> None:
        handler = grpc.stream_stream_rpc_method_handler(echo)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench", {"Echo": handler}),))

    server = await start_server("127.0.0.1:0", [add])
    pipe.send(server.address)
    await asyncio.Event().wait()


def _child(serve: Callable[[Connection], Awaitable[None]], pipe: Connection) -> None:
    asyncio.run(serve(pipe))  # type: ignore[arg-type]  # both are coroutines


async def _measure(seconds: float, address: str) -> None:
    arrived: asyncio.Queue[int] = asyncio.Queue()

    def receive(_: int, messages: Sequence[pb.GroupMessage]) -> None:
        for message in messages:
            arrived.put_nowait(message.message.log_index)

    peers, server = await _peers(1, receive)
    running = asyncio.create_task(peers.run())
    peers.know(2, address)
    while peers.connected_at(2) is None:  # noqa: ASYNC110 -- there is no event of it
        await asyncio.sleep(0.01)

    async def there_and_back() -> None:
        peers.send(2, _message(1, 2, 1))
        await arrived.get()

    await _print_round_trips("peers", seconds, there_and_back)
    for name, data in (("small messages", b""), (f"appends of {_ENTRY >> 10} KiB", b"x" * _ENTRY)):
        count = await _flood(seconds, lambda data=data: peers.send(2, _message(1, 2, 1, data)), arrived)  # type: ignore[misc]
        size = count * len(data) / (1 << 20)
        print(f"peers: {count / seconds:9.0f} {name}/s answered, {_WINDOW} under way, {size / seconds:.0f} MiB/s")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await server.stop(0)


async def _measure_plain(seconds: float, address: str) -> None:
    frame = pb.RaftFrame(messages=[_message(1, 2, 1)]).SerializeToString()
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.stream_stream("/bench/Echo")()

        async def there_and_back() -> None:
            await call.write(frame)
            await call.read()

        await _print_round_trips("plain stream", seconds, there_and_back)


async def _print_round_trips(name: str, seconds: float, there_and_back: Callable[[], Awaitable[None]]) -> None:
    for _ in range(_WARM_UP):
        await there_and_back()
    times = []
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        await there_and_back()
        times.append((time.perf_counter() - began) * 1e6)
    times.sort()
    middle, late = statistics.median(times), times[int(len(times) * 0.99)]
    print(f"{name}: round trip of a small message: median {middle:.0f} us, 99 % {late:.0f} us, {len(times)} of them")


async def _flood(seconds: float, send: Callable[[], None], arrived: "asyncio.Queue[int]") -> int:
    for _ in range(_WINDOW):
        send()
    count = 0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        await arrived.get()
        send()
        count += 1
    for _ in range(_WINDOW):
        await arrived.get()
    return count


def main() -> None:
    """Measure both."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    for serve, measure in ((_serve_plain, _measure_plain), (_serve_peers, _measure)):
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        child = multiprocessing.get_context("spawn").Process(target=_child, args=(serve, theirs), daemon=True)
        child.start()
        asyncio.run(measure(seconds, ours.recv()))
        child.kill()


if __name__ == "__main__":
    main()
