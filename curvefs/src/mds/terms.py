"""The life of an MDS process: it stands for election, stands by, serves, steps down, and stands again.

Up: data folder, metrics page, store, port, candidacy; once elected: authority, state, managers. Down in reverse. A term
ends when the authority is lost (election.py, authority.py), or when the process is asked to stop; then calls are
answered elsewhere first, those under way end or are cut, background work is cancelled, and last the candidacy is given
up, so that the next MDS may begin at once. Each term begins with a fresh store and what that holds.

What fails before the process was ready ends it with a line. Later it says so in the log and tries again.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import structlog

from ..common.errors import CurveFSError, StartupError, VersionUnsupported
from ..common.exits import ExitCode
from ..process.data_folder import MDS, DataFolder
from ..process.metrics_page import MetricsPage
from .authority import begin_serving, check_cluster
from .config import EMBEDDED, MdsConfig
from .election import Candidacy
from .front import Front
from .metrics import Metrics
from .recovery.recovery import asked_for
from .server import Mds, World
from .service import Identity
from .state import State
from .storage.opening import open_store
from .storage.protocol import KeyValueStore

_log = structlog.get_logger()
_GRACE_S = 3.0
_PAUSE_S = 1.0
# Nobody waits for the end of this one: a slow disk should not depose the only MDS there is.
_EMBEDDED_LEASE_S = 60
_CLUSTER = "cluster"  # remembered in the data folder

T = TypeVar("T")


async def serve(config: MdsConfig, world: World, stop: asyncio.Event, ready: Callable[[str], None]) -> None:
    """Be an MDS until ``stop`` is set. ready: called with HOST:PORT once it serves or stands by.

    Raises StartupError when it cannot begin.
    """
    async with contextlib.AsyncExitStack() as stack:
        alone = "several MDS need etcd as their store" if config.store == EMBEDDED else ""
        folder = DataFolder(config.data, MDS, why_alone=alone)
        stack.callback(folder.close)
        metrics = Metrics()
        page = MetricsPage(metrics.registry, config.metrics_listen)
        stack.callback(page.close)
        identity = Identity(folder.server_id, world.clock.time_ns(), page.address, folder.remembered(_CLUSTER))
        process = _Process(config, world, folder, Front(identity), metrics=metrics, ready=ready)
        await process.run(stop, stack)


class _Process:
    """The parts that outlive a term."""

    def __init__(
        self,
        config: MdsConfig,
        world: World,
        folder: DataFolder,
        front: Front,
        *,
        metrics: Metrics,
        ready: Callable[[str], None],
    ) -> None:
        self._config = config
        self._world = world
        self._folder = folder
        self._front = front
        self._identity = front.identity
        self._metrics = metrics
        self._ready: Callable[[str], None] | None = ready
        self._recover = config.recover  # until a term has begun so

    async def run(self, stop: asyncio.Event, stack: contextlib.AsyncExitStack) -> None:
        """Go from term to term until ``stop``. stack: closes the port in the end."""
        while not stop.is_set():
            try:
                async with contextlib.AsyncExitStack() as term:
                    opening = open_store(self._config, self._folder.path, self._world.clock)
                    store = await _unless(stop, term.enter_async_context(opening))
                    if store is not None:
                        await self._prepare(store, stack)
                        await self._stand(store, stop)
            except StartupError as error:
                if self._ready is not None or error.exit_code is not ExitCode.UNREACHABLE:
                    raise
                _log.error("this MDS cannot stand for election", reason=str(error))
                await _first(stop.wait(), asyncio.sleep(_PAUSE_S))
            except CurveFSError as error:
                if self._ready is not None:
                    raise StartupError(f"cannot begin to serve: {error}", ExitCode.FAILED) from error
                _log.error("this MDS could not serve", reason=str(error))
                await _first(stop.wait(), asyncio.sleep(_PAUSE_S))

    async def _prepare(self, store: KeyValueStore, stack: contextlib.AsyncExitStack) -> None:
        """Make sure that it is the right store; open the port, once."""
        self._remember_cluster(await check_cluster(store, self._identity.cluster_id))
        if not self._identity.address:
            server = await self._front.listen(self._folder.address_to_listen(self._config.listen))
            stack.push_async_callback(server.stop, 0.0)
            self._folder.remember_address(server.address)

    async def _stand(self, store: KeyValueStore, stop: asyncio.Event) -> None:
        """Be a candidate once, and serve if elected."""
        lease_s = _EMBEDDED_LEASE_S if self._config.store == EMBEDDED else self._config.lease_s
        me = self._identity
        candidacy = Candidacy(store, self._world.clock, me.mds_id, me.address, lease_s=lease_s)
        try:
            await _unless(stop, candidacy.stand())
            if stop.is_set():
                return
            self._front.stand_by(candidacy)
            async with asyncio.TaskGroup() as group:
                running = group.create_task(candidacy.run(), name="candidacy")
                await _first(stop.wait(), candidacy.over(), candidacy.observed())
                await _first(stop.wait(), candidacy.over(), candidacy.elected(), self._say_standing_by(candidacy))
                if candidacy.holds and not stop.is_set():
                    await self._serve(candidacy, store, stop)
                if not stop.is_set():
                    _log.warning("stepped down", reason=await candidacy.over())
                running.cancel()
        except BaseExceptionGroup as group_error:
            raise _alone(group_error) from None
        finally:
            self._front.stand_by(None)
            await candidacy.resign()

    async def _say_standing_by(self, candidacy: Candidacy) -> None:
        """Say so, unless this MDS is elected at once; never return."""
        if not candidacy.holds:
            _log.info("standing by", address=self._identity.address, leader=candidacy.leader)
            self._say_ready()
        await asyncio.get_running_loop().create_future()

    async def _serve(self, candidacy: Candidacy, store: KeyValueStore, stop: asyncio.Event) -> None:
        """Serve for one term. Raises CurveFSError when it cannot begin."""
        try:
            marks = [asked_for(self._world.clock.time_ns())] if self._recover else []
            authority = await begin_serving(store, candidacy, self._world.random_bytes, marks)
            self._recover = False
            self._remember_cluster(authority.cluster.id)
            mds = Mds(await State.load(authority), self._config, self._world, self._metrics, self._identity)
        except VersionUnsupported as error:
            raise StartupError(str(error), ExitCode.DATA_FOLDER) from error
        try:
            async with asyncio.TaskGroup() as group:
                background = group.create_task(mds.run(), name="background")
                self._front.serve(mds)
                self._metrics.leads(leading=True)
                _log.info("serving", address=self._identity.address, epoch=authority.epoch)
                self._say_ready()
                await _first(stop.wait(), candidacy.over())
                self._front.stand_by(candidacy)
                await mds.calls.finish(_GRACE_S if candidacy.holds else 0.0)
                background.cancel()
        finally:
            self._metrics.leads(leading=False)
            await mds.fleet.close()

    def _remember_cluster(self, cluster_id: str) -> None:
        if cluster_id and cluster_id != self._folder.remembered(_CLUSTER):
            self._folder.remember(_CLUSTER, cluster_id)
        self._identity.cluster_id = cluster_id or self._identity.cluster_id

    def _say_ready(self) -> None:
        if self._ready is not None:
            self._ready(self._identity.address)
            self._ready = None


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Do something, but give it up when the process is to stop; None then."""
    task = asyncio.create_task(work)
    await _first(stop.wait(), _done(task))
    if not task.done():
        task.cancel()
        await asyncio.wait([task])
    return None if task.cancelled() else task.result()


async def _done(task: asyncio.Task[Any]) -> None:
    await asyncio.wait([task])


async def _first(*waits: Coroutine[Any, Any, Any]) -> None:
    """Wait for the first of several; the others are cancelled."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()


def _alone(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the one error in a group of groups, or the group."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
