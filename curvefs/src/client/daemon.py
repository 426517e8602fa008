"""The client in the background: a fresh process, and the word it sends to who started it.

Forking a process that has threads and open channels is undefined, so the client begins as a new program. It says one
line on a pipe, once: ``ready``, or the exit code and the reason. Loads nothing heavy.
"""

import os
import selectors
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from ..common.errors import CurveFSError, StartupError
from ..common.exits import ExitCode
from ..common.status import exit_code_of
from .options import MountConfig, format_options

READY = "ready"
MODULE = "curvefs.src.client.main"
LOG_FOLDER = Path("/var/log/curvefs")
# More than all that a start waits for together: the MDS 10 s, the metaserver 30 s, the kernel 30 s.
START_DEADLINE_S = 120.0
END_DEADLINE_S = 10.0


class StatusPipe:
    """The writing end, in the client. Speaks once; nobody listening is no error."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def ready(self, more: str = "") -> None:
        """Say that the mount is live; more: what the parent wants to know then."""
        self._say(f"{READY}\n{more}" if more else READY)

    def failed(self, error: CurveFSError) -> None:
        """Say why there is no mount."""
        self._say(f"{int(exit_code_of(error))} {one_line(error)}")

    def _say(self, text: str) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        try:
            os.write(descriptor, text.encode(errors="replace") + b"\n")
        except BrokenPipeError:
            pass
        finally:
            os.close(descriptor)


def start_in_background(config: MountConfig) -> subprocess.Popen[bytes]:
    """Start the client and return it when the mount is live. Raises StartupError; then no process is left."""
    log = _log_file(config)
    if config.log:
        config = replace(config, log=str(log))
    reader, writer = os.pipe()
    try:
        with log.open("ab") as log_file:
            process = subprocess.Popen(  # noqa: S603
                client_command(config, "--status-fd", str(writer)),
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=log_file,
                pass_fds=[writer],
                start_new_session=True,
                cwd="/",
            )
    except OSError as error:
        os.close(reader)
        raise StartupError(f"cannot write the log {log}: {error.strerror}", ExitCode.FAILED) from error
    finally:
        os.close(writer)
    try:
        said = read_line(reader, START_DEADLINE_S)
    except BaseException:  # interrupted: it must not go on alone
        _end(process)
        raise
    finally:
        os.close(reader)
    if said != READY:
        _end(process)
        raise error_said(said or "", f"the client ended before the mount was live; see {log}")
    return process


def client_command(config: MountConfig, *flags: str) -> list[str]:
    """Return the words that run the client of a mount in front. Raises StartupError (USAGE)."""
    # -P: what happens to lie in the working directory is not imported.
    words = [sys.executable, "-P", "-m", MODULE, "-f", *flags, "-o", format_options(config)]
    return [*words, "--", config.fs_name, config.mountpoint]


def read_line(descriptor: int, timeout_s: float) -> str | None:
    """Read one line from a pipe. What there was when it ended without one; None after the timeout."""
    end = time.monotonic() + timeout_s
    said = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while b"\n" not in said:
            if not selector.select(max(0.0, end - time.monotonic())):
                return None
            piece = os.read(descriptor, 4096)
            if not piece:
                break
            said += piece
    return said.decode(errors="replace").partition("\n")[0].strip()


def error_said(line: str, otherwise: str) -> StartupError:
    """Return the error of a line ``CODE reason``; for anything else one that says ``otherwise``."""
    code, _, reason = line.partition(" ")
    if code.isdigit() and int(code) in {*ExitCode} - {ExitCode.OK} and reason:
        return StartupError(reason, ExitCode(int(code)))
    return StartupError(otherwise, ExitCode.FAILED)


def one_line(error: BaseException) -> str:
    """Return an error's message as a single line."""
    return " ".join(str(error).split())


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(END_DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _log_file(config: MountConfig) -> Path:
    if config.log:
        return Path(config.log).absolute()
    folders = [LOG_FOLDER, _state_folder()]
    for folder in filter(Path.is_absolute, folders):
        try:
            folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder / f"{config.fs_name}.log"
    sys.stderr.write(f"curvefs: there is no log: cannot write to {' or '.join(map(str, folders))}; say -o log=FILE\n")
    return Path(os.devnull)


def _state_folder() -> Path:
    """Return where a user who may not write to LOG_FOLDER has the logs."""
    return Path(os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")) / "curvefs"  # noqa: PTH111
