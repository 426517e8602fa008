"""``create-fs``: makes a filesystem."""

from pathlib import Path
from uuid import UUID

import click

from curvefs.proto import mds_pb2
from curvefs.src.common.data_keys import key_check, read_key
from curvefs.src.rpc.blocking import BlockingClient

from .cluster import cluster_options, command, mds_addresses, print_json
from .filesystems import COMPRESSIONS, Duration, Size, as_json, create_filesystem


@click.command("create-fs")
@click.argument("name")
@click.option("--object-store", required=True, help="file:///DIR or s3://BUCKET[/PREFIX]?endpoint=URL")
@click.option("--chunk-size", type=Size(), default=0, help="Default 64M.")
@click.option("--block-size", type=Size(), default=0, help="Default 4M.")
@click.option("--capacity", type=Size(), default=0, help="What df shows as the size; default 1024T.")
@click.option("--inodes", type=Size(), default=0, help="What df -i shows as the number of inodes.")
@click.option("--trash-retention", type=Duration(), help="What is removed can be restored so long; 0: no trash.  [1d]")
@click.option("--trash-replaced", is_flag=True, help="Also what a rename replaces goes to the trash.")
@click.option("--delete-grace", type=Duration(), help="Objects nothing refers to stay so long, e.g. 10m (the default).")
@click.option("--compression", type=click.Choice(COMPRESSIONS), default="none", show_default=True, help="Of blocks.")
@click.option("--encrypt", "key_file", type=click.Path(path_type=Path), help="The key file, made by new-key.")
@cluster_options
@command
def create_fs(
    name: str,
    object_store: str,
    *,
    chunk_size: int,
    block_size: int,
    capacity: int,
    inodes: int,
    trash_retention: int | None,
    trash_replaced: bool,
    delete_grace: int | None,
    compression: str,
    key_file: Path | None,
    mds: str | None,
    data: Path | None,
    json: bool,
) -> None:
    """Create the filesystem NAME with its blocks in an object store.

    Compression and encryption are for good. The key stays here: mounts say key_file=FILE.
    """
    request = mds_pb2.CreateFilesystemRequest(
        name=name,
        object_store=object_store,
        chunk_size=chunk_size,
        block_size=block_size,
        capacity_bytes=capacity,
        capacity_inodes=inodes,
        trash_retention_s=trash_retention,
        trash_replaced=trash_replaced,
        delete_grace_s=delete_grace,
        compression=compression,
        key_check=key_check(read_key(key_file)) if key_file is not None else b"",
    )
    filesystem = create_filesystem(BlockingClient(mds_addresses(mds, data)), request)
    if json:
        print_json(as_json(filesystem))
    else:
        click.echo(f"created {name} ({UUID(bytes=filesystem.uuid)})")
