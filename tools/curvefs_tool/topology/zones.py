"""The topology of a cluster on one machine: zones that stand for machines that fail together."""

import json

from curvefs.proto import topology_pb2, topology_pb2_grpc
from curvefs.src.rpc.blocking import BlockingClient

POOL = "main"
_DEADLINE_S = 30.0


def server_name(number: int) -> str:
    """Return the server of the metaserver with a number, which begin at 1."""
    return f"server-{number}"


def file_of(metaservers: int, zones: int, replicas: int) -> str:
    """Return a topology file with a server for each metaserver, and these in the zones by turns."""
    of_zone = [
        {"name": f"zone-{zone + 1}", "servers": [{"name": server_name(n + 1)} for n in range(zone, metaservers, zones)]}
        for zone in range(zones)
    ]
    return json.dumps({"pools": [{"name": POOL, "replica_count": replicas, "zones": of_zone}]}, indent=1)


def ensure_topology(mds: list[str], file: str) -> None:
    """Apply a file, unless there is a topology: it may have been changed since. Raises CurveFSError."""
    stub = topology_pb2_grpc.TopologyServiceStub
    client = BlockingClient(mds, deadline_s=_DEADLINE_S)
    try:
        if not client.call(stub, "GetTopology", topology_pb2.GetTopologyRequest()).servers:
            client.call(stub, "ApplyTopology", topology_pb2.ApplyTopologyRequest(file=file.encode()))
    finally:
        client.close()
