"""One metaserver: its parts put together, brought up in order, and taken down in order.

Up: data folder, groups (recovered from log and state), the port, registration, and then it is ready. It serves from
the moment it listens; a restarted one knows who it is, and the cluster's secret, from its identity. Down: streams
answer what is under way and end, background work is cancelled, groups are closed cleanly, folder. Background work has
one owner, the task group in serve().
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from ...proto.copyset_pb2_grpc import add_CopysetServiceServicer_to_server
from ...proto.files_pb2_grpc import add_FilesServiceServicer_to_server
from ...proto.metaserver_pb2_grpc import add_MetaServerServiceServicer_to_server
from ...proto.reclaim_pb2_grpc import add_ReclaimServiceServicer_to_server
from ..common.addresses import parse_address, parse_addresses
from ..common.clock import Clock
from ..common.errors import StartupError
from ..process.data_folder import METASERVER, DataFolder
from ..process.metrics_page import MetricsPage
from ..raft.state import Settings as RaftSettings
from ..rpc.asyncio_client import AsyncClient
from ..rpc.asyncio_server import AddServicer, start_server
from ..rpc.frames import INSTANCE_SIZE
from .compact.compactor import Compactor
from .compact.service import FilesService
from .config import MetaserverConfig
from .copyset.manager import CopysetManager, CopysetSettings
from .copyset.membership import Membership
from .copyset.service import CopysetService
from .copyset.set_aside import set_damaged_log_aside
from .epochs import Epochs
from .heartbeat import MdsLink
from .metrics import Metrics
from .orders import Orders
from .peers.metrics import PeerMetrics
from .peers.peers import Peers
from .peers.settings import PeerSettings
from .reclaim.reclaimer import Reclaimer
from .reclaim.service import ReclaimService
from .scans import Scans
from .service import MetaServerService
from .session_port import SessionPort
from .transactions.transactions import Transactions
from .trash.purger import TrashPurger
from .wal.segments import LogSettings
from .worker.worker import Worker

_log = structlog.get_logger()

_GRACE_S = 3.0
_LAG_STEP_S = 0.1
_LAG_STEPS = 100
_FORGET_S = 30.0


@dataclass(frozen=True, slots=True)
class World:
    """What a metaserver takes from outside, so that tests can give it another one."""

    clock: Clock
    boot_id: str
    random: Callable[[int], bytes] = os.urandom


def settings_of(config: MetaserverConfig) -> CopysetSettings:
    """Return what the groups are told."""
    return CopysetSettings(
        map_size=config.state_size_bytes_max,
        checkpoint_log_size=config.checkpoint_log_size_bytes,
        log_size_max=config.wal_size_bytes_max,
        log=LogSettings(config.wal_segment_size_bytes, config.disk_reserve_bytes),
        raft=RaftSettings(
            election_timeout_s=config.election_timeout_ms / 1000,
            heartbeat_s=config.election_timeout_ms / 5000,
            lease=config.reads == "lease",
        ),
    )


def peer_settings_of(config: MetaserverConfig) -> PeerSettings:
    """Return what the streams between metaservers are told."""
    election_timeout_s = config.election_timeout_ms / 1000
    return PeerSettings(alive_interval_s=election_timeout_s / 5, silence_s=2 * election_timeout_s)


@dataclass(slots=True)
class _Parts:
    """What a metaserver consists of."""

    folder: DataFolder
    epochs: Epochs
    metrics: Metrics
    link: MdsLink
    peers: Peers
    copysets: CopysetManager
    transactions: Transactions
    membership: Membership
    worker: Worker
    reclaimer: Reclaimer
    compactor: Compactor
    purger: TrashPurger
    address: str = ""  # where it listens, once it does


async def serve(config: MetaserverConfig, world: World, stop: asyncio.Event, ready: Callable[[str], None]) -> None:
    """Be a metaserver until ``stop`` is set. ready: called with HOST:PORT once it listens and is registered.

    Raises StartupError when it cannot begin.
    """
    async with contextlib.AsyncExitStack() as stack:
        scans = Scans()
        instance = world.random(INSTANCE_SIZE)
        parts = _put_together(config, world, instance, scans, stack)
        page = MetricsPage(parts.metrics.registry, config.metrics_listen)
        stack.callback(page.close)
        if config.set_damaged_log_aside:
            set_damaged_log_aside(config.data)
        parts.copysets.open()
        secret, me = lambda: parts.link.identity.session_secret, lambda: parts.link.identity.metaserver_id
        sessions = SessionPort(
            parts.copysets,
            instance,
            secret=secret,
            mds_time_ns=parts.link.mds_time_ns,
            metrics=parts.metrics,
            transact=parts.transactions.operate,
        )
        service = MetaServerService(parts.copysets, parts.epochs, sessions)
        groups = CopysetService(parts.copysets, parts.membership, parts.epochs, me)
        services: list[AddServicer] = [
            partial(add_MetaServerServiceServicer_to_server, service),
            partial(add_CopysetServiceServicer_to_server, groups),
            parts.transactions.servicer,
            parts.transactions.quota_servicer,
            partial(add_FilesServiceServicer_to_server, FilesService(parts.transactions.calls)),
            parts.peers.servicer,
            partial(add_ReclaimServiceServicer_to_server, ReclaimService(parts.copysets, scans)),
        ]
        address = parts.folder.address_to_listen(config.listen)
        server = await start_server(address, services)
        parts.address = server.address
        # After the port that is remembered: of those that are free, this must not take that one.
        await sessions.open(f"{parse_address(address)[0]}:{config.session_port}")
        stack.push_async_callback(sessions.stop, 0.0)
        stack.push_async_callback(server.stop, 0.0)
        parts.folder.remember_address(server.address)
        works = [
            parts.copysets.run(),
            parts.peers.run(),
            parts.transactions.run(),
            parts.worker.run(),
            parts.reclaimer.run(),
            parts.compactor.run(),
            parts.purger.run(),
            _watch_lag(parts.metrics),
            _forget_peers(parts.peers, parts.copysets),
            _introduce(parts.link, server.address, page.address, ready),
        ]
        await _run(works, stop)
        _log.info("stopping")
        await sessions.stop(_GRACE_S)
        await server.stop(_GRACE_S)
        await parts.copysets.drain(_GRACE_S)


def _put_together(
    config: MetaserverConfig, world: World, instance: bytes, scans: Scans, stack: contextlib.AsyncExitStack
) -> _Parts:
    """Make the parts; they are closed with the stack. They ask one another for what is known later only."""
    folder = DataFolder(config.data, METASERVER)
    stack.callback(folder.close)
    metrics, epochs = Metrics(), Epochs(folder)
    peers = Peers(
        lambda: parts.link.identity,
        lambda: parts.address,
        lambda from_id, messages: parts.copysets.receive(from_id, messages),  # noqa: PLW0108 -- it is made below
        clock=world.clock,
        metrics=PeerMetrics(metrics.registry),
        settings=peer_settings_of(config),
    )
    copysets = CopysetManager(
        config.data,
        settings_of(config),
        boot_id=world.boot_id,
        clock=world.clock,
        metrics=metrics,
        me=lambda: parts.link.identity.metaserver_id,
        peers=peers,
    )

    def address_of(metaserver_id: int) -> str:
        return parts.address if metaserver_id == parts.link.identity.metaserver_id else peers.address_of(metaserver_id)

    membership = Membership(world.clock, peers.know, address_of)
    orders = Orders(copysets, membership)
    mds = AsyncClient(parse_addresses(config.mds), deadline_s=config.mds_deadline_s)
    stack.push_async_callback(mds.close)
    link = MdsLink(
        mds,
        folder,
        copysets,
        epochs,
        orders,
        clock=world.clock,
        instance=instance,
        server=config.server,
        peer_clocks=peers.clock_offsets_ns,
        know=peers.know,
        interval_ms=config.heartbeat_interval_ms,
        deadline_s=config.mds_deadline_s,
    )
    transactions = Transactions(
        copysets,
        mds,
        lambda: parts.link.identity.session_secret,
        scans=scans,
        clock=world.clock,
        mds_deadline_s=config.mds_deadline_s,
    )
    stack.push_async_callback(transactions.close)
    stack.push_async_callback(copysets.close)
    stack.push_async_callback(orders.close)
    worker = Worker(metrics, log_level=config.log_level, log_json=config.log_json)
    reclaimer = Reclaimer(copysets, transactions.calls, worker, mds, clock=world.clock, metrics=metrics)
    compactor = Compactor(
        copysets,
        worker,
        mds,
        clock=world.clock,
        metrics=metrics,
        bytes_per_s=config.compaction_bytes_per_s,
        key_dir=config.key_dir,
    )
    transactions.answer_with("CompactChunk", compactor.compact_chunk)
    purger = TrashPurger(copysets, mds, clock=world.clock, metrics=metrics)
    parts = _Parts(
        folder, epochs, metrics, link, peers, copysets, transactions, membership, worker, reclaimer, compactor, purger
    )
    return parts


async def _run(works: list[Coroutine[Any, Any, None]], stop: asyncio.Event) -> None:
    """Run the background work until ``stop``. Raises the StartupError that ended one of it."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
            await stop.wait()
            for task in tasks:
                task.cancel()
    except* StartupError as errors:
        raise errors.exceptions[0] from None


async def _introduce(link: MdsLink, address: str, metrics_address: str, ready: Callable[[str], None]) -> None:
    """Register, say so, and go on with heartbeats."""
    await link.register(address, metrics_address)
    _log.info("serving", address=address, metrics=metrics_address)
    ready(address)
    await link.run()


async def _forget_peers(peers: Peers, copysets: CopysetManager) -> None:
    """Keep no streams with metaservers that are in no group here any more: those that were removed never answer."""
    while True:
        await asyncio.sleep(_FORGET_S)
        peers.forget_others({id_ for group in copysets.all() for id_ in group.raft.log.configuration.members})


async def _watch_lag(metrics: Metrics) -> None:
    """Measure how much later than asked for the event loop comes back: its longest step, of the last 10 s."""
    loop = asyncio.get_running_loop()
    while True:
        longest = 0.0
        for _ in range(_LAG_STEPS):
            due = loop.time() + _LAG_STEP_S
            await asyncio.sleep(_LAG_STEP_S)
            longest = max(longest, loop.time() - due)
            metrics.lag_seconds.set(longest)
