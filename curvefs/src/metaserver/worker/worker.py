"""The metaserver's side of its worker process: started when there is a job, started again after a crash with a pause.

One that has had nothing to do for a while is ended. A job that outlives its deadline ends the worker, because the
stores have shorter deadlines of their own: it hangs. All jobs under way then fail, and can be repeated.

Bounds: JOBS_MAX jobs are with the worker, WAITING_MAX wait.

Shared across awaits: `_jobs`, by number, from when one begins until its reply, its deadline or the worker's end.
"""

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from ....proto import worker_pb2 as pb
from ...common.errors import Overloaded, Unavailable
from ...common.status import error_of
from ..metrics import Metrics
from . import frames
from .jobs import JOBS_MAX

_log = structlog.get_logger()

WAITING_MAX = 1000
_IDLE_S = 60.0
_END_S = 5.0
_PAUSE_S, _PAUSE_S_MAX = 0.2, 30.0


@dataclass(slots=True)
class _UnderWay:
    job: pb.Job
    reply: asyncio.Future[pb.JobReply]
    sent: bool = False


class Worker:
    """See the module. run() it. log_level, log_json: as the metaserver logs."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        log_level: str = "info",
        log_json: bool = False,
        command: Sequence[str] = (sys.executable, "-P", "-m", "curvefs.src.metaserver.worker"),
        idle_s: float = _IDLE_S,
    ) -> None:
        self._metrics = metrics
        self._command = [*command, log_level, "json" if log_json else "plain"]
        self._idle_s = idle_s
        self._slots = asyncio.Semaphore(JOBS_MAX)
        self._waiting = 0
        self._last_id = 0
        self._jobs: dict[int, _UnderWay] = {}
        self._wanted = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._pause_s = _PAUSE_S
        self._idle: asyncio.TimerHandle | None = None
        self._resting = False  # the process was told to end

    async def run_job(self, job: pb.Job, deadline_s: float) -> pb.JobReply:
        """Have a job done and return its reply; the deadline begins when its turn comes.

        Raises what it failed with, Unavailable when the worker died or the deadline passed, Overloaded.
        """
        if self._waiting >= WAITING_MAX:
            raise Overloaded("too much waits for the worker", retry_after_ms=1000)
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        try:
            return await self._run_job(job, deadline_s)
        finally:
            self._slots.release()

    async def _run_job(self, job: pb.Job, deadline_s: float) -> pb.JobReply:
        self._last_id += 1
        id_ = job.job_id = self._last_id
        one = self._jobs[id_] = _UnderWay(job, asyncio.get_running_loop().create_future())
        try:
            self._wanted.set()
            self._send(one)
            async with asyncio.timeout(deadline_s):
                reply = await one.reply
        except TimeoutError as error:
            _log.error("a job of the worker does not end", job=job.WhichOneof("job"), deadline_s=deadline_s)
            self._kill()
            raise Unavailable("the worker did not get it done in time") from error
        finally:
            self._jobs.pop(id_, None)
        if reply.failure.code:
            raise error_of(reply.failure)
        return reply

    # ---------------------------------------------------------------------------------------- the process

    async def run(self) -> None:
        """Keep the process as long as there is something to do, until cancelled."""
        while True:
            await self._wanted.wait()
            try:
                await self._live()
            except OSError as error:
                _log.error("the worker cannot be started", reason=error.strerror)
            except Exception:  # noqa: BLE001  # what a broken worker says must not end the metaserver
                _log.exception("the worker is not understood")
            if self._resting:
                self._resting = False
            else:
                _log.warning("the worker died", again_in_s=self._pause_s)
                self._lose()
                await asyncio.sleep(self._pause_s)
                self._pause_s = min(2 * self._pause_s, _PAUSE_S_MAX)
            if not self._jobs:
                self._wanted.clear()

    async def _live(self) -> None:
        """Start the process, give it what waits, take its replies until it ends."""
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=frames.FRAME_SIZE_MAX
        )
        assert process.stdout is not None, "a pipe"
        self._process = process
        self._metrics.worker_starts.inc()
        _log.info("the worker was started", pid=process.pid)
        try:
            for one in self._jobs.values():
                self._send(one)
            while (message := await frames.read_async(process.stdout)) is not None:
                self._take(pb.JobReply.FromString(message))
        finally:
            self._process = None
            self._stop_resting()
            await _end(process)

    def _take(self, reply: pb.JobReply) -> None:
        one = self._jobs.pop(reply.job_id, None)
        if one is not None and not one.reply.done():
            one.reply.set_result(reply)
        self._pause_s = _PAUSE_S
        if not self._jobs:
            self._idle = asyncio.get_running_loop().call_later(self._idle_s, self._rest)

    def _send(self, one: _UnderWay) -> None:
        process = self._process
        if process is not None and process.stdin is not None and not process.stdin.is_closing():
            self._stop_resting()
            process.stdin.write(frames.pack(one.job.SerializeToString()))
            one.sent = True

    def _lose(self) -> None:
        """What the process was doing is not done, as far as anybody knows."""
        for id_ in [id_ for id_, one in self._jobs.items() if one.sent]:
            one = self._jobs.pop(id_)
            if not one.reply.done():
                one.reply.set_exception(Unavailable("the worker died"))

    def _rest(self) -> None:
        """Let a process end that has nothing to do."""
        if self._process is not None and self._process.stdin is not None and not self._jobs:
            self._resting = True
            self._process.stdin.close()

    def _stop_resting(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()


async def _end(process: asyncio.subprocess.Process) -> None:
    """See a process off: the end of its input ends it; if not, it is killed."""
    assert process.stdin is not None, "a pipe"
    process.stdin.close()
    try:
        async with asyncio.timeout(_END_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
