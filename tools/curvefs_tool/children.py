"""One supervised process: started, known to be ready, noticed when it ends, stopped.

Nothing here waits, but stop(): the supervisor's one thread looks at each child in turn, woken by the descriptors in
``watched``. A program says one line when it is ready, servers on standard output, the client on a pipe of its own.

Invariants:
    IDLE: no process; STARTING: a process that has said nothing yet; RUNNING: one that has said that it is ready
    each start() is followed by exactly one Ended from look(), or by stop()
"""

import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from curvefs.src.client.daemon import READY, error_said
from curvefs.src.client.runtime import send_signal, start_time, wait_gone
from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode

from .state import ProcessRecord

READY_TIMEOUT_S = 90.0
BACKOFF_S_FIRST, BACKOFF_S_MAX = 0.5, 10.0
STEADY_S = 30.0
STOP_TIMEOUT_S = 20.0
LISTENING = "listening on "
STATUS_FD = "{status-fd}"  # the word of a command that stands for the descriptor's number
_SAID_MAX = 64 << 10


@dataclass(slots=True)
class Backoff:
    """How long to wait before the next start: longer each time, short again after a steady run."""

    delay_s: float = BACKOFF_S_FIRST

    def next_start_s(self, started_s: float, now_s: float) -> float:
        """Return when to start again what was started then and ended now."""
        if now_s - started_s > STEADY_S:
            self.delay_s = BACKOFF_S_FIRST
        start_s = now_s + self.delay_s
        self.delay_s = min(2 * self.delay_s, BACKOFF_S_MAX)
        return start_s


class Stage(Enum):
    """See the module."""

    IDLE = 0
    STARTING = 1
    RUNNING = 2


@dataclass(frozen=True, slots=True)
class Ready:
    """The child is ready; an event of look()."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The child has ended. error: why, for a person."""

    code: int
    error: StartupError


@dataclass(slots=True)
class Child:
    """See the module. Times are of one monotonic clock, in seconds.

    command: with STATUS_FD among its words it speaks on that descriptor, else on standard output.
    """

    name: str
    command: list[str]
    log: Path
    backoff: Backoff = field(default_factory=Backoff)
    stage: Stage = Stage.IDLE
    start_at_s: float | None = None  # while IDLE: when to start again
    started_s: float = 0.0
    process: subprocess.Popen[bytes] | None = None
    _pidfd: int = -1
    _pipe: int = -1
    _said: bytes = b""
    _log_offset: int = 0

    @property
    def watched(self) -> list[int]:
        """Return the descriptors that are readable when look() has news."""
        return [one for one in (self._pidfd, self._pipe) if one >= 0]

    @property
    def due_s(self) -> float | None:
        """Return when look() or start() is due without any news."""
        return self.started_s + READY_TIMEOUT_S if self.stage is Stage.STARTING else self.start_at_s

    def start(self, now_s: float) -> None:
        """Start the program. Raises StartupError when it cannot even be started."""
        assert self.stage is Stage.IDLE
        self.start_at_s, self.started_s, self._said = None, now_s, b""
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        own_pipe = STATUS_FD in self.command
        try:
            with self.log.open("ab") as log_file:
                self._log_offset = log_file.tell()
                self.process = subprocess.Popen(
                    [str(writer) if word == STATUS_FD else word for word in self.command],
                    stdin=subprocess.DEVNULL,
                    stdout=log_file if own_pipe else writer,
                    stderr=log_file,
                    pass_fds=[writer] if own_pipe else [],
                    start_new_session=True,  # the terminal's Ctrl-C is for the supervisor alone
                    cwd="/",
                )
        except OSError as error:
            os.close(reader)
            raise StartupError(f"cannot start {self.name}: {error}", ExitCode.FAILED) from error
        finally:
            os.close(writer)
        self._pipe, self._pidfd = reader, os.pidfd_open(self.process.pid)
        self.stage = Stage.STARTING

    def look(self, now_s: float) -> Ready | Ended | None:
        """Return what has happened since the last look."""
        if self.process is None:
            return None
        self._read()
        line, newline, _ = self._said.partition(b"\n")
        said = line.decode(errors="replace").strip() if newline else ""
        if self.stage is Stage.STARTING and (said == READY or said.startswith(LISTENING)):
            self.stage = Stage.RUNNING
            return Ready()
        if self.stage is Stage.STARTING and said:  # a reason; it ends by itself, after cleaning up
            code = self._finish(5.0)
            return Ended(code, error_said(said, f"{self.name} said: {said}"))
        if self.process.poll() is not None:
            code = self._finish(0.0)
            return Ended(code, self._why(code))
        if self.stage is Stage.STARTING and now_s >= self.started_s + READY_TIMEOUT_S:
            self.process.kill()
            code = self._finish(5.0)
            reason = f"{self.name} was not ready within {READY_TIMEOUT_S:.0f} s; see {self.log}"
            return Ended(code, StartupError(reason, ExitCode.TIMEOUT))
        return None

    def record(self) -> ProcessRecord:
        """Return how to find the process again."""
        assert self.process is not None
        return ProcessRecord(self.process.pid, start_time(self.process.pid) or 0)

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Ask it to end and wait; kill it if it does not."""
        self.start_at_s = None
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self._finish(timeout_s)

    def _finish(self, timeout_s: float) -> int:
        """Reap the process, killing it after a while, and be IDLE. Returns its exit code."""
        assert self.process is not None
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        for descriptor in self.watched:
            os.close(descriptor)
        self.process, self._pidfd, self._pipe, self.stage = None, -1, -1, Stage.IDLE
        return code

    def _read(self) -> None:
        """Take what the pipe has, so that it never fills up; only the first line matters."""
        with contextlib.suppress(BlockingIOError):
            while self._pipe >= 0:
                piece = os.read(self._pipe, 4096)
                if not piece:
                    os.close(self._pipe)
                    self._pipe = -1
                if len(self._said) < _SAID_MAX:
                    self._said += piece

    def _why(self, code: int) -> StartupError:
        """Return the error of a program that ended: its own last line and code if it gave one of ours."""
        lines: list[str] = []
        with contextlib.suppress(OSError), self.log.open("rb") as file:  # somebody may have removed it
            file.seek(self._log_offset)
            lines = file.read()[-_SAID_MAX:].decode(errors="replace").strip().splitlines()
        last = lines[-1] if lines else "it said nothing"
        if code in {*ExitCode} - {ExitCode.OK, ExitCode.FAILED}:
            return StartupError(f"{self.name}: {last.partition(': ')[2] or last}", ExitCode(code))
        how = f"by {_signal_name(-code)}" if code < 0 else f"with exit code {code}: {last}"
        return StartupError(f"{self.name} has ended {how}; see {self.log}", ExitCode.FAILED)


def _signal_name(number: int) -> str:
    """Return what a signal is called; most real-time signals have no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def stop_recorded(record: ProcessRecord, timeout_s: float = STOP_TIMEOUT_S) -> None:
    """Stop a process that is not our child."""
    for number, patience_s in ((signal.SIGTERM, timeout_s), (signal.SIGKILL, 5.0)):
        send_signal(record.pid, record.started, number)
        if wait_gone(record.pid, record.started, patience_s):
            return
