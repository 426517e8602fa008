"""What there is, as rows: the MDS's answers joined, each row a mapping that --json prints as it is.

Rows name what they belong to; a row's children are found by that. Pure but for the calls, each made when first needed.
"""

from functools import cached_property
from typing import Any

from curvefs.proto import mds_pb2, mds_pb2_grpc, topology_pb2, topology_pb2_grpc
from curvefs.src.rpc.blocking import BlockingClient

from ..copyset.view import as_json as copyset_as_json
from ..filesystems import time_text

Row = dict[str, Any]
_TOPOLOGY = topology_pb2_grpc.TopologyServiceStub
_MDS = mds_pb2_grpc.MdsServiceStub
_DUTIES = {topology_pb2.SERVES: "", topology_pb2.DRAINS: "drains", topology_pb2.RETIRES: "retires"}


class Fleet:
    """See the module."""

    def __init__(self, client: BlockingClient) -> None:
        self._client = client

    # ---------------------------------------------------------------------------------------- answers

    @cached_property
    def _topology(self) -> topology_pb2.GetTopologyReply:
        reply: topology_pb2.GetTopologyReply
        reply = self._client.call(_TOPOLOGY, "GetTopology", topology_pb2.GetTopologyRequest())
        return reply

    @cached_property
    def _metaservers(self) -> list[topology_pb2.Metaserver]:
        request = topology_pb2.ListMetaserversRequest()
        return list(self._client.call(_TOPOLOGY, "ListMetaservers", request).metaservers)

    @cached_property
    def _copysets(self) -> list[topology_pb2.Copyset]:
        request = topology_pb2.ListCopysetsRequest()
        return list(self._client.call(_TOPOLOGY, "ListCopysets", request).copysets)

    @cached_property
    def _filesystems(self) -> dict[int, str]:
        reply = self._client.call(_MDS, "ListFilesystems", mds_pb2.ListFilesystemsRequest())
        return {one.fs_id: one.name for one in reply.filesystems}

    # ------------------------------------------------------------------------------------------- rows

    @cached_property
    def pools(self) -> list[Row]:
        """Return the pools."""
        rows = []
        for one in self._topology.pools:
            copysets = [copyset for copyset in self._copysets if copyset.pool_id == one.pool_id]
            rows.append(
                {
                    "name": one.name,
                    "pool_id": one.pool_id,
                    "replicas": one.replica_count,
                    "zones": sum(zone.pool_id == one.pool_id for zone in self._topology.zones),
                    "servers": _count(self.servers, pool_id=one.pool_id),
                    "metaservers": _count(self.metaservers, pool_id=one.pool_id),
                    "copysets": len(copysets),
                    "copysets_min": one.copyset_count,
                }
            )
        return rows

    @cached_property
    def zones(self) -> list[Row]:
        """Return the zones."""
        pools = {one.pool_id: one.name for one in self._topology.pools}
        return [
            {
                "name": one.name,
                "zone_id": one.zone_id,
                "pool": pools.get(one.pool_id, ""),
                "pool_id": one.pool_id,
                "servers": _count(self.servers, zone_id=one.zone_id),
                "metaservers": _count(self.metaservers, zone_id=one.zone_id),
                "online": _count(self.metaservers, zone_id=one.zone_id, health="online"),
            }
            for one in self._topology.zones
        ]

    @cached_property
    def servers(self) -> list[Row]:
        """Return the servers."""
        return [
            {
                "name": one.name,
                "server_id": one.server_id,
                **self._place(one.zone_id),
                "address": one.internal_address,
                "external_address": one.external_address,
                "metaservers": sum(metaserver.server_id == one.server_id for metaserver in self._metaservers),
            }
            for one in self._topology.servers
        ]

    @cached_property
    def metaservers(self) -> list[Row]:
        """Return the metaservers."""
        servers = {one.server_id: one for one in self._topology.servers}
        rows = []
        for one in self._metaservers:
            server = servers.get(one.server_id, topology_pb2.Server())
            rows.append(
                {
                    "metaserver_id": one.metaserver_id,
                    "address": one.address,
                    "server": server.name,
                    "server_id": one.server_id,
                    **self._place(server.zone_id),
                    "health": topology_pb2.Health.Name(one.health).lower(),
                    "duty": f"superseded by {one.superseded_by}" if one.superseded_by else _DUTIES[one.duty],
                    "replicas": one.replica_count,
                    "leaders": one.leader_count,
                    "disk_used_bytes": one.disk_used_bytes,
                    "disk_total_bytes": one.disk_total_bytes,
                    "pid": one.pid,
                    "metrics": one.metrics_address,
                    "registered": time_text(one.registered_ns),
                }
            )
        return rows

    @cached_property
    def copysets(self) -> list[Row]:
        """Return the copysets."""
        return [copyset_as_json(one) | {"pool_id": one.pool_id} for one in self._copysets]

    @cached_property
    def partitions(self) -> list[Row]:
        """Return the partitions of all filesystems."""
        return [
            {
                "filesystem": name,
                "partition_id": one.partition_id,
                "copyset": one.group_id,
                "leader": one.leader,
                "inodes": one.inode_count,
                "used_bytes": one.used_bytes,
                "peers": [{"metaserver_id": peer.metaserver_id, "address": peer.address} for peer in one.peers],
            }
            for fs_id, name in self._filesystems.items()
            for one in self._client.call(_MDS, "ListPartitions", mds_pb2.ListPartitionsRequest(fs_id=fs_id)).partitions
        ]

    @cached_property
    def mounts(self) -> list[Row]:
        """Return the mounts, also those whose end not all groups have confirmed yet.

        A retained one is over, but what it has staged may still be published.
        """
        reply = self._client.call(_MDS, "ListSessions", mds_pb2.ListSessionsRequest())
        return [
            {
                "session": one.session_id.hex(),
                "filesystem": self._filesystems.get(one.fs_id, str(one.fs_id)),
                "host": one.host,
                "mountpoint": one.mountpoint,
                "pid": one.pid,
                "version": one.version,
                "read_only": one.read_only,
                "ending": one.ending,
                "retained_since": time_text(one.retained_since_ns) if one.retained_since_ns else "",
                "opened": time_text(one.opened_ns),
                "metrics": one.metrics_address,
            }
            for one in reply.sessions
        ]

    def _place(self, zone_id: int) -> Row:
        """Return the zone and pool that something is in."""
        zones = {one.zone_id: one for one in self._topology.zones}
        pools = {one.pool_id: one.name for one in self._topology.pools}
        zone = zones.get(zone_id, topology_pb2.Zone())
        return {
            "zone": zone.name,
            "zone_id": zone_id,
            "pool": pools.get(zone.pool_id, ""),
            "pool_id": zone.pool_id,
        }


def _count(rows: list[Row], **wanted: Any) -> int:
    return len(select(rows, **wanted))


def select(rows: list[Row], **wanted: Any) -> list[Row]:
    """Return the rows with these values."""
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]
