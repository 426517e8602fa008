"""One attempt at a session stream: frames out, frames in, an end. Implemented by gRPC's blocking stream under trio.

A thread of its own reads frames and hands them to the event loop; sending is a put into a queue that gRPC drains. That
costs about 190 us a round trip, half of a unary call.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

import grpc
import trio

from ...proto import metaserver_pb2 as pb
from ...proto import metaserver_pb2_grpc
from .replies import CHANNEL_OPTIONS

Deliver = Callable[[pb.ServerFrame], None]


class Connection(Protocol):
    """A stream to one metaserver. It may take its time to come about, or never do so; either way it can be sent to."""

    ended: trio.Event  # set when no frame will come any more

    def send(self, frame: pb.ClientFrame) -> None:
        """Queue a frame."""
        ...

    def close(self) -> None:
        """End it; nothing is delivered any more."""
        ...


# Opens a connection to an address. Frames are delivered by calls from the event loop.
Connect = Callable[[str, Deliver], Connection]


class GrpcConnection:
    """A channel, a request queue that gRPC drains, and a thread that reads the answers. Made under trio."""

    def __init__(self, address: str, deliver: Deliver) -> None:
        self.ended = trio.Event()
        self._deliver: Deliver | None = deliver
        self._token = trio.lowlevel.current_trio_token()
        self._requests: queue.SimpleQueue[pb.ClientFrame | None] = queue.SimpleQueue()
        self._channel = grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
        stub = metaserver_pb2_grpc.MetaServerServiceStub(self._channel)  # type: ignore[no-untyped-call]  # generated
        self._call = stub.Session(iter(self._requests.get, None))
        self._thread = threading.Thread(target=self._read, args=(self._call,), name=f"stream {address}", daemon=True)
        self._thread.start()

    def send(self, frame: pb.ClientFrame) -> None:
        """Queue a frame; gRPC's own thread writes it."""
        self._requests.put(frame)

    def close(self) -> None:
        """End the call and its thread; frames that still come are dropped."""
        self._deliver = None
        self._requests.put(None)
        self._call.cancel()
        # Closing waits for gRPC's threads; not the event loop's business.
        threading.Thread(target=self._channel.close, daemon=True).start()

    def _read(self, frames: Iterator[pb.ServerFrame]) -> None:
        # RpcError: the reason does not matter, the owner reconnects. RunFinishedError: nobody is left to tell.
        with contextlib.suppress(trio.RunFinishedError):
            with contextlib.suppress(grpc.RpcError):
                for frame in frames:
                    self._token.run_sync_soon(self._on_frame, frame)
            self._token.run_sync_soon(self.ended.set)

    def _on_frame(self, frame: pb.ServerFrame) -> None:
        if self._deliver is not None:
            self._deliver(frame)
