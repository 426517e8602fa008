"""``gc``: finds objects that nothing refers to and, if asked, deletes them; finds objects that should be there."""

import sys
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import click

from curvefs.src.common.errors import StartupError
from curvefs.src.common.exits import ExitCode
from curvefs.src.object.protocol import ObjectStoreError
from curvefs.src.object.url import open_store

from ..cluster import cluster_options, command, mds_addresses, print_json, print_table
from ..filesystems import Duration
from ..quota.access import size
from .groups import Groups
from .survey import Found, Survey

_SHOWN_MAX = 20


@click.command("gc")
@click.argument("fs")
@click.option("--delete", is_flag=True, help="Delete what nothing refers to; else it is only reported.")
@click.option("--older-than", type=Duration(), default="1h", show_default=True, help="Only objects of this age.")
@cluster_options
@command
def gc(fs: str, *, delete: bool, older_than: int, mds: str | None, data: Path | None, json: bool) -> None:
    """Compare the objects of the filesystem FS with what its files refer to, also while it is used.

    Objects that wait for their deletion, or may still become part of a file, are no garbage. The object store is asked
    with the credentials of this process. Ends with 1 when an object is missing that a file needs.
    """
    with Groups(mds_addresses(mds, data), fs) as groups:
        try:
            found = _survey(groups, older_than, delete=delete)
        except ObjectStoreError as error:
            raise StartupError(str(error), ExitCode.OBJECT_STORE) from error
    if json:
        print_json(_as_json(found, deleted=delete))
    else:
        _show(found, deleted=delete)
    if any(one.missing for one in found):
        sys.exit(ExitCode.FAILED)


def _survey(groups: Groups, older_than: int, *, delete: bool) -> list[Found]:
    filesystem = groups.filesystem
    store = open_store(filesystem.object_store)
    try:
        survey = Survey(
            store,
            groups,
            UUID(bytes=filesystem.uuid),
            filesystem.block_size,
            older_than_ns=older_than * 10**9,
            now_ns=time.time_ns,
        )
        all_found = []
        for partition_id in groups.partitions:
            found = survey.of(partition_id)
            if delete:
                survey.remove(found)
            all_found.append(found)
        return all_found
    finally:
        store.close()


def _show(all_found: list[Found], *, deleted: bool) -> None:
    rows = [_row(str(one.partition_id), [one]) for one in all_found]
    print_table(
        ["PARTITION", "OBJECTS", "SIZE", "WAITING", "GARBAGE", "SIZE", "MISSING"], [*rows, _row("all", all_found)]
    )
    garbage = [one.key for found in all_found for one in found.garbage]
    _list("deleted" if deleted else "garbage", garbage)
    if garbage and not deleted:
        click.echo("nothing was deleted; say --delete")
    _list(
        "missing",
        [
            f"{one.name}: chunk {one.chunk_index} of inode {one.inode_id}"
            for found in all_found
            for one in found.missing
        ],
    )


def _row(name: str, found: list[Found]) -> list[str]:
    return [
        name,
        str(sum(one.objects for one in found)),
        size(sum(one.bytes for one in found)),
        str(sum(one.waiting for one in found)),
        str(sum(len(one.garbage) for one in found)),
        size(sum(one.garbage_bytes for one in found)),
        str(sum(len(one.missing) for one in found)),
    ]


def _list(what: str, lines: list[str]) -> None:
    for line in lines[:_SHOWN_MAX]:
        click.echo(f"{what}: {line}")
    if len(lines) > _SHOWN_MAX:
        click.echo(f"{what}: and {len(lines) - _SHOWN_MAX} more; --json lists all")


def _as_json(all_found: list[Found], *, deleted: bool) -> dict[str, Any]:
    """Return what --json shows. Sizes in bytes."""
    return {
        "objects": sum(one.objects for one in all_found),
        "bytes": sum(one.bytes for one in all_found),
        "waiting": sum(one.waiting for one in all_found),
        "garbage": [{"name": one.key, "bytes": one.size} for found in all_found for one in found.garbage],
        "deleted": deleted,
        "missing": [
            {"name": one.name, "inode": one.inode_id, "chunk": one.chunk_index}
            for found in all_found
            for one in found.missing
        ],
    }
