"""Runs a cluster on one machine: its servers (servers.py) and, if asked, the mount, as child processes.

Servers that die are started again with back-off, unless told otherwise; so is a client that dies, its dead mount taken
away first. A client that was unmounted ends with 0 and is not. Killing the supervisor leaves a working cluster; the
next `up` stops what it left, in order, and begins again.

One thread and one loop, _turn(): it waits for children, the control socket, signals and its own deadlines, and never
for a single one of them, so that while a client stores what is left its servers are still looked after. Only the
calls to the MDS during the start and the stop of the servers block.
"""

import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from curvefs.src.client import runtime
from curvefs.src.client.daemon import one_line
from curvefs.src.common.errors import CurveFSError, StartupError
from curvefs.src.common.exits import ExitCode
from curvefs.src.common.machine import ending_signals
from curvefs.src.common.status import exit_code_of

from .children import Child, Ended, Ready, Stage
from .control import Control, Request
from .mount_options import mount_config
from .servers import Programs, plan_servers
from .settings import Settings
from .shutdown import FORCED_TIMEOUT_S, Outside, Process, stop_leftovers, unmount_all
from .state import ClusterState, ProcessRecord

LOOK_S = 0.1  # between looks at what has no descriptor: clients that are not our children
IDLE_S = 5.0


@dataclass(slots=True)
class _Stopping:
    """A shutdown under way: the clients still storing, and who asked."""

    force: bool
    clients: list[Process]
    deadline_s: float | None
    requests: list[Request] = field(default_factory=list)
    lost: bool = False  # a client had to be killed


class Supervisor:
    """See the module. Use as a context manager around start() and run(): the control socket lives that long.

    arrange: tells the MDS of zones; create: makes the filesystem if it is not there yet; confirm: waits until the
    cluster is healthy. They are given the addresses of the MDS. tell: shows a line to a person.
    """

    def __init__(
        self,
        data: Path,
        settings: Settings,
        mountpoint: str,
        *,
        mount_options: str = "",
        restart: bool,
        programs: Programs,
        outside: Outside,
        arrange: Callable[[list[str]], None],
        create: Callable[[list[str]], None],
        confirm: Callable[[list[str]], None],
        tell: Callable[[str], None],
    ) -> None:
        self.mds = settings.mds_addresses
        self.was_live = False  # once it is, there may be files
        self._data = data
        self._settings = settings
        self._mountpoint = mountpoint
        self._mount_options = mount_options
        self._restart = restart
        self._programs = programs
        self._outside = outside
        self._arrange = arrange
        self._create = create
        self._confirm = confirm
        self._tell = tell
        self._state = ClusterState(data)
        self._servers: list[Child] = []
        self._client: Child | None = None
        self._starting = True
        self._calling = False  # in a blocking call, which a signal may end
        self._stopping: _Stopping | None = None
        self._stopped = False
        self._control = Control(data)
        self._signals, self._signals_in = socket.socketpair()
        self._signals_in.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._control.__exit__()
        self._signals.close()
        self._signals_in.close()

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Take SIGTERM, SIGINT and a terminal that closes as the wish to stop; in the main thread only."""
        signal.set_wakeup_fd(self._signals_in.fileno())
        before = {number: signal.signal(number, self._interrupt) for number in ending_signals()}
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)

    # --------------------------------------------------------------------------------------------- start

    def start(self) -> None:
        """Bring everything up. Raises StartupError; then nothing is left running."""
        stop_leftovers(self._outside, self._data)
        if self._mountpoint:
            self._outside.mounts.check(self._mountpoint)
        try:
            self._state.processes["supervisor"] = ProcessRecord(os.getpid(), runtime.start_time(os.getpid()) or 0)
            self._state.save()
            plan = plan_servers(self._data, self._settings, self._programs)
            self._bring_up(plan.etcd)
            self._bring_up(plan.mds)
            self._call(self._arrange)
            for metaserver in plan.metaservers:
                self._bring_up([metaserver])
            self._call(self._create)
            if self._mountpoint:
                config = mount_config(self._settings, self._mountpoint, self._mount_options, self.mds)
                log = self._data / "log" / "client.log"
                self._client = Child("client", self._programs.client(config), log)
                self._begin(self._client)
                self._wait_ready([self._client])
                self.was_live = True
            self._call(self._confirm)
        except BaseException:
            self._stop_all()
            raise
        self.was_live, self._starting = True, False

    def _interrupt(self, *_: object) -> None:
        """Be the handler of signals. The loop hears of them by the wake-up descriptor; a blocking call does not."""
        if self._calling:
            self._calling = False
            raise _interrupted()

    def _call(self, function: Callable[[list[str]], None]) -> None:
        """Call something that blocks and takes the MDS's addresses; a signal ends it."""
        self._calling = True
        try:
            function(self.mds)
        finally:
            self._calling = False

    def _bring_up(self, servers: list[Child]) -> None:
        """Start servers together and wait until they are ready."""
        for server in servers:
            self._servers.append(server)
            self._begin(server)
        self._wait_ready(servers)

    def _wait_ready(self, children: list[Child]) -> None:
        """Look after everything until these are ready; any child's end ends the start."""
        while any(child.stage is not Stage.RUNNING for child in children):
            self._turn()

    def _begin(self, child: Child) -> None:
        child.start(time.monotonic())
        record = child.record()
        record.detail = self._mountpoint if child is self._client else ""
        self._state.starting[child.name] = record
        self._save()

    def _save(self) -> None:
        try:
            self._state.save()
        except OSError as error:  # a full disk must not take the cluster down
            self._tell(f"cannot write the state file: {error.strerror}")

    # ---------------------------------------------------------------------------------------------- run

    def run(self, ready: Callable[[], None]) -> None:
        """Look after the children until told to stop."""
        ready()
        while not self._stopped:
            self._turn()

    @property
    def _children(self) -> list[Child]:
        return [*self._servers, *([self._client] if self._client is not None else [])]

    def _turn(self) -> None:
        """Wait for something to happen, and see to all that has."""
        readable = self._wait()
        if self._signals in readable:
            self._signals.recv(64)
            self._stop_by_signal()
        if self._control.socket in readable and (request := self._control.accept()) is not None:
            self._obey(request)
        now_s = time.monotonic()
        for child in self._children:
            match child.look(now_s):
                case Ready():
                    self._state.processes[child.name] = self._state.starting.pop(child.name)
                    self._save()
                case Ended() as ended:
                    self._on_end(child, ended, now_s)
                case None:
                    pass
            if child.start_at_s is not None and now_s >= child.start_at_s:
                self._start_again(child, now_s)
        if self._stopping is not None:
            self._go_on_stopping(self._stopping, now_s)

    def _wait(self) -> set[object]:
        now_s = time.monotonic()
        due = [one.due_s for one in self._children if one.due_s is not None]
        limit_s = min([IDLE_S, *(max(0.0, one - now_s) for one in due)])
        if self._stopping is not None:
            limit_s = min(limit_s, LOOK_S)
        with selectors.DefaultSelector() as selector:
            for source in (self._signals, self._control.socket):
                selector.register(source, selectors.EVENT_READ)
            for child in self._children:
                for descriptor in child.watched:
                    selector.register(descriptor, selectors.EVENT_READ)
            return {key.fileobj for key, _ in selector.select(limit_s)}

    # --------------------------------------------------------------------------------- ends and restarts

    def _on_end(self, child: Child, ended: Ended, now_s: float) -> None:
        self._state.starting.pop(child.name, None)
        if self._starting:
            raise ended.error
        if child is self._client and (ended.code == 0 or self._stopping is not None):
            self._client = None  # unmounted: the servers go on
            self._state.processes.pop(child.name, None)
            self._save()
        elif self._restart:
            child.start_at_s = child.backoff.next_start_s(child.started_s, now_s)
            wait_s = child.start_at_s - now_s
            self._tell(f"{one_line(ended.error)}; it is started again in {wait_s:.1f} s")
        else:
            self._tell(one_line(ended.error))

    def _start_again(self, child: Child, now_s: float) -> None:
        if child is self._client and self._stopping is not None:
            child.start_at_s = None
            return
        try:
            if child is self._client:
                self._outside.mounts.check(self._mountpoint)
            self._begin(child)
        except StartupError as error:
            child.start_at_s = child.backoff.next_start_s(now_s, now_s)
            self._tell(f"{child.name}: {error}")

    # --------------------------------------------------------------------------------------------- stop

    def _stop_by_signal(self) -> None:
        try:
            self._begin_to_stop(force=False)
        except StartupError as error:
            if self._starting:
                raise
            self._tell(f"{error}; everything is left running (curvefs-tool down --force {self._data})")

    def _obey(self, request: Request) -> None:
        if request.said.get("command") != "down":
            request.reply({"code": int(ExitCode.USAGE), "message": "an unknown command"})
            return
        if self._starting:
            self._stopping = _Stopping(force=True, clients=[], deadline_s=None, requests=[request])
            raise _interrupted()
        try:
            self._begin_to_stop(force=bool(request.said.get("force"))).requests.append(request)
        except CurveFSError as error:
            request.reply({"code": int(exit_code_of(error)), "message": one_line(error)})

    def _begin_to_stop(self, *, force: bool) -> _Stopping:
        """Unmount; the loop waits for the clients. Raises StartupError (BUSY); then all is as it was."""
        if self._starting:
            raise _interrupted()
        if self._stopping is None or (force and not self._stopping.force):
            own = self._mountpoint if self._client is not None else ""
            clients = unmount_all(self._outside, self.mds, own, force=force)
            if self._client is not None and self._client.process is not None:
                record = self._client.record()
                clients.append((record.pid, record.started))
                if self._client.stage is Stage.STARTING:
                    runtime.send_signal(*clients[-1], signal.SIGTERM)
            before = self._stopping or _Stopping(force, [], None)
            clients += [one for one in before.clients if one not in clients]
            if force:
                for one in clients:
                    runtime.send_signal(*one, signal.SIGTERM)
            deadline_s = time.monotonic() + FORCED_TIMEOUT_S if force else None
            self._stopping = _Stopping(force, clients, deadline_s, before.requests)
        return self._stopping

    def _go_on_stopping(self, stopping: _Stopping, now_s: float) -> None:
        stopping.clients = [one for one in stopping.clients if runtime.is_running(*one)]
        if stopping.deadline_s is not None and now_s >= stopping.deadline_s:
            for one in stopping.clients:
                runtime.send_signal(*one, signal.SIGKILL)
                stopping.lost = True
            stopping.deadline_s = None
        if not stopping.clients and (self._client is None or self._client.stage is Stage.IDLE):
            self._client = None
            self._stop_all()
            self._stopped = True

    def _stop_all(self) -> None:
        """Stop whatever runs; a client here is one that is not ready yet, or of a start that failed."""
        if self._client is not None:
            if self._outside.mounts.is_ours(self._mountpoint):
                self._outside.mounts.lazy_unmount(self._mountpoint)
            self._client.stop()
        for child in reversed(self._servers):
            child.stop()
        self._state.processes.clear()
        self._state.starting.clear()
        self._save()
        if self._stopping is not None:
            lost = f"stopped; a mount had not stored everything within {FORCED_TIMEOUT_S:.0f} s"
            reply = {"code": int(ExitCode.TIMEOUT), "message": lost} if self._stopping.lost else {"code": 0}
            for request in self._stopping.requests:
                request.reply(reply)


def _interrupted() -> StartupError:
    return StartupError("stopped before it was ready", ExitCode.FAILED)
