"""``down``: unmounts, waits for uploads, and stops a cluster made by `up`."""

from pathlib import Path

import click

from curvefs.src.client import mountpoints
from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode

from .cluster import command, mds_addresses
from .control import ask
from .state import ClusterState
from .supervisor import stop_leftovers, unmount_all


@click.command("down")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Unmount even if something uses the mount.")
@command
def down(data: Path, *, force: bool) -> None:
    """Unmount (waiting until everything written is stored) and stop the cluster in DATA."""
    reply = ask(data, {"command": "down", "force": force})
    if reply is not None:
        if reply["code"]:
            raise StartupError(reply["message"], ExitCode(reply["code"]))
        click.echo("stopped")
        return
    state = ClusterState.load(data)
    if not any(one.running for one in state.processes.values()):
        click.echo("nothing is running")
        return
    # The supervisor was killed; its children were not.
    client = state.processes.get("client")
    own = client.detail if client is not None and client.running else ""
    if own and mountpoints.mounted_type(own) != mountpoints.FSTYPE:
        own = ""
    unmount_all(mds_addresses(None, data)[0], own, force=force)
    stop_leftovers(data)
    click.echo("stopped")
