"""Runs a cluster on one machine: MDS, metaservers and, if asked, the mount, as child processes.

Servers that die are started again with back-off, unless told otherwise; a client that was unmounted is not. Killing the
supervisor leaves a working cluster; the next `up` stops what it left, in order, and begins again.

One thread: a loop that looks after the children and answers the control socket.
"""

import contextlib
import json
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from curvefs.proto import mds_pb2, mds_pb2_grpc
from curvefs.src.client import mountpoints, runtime
from curvefs.src.common.errors import CurveFSError, StartupError
from curvefs.src.common.exits import ExitCode
from curvefs.src.common.status import exit_code_of
from curvefs.src.rpc.blocking import BlockingClient

from .children import Child, stop_recorded
from .control import Control
from .filesystem_commands import create_filesystem, filesystem_exists
from .state import ClusterState, ProcessRecord, Settings

TICK_S = 0.2
CREATE_TIMEOUT_S = 30.0


class Supervisor:
    """See the module."""

    def __init__(self, data: Path, settings: Settings, mountpoint: str, *, restart: bool) -> None:
        self._data = data
        self._settings = settings
        self._mountpoint = mountpoint
        self._restart = restart
        self._state = ClusterState(data)
        self.mds = f"127.0.0.1:{settings.ports['mds']}"
        self._servers: list[Child] = []
        self._client: Child | None = None
        self._stopping = False

    # --------------------------------------------------------------------------------------------- start

    def start(self) -> None:
        """Bring everything up. Raises StartupError; then nothing is left running."""
        if self._mountpoint:
            mountpoints.check_mountpoint(self._mountpoint)
        stop_leftovers(self._data)
        try:
            self._start_servers()
            self._create_filesystem()
            if self._mountpoint:
                self._start_client()
        except BaseException:
            self._stop_all()
            raise

    def _start_servers(self) -> None:
        self._state.processes["supervisor"] = ProcessRecord(os.getpid(), runtime.start_time(os.getpid()) or 0)
        ports = self._settings.ports
        plans: list[tuple[str, str, dict[str, str]]] = [("mds", "curvefs.src.mds.main", {})]
        plans += [
            (f"metaserver-{n}", "curvefs.src.metaserver.main", {"mds": self.mds})
            for n in range(1, self._settings.metaservers + 1)
        ]
        for name, module, more in plans:
            config = {"listen": f"127.0.0.1:{ports[name]}", "data": str(self._data / name)} | more
            path = self._data / "etc" / f"{name}.toml"
            path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in config.items()))
            child = Child(name, [sys.executable, "-m", module, "--config", str(path)], self._log(name))
            self._servers.append(child)
            child.start()
            child.wait_ready()
            self._note(child)

    def _create_filesystem(self) -> None:
        """Create the filesystem the first time; metaservers that have just registered need a moment."""
        client = BlockingClient([self.mds])
        request = mds_pb2.CreateFilesystemRequest(name=self._settings.fs, object_store=self._settings.object_store)
        end = time.monotonic() + CREATE_TIMEOUT_S
        try:
            while filesystem_exists(client, self._settings.fs) is None:
                try:
                    create_filesystem(client, request)
                except StartupError as error:
                    if error.exit_code != ExitCode.FAILED or time.monotonic() > end:
                        raise
                    time.sleep(TICK_S)
        finally:
            client.close()

    def _start_client(self) -> None:
        command = [sys.executable, "-m", "curvefs.src.client.main", "-f", "-o", f"mds={self.mds}"]
        command += [self._settings.fs, self._mountpoint]
        self._client = Child("client", command, self._log("client"), status_pipe=True)
        self._client.start()
        self._client.wait_ready()
        self._note(self._client)

    def _note(self, child: Child) -> None:
        record = child.record()
        record.detail = self._mountpoint if child is self._client else ""
        self._state.processes[child.name] = record
        self._state.save()

    def _log(self, name: str) -> Path:
        return self._data / "log" / f"{name}.log"

    # ---------------------------------------------------------------------------------------------- run

    def run(self, ready: Callable[[], None]) -> None:
        """Look after the children until told to stop."""
        wake_reader, wake_writer = socket.socketpair()
        wake_writer.setblocking(False)
        signal.set_wakeup_fd(wake_writer.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        control = Control(self._data)
        with selectors.DefaultSelector() as selector, control, wake_reader, wake_writer:
            selector.register(wake_reader, selectors.EVENT_READ)
            selector.register(control.socket, selectors.EVENT_READ)
            ready()
            while not self._stopping:
                for key, _ in selector.select(TICK_S):
                    if key.fileobj is control.socket:
                        control.answer(self._obey)
                    elif self._is_stop_signal(wake_reader.recv(64)):
                        self._stop_by_signal()
                self._look_after()

    @staticmethod
    def _is_stop_signal(numbers: bytes) -> bool:
        return any(number in (signal.SIGTERM, signal.SIGINT) for number in numbers)

    def _stop_by_signal(self) -> None:
        try:
            self._shut_down(force=False)
        except CurveFSError as error:
            sys.stderr.write(f"curvefs-tool: {error}; everything is left running\n")

    def _obey(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            self._shut_down(force=bool(request.get("force")))
        except CurveFSError as error:
            return {"code": int(exit_code_of(error)), "message": str(error)}
        return {"code": 0}

    def _look_after(self) -> None:
        if self._stopping:
            return
        now_s = time.monotonic()
        children = [*self._servers, *([self._client] if self._client else [])]
        for child in children:
            code = child.died(now_s)
            if code is not None and child is self._client and code == 0:
                self._client = None  # unmounted: the servers go on
                self._state.processes.pop("client", None)
                self._state.save()
            elif child.restart_at_s is not None and self._restart and now_s >= child.restart_at_s:
                self._start_again(child)

    def _start_again(self, child: Child) -> None:
        sys.stderr.write(f"curvefs-tool: {child.name} has ended; starting it again\n")
        try:
            if child is self._client:
                mountpoints.check_mountpoint(self._mountpoint)
            child.start()
            child.wait_ready()
            self._note(child)
        except StartupError as error:
            sys.stderr.write(f"curvefs-tool: {child.name}: {error}\n")
            child.stop()
            child.restart_at_s = time.monotonic() + child.backoff_s
            child.backoff_s = min(2 * child.backoff_s, 10.0)

    # --------------------------------------------------------------------------------------------- stop

    def _shut_down(self, *, force: bool) -> None:
        """Unmount, waiting for uploads, then stop the servers in order. Raises StartupError when a mount is busy."""
        unmount_all(self.mds, self._mountpoint if self._client else "", force=force)
        if self._client is not None and self._client.process is not None:
            self._client.process.wait()
            self._client = None
        self._stop_all()
        self._stopping = True

    def _stop_all(self) -> None:
        if self._client is not None:
            if mountpoints.mounted_type(self._mountpoint) == mountpoints.FSTYPE:
                mountpoints.lazy_unmount(self._mountpoint)
            self._client.stop()
        for child in reversed(self._servers):
            child.stop()
        self._state.processes.clear()
        self._state.save()


def unmount_all(mds: str, own: str, *, force: bool) -> None:
    """Unmount what this machine has mounted of a cluster, and wait until every byte is stored.

    Busy mounts are named before anything is unmounted twice over; with ``force`` they are taken away lazily.
    Raises StartupError (BUSY).
    """
    places = [own] if own else []
    client = BlockingClient([mds], deadline_s=3.0)
    with contextlib.suppress(CurveFSError):
        sessions = client.call(mds_pb2_grpc.MdsServiceStub, "ListSessions", mds_pb2.ListSessionsRequest()).sessions
        here = socket.gethostname()
        places += [
            one.mountpoint
            for one in sessions
            if one.host == here and one.mountpoint not in places and runtime.client_of(one.mountpoint)
        ]
    client.close()
    for place in places:
        who = runtime.client_of(place)
        if mountpoints.mounted_type(place) == mountpoints.FSTYPE:
            if force:
                mountpoints.lazy_unmount(place)
            else:
                mountpoints.unmount(place)
        if who is not None:
            if force:  # a lazily unmounted filesystem lives as long as somebody uses it
                with contextlib.suppress(ProcessLookupError):
                    os.kill(who[0], signal.SIGTERM)
            runtime.wait_gone(*who)


def stop_leftovers(data: Path) -> None:
    """Stop what a supervisor that was killed has left: the client first, then the servers."""
    state = ClusterState.load(data)
    client = state.processes.pop("client", None)
    if client is not None and client.running:
        if mountpoints.mounted_type(client.detail) == mountpoints.FSTYPE:
            mountpoints.unmount(client.detail)
        runtime.wait_gone(client.pid, client.started)
    for name in sorted(state.processes, key=lambda name: (name == "mds", name)):
        if name != "supervisor":
            stop_recorded(state.processes[name])
    state.processes.clear()
    if (data / "run").exists():
        state.save()
