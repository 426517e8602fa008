"""``up``: a whole cluster on one machine with one command.

With --detach the supervisor is a fresh process of its own, which says on a pipe that it is ready, with the summary, or
why not, as the client does. A first start that fails leaves nothing behind, or its logs, where they say more than the
reason does; once its mount was live everything stays.
"""

import contextlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import click

from curvefs.proto import mds_pb2
from curvefs.src.client.daemon import READY, StatusPipe, error_said, one_line
from curvefs.src.client.mountpoints import check_apart, check_mountpoint, resolve
from curvefs.src.common.data_keys import key_check, read_key
from curvefs.src.common.errors import CurveFSError, StartupError
from curvefs.src.common.exits import ExitCode
from curvefs.src.common.fsname import check_fs_name
from curvefs.src.common.status import exit_code_of
from curvefs.src.object.url import parse_store_url

from .cluster import FOLDER, command
from .filesystems import COMPRESSIONS, Duration, ensure_filesystem
from .mount_options import checked_options
from .servers import Programs
from .settings import Settings, new_settings, settle
from .shutdown import KernelMounts, Outside
from .state import discard, is_new, lock, prepare
from .status import collect
from .supervisor import Supervisor
from .topology.zones import ensure_topology, file_of

STOP_DEADLINE_S = 60.0
HEALTHY_DEADLINE_S = 30.0  # elections, and a few heartbeats


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the command line says; None: not said. mountpoint: '' for none. mount_options: as checked_options."""

    data: Path
    mountpoint: str
    fs: str | None
    object_store: str | None
    metaservers: int | None
    replicas: int | None
    mds: int | None
    etcd: int | None
    zones: int | None
    delete_grace: int | None
    trash_retention: int | None
    compression: str | None
    encrypt: str | None
    restart: bool
    mount_options: str = ""

    @property
    def asked(self) -> dict[str, str | int | None]:
        """Return what is asked for, by the name of the setting."""
        names = (
            *("fs", "object_store", "metaservers", "replicas", "mds", "etcd", "zones"),
            *("delete_grace", "trash_retention", "compression", "encrypt"),
        )
        return {name: getattr(self, name) for name in names}

    def words(self) -> list[str]:
        """Return it as a command line again."""
        said = {name: value for name, value in self.asked.items() if value is not None}
        words = [word for name, value in said.items() for word in ("--" + name.replace("_", "-"), str(value))]
        words += [] if self.restart else ["--no-restart"]
        words += ["-o", self.mount_options] if self.mount_options else []
        return [*words, "--", str(self.data), *([self.mountpoint] if self.mountpoint else [])]

    def settings(self) -> Settings:
        """Return the settings. Raises StartupError (DATA_FOLDER) when those kept differ."""
        return settle(self.data, self.asked)


@click.command("up")
@click.argument("data", type=FOLDER)
@click.argument("mountpoint", required=False)
@click.option("--fs", help="Filesystem to create and mount.  [default: demo]")
@click.option("--object-store", help="file:///DIR or s3://BUCKET[/PREFIX]?endpoint=URL.  [default: a folder in DATA]")
@click.option("--metaservers", type=click.IntRange(1, 16), help="How many.  [default: 1]")
@click.option("--replicas", type=click.IntRange(1, 7), help="Of all metadata.  [default: 3 if there are 3 metaservers]")
@click.option("--mds", type=click.IntRange(1, 7), help="How many; several need etcd.  [default: 1]")
@click.option("--etcd", type=click.IntRange(1, 7), help="Members of an etcd for the MDS.  [default: none]")
@click.option("--zones", type=click.IntRange(1, 16), help="Replicas are in different ones.  [default: none]")
@click.option("--delete-grace", type=Duration(), help="See create-fs.  [default: 10m]")
@click.option("--trash-retention", type=Duration(), help="See create-fs.  [default: 1d]")
@click.option("--compression", type=click.Choice(COMPRESSIONS), help="Of blocks.  [default: none]")
@click.option("--encrypt", type=click.Path(path_type=Path), help="The key file of blocks.  [default: not encrypted]")
@click.option("-o", "options", multiple=True, help="Options of the mount, as of curvefs; not kept for the next time.")
@click.option("--detach", is_flag=True, help="Go to the background; return when everything is ready.")
@click.option("--no-restart", is_flag=True, help="Do not restart what dies.")
@click.option("--status-fd", type=int, hidden=True)
@command
def up(
    data: Path,
    mountpoint: str | None,
    *,
    fs: str | None,
    object_store: str | None,
    metaservers: int | None,
    replicas: int | None,
    mds: int | None,
    etcd: int | None,
    zones: int | None,
    delete_grace: int | None,
    trash_retention: int | None,
    compression: str | None,
    encrypt: Path | None,
    options: tuple[str, ...],
    detach: bool,
    no_restart: bool,
    status_fd: int | None,
) -> None:
    """Run MDS, metaservers, etcd if asked, and a mount on this machine, with everything they keep in DATA.

    Run again on the same DATA it continues with the same settings.
    """
    if fs is not None:
        check_fs_name(fs)
    if object_store is not None:
        parse_store_url(object_store)
    place = resolve(mountpoint) if mountpoint else ""
    folder = Path(os.path.realpath(data))
    if encrypt is not None:
        read_key(encrypt)
    wanted = _Wanted(
        folder,
        place,
        fs,
        object_store,
        metaservers,
        replicas,
        mds,
        etcd,
        zones,
        delete_grace,
        trash_retention,
        compression,
        None if encrypt is None else os.path.realpath(encrypt),
        restart=not no_restart,
        mount_options=checked_options(place, options),
    )
    if detach:
        click.echo(_in_background(wanted))
        return
    status = StatusPipe(status_fd)
    try:
        _run(wanted, None if status_fd is None else status)
    except CurveFSError as error:
        status.failed(error)
        raise
    except Exception as error:
        status.failed(StartupError(f"{type(error).__name__}: {error}", ExitCode.FAILED))
        raise


def _run(wanted: _Wanted, status: StatusPipe | None) -> None:
    """Be the supervisor until the cluster is taken down. Raises CurveFSError. status: with a parent that waits."""
    made = not wanted.data.exists()
    if wanted.mountpoint:
        check_apart(wanted.mountpoint, "the data folder", wanted.data)
    if not (wanted.data / "cluster.json").exists():
        new_settings(wanted.data, wanted.asked)
        if wanted.mountpoint:
            check_mountpoint(wanted.mountpoint)
    else:
        wanted.settings()
    prepare(wanted.data)
    held = lock(wanted.data)
    first, supervisor = is_new(wanted.data), None
    try:
        settings = wanted.settings()
        if status is not None:
            _log_into(wanted.data / "log" / "supervisor.log")
        supervisor = _supervisor(wanted, settings)
        with supervisor, supervisor.signals():
            supervisor.start()
            summary = _summary(wanted, settings, supervisor.mds)
            supervisor.run(lambda: _show(summary) if status is None else status.ready(summary))
    except BaseException as error:
        if first and (supervisor is None or not supervisor.was_live):
            _discard(wanted.data, error, folder_too=made)
        raise
    finally:
        os.close(held)


def _supervisor(wanted: _Wanted, settings: Settings) -> Supervisor:
    return Supervisor(
        wanted.data,
        settings,
        wanted.mountpoint,
        mount_options=wanted.mount_options,
        restart=wanted.restart,
        programs=Programs(),
        outside=Outside(KernelMounts()),
        arrange=lambda mds: _arrange(mds, settings),
        create=lambda mds: ensure_filesystem(mds, _filesystem(settings), settings.metaservers),
        confirm=_wait_healthy,
        tell=_tell,
    )


def _discard(data: Path, error: BaseException, *, folder_too: bool) -> None:
    """Remove what a first start has made; of one that failed for no reason with a code of its own, all but the logs."""
    code = exit_code_of(error) if isinstance(error, CurveFSError) else ExitCode.FAILED
    if code in (ExitCode.FAILED, ExitCode.TIMEOUT):
        discard(data, keep=("format", "log"))
    else:
        discard(data, folder_too=folder_too)


def _filesystem(settings: Settings) -> mds_pb2.CreateFilesystemRequest:
    return mds_pb2.CreateFilesystemRequest(
        name=settings.fs,
        object_store=settings.object_store,
        trash_retention_s=settings.trash_retention,
        delete_grace_s=settings.delete_grace,
        compression=settings.compression,
        key_check=key_check(read_key(Path(settings.encrypt))) if settings.encrypt else b"",
    )


def _arrange(mds: list[str], settings: Settings) -> None:
    if settings.zones:
        ensure_topology(mds, file_of(settings.metaservers, settings.zones, settings.replicas))


def _in_background(wanted: _Wanted) -> str:
    """Start the supervisor as a process of its own; return its summary. Raises StartupError with its reason."""
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "curvefs_tool.main", "up", "--status-fd", str(writer), *wanted.words()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=[writer],
        start_new_session=True,
        cwd="/",
    )
    os.close(writer)
    try:
        with open(reader, encoding="utf-8", errors="replace") as pipe:  # noqa: PTH123
            said = pipe.read()  # to its end: every wait of the supervisor's start has a deadline
    except BaseException:  # interrupted: it must not go on alone
        process.terminate()
        process.wait(STOP_DEADLINE_S)
        raise
    first, _, summary = said.strip().partition("\n")
    if first == READY:
        return summary
    process.wait(STOP_DEADLINE_S)
    raise error_said(first, f"the supervisor has ended; see {wanted.data / 'log' / 'supervisor.log'}")


def _wait_healthy(mds: list[str]) -> None:
    """Wait until every copyset has a leader and every replica was heard, so that ready means healthy.

    The mount does not depend on it.
    """
    end = time.monotonic() + HEALTHY_DEADLINE_S
    while time.monotonic() < end:
        try:
            if collect(mds, None)["healthy"]:
                return
        except CurveFSError as error:
            _tell(one_line(error))
        time.sleep(0.1)


def _tell(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # the disk of the log is full, or the terminal gone
        sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} curvefs-tool: {line}\n")
        sys.stderr.flush()


def _show(summary: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody reads it; the cluster runs
        click.echo(summary)


def _log_into(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    os.close(descriptor)


def _summary(wanted: _Wanted, settings: Settings, mds: list[str]) -> str:
    """Return what a person wants to know now."""
    rows = [("filesystem", settings.fs), ("object store", settings.object_store)]
    try:
        rows += [
            (one["role"], f"{one['address']}  {one['metrics']}")
            for one in collect(mds, None)["processes"]
            if one["role"] in ("mds", "metaserver")
        ]
    except CurveFSError as error:  # it was there a moment ago, and may be again
        rows.append(("mds", f"{'/'.join(mds)}  {one_line(error)}"))
    rows.append(("data, logs", str(wanted.data)))
    if wanted.mountpoint:
        rows.append(("mountpoint", wanted.mountpoint))
    else:
        rows.append(("mount with", f"curvefs {settings.fs} MOUNTPOINT -o mds={'/'.join(mds)}"))
    rows.append(("stop with", f"curvefs-tool down {wanted.data}"))
    lines = [f"{what:<13} {which}" for what, which in rows]
    return "\n".join([*lines, click.style("ready", fg="green", bold=True)])
