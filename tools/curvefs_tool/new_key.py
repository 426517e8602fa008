"""``new-key``: makes the key of an encrypted filesystem."""

import os
from pathlib import Path

import click

from curvefs.src.common.data_keys import key_check
from curvefs.src.common.data_keys import new_key as make

from .cluster import command


@click.command("new-key")
@click.argument("file", type=click.Path(path_type=Path))
@command
def new_key(file: Path) -> None:
    """Make a key for create-fs --encrypt and the mount option key_file, in a new FILE that only you can read.

    Who loses it loses the data. Keep a copy.
    """
    click.echo(f"made {file} (check value {key_check(make(file, os.urandom)).hex()})")
