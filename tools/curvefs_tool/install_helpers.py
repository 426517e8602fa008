"""``install-helpers``: makes ``mount -t fuse.curvefs`` and fstab lines work."""

import shlex
import sys
from pathlib import Path

import click

from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode

from .cluster import command

HELPERS = {
    "mount.fuse.curvefs": "curvefs_tool.mount",
    "umount.fuse.curvefs": "curvefs_tool.umount",
}


@click.command("install-helpers")
@click.option("--dir", "folder", type=click.Path(path_type=Path), default=Path("/sbin"), show_default=True)
@command
def install_helpers(folder: Path) -> None:
    """Install mount.fuse.curvefs and umount.fuse.curvefs, which mount(8) and umount(8) call."""
    for name, module in HELPERS.items():
        path = folder / name
        # mount(8) runs helpers with a PATH of its own: the interpreter is named in full.
        text = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m {module} "$@"\n'
        beside = path.with_name(f".{name}.new")
        try:
            beside.write_text(text)
            beside.chmod(0o755)
            beside.rename(path)
        except OSError as error:
            raise StartupError(f"cannot write {path}: {error.strerror}", ExitCode.FAILED) from error
        click.echo(str(path))
