"""One MDS while it serves: its managers put together over a state that is loaded, for one term (terms.py).

Background work has one owner, the task group in run().
"""

import asyncio
import os
import random as random_module
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from ..common.clock import Clock
from ..common.errors import CurveFSError
from ..object.protocol import ObjectStore
from .calls import Calls
from .config import MdsConfig
from .filesystems import Filesystems
from .fleet import Fleet
from .heartbeat.handler import Heartbeats
from .heartbeat.reports import Reports
from .heartbeat.service import HeartbeatService
from .late_objects import LateObjects
from .metrics import Metrics
from .object_stores import ObjectStores
from .recovery.recovery import Recovery
from .schedule.controller import Controller
from .schedule.fleet_view import FleetView
from .schedule.operators import Limits, Scheduler
from .schedule.scheduling import Scheduling
from .schedule.service import ScheduleService
from .schedule.switches import Switches
from .service import Identity, MdsService
from .sessions import Sessions
from .state import State
from .topology.copysets import Copysets
from .topology.duties import Duties
from .topology.health import HealthLimits
from .topology.places import Places
from .topology.registration import Registration
from .topology.service import TopologyService
from .topology.views import Views

_log = structlog.get_logger()
_TICK_S = 1.0
_SILENT_S, _BEATS_MISSED = 10.0, 3


@dataclass(frozen=True, slots=True)
class World:
    """What an MDS takes from outside, so that tests can give it another one."""

    clock: Clock
    open_store: Callable[..., ObjectStore]
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
        self.places = Places(state, replica_count=config.replica_count)
        self.views = Views(state, self.reports, self.places, clock, limits)
        self.recovery = Recovery(state, self.reports, clock, lease_ms=config.session_lease_ms)
        self.fleet = Fleet(state.authority.epoch, deadline_s=config.metaserver_deadline_s)
        fleet_view = self._view_fleet(config, clock)
        self.copysets = Copysets(
            state,
            self.reports,
            self.views,
            self.fleet,
            fleet_view,
            places=self.places,
            per_metaserver=config.copysets_per_metaserver,
            per_copyset=config.partitions_per_copyset,
            random=world.random,
        )
        self.registration = Registration(
            state,
            self.reports,
            self.copysets,
            self.places,
            self.recovery,
            clock=clock,
            limits=limits,
            random_bytes=world.random_bytes,
        )
        self.duties = Duties(state, self.reports, self.views, self.places, fleet_view)
        self.sessions = Sessions(
            state,
            self.reports,
            self.views,
            self.fleet,
            self.recovery,
            clock=clock,
            lease_ms=config.session_lease_ms,
            retention_s=config.writeback_retention_s,
            count_max=config.sessions_max,
            random_bytes=world.random_bytes,
            random=world.random,
        )
        stores = _object_stores(config, world)
        self.late_objects = LateObjects(state, self.reports, stores, metrics, clock=clock, random=world.random)
        self.filesystems = self._keep_filesystems(config, world, stores)
        self.scheduling = self._schedule(config, world, fleet_view)
        self.switches = Switches(state, self.scheduling.controller, _configured(config))
        self.heartbeats = Heartbeats(
            state,
            self.reports,
            self.registration,
            self.copysets,
            self.views,
            recovery=self.recovery,
            scheduling=self.scheduling,
            endings=self.sessions.endings,
            clock=clock,
            over_among=self.sessions.over_among,
            interval_ms=config.heartbeat_interval_ms,
            orders_after_s=config.orders_after_s,
        )
        self.services: dict[str, Any] = self._serve(clock)
        self.filesystems.resume()

    def _keep_filesystems(self, config: MdsConfig, world: World, stores: ObjectStores) -> Filesystems:
        return Filesystems(
            self.state,
            self.views,
            self.copysets,
            self.fleet,
            stores,
            late=self.late_objects,
            recovery=self.recovery,
            clock=world.clock,
            count_max=config.filesystems_max,
            partition_count=config.partition_count,
            random_bytes=world.random_bytes,
            random=world.random,
        )

    def _view_fleet(self, config: MdsConfig, clock: Clock) -> FleetView:
        return FleetView(
            self.state,
            self.reports,
            self.views,
            clock,
            places=self.places,
            replica_count=config.replica_count,
            cooling_s=config.leader_cooling_s,
        )

    def _schedule(self, config: MdsConfig, world: World, fleet_view: FleetView) -> Scheduling:
        random = random_module.Random(world.random())  # noqa: S311 -- spreads, and hides nothing
        return Scheduling(
            Controller(Limits(), random),
            fleet_view,
            self.reports,
            self.views,
            world.clock,
            interval_s=config.schedule_interval_s,
            not_before_s=world.clock.boottime_s() + config.orders_after_s,
        )

    def _serve(self, clock: Clock) -> dict[str, Any]:
        """Return the services by name."""
        calls, state = self.calls, self.state
        mds = MdsService(
            calls,
            state,
            self.filesystems,
            self.sessions,
            views=self.views,
            recovery=self.recovery,
            identity=self.identity,
            clock=clock,
        )
        return {
            "MdsService": mds,
            "TopologyService": TopologyService(
                calls, state, self.registration, self.views, self.places, recovery=self.recovery
            ),
            "HeartbeatService": HeartbeatService(calls, self.heartbeats),
            "ScheduleService": ScheduleService(
                calls, self.scheduling, self.switches, self.duties, recovery=self.recovery, clock=clock
            ),
        }

    async def run(self) -> None:
        """Do the background work until cancelled; in recovery only what learns."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.recovery.run(), name="recovery")
            group.create_task(self.copysets.memberships.run(), name="memberships")
            group.create_task(self._keep_house(), name="housekeeping")
            await self.recovery.over()
            group.create_task(self.copysets.creations.run(), name="copysets")
            group.create_task(self.sessions.endings.run(), name="endings")
            group.create_task(self.filesystems.removals.run(), name="removals")
            group.create_task(self.late_objects.sweeps.run(), name="sweeps")
            group.create_task(self.scheduling.run(), name="scheduling")

    async def tick(self) -> None:
        """Do what time makes necessary; about once a second."""
        try:
            await self.recovery.advance()
            if self.recovery.active:
                self.sessions.keep_all()
            else:
                await self.sessions.expire()
                await self.copysets.plan()
                await self.duties.remove_done()
                self.late_objects.begin_due()
        except CurveFSError as error:
            _log.error("the MDS could not write down what has become due", reason=str(error))
        self.metrics.observe(self.state, self.views)

    @property
    def holds(self) -> bool:
        """Return whether this term goes on."""
        return self.state.authority.holds

    async def _keep_house(self) -> None:
        while True:
            await self.tick()
            await asyncio.sleep(_TICK_S)


def _object_stores(config: MdsConfig, world: World) -> ObjectStores:
    return ObjectStores(
        world.open_store,
        world.check_store,
        check_deadline_s=config.store_check_deadline_s,
        objects_per_s=config.delete_objects_per_s,
    )


def _configured(config: MdsConfig) -> dict[Scheduler, bool]:
    return {
        Scheduler.RECOVER: config.schedule_recover,
        Scheduler.COPYSET_BALANCE: config.schedule_copyset_balance,
        Scheduler.LEADER_BALANCE: config.schedule_leader_balance,
    }
