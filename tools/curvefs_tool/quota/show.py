"""``quota get`` and ``quota list``."""

from pathlib import Path

import click

from curvefs.proto import quota_pb2

from ..cluster import cluster_options, command, mds_addresses
from .access import Quotas, path_argument, place_of, show


@click.command("get")
@path_argument
@cluster_options
@command
def get(path: str, fs: str | None, *, mds: str | None, data: Path | None, json: bool) -> None:
    """Show the quota of the directory PATH, and what is used of it."""
    place = place_of(path, fs)
    show([Quotas(mds_addresses(mds, data), place.fs).of(place.path)], json=json)


@click.command("list")
@click.argument("fs")
@cluster_options
@command
def list_quotas(fs: str, *, mds: str | None, data: Path | None, json: bool) -> None:
    """List the quotas of the filesystem FS."""
    listed = Quotas(mds_addresses(mds, data), fs).call("ListQuotas", quota_pb2.ListQuotasRequest())
    show(sorted(listed.quotas, key=lambda one: bytes(one.path)), json=json)
