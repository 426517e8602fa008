"""``create-topology``: which pools, zones and servers there are, from a file."""

import sys
from pathlib import Path

import click

from curvefs.proto import topology_pb2, topology_pb2_grpc
from curvefs.src.common.errors import InvalidArgument, StartupError
from curvefs.src.common.exits import ExitCode
from curvefs.src.rpc.blocking import BlockingClient

from ..cluster import cluster_options, command, mds_addresses, print_json

_DEADLINE_S = 60.0  # a large one is written in many transactions
_FILE_SIZE_MAX = 3 << 20  # of a call


@click.command("create-topology")
@click.argument("file", type=click.Path(path_type=Path))
@cluster_options
@command
def create_topology(file: Path, *, mds: str | None, data: Path | None, json: bool) -> None:
    """Make the pools, zones and servers of the cluster what FILE (JSON) says.

    What the file leaves out is removed, unless it is in use. All mistakes are told at once, and then nothing is done.
    """
    client = BlockingClient(mds_addresses(mds, data))
    request = topology_pb2.ApplyTopologyRequest(file=_read(file))
    stub = topology_pb2_grpc.TopologyServiceStub
    try:
        changes = list(client.call(stub, "ApplyTopology", request, deadline_s=_DEADLINE_S).changes)
    except InvalidArgument as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"curvefs-tool: {file}: {line}\n")
        sys.exit(ExitCode.USAGE)
    if json:
        print_json({"changes": changes})
        return
    for change in changes:
        click.echo(change)
    if not changes:
        click.echo("nothing to change")


def _read(file: Path) -> bytes:
    try:
        text = file.read_bytes()
    except OSError as error:
        raise StartupError(f"cannot read {file}: {error.strerror}", ExitCode.USAGE) from error
    if len(text) > _FILE_SIZE_MAX:
        raise StartupError(f"{file} is larger than {_FILE_SIZE_MAX >> 20} MiB", ExitCode.USAGE)
    return text
