"""``curvefs NAME MOUNTPOINT -o mds=H:P/H:P,...``: mounts a filesystem.

Without -f the real client is a fresh process in the background; this one waits until that says that the mount is live,
or why not, and ends with its exit code. Nothing heavy is loaded here, so that a mistake is answered at once.
"""

import os
import subprocess
import sys
from pathlib import Path

import click

from ..common import logs
from ..common.errors import CurveFSError, InvalidArgument, StartupError
from ..common.exits import ExitCode
from ..common.fsname import check_fs_name
from ..common.status import exit_code_of
from . import runtime
from .mountpoints import check_mountpoint
from .options import MountConfig, format_options, parse_options

READY = "ready"
LOG_FOLDER = Path("/var/log/curvefs")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name")
@click.argument("mountpoint")
@click.option("-o", "options", multiple=True, help="Mount options, as for mount(8).")
@click.option("-f", "--foreground", is_flag=True, help="Stay in front.")
@click.option("--status-fd", type=int, hidden=True, help="Where to say 'ready' or why not.")
@click.version_option(package_name="curvefs")
def main(name: str, mountpoint: str, options: tuple[str, ...], *, foreground: bool, status_fd: int | None) -> None:
    """Mount the filesystem NAME on MOUNTPOINT."""
    try:
        config = _configuration(name, mountpoint, ",".join(options))
        if foreground:
            _serve(config, status_fd)
        else:
            _start_in_background(config)
    except CurveFSError as error:
        code = exit_code_of(error)
        line = f"curvefs: {' '.join(str(error).split())}"
        if status_fd is None:
            sys.stderr.write(line + "\n")
        else:
            _say(status_fd, f"{int(code)} {line}")
        sys.exit(code)


def _configuration(name: str, mountpoint: str, options: str) -> MountConfig:
    try:
        check_fs_name(name)
    except InvalidArgument as error:
        raise StartupError(str(error), ExitCode.USAGE) from error
    config = parse_options(name, mountpoint, options, mds_fallback=os.environ.get("CURVEFS_MDS", ""))
    check_mountpoint(mountpoint)
    return config


def _start_in_background(config: MountConfig) -> None:
    """Start the client as a process of its own and wait for its word."""
    reader, writer = os.pipe()
    command = [sys.executable, "-m", "curvefs.src.client.main", "-f", "--status-fd", str(writer)]
    command += ["-o", format_options(config), config.fs_name, config.mountpoint]
    with _log_file(config).open("ab") as log_file:
        subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=log_file,
            pass_fds=[writer],
            start_new_session=True,
            cwd="/",
        )
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:  # noqa: PTH123
        said = pipe.readline().strip()
    if said == READY:
        return
    code, _, reason = said.partition(" ")
    if not code.isdigit():
        raise StartupError(f"the client ended before the mount was live; see {_log_file(config)}", ExitCode.FAILED)
    sys.stderr.write(reason + "\n")
    sys.exit(int(code))


def _serve(config: MountConfig, status_fd: int | None) -> None:
    logs.configure(level=config.log_level, program="curvefs")
    from .mount import run_mount

    def ready() -> None:
        runtime.record(config.mountpoint)
        if status_fd is not None:
            _say(status_fd, READY)

    try:
        run_mount(config, ready)
    finally:
        runtime.forget(config.mountpoint)


def _say(status_fd: int, line: str) -> None:
    os.write(status_fd, line.encode() + b"\n")
    os.close(status_fd)


def _log_file(config: MountConfig) -> Path:
    if config.log:
        return Path(config.log)
    try:
        LOG_FOLDER.mkdir(mode=0o750, exist_ok=True)
    except OSError:
        return Path(os.devnull)
    return LOG_FOLDER / f"{config.fs_name}.log"


if __name__ == "__main__":
    main()
