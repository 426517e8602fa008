"""Where metaservers lie: the stored topology, how a file changes it, and which server a metaserver is on.

A metaserver is on the server it names, else on the one that has its address; from then on its record says so, and
everything else follows: its server's zone, its zone's pool. One without a server is in the default pool and its only
zone: so all are while there is no topology, and replicas go to any that differ. Once there is one, a metaserver that
joins has to be on a server of it.

Invariants:
    what holds replicas does not move to another zone
    the peers of a copyset are in one pool, unless somebody has put them elsewhere by hand

Shared across awaits: one file is applied at a time.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from ....proto import topology_pb2 as pb
from ...common.errors import NotFound, PermissionDenied
from ..state import Change, State, Table, changed
from .file import (
    DEFAULT,
    Kind,
    Mistake,
    Topology,
    TopologyChange,
    TopologyFile,
    plan_changes,
    read_topology,
    refusal,
)

_log = structlog.get_logger()
_AT_A_TIME = 50  # records: a transaction is bounded
_NAMED_MAX = 20


class Places:
    """See the module. replica_count: of copysets in the default pool."""

    def __init__(self, state: State, *, replica_count: int) -> None:
        self._state = state
        self._replica_count = replica_count
        self._applying = asyncio.Lock()

    # ---------------------------------------------------------------------------------------- looking

    def topology(self) -> Topology:
        """Return what is stored."""
        state = self._state
        return Topology(dict(state.pools.items()), dict(state.zones.items()), dict(state.servers.items()))

    def shown(self) -> Topology:
        """Return what is stored, and the default pool while a metaserver is in it."""
        stored = self.topology()
        if all(record.server_id for record in self._state.metaservers.values()):
            return stored
        pool = pb.Pool(name=DEFAULT, replica_count=self._replica_count, zone_count=1)
        return Topology({0: pool} | stored.pools, {0: pb.Zone(name=DEFAULT)} | stored.zones, stored.servers)

    def zone_of(self, metaserver: pb.Metaserver) -> int:
        """Return a metaserver's zone; 0: the default one."""
        server = self._state.servers.get(metaserver.server_id)
        return server.zone_id if server is not None else 0

    def pool_of(self, metaserver: pb.Metaserver) -> int:
        """Return a metaserver's pool; 0: the default one."""
        zone = self._state.zones.get(self.zone_of(metaserver))
        return zone.pool_id if zone is not None else 0

    def pool_of_copysets(self) -> Callable[[pb.Copyset], int]:
        """Return a function that returns the pool of a copyset's peers, as they lie now; cheap, as there are many."""
        pools = {id_: self.pool_of(metaserver) for id_, metaserver in self._state.metaservers.items()}
        if len(set(pools.values())) <= 1:
            only = next(iter(pools.values()), 0)
            return lambda _: only
        return lambda copyset: next(
            (pools[peer.metaserver_id] for peer in copyset.peers if peer.metaserver_id in pools), 0
        )

    # --------------------------------------------------------------------------------------- a file

    async def apply(self, text: bytes) -> list[TopologyChange]:
        """Make the topology what a file says; return what changed. Raises InvalidArgument; then nothing has.

        Very many changes are several transactions, each of which leaves a topology: parents come first, and go last.
        The whole is checked before each; so a metaserver that joins meanwhile on what is to go can stop it half-way.
        """
        file = read_topology(text)
        done: list[TopologyChange] = []
        async with self._applying:
            while changes := await self._state.change(lambda change: self._apply_some(change, file)):
                done += changes
            while adopted := await self._state.change(self._adopt):
                _log.info("metaservers have got a server", metaservers=adopted)
        if done:
            _log.info("the topology was changed", changes=[str(one) for one in done[:_NAMED_MAX]], count=len(done))
        return done

    def _apply_some(self, change: Change, file: TopologyFile) -> list[TopologyChange]:
        present = self.topology()
        changes = plan_changes(file, present, self._state.metaservers.values(), change.next_number)
        future = present.after(changes)
        if split := self._split_copyset(future, self._adoptable(future)):
            raise refusal([Mistake("pools", split)])
        some = changes[:_AT_A_TIME]
        for one in some:
            table, id_ = self._row(one.record)
            if one.kind is Kind.REMOVE:
                change.delete(table, id_)
            else:
                change.put(table, id_, one.record)
        return some

    def _row(self, record: pb.Pool | pb.Zone | pb.Server) -> tuple[Table[int, Any], int]:
        match record:
            case pb.Pool():
                return self._state.pools, record.pool_id
            case pb.Zone():
                return self._state.zones, record.zone_id
            case pb.Server():
                return self._state.servers, record.server_id

    # ------------------------------------------------------------------------------- metaservers on servers

    def server_for(self, address: str, name: str) -> int:
        """Return the server of a metaserver that joins.

        Raises NotFound, unless there is no topology and it names no server.
        """
        topology = self.topology()
        if name:
            for server in topology.servers.values():
                if server.name == name:
                    return server.server_id
            raise NotFound(f"there is no server '{name}' in the topology{self._servers_told(topology)}")
        found = topology.server_at(address)
        if found is None and topology.servers:
            raise NotFound(
                f"no server of the topology has the address {address}, and none was named{self._servers_told(topology)}"
            )
        return found.server_id if found is not None else 0

    def server_for_return(self, record: pb.Metaserver, address: str, name: str) -> int:
        """Return the server of a metaserver that is back, perhaps elsewhere.

        Without a name and with an address that no server has, it is where it was. Raises NotFound (no such server),
        PermissionDenied (it holds replicas, and would take them to another zone or pool).
        """
        topology = self.topology()
        if not name and topology.server_at(address) is None:
            return record.server_id
        server_id = self.server_for(address, name)
        if server_id == record.server_id:
            return server_id
        if record.server_id and not self._holds_nothing(record.metaserver_id):
            before, after = topology.zone_of(record.server_id), topology.zone_of(server_id)
            if before != after:
                raise PermissionDenied(
                    f"metaserver {record.metaserver_id} holds replicas in zone '{topology.zones[before].name}', and "
                    f"server '{topology.servers[server_id].name}' is in zone '{topology.zones[after].name}': retire it "
                    "and add it there anew"
                )
        if split := self._split_copyset(topology, {record.metaserver_id: server_id}):
            if name:
                raise PermissionDenied(f"{split}; apply a topology with the addresses of all of them")
            return record.server_id
        return server_id

    def _adopt(self, change: Change) -> list[int]:
        """Give a server to those metaservers without one whose address is a server's; return them."""
        found = dict(sorted(self._adoptable(self.topology()).items())[:_AT_A_TIME])
        for metaserver_id, server_id in found.items():
            record = self._state.metaservers.get(metaserver_id)
            assert record is not None
            change.put(self._state.metaservers, metaserver_id, changed(record, server_id=server_id))
        return sorted(found)

    def _adoptable(self, topology: Topology) -> dict[int, int]:
        homeless = [record for record in self._state.metaservers.values() if not record.server_id]
        return {
            record.metaserver_id: server.server_id
            for record in homeless
            if (server := topology.server_at(record.address)) is not None
        }

    def _split_copyset(self, topology: Topology, moving: dict[int, int]) -> str:
        """Return what is wrong with metaservers getting these servers: two would share a copyset across pools."""
        if not moving:
            return ""
        servers = {id_: one.server_id for id_, one in self._state.metaservers.items()} | moving
        pools = {id_: topology.pool_of(server_id) for id_, server_id in servers.items()}
        names = {0: "the default pool"} | {id_: f"pool '{pool.name}'" for id_, pool in topology.pools.items()}
        for copyset in self._state.copysets.values():
            known = [peer.metaserver_id for peer in copyset.peers if peer.metaserver_id in pools]
            for one in known[1:] if moving.keys() & known else ():
                if pools[one] != pools[known[0]]:
                    told = " and ".join(self._told(id_, names[pools[id_]]) for id_ in (known[0], one))
                    return f"{told} would share copyset {copyset.group_id}"
        return ""

    def _told(self, metaserver_id: int, place: str) -> str:
        record = self._state.metaservers.get(metaserver_id)
        return f"metaserver {metaserver_id} ({record.address if record else ''}) in {place}"

    def _holds_nothing(self, metaserver_id: int) -> bool:
        peers = (peer for copyset in self._state.copysets.values() for peer in copyset.peers)
        return all(peer.metaserver_id != metaserver_id for peer in peers)

    @staticmethod
    def _servers_told(topology: Topology) -> str:
        names = sorted(server.name for server in topology.servers.values())
        if not names:
            return ": there is no topology"
        more = f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
        return f"; there are {', '.join(names[:_NAMED_MAX])}{more}"
