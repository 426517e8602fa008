"""``up``: a whole cluster on one machine with one command."""

import os
import subprocess
import sys
from pathlib import Path

import click

from curvefs.src.common.errors import CurveFSError, StartupError
from curvefs.src.common.exits import ExitCode
from curvefs.src.common.fsname import check_fs_name
from curvefs.src.common.status import exit_code_of
from curvefs.src.object.url import parse_store_url

from .cluster import command
from .state import Settings, lock, prepare, settle
from .supervisor import Supervisor


@click.command("up")
@click.argument("data", type=click.Path(path_type=Path))
@click.argument("mountpoint", required=False)
@click.option("--fs", help="Filesystem to create and mount.  [default: demo]")
@click.option("--object-store", help="file:///DIR or s3://BUCKET[/PREFIX]?endpoint=URL.  [default: a folder in DATA]")
@click.option("--metaservers", type=click.IntRange(1, 16), help="How many.  [default: 1]")
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
    detach: bool,
    no_restart: bool,
    status_fd: int | None,
) -> None:
    """Run MDS, metaservers and a mount on this machine, with everything they keep in DATA.

    Run again on the same DATA it continues with the same settings.
    """
    if fs is not None:
        check_fs_name(fs)
    if object_store is not None:
        parse_store_url(object_store)
    data = Path(os.path.abspath(data))  # noqa: PTH100  # without following links
    place = os.path.abspath(mountpoint) if mountpoint else ""  # noqa: PTH100
    if detach:
        _detached()
        return
    try:
        prepare(data)
        held = lock(data)
        settings = settle(data, fs, object_store, metaservers)
        supervisor = Supervisor(data, settings, place, restart=not no_restart)
        supervisor.start()
    except CurveFSError as error:
        if status_fd is None:
            raise
        _say(status_fd, f"{int(exit_code_of(error))} {' '.join(str(error).split())}\n")
        sys.exit(exit_code_of(error))
    lines = _summary(data, settings, place, supervisor.mds)
    supervisor.run(lambda: _say(status_fd, "ready\n" + lines) if status_fd is not None else click.echo(lines))
    os.close(held)


def _detached() -> None:
    """Start the supervisor as a process of its own; relay its word."""
    reader, writer = os.pipe()
    arguments = [argument for argument in sys.argv[1:] if argument != "--detach"]
    log_file = open(os.devnull, "ab")  # noqa: SIM115, PTH123  # the servers have logs of their own
    with log_file:
        process = subprocess.Popen(
            [sys.executable, "-m", "curvefs_tool.main", *arguments, "--status-fd", str(writer)],
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=log_file,
            pass_fds=[writer],
            start_new_session=True,
        )
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:  # noqa: PTH123
        said = pipe.read()
    first, _, rest = said.partition("\n")
    if first == "ready":
        click.echo(rest.rstrip())
        return
    code, _, reason = first.partition(" ")
    if code.isdigit() and reason:
        raise StartupError(reason, ExitCode(int(code)))
    raise StartupError("the supervisor ended without a word", ExitCode(process.wait() or ExitCode.FAILED))


def _say(status_fd: int, text: str) -> None:
    os.write(status_fd, text.encode())
    os.close(status_fd)


def _summary(data: Path, settings: Settings, mountpoint: str, mds: str) -> str:
    lines = [
        f"filesystem    {settings.fs}",
        f"object store  {settings.object_store}",
        f"MDS           {mds}",
        *(f"metaserver    127.0.0.1:{port}" for name, port in settings.ports.items() if name.startswith("metaserver")),
        f"data, logs    {data}",
    ]
    if mountpoint:
        lines.append(f"mountpoint    {mountpoint}")
    else:
        lines.append(f"mount with    curvefs {settings.fs} MOUNTPOINT -o mds={mds}")
    lines.append(f"stop with     curvefs-tool down {data}")
    lines.append(click.style("ready", fg="green", bold=True))
    return "\n".join(lines)
