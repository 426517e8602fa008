"""``down``: unmounts, waits for uploads, and stops a cluster made by `up`."""

import os
import signal
from pathlib import Path

import click

from curvefs.src.client import runtime
from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode

from .cluster import FOLDER, command
from .control import ask
from .settings import load_settings
from .shutdown import FORCED_TIMEOUT_S, KernelMounts, Outside, stop_leftovers, unmount_all
from .state import ClusterState

SUPERVISOR_DEADLINE_S = 30.0


@click.command("down")
@click.argument("data", type=FOLDER)
@click.option("--force", is_flag=True, help="Unmount even if something uses the mount.")
@command
def down(data: Path, *, force: bool) -> None:
    """Unmount (waiting until everything written is stored) and stop the cluster in DATA."""
    data = Path(os.path.realpath(data))
    supervisor = ClusterState.load(data).processes.get("supervisor")
    reply = ask(data, {"command": "down", "force": force})
    if reply is not None:
        if supervisor is not None and reply["code"] != ExitCode.BUSY:  # its lock is free when it has ended
            runtime.wait_gone(supervisor.pid, supervisor.started, SUPERVISOR_DEADLINE_S)
        if reply["code"]:
            more = "; everything is left running, --force unmounts it all the same"
            reason = reply["message"] + (more if reply["code"] == ExitCode.BUSY else "")
            raise StartupError(reason, ExitCode(reply["code"]))
        click.echo("stopped")
        return
    if not ClusterState.load(data).any_running:
        if not any((data / name).exists() for name in ("format", "cluster.json")):
            raise StartupError(f"{data} is no data folder of a cluster", ExitCode.DATA_FOLDER)
        click.echo("nothing is running")
        return
    _stop_orphans(data, force=force)
    click.echo("stopped")


def _stop_orphans(data: Path, *, force: bool) -> None:
    """Stop what a killed supervisor has left. Raises StartupError (BUSY); then all is left running."""
    outside = Outside(KernelMounts())
    client = ClusterState.load(data).processes.get("client")
    own = client.detail if client is not None else ""
    clients = unmount_all(outside, load_settings(data).mds_addresses, own, force=force)
    for one in clients:
        if not runtime.wait_gone(*one, FORCED_TIMEOUT_S if force else None):
            runtime.send_signal(*one, signal.SIGKILL)
    stop_leftovers(outside, data, force=force)
