"""``curvefs NAME MOUNTPOINT -o mds=H:P/H:P,...``: mounts a filesystem.

Without -f the real client is a fresh process in the background (daemon.py); this one waits until that says that the
mount is live, or why not, and ends with its exit code. Nothing heavy is loaded here, so that a mistake is answered
at once.
"""

import contextlib
import os
import sys
from dataclasses import replace
from pathlib import Path

import click

from ..common import open_files
from ..common.errors import CurveFSError, InvalidArgument, StartupError
from ..common.exits import ExitCode
from ..common.fsname import check_fs_name
from ..common.status import exit_code_of
from . import runtime
from .daemon import StatusPipe, one_line, start_in_background
from .mountpoints import check_apart, check_mountpoint, resolve
from .options import MountConfig, describe_options, parse_options

_OPTIONS = [
    ("mds=H:P/H:P", "the MDS; else CURVEFS_MDS"),
    ("ro", "read-only"),
    ("noallow_other", "for this user only"),
    ("writeback", "fsync is durable in cache_dir; the object store follows"),
    *((f"{name}={default}", meaning) for name, default, meaning in describe_options()),
]
_EPILOG = "\b\nMount options and their defaults:\n" + "\n".join(f"  {name:<22} {text}" for name, text in _OPTIONS)


@click.command(context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EPILOG)
@click.argument("name")
@click.argument("mountpoint")
@click.option("-o", "options", multiple=True, help="Mount options, as for mount(8).")
@click.option("-f", "--foreground", is_flag=True, help="Stay in front.")
@click.option("--status-fd", type=int, hidden=True, help="Where to say 'ready' or why not.")
@click.version_option(package_name="curvefs")
def main(name: str, mountpoint: str, options: tuple[str, ...], *, foreground: bool, status_fd: int | None) -> None:
    """Mount the filesystem NAME on MOUNTPOINT."""
    status = StatusPipe(status_fd)
    open_files.raise_limit()
    try:
        config = _configuration(name, mountpoint, ",".join(options))
        if foreground:
            _serve(config, status)
        else:
            start_in_background(config)
    except CurveFSError as error:
        status.failed(error)
        sys.stderr.write(f"curvefs: {one_line(error)}\n")
        sys.exit(exit_code_of(error))


def _configuration(name: str, mountpoint: str, options: str) -> MountConfig:
    try:
        check_fs_name(name)
    except InvalidArgument as error:
        raise StartupError(str(error), ExitCode.USAGE) from error
    try:
        mountpoint.encode()
    except UnicodeEncodeError as error:
        raise StartupError(f"mountpoint {mountpoint!r} is not UTF-8", ExitCode.USAGE) from error
    config = parse_options(name, resolve(mountpoint), options, mds_fallback=os.environ.get("CURVEFS_MDS", ""))
    if config.key_file:  # the client in the background is in another folder
        config = replace(config, key_file=str(Path(config.key_file).absolute()))
    check_mountpoint(config.mountpoint)
    for folder in config.cache_folders:
        check_apart(config.mountpoint, "the cache folder", folder)
    if config.log:
        check_apart(config.mountpoint, "the log", config.log)
    return config


def _serve(config: MountConfig, status: StatusPipe) -> None:
    """Be the client of a mount until it is unmounted. Raises CurveFSError."""
    with contextlib.suppress(OSError):  # said when it is needed
        runtime.make_folder()
    if config.log:
        _log_into(Path(config.log))
    import structlog

    from ..common import logs

    logs.configure(level=config.log_level, program="curvefs")
    log = structlog.get_logger()

    def ready() -> None:
        try:
            runtime.record(config.mountpoint)
        except OSError as error:  # umount then returns before everything is stored; the mount itself is well
            log.warning("cannot note which process serves the mount", reason=str(error))
        status.ready()

    try:
        from .mount import run_mount

        run_mount(config, ready)
    except Exception as error:
        ours = _ours(error)
        if ours is None:
            log.exception("the client has failed")
            raise StartupError(f"{type(error).__name__}: {error}", ExitCode.FAILED) from error
        raise ours from error
    finally:
        runtime.forget(config.mountpoint)


def _log_into(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    except OSError as error:
        raise StartupError(f"cannot write the log {path}: {error.strerror}", ExitCode.FAILED) from error
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    os.close(descriptor)


def _ours(error: BaseException) -> CurveFSError | None:
    """Return the error for a person: structured concurrency may have wrapped it in groups."""
    if isinstance(error, CurveFSError):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(_ours, error.exceptions)), None)
    return None


if __name__ == "__main__":
    main()
