"""``info``: an inode, the slices of each chunk, and the objects these lie in."""

import datetime as dt
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import click

from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.slices.geometry import Geometry
from curvefs.src.slices.names import block_name

from ..cluster import cluster_options, command, mds_addresses, print_json, print_table
from ..quota.access import path_argument, place_of
from .access import Files


@click.command()
@path_argument
@cluster_options
@command
def info(path: str, fs: str | None, *, mds: str | None, data: Path | None, json: bool) -> None:
    """Show the inode of PATH; of a regular file also its slices, chunk by chunk, and their objects.

    Later slices win over earlier ones of their chunk. The sizes of objects are those of their data.
    """
    place = place_of(path, fs)
    files = Files(mds_addresses(mds, data), place.fs)
    inode = files.find(place.path)
    slices = [one for _, chunk in files.slices(inode) for one in chunk] if stat.S_ISREG(inode.mode) else []
    geometry = _geometry(files)
    if json:
        said: dict[str, Any] = {"path": os.fsdecode(place.path), "fs": place.fs, "inode": _attributes(inode)}
        if stat.S_ISREG(inode.mode):
            said["slices"] = [_slice(one, geometry) for one in slices]
        print_json(said)
        return
    for name, value in _attributes(inode).items():
        click.echo(f"{name + ':':<14} {value}")
    if not stat.S_ISREG(inode.mode):
        return
    chunks = {one.chunk_index for one in slices}
    click.echo(f"{'slices:':<14} {len(slices)} in {len(chunks)} chunks")
    rows = []
    for one in slices:
        objects = list(_objects(one, geometry)) or [("(zeros)", 0)]
        for number, (name, size) in enumerate(objects):
            where = [str(one.chunk_index), str(one.offset), str(one.length)] if not number else ["", "", ""]
            rows.append([*where, name, str(size)])
    if rows:
        print_table(["CHUNK", "OFFSET", "LENGTH", "OBJECT", "SIZE"], rows)


def _geometry(files: Files) -> Geometry:
    of = files.filesystem
    return Geometry(UUID(bytes=of.uuid), of.chunk_size, of.block_size, of.block_format)


def _attributes(inode: pb.Inode) -> dict[str, Any]:
    """Return what is worth showing of an inode."""
    shown: dict[str, Any] = {
        "inode": inode.inode_id,
        "mode": stat.filemode(inode.mode),
        "links": inode.nlink,
        "uid": inode.uid,
        "gid": inode.gid,
        "length": inode.length,
        "allocated": inode.allocated,
        "parent": inode.parent,
        "change": inode.change,
    }
    if inode.symlink_target:
        shown["target"] = os.fsdecode(inode.symlink_target)
    for name in ("atime", "mtime", "ctime", "btime"):
        seconds = getattr(inode, f"{name}_ns") / 1e9
        shown[name] = dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat()
    return shown


def _objects(one: pb.Slice, geometry: Geometry) -> Iterator[tuple[str, int]]:
    """Yield the objects that the bytes of a slice lie in, with how many bytes of data each holds."""
    if not one.zero:
        for block in geometry.blocks(one.object.offset, one.length, one.size):
            yield block_name(geometry.uuid, one.chunk_id, one.compaction, block.block), block.block_length


def _slice(one: pb.Slice, geometry: Geometry) -> dict[str, Any]:
    said: dict[str, Any] = {"chunk": one.chunk_index, "offset": one.offset, "length": one.length}
    if one.zero:
        return said | {"zero": True}
    return said | {
        "chunk_id": one.chunk_id,
        "compaction": one.compaction,
        "run_offset": one.object.offset,
        "size": one.size,
        "block_format": one.object.block_format,
        "reference": one.reference,
        "objects": [{"name": name, "size": size} for name, size in _objects(one, geometry)],
    }
