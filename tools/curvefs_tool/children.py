"""One supervised process: started, known to be ready, restarted with back-off, stopped."""

import os
import selectors
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from curvefs.src.client.runtime import start_time, wait_gone
from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode

from .state import ProcessRecord

READY_TIMEOUT_S = 60.0
BACKOFF_S_FIRST, BACKOFF_S_MAX = 0.5, 10.0
STEADY_S = 30.0
STOP_TIMEOUT_S = 20.0


@dataclass(slots=True)
class Child:
    """A program that says a line when it is ready: servers on standard output, the client on a pipe of its own."""

    name: str
    command: list[str]
    log: Path
    status_pipe: bool = False
    ready_prefix: str = "listening on "
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    backoff_s: float = BACKOFF_S_FIRST
    restart_at_s: float | None = None
    _ready: int = field(default=-1)

    def start(self) -> None:
        """Start it; wait_ready() says whether that went well."""
        reader, writer = os.pipe()
        extra = ["--status-fd", str(writer)] if self.status_pipe else []
        with self.log.open("ab") as log_file:
            self.process = subprocess.Popen(
                self.command + extra,
                stdin=subprocess.DEVNULL,
                stdout=log_file if self.status_pipe else writer,
                stderr=log_file,
                pass_fds=[writer] if self.status_pipe else [],
                start_new_session=True,
                cwd="/",
            )
        os.close(writer)
        self._ready = reader
        self.started_s = time.monotonic()
        self.restart_at_s = None

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait for the line. Raises StartupError with the child's own words and code."""
        assert self.process is not None
        said = _read_line(self._ready, timeout_s)
        if self.status_pipe or not said:
            os.close(self._ready)
        if said == "ready" or said.startswith(self.ready_prefix):
            return
        process = self.process
        try:
            process.wait(1.0)  # it closed its pipe: it is ending, or it is not what it should be
        except subprocess.TimeoutExpired:
            self.stop(timeout_s=1.0)
        code = process.wait()
        number, _, reason = said.partition(" ")
        if number.isdigit() and reason:
            raise StartupError(reason.removeprefix("curvefs: "), ExitCode(int(number)))
        known = code if code in ExitCode.__members__.values() and code else ExitCode.FAILED
        raise StartupError(f"{self.name}: {_last_line(self.log)}", ExitCode(known))

    def record(self) -> ProcessRecord:
        """Return how to find the process again."""
        assert self.process is not None
        return ProcessRecord(self.process.pid, start_time(self.process.pid) or 0)

    def died(self, now_s: float) -> int | None:
        """Return its exit code if it has ended since the last look, and plan its restart."""
        if self.process is None or (code := self.process.poll()) is None:
            return None
        if now_s - self.started_s > STEADY_S:
            self.backoff_s = BACKOFF_S_FIRST
        self.restart_at_s = now_s + self.backoff_s
        self.backoff_s = min(2 * self.backoff_s, BACKOFF_S_MAX)
        self.process = None
        return code

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Ask it to end; kill it if it does not."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


def stop_recorded(record: ProcessRecord, timeout_s: float = STOP_TIMEOUT_S) -> None:
    """Stop a process that is not our child."""
    for number, patience_s in ((signal.SIGTERM, timeout_s), (signal.SIGKILL, 5.0)):
        if not record.running:
            return
        try:
            os.kill(record.pid, number)
        except ProcessLookupError:
            return
        wait_gone(record.pid, record.started, patience_s)


def _read_line(descriptor: int, timeout_s: float) -> str:
    """Read one line from a pipe; '' at its end or after the timeout."""
    end = time.monotonic() + timeout_s
    said = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while b"\n" not in said and (left := end - time.monotonic()) > 0:
            if selector.select(left):
                piece = os.read(descriptor, 4096)
                if not piece:
                    break
                said += piece
    return said.decode(errors="replace").strip()


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else "ended without a word"
