"""Compactor and reclaimer of whoever leads the group, on an event loop of their own that runs when it is told to.

A merge may be held: before it reads what it merges, or when it has stored it and not committed. Then the script goes
on, and the merge some time later, perhaps under a leader that is one no more.
"""

import asyncio

from curvefs.src.common.errors import CurveFSError, InternalError
from curvefs.src.common.status import error_of
from curvefs.src.metaserver.compact.compactor import Compactor
from curvefs.src.metaserver.metrics import Metrics
from curvefs.src.metaserver.reclaim.reclaimer import Reclaimer
from curvefs.src.metaserver.worker import jobs

from .server import FS, Leader, Mds


class Worker:
    """Does jobs at once; the next merge may be held. Shared by compactor and reclaimer."""

    def __init__(self, store) -> None:
        self._stores = jobs.Stores(lambda _: store)
        self.hold = ""  # "before", "after"
        self.held: asyncio.Event | None = None
        self.reached = asyncio.Event()

    async def run_job(self, job, deadline_s):
        hold = ""
        if job.HasField("store_runs"):
            hold, self.hold = self.hold, ""
        await self._wait(hold == "before")
        reply = jobs.run(self._stores, job)
        await self._wait(hold == "after")
        if reply.failure.code:
            raise error_of(reply.failure)
        return reply

    async def _wait(self, is_held) -> None:
        if is_held:
            self.held = asyncio.Event()
            self.reached.set()
            await self.held.wait()


class Background:
    """See the module. ``outcomes``: what came of merges."""

    def __init__(self, server, store, clock) -> None:
        self._server = server
        self._clock = clock
        self._loop = asyncio.new_event_loop()
        self.worker = Worker(store)
        self._mds = Mds(clock)
        self._held: asyncio.Task | None = None
        self.outcomes: list[str] = []
        self.lead()

    def lead(self) -> None:
        """Begin anew, as the leader of another term."""
        self.leader = Leader(self._server)
        self._metrics = Metrics()
        self._compactor = Compactor(
            self.leader,
            self.worker,
            self._mds,
            clock=self._clock,
            metrics=self._metrics,
            bytes_per_s=float("inf"),
            key_dir=None,
        )
        self._reclaimer = Reclaimer(self.leader, None, self.worker, self._mds, clock=self._clock, metrics=self._metrics)

    def elect(self) -> None:
        self._server.elect()
        self.lead()

    def compact(self, inode_id: int, chunk_index: int, hold: str = "") -> None:
        """Merge the slices of a chunk, whatever it costs; hold: only so far."""
        self.release()
        self.worker.hold = hold
        self.worker.reached = asyncio.Event()
        self._loop.run_until_complete(self._begin((FS, inode_id, chunk_index)))
        self.worker.hold = ""
        self._note()

    async def _begin(self, key) -> None:
        self._held = asyncio.create_task(self._compactor._step(self.leader, key, thorough=True))
        reached = asyncio.create_task(self.worker.reached.wait())
        await asyncio.wait([self._held, reached], return_when=asyncio.FIRST_COMPLETED)
        reached.cancel()

    def release(self) -> None:
        """Let a merge that is held go on."""
        if self._held is None:
            return
        if self.worker.held is not None:
            self.worker.held.set()
            self.worker.held = None
        self._loop.run_until_complete(asyncio.wait([self._held]))
        self._note()

    def _note(self) -> None:
        if self._held is None or not self._held.done():
            return
        task, self._held = self._held, None
        try:
            self.outcomes.append(task.result().outcome)
        except InternalError:
            raise
        except CurveFSError as error:
            self.outcomes.append(type(error).__name__)

    def rounds(self, count: int = 1) -> None:
        """Compact what is listed, and reclaim what is due."""

        async def run() -> None:
            for _ in range(count):
                async with asyncio.TaskGroup() as tasks:
                    await self._compactor.round(tasks)
                async with asyncio.TaskGroup() as tasks:
                    await self._reclaimer.round(tasks)

        self._loop.run_until_complete(run())
        assert not self._metrics.registry.get_sample_value("metaserver_reclaim_failures_total", {"kind": "bug"}), (
            "reclamation meets a bug; see the log"
        )

    def close(self) -> None:
        self.release()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
