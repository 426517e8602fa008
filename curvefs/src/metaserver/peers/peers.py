"""The other metaservers: where they are, one stream with each, and the messages of all groups on it.

Of two metaservers the one with the lower id opens the stream and keeps it open: it dials again after a back-off, by
chance, when the stream ends. The other one answers on it. It may be the only one to know of the other (a replica that
joins a group is told nothing of its peers; an address may have changed): when no stream came for a while, it knocks,
which is a stream that says no more than its hello. Who is knocked at dials.

Who proves to be of the cluster is a peer, known before or not. A second stream of a peer replaces the first: the peer
has given that up.

While there is no stream, messages wait for the next one, but not for long: of a time gone by they would say nothing
that Raft does not say again.

Invariants:
    a peer has at most one link; only its keeper dials it
    nothing is handed on from who has not proved itself

Shared across awaits: the table of peers and each Peer, touched between awaits. run() owns the keepers; streams that
others opened are owned by the server's handlers, and end with run().
"""

import asyncio
import random
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any

import structlog

from ....proto import raft_pb2 as pb
from ...common.clock import Clock
from ...common.errors import Unavailable
from ...rpc.asyncio_peers import FrameTooLarge, PeerStream, StreamEnded, StreamRefused, dialled, serving
from ...rpc.backoff import pause_s
from ..identity import Identity
from .hello import Reason, Refused, check_hello, make_hello, source_of
from .link import Ends, Link, parse
from .metrics import PeerMetrics
from .outbox import Fate, Outbox
from .peer import Peer
from .seldom import Seldom
from .settings import PeerSettings

_log = structlog.get_logger()

# Streams that have not proved themselves yet.
_STRANGERS_MAX = 64

Receive = Callable[[int, Sequence[pb.GroupMessage]], None]


class Peers:
    """See the module. ``servicer`` is to be given to start_server().

    identity: who this metaserver is, also before it is registered. address: where it listens, as others are to dial it.
    receive: called on the event loop with a peer's id and the messages of a frame; what it raises ends run(). jitter:
    returns a number in [0, 1), another one each time.
    """

    def __init__(
        self,
        identity: Callable[[], Identity],
        address: Callable[[], str],
        receive: Receive,
        *,
        clock: Clock,
        metrics: PeerMetrics,
        settings: PeerSettings | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._identity = identity
        self._address = address
        self._receive = receive
        self._clock = clock
        self._metrics = metrics
        self._settings = settings or PeerSettings()
        self._jitter = jitter
        self._seldom = Seldom(self._settings.log_interval_s)
        self._peers: dict[int, Peer] = {}
        self._strangers = 0
        self._keepers: asyncio.TaskGroup | None = None  # while run() does
        self._failure: Exception | None = None
        self._failed = asyncio.Event()
        self.servicer = serving(self._accept)

    # ------------------------------------------------------------------------------------------ for groups

    def send(self, to_id: int, message: pb.GroupMessage) -> None:
        """Send a message, or drop it: when there is no such peer, no stream for a while, no room. Never waits."""
        peer = self._peers.get(to_id)
        if peer is None:
            self._metrics.messages_dropped.labels("unknown_peer").inc()
            return
        if peer.link is None:
            self._drop_stale(peer)
        fate = peer.outbox.put(message)
        if fate is not Fate.TAKEN:
            self._metrics.messages_dropped.labels(fate.name.lower()).inc()
            if self._seldom.allows((fate, to_id), self._clock.boottime_s()):
                why = "too much waits" if fate is Fate.FULL else "too large for a frame"
                _log.warning("messages to a peer are dropped", peer=to_id, group=message.group_id, reason=why)
        elif peer.link is not None:
            peer.link.wake()

    def address_of(self, peer_id: int) -> str:
        """Return where a peer is to be dialled; empty when that is unknown."""
        peer = self._peers.get(peer_id)
        return peer.address if peer else ""

    def heard_at(self, peer_id: int) -> float | None:
        """Return the boot time of the last frame from a peer; None: never."""
        peer = self._peers.get(peer_id)
        return peer.heard_at if peer else None

    def connected_at(self, peer_id: int) -> float | None:
        """Return the boot time at which the present stream with a peer began; None: there is none.

        A peer that was restarted is heard again at once, but knows nothing of what it promised before: who relies on
        its being alive compares this, too.
        """
        peer = self._peers.get(peer_id)
        return peer.connected_at if peer and peer.link else None

    def clock_offset_ns(self, peer_id: int) -> int | None:
        """Return how far a peer's clock was ahead of ours at its last hello; None: unknown."""
        peer = self._peers.get(peer_id)
        return peer.clock_offset_ns if peer else None

    def clock_offsets_ns(self) -> list[int]:
        """Return how far the clocks of the peers with a stream were ahead of ours at their last hellos."""
        return [peer.clock_offset_ns for peer in self._peers.values() if peer.link and peer.clock_offset_ns is not None]

    # ---------------------------------------------------------------------------------------- address book

    def know(self, peer_id: int, address: str) -> None:
        """Keep a stream with this peer. Another address than last time: reconnect there."""
        if peer_id in {0, self._identity().metaserver_id}:
            return
        peer = self._peers.get(peer_id)
        if peer is None:
            peer = self._add(peer_id, address)
        elif peer.told != address:
            self._move(peer, address)
        peer.told = address
        peer.noted_at = self._clock.boottime_s()

    def forget_others(self, needed: Collection[int]) -> None:
        """Forget who is not needed, has no stream, and was neither named nor heard for a while: it may be gone.

        Who is there after all comes again, or is named again.
        """
        since = self._clock.boottime_s() - self._settings.forget_after_s
        for peer in list(self._peers.values()):
            if peer.id not in needed and peer.link is None and max(peer.noted_at, peer.heard_at or 0.0) < since:
                _log.info("a peer is forgotten", peer=peer.id, address=peer.address)
                self.forget(peer.id)

    def forget(self, peer_id: int) -> None:
        """Keep no stream with this peer any more, and end the one there is."""
        peer = self._peers.pop(peer_id, None)
        if peer is None:
            return
        if peer.keeper is not None:
            peer.keeper.cancel()
        if peer.link is not None:
            peer.link.stop("the peer is not needed any more")
        self._metrics.messages_dropped.labels("unknown_peer").inc(peer.outbox.clear())

    async def run(self) -> None:
        """Keep streams with the peers that are known, until cancelled. Raises what ``receive`` raised, in a group."""
        async with asyncio.TaskGroup() as keepers:
            self._keepers = keepers
            try:
                for peer in self._peers.values():
                    self._start_keeper(peer)
                await self._failed.wait()
                assert self._failure is not None, "that is what failed"
                raise self._failure
            finally:
                self._keepers = None
                for peer in self._peers.values():
                    if peer.link is not None:
                        peer.link.stop("the metaserver stops")

    def _add(self, peer_id: int, address: str) -> Peer:
        settings = self._settings
        outbox = Outbox(
            frame_size=settings.frame_size,
            message_size_max=settings.frame_size_max,
            buffer_size=settings.buffer_size,
        )
        peer = self._peers[peer_id] = Peer(peer_id, address, outbox, noted_at=self._clock.boottime_s())
        peer.unlinked.set()
        self._start_keeper(peer)
        return peer

    def _move(self, peer: Peer, address: str) -> None:
        """Dial the peer elsewhere from now on, at once."""
        if peer.address == address:
            return
        peer.address = address
        if peer.keeper is not None:
            peer.keeper.cancel()
            self._start_keeper(peer)

    def _start_keeper(self, peer: Peer) -> None:
        if self._keepers is not None:
            peer.keeper = self._keepers.create_task(self._keep(peer), name=f"peer {peer.id}")

    def _drop_stale(self, peer: Peer) -> None:
        """Without a stream: begin anew when what waits has waited long enough."""
        now = self._clock.boottime_s()
        if now - peer.waiting_since > self._settings.linger_s:
            peer.waiting_since = now
            self._metrics.messages_dropped.labels("no_stream").inc(peer.outbox.clear())

    # --------------------------------------------------------------------------------------------- dialling

    async def _keep(self, peer: Peer) -> None:
        """Dial the peer, or knock at it, whenever there is no stream."""
        settings = self._settings
        failures = 0
        while True:
            me = self._identity()
            if me.metaserver_id == peer.id:
                return  # known before we knew ourselves
            if not _is_ready(me):
                await self._pause(failures, settings.backoff_first_s)
            elif me.metaserver_id < peer.id:
                began_at = self._clock.boottime_s()
                await self._try(peer, self._dial(peer, me))
                if self._clock.boottime_s() - began_at > settings.backoff_max_s:
                    failures = 0
                await self._pause(failures, settings.backoff_first_s)
            else:
                if peer.link is not None:
                    await peer.unlinked.wait()
                    failures = 0
                await self._pause(failures, settings.knock_delay_s)
                if peer.link is None:
                    await self._try(peer, self._knock(peer, me))
            failures += 1

    async def _pause(self, failures: int, first_s: float) -> None:
        await asyncio.sleep(pause_s(failures, self._jitter, first_s=first_s, max_s=self._settings.backoff_max_s))

    async def _try(self, peer: Peer, attempt: Coroutine[Any, Any, None]) -> None:
        try:
            await attempt
        except Refused as refused:
            self._note_refusal(refused, peer.address, peer.address)
        except (StreamRefused, FrameTooLarge) as error:
            if self._may_log(type(error), peer.id):
                _log.warning("a peer ended the stream", peer=peer.id, address=peer.address, reason=str(error))
        except Unavailable as error:
            if not peer.is_away:
                peer.is_away = True
                _log.info("a peer is away", peer=peer.id, address=peer.address, reason=str(error))

    async def _dial(self, peer: Peer, me: Identity) -> None:
        async with dialled(
            peer.address,
            frame_size_max=self._settings.frame_size_max,
            deadline_s=self._settings.connect_deadline_s,
        ) as stream:
            try:
                async with asyncio.timeout(self._settings.hello_deadline_s):
                    await stream.write(self._frame_of_hello(me, peer.id))
                    hello = await self._read_hello(stream, me)
            except TimeoutError as error:
                raise Unavailable("no hello came in time") from error
            self._check_source(hello, peer.id)
            await self._carry(peer, stream, hello, me)

    async def _knock(self, peer: Peer, me: Identity) -> None:
        """Say that we are here; the peer ends the stream."""
        async with dialled(
            peer.address,
            frame_size_max=self._settings.frame_size_max,
            deadline_s=self._settings.connect_deadline_s,
        ) as stream:
            try:
                async with asyncio.timeout(self._settings.hello_deadline_s):
                    await stream.write(self._frame_of_hello(me, peer.id))
                    await stream.read()
            except TimeoutError as error:
                raise Unavailable("the peer does not answer a knock") from error
            except StreamEnded:
                return

    # -------------------------------------------------------------------------------------------- answering

    async def _accept(self, stream: PeerStream) -> None:
        """Answer on a stream that another metaserver opened. Raises what it is told at the end."""
        try:
            await self._answer(stream)
        except Refused as refused:
            host, _, _ = stream.remote.rpartition(":")
            self._note_refusal(refused, stream.remote, host)
            raise StreamRefused(str(refused)) from refused

    async def _answer(self, stream: PeerStream) -> None:
        me = self._identity()
        if self._keepers is None or not _is_ready(me):
            raise Unavailable("this metaserver is not ready yet, or stops")
        if self._strangers >= _STRANGERS_MAX:
            raise Refused(Reason.TOO_MANY, "too many streams without a hello")
        self._strangers += 1
        try:
            async with asyncio.timeout(self._settings.hello_deadline_s):
                hello = await self._read_hello(stream, me)
                source = source_of(hello)
                if source < me.metaserver_id:
                    await stream.write(self._frame_of_hello(me, source))
        except TimeoutError as error:
            raise Refused(Reason.NO_HELLO, "no hello came in time") from error
        finally:
            self._strangers -= 1
        peer = self._peers.get(source) or self._add(source, hello.address)
        peer.noted_at = self._clock.boottime_s()
        if source > me.metaserver_id:
            self._move(peer, hello.address)
        else:
            peer.address = hello.address
            await self._carry(peer, stream, hello, me)

    # ---------------------------------------------------------------------------------------------- both

    async def _carry(self, peer: Peer, stream: PeerStream, hello: pb.PeerHello, me: Identity) -> None:
        """Carry messages on a stream until it ends. Raises as Link.run()."""

        def on_heard(now: float) -> None:
            peer.heard_at = now

        def on_hello(again: pb.PeerHello) -> None:
            check_hello(again, me)
            self._check_source(again, peer.id)
            self._note_clock(peer, again)

        ends = Ends(
            me.metaserver_id,
            peer.id,
            hello=lambda: self._hello(me, peer.id),
            on_hello=on_hello,
            on_heard=on_heard,
            deliver=lambda messages: self._deliver(peer.id, messages),
        )
        link = Link(stream, ends, peer.outbox, settings=self._settings, clock=self._clock, metrics=self._metrics)
        self._drop_stale(peer)
        if peer.link is not None:
            peer.link.stop("a newer stream replaced it")
        if peer.connected_at is not None:
            self._metrics.reconnects.inc()
        peer.link = link
        peer.is_away = False
        peer.heard_at = peer.connected_at = self._clock.boottime_s()
        peer.unlinked.clear()
        self._note_clock(peer, hello)
        self._metrics.streams.inc()
        _log.info("a peer is connected", peer=peer.id, address=stream.remote)
        why = "cancelled"
        try:
            await link.run()
        except Exception as error:
            why = str(error)
            raise
        finally:
            self._metrics.streams.dec()
            if peer.link is link:
                peer.link = None
                peer.waiting_since = self._clock.boottime_s()
                peer.unlinked.set()
            _log.info("a peer is disconnected", peer=peer.id, address=stream.remote, reason=why)

    def _deliver(self, from_id: int, messages: list[pb.GroupMessage]) -> None:
        try:
            self._receive(from_id, messages)
        except Exception as error:
            self._failure = error
            self._failed.set()
            raise Unavailable("this metaserver failed") from error

    async def _read_hello(self, stream: PeerStream, me: Identity) -> pb.PeerHello:
        """Return the checked hello that a stream begins with. Raises Refused."""
        frame = parse(await stream.read(), self._settings.frame_size_max)
        if not frame.HasField("hello") or frame.messages:
            raise Refused(Reason.NO_HELLO, "the stream does not begin with a hello")
        check_hello(frame.hello, me)
        return frame.hello

    def _check_source(self, hello: pb.PeerHello, peer_id: int) -> None:
        if source_of(hello) != peer_id:
            raise Refused(Reason.FROM, f"metaserver {source_of(hello)} answers where {peer_id} is expected")

    def _hello(self, me: Identity, to: int) -> pb.PeerHello:
        return make_hello(me, to, time_ns=self._clock.time_ns(), address=self._address())

    def _frame_of_hello(self, me: Identity, to: int) -> bytes:
        return pb.RaftFrame(hello=self._hello(me, to)).SerializeToString()

    def _note_clock(self, peer: Peer, hello: pb.PeerHello) -> None:
        peer.clock_offset_ns = hello.time_ns - self._clock.time_ns()

    def _note_refusal(self, refused: Refused, remote: str, who: str) -> None:
        """Count and log it. who: what stays the same when the same one tries again."""
        self._metrics.refused.labels(refused.reason).inc()
        if self._may_log(refused.reason, who):
            _log.warning("a peer was refused", address=remote, reason=str(refused))

    def _may_log(self, *key: object) -> bool:
        return self._seldom.allows(key, self._clock.boottime_s())


def _is_ready(me: Identity) -> bool:
    return bool(me.metaserver_id and me.session_secret)
