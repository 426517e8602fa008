"""One MDS: its parts put together, brought up in order, and taken down in order.

Up: data folder, store, authority, state, managers, then the port. Down: no new calls, those under way end, background
work is cancelled, connections, store, folder. Background work has one owner, the task group in serve().

An MDS that lost its authority (another one serves, or the outcome of a write is unknown) ends; whoever supervises it
starts it again, and it begins from what the store holds.
"""

import asyncio
import contextlib
import os
import random as random_module
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog

from ...proto.heartbeat_pb2_grpc import add_HeartbeatServiceServicer_to_server
from ...proto.mds_pb2_grpc import add_MdsServiceServicer_to_server
from ...proto.topology_pb2_grpc import add_TopologyServiceServicer_to_server
from ..common.clock import Clock
from ..common.errors import CurveFSError, StartupError, VersionUnsupported
from ..common.exits import ExitCode
from ..object.protocol import ObjectStore
from ..process.data_folder import DataFolder
from ..process.metrics_page import MetricsPage
from ..rpc.asyncio_server import AsyncServer, start_server
from .authority import begin_serving
from .calls import Calls
from .config import MdsConfig
from .filesystems import Filesystems
from .fleet import Fleet
from .heartbeat.handler import Heartbeats
from .heartbeat.reports import Reports
from .heartbeat.service import HeartbeatService
from .metrics import Metrics
from .object_stores import ObjectStores
from .schedule.controller import Controller
from .schedule.fleet_view import FleetView
from .schedule.operators import Limits, Scheduler
from .schedule.scheduling import Scheduling
from .service import Identity, MdsService
from .sessions import Sessions
from .state import State
from .storage.lmdb_store import LmdbStore
from .topology.copysets import Copysets
from .topology.health import HealthLimits
from .topology.registration import Registration
from .topology.service import TopologyService
from .topology.views import Views

_log = structlog.get_logger()
_TICK_S = 1.0
_GRACE_S = 3.0
_SILENT_S, _BEATS_MISSED = 10.0, 3


@dataclass(frozen=True, slots=True)
class World:
    """What an MDS takes from outside, so that tests can give it another one."""

    clock: Clock
    open_store: Callable[[str], ObjectStore]
    check_store: Callable[[ObjectStore], None]
    random_bytes: Callable[[int], bytes] = os.urandom
    random: Callable[[], float] = random_module.random


class Mds:
    """The managers of one serving MDS, over a state that is loaded."""

    def __init__(self, state: State, config: MdsConfig, world: World, metrics: Metrics, identity: Identity) -> None:
        clock = world.clock
        self.state = state
        self.metrics = metrics
        self.identity = identity
        self.calls = Calls(state.authority.epoch, metrics)
        self.reports = Reports(clock.boottime_s())
        silent_after_s = max(_SILENT_S, _BEATS_MISSED * config.heartbeat_interval_ms / 1000)
        limits = HealthLimits(config.unstable_after_s, config.offline_after_s, silent_after_s)
        self.views = Views(state, self.reports, clock, limits)
        self.fleet = Fleet(state.authority.epoch, deadline_s=config.metaserver_deadline_s)
        stores = ObjectStores(
            world.open_store,
            world.check_store,
            check_deadline_s=config.store_check_deadline_s,
            objects_per_s=config.delete_objects_per_s,
        )
        fleet_view = self._view_fleet(config, clock)
        self.copysets = Copysets(
            state,
            self.reports,
            self.views,
            self.fleet,
            fleet_view,
            replica_count=config.replica_count,
            per_metaserver=config.copysets_per_metaserver,
            per_copyset=config.partitions_per_copyset,
            random=world.random,
        )
        self.registration = Registration(
            state, self.reports, self.copysets, clock=clock, random_bytes=world.random_bytes
        )
        self.sessions = Sessions(
            state,
            self.views,
            self.fleet,
            clock=clock,
            lease_ms=config.session_lease_ms,
            count_max=config.sessions_max,
            random_bytes=world.random_bytes,
            random=world.random,
        )
        self.filesystems = Filesystems(
            state,
            self.views,
            self.copysets,
            self.fleet,
            stores,
            clock=clock,
            count_max=config.filesystems_max,
            partition_count=config.partition_count,
            random_bytes=world.random_bytes,
            random=world.random,
        )
        self.scheduling = Scheduling(
            _controller(config, world),
            fleet_view,
            self.reports,
            self.views,
            clock,
            interval_s=config.schedule_interval_s,
            not_before_s=clock.boottime_s() + config.orders_after_s,
        )
        self.heartbeats = Heartbeats(
            state,
            self.reports,
            self.registration,
            self.copysets,
            self.views,
            scheduling=self.scheduling,
            endings=self.sessions.endings,
            clock=clock,
            is_over=self.sessions.is_over,
            interval_ms=config.heartbeat_interval_ms,
            orders_after_s=config.orders_after_s,
        )
        self._clock = clock
        self.filesystems.resume()

    def _view_fleet(self, config: MdsConfig, clock: Clock) -> FleetView:
        return FleetView(
            self.state,
            self.reports,
            self.views,
            clock,
            replica_count=config.replica_count,
            zone_of=lambda _: 0,
            retires=lambda record: record.retired,
            cooling_s=config.leader_cooling_s,
        )

    async def run(self) -> None:
        """Do the background work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.copysets.creations.run(), name="copysets")
            group.create_task(self.copysets.memberships.run(), name="memberships")
            group.create_task(self.sessions.endings.run(), name="endings")
            group.create_task(self.filesystems.removals.run(), name="removals")
            group.create_task(self._keep_house(), name="housekeeping")
            group.create_task(self.scheduling.run(), name="scheduling")

    async def tick(self) -> None:
        """Do what time makes necessary; about once a second."""
        try:
            await self.sessions.expire()
            await self.copysets.plan()
        except CurveFSError as error:
            _log.error("the MDS could not write down what has become due", reason=str(error))
        self.metrics.observe(self.state, self.views)

    async def listen(self, address: str) -> AsyncServer:
        """Serve on HOST:PORT. Raises StartupError (ADDRESS_IN_USE)."""
        service = MdsService(
            self.calls,
            self.state,
            self.filesystems,
            self.sessions,
            views=self.views,
            identity=self.identity,
            clock=self._clock,
        )
        topology = TopologyService(self.calls, self.state, self.registration, self.views)
        heartbeat = HeartbeatService(self.calls, self.heartbeats)
        server = await start_server(
            address,
            [
                partial(add_MdsServiceServicer_to_server, service),
                partial(add_TopologyServiceServicer_to_server, topology),
                partial(add_HeartbeatServiceServicer_to_server, heartbeat),
            ],
        )
        self.identity.address = server.address
        return server

    async def _keep_house(self) -> None:
        while True:
            await self.tick()
            await asyncio.sleep(_TICK_S)


def _controller(config: MdsConfig, world: World) -> Controller:
    controller = Controller(Limits(), random_module.Random(world.random()))  # noqa: S311 -- spreads, and hides nothing
    controller.switch(Scheduler.RECOVER, on=config.schedule_recover)
    controller.switch(Scheduler.COPYSET_BALANCE, on=config.schedule_copyset_balance)
    controller.switch(Scheduler.LEADER_BALANCE, on=config.schedule_leader_balance)
    return controller


async def serve(config: MdsConfig, world: World, stop: asyncio.Event, ready: Callable[[str], None]) -> None:
    """Be an MDS until ``stop`` is set. ready: called with HOST:PORT once it listens.

    Raises StartupError when it cannot begin, and with FAILED when its authority is lost.
    """
    async with contextlib.AsyncExitStack() as stack:
        folder = DataFolder(config.data)
        stack.callback(folder.close)
        store = LmdbStore(folder.path / "kv", world.clock, size_bytes_max=config.kv_size_bytes_max)
        stack.push_async_callback(store.close)
        state = await _load_state(store, world)
        metrics = Metrics()
        page = MetricsPage(metrics.registry, config.metrics_listen)
        stack.callback(page.close)
        identity = Identity(folder.server_id, world.clock.time_ns(), page.address)
        mds = Mds(state, config, world, metrics, identity)
        stack.push_async_callback(mds.fleet.close)
        server = await mds.listen(folder.address_to_listen(config.listen))
        stack.push_async_callback(server.stop, 0.0)
        folder.remember_address(server.address)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(mds.run(), name="background"),
                group.create_task(_expire_leases(store), name="leases"),
            ]
            _log.info("serving", address=server.address, epoch=state.authority.epoch, metrics=page.address)
            ready(server.address)
            reason = await _stopped_or_lost(stop, state)
            _log.info("stopping", reason=reason or "asked to")
            await server.stop(_GRACE_S)
            await mds.calls.finish(_GRACE_S)
            for task in tasks:
                task.cancel()
        if reason:
            raise StartupError(f"this MDS no longer serves: {reason}", ExitCode.FAILED)


async def _load_state(store: LmdbStore, world: World) -> State:
    try:
        return await State.load(await begin_serving(store, world.random_bytes))
    except VersionUnsupported as error:
        raise StartupError(str(error), ExitCode.DATA_FOLDER) from error
    except CurveFSError as error:
        raise StartupError(f"cannot begin to serve: {error}", ExitCode.FAILED) from error


async def _stopped_or_lost(stop: asyncio.Event, state: State) -> str:
    """Wait for either; return why authority was lost, or nothing."""
    stopped = asyncio.create_task(stop.wait())
    lost = asyncio.create_task(state.authority.lost())
    try:
        await asyncio.wait([stopped, lost], return_when=asyncio.FIRST_COMPLETED)
        return lost.result() if lost.done() else ""
    finally:
        stopped.cancel()
        lost.cancel()


async def _expire_leases(store: LmdbStore) -> None:
    while True:
        try:
            await store.expire()
        except CurveFSError as error:
            _log.error("leases could not be ended", reason=str(error))
        await asyncio.sleep(_TICK_S)
