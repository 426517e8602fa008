"""Metaservers join: ids, tokens and the copyset each one gets.

For now every metaserver has one copyset with itself as the only peer, made at its registration. The replica is
created by a call that is repeated until it succeeds, and, as an order, whenever a heartbeat does not show it; but never
once a filesystem keeps its metadata there: a metaserver that lost its disk must not come back with an empty group
under the old name.
"""

import hmac
from collections.abc import Callable

import structlog

from ....proto import common_pb2, mds_pb2, topology_pb2
from ...common.addresses import parse_address
from ...common.clock import Clock
from ...common.errors import InvalidArgument, Overloaded, PermissionDenied, StartupError
from ..fleet import Fleet
from ..heartbeat.reports import Reports
from ..retries import RetryQueue
from ..state import FORMAT, Change, State, changed
from .views import Views

_log = structlog.get_logger()
_TOKEN_SIZE = 16
_METASERVERS_MAX = 10_000


class Registration:
    """Who belongs to the cluster. Its background work is ``copysets.run()``."""

    def __init__(
        self,
        state: State,
        reports: Reports,
        views: Views,
        fleet: Fleet,
        *,
        clock: Clock,
        random_bytes: Callable[[int], bytes],
        random: Callable[[], float],
    ) -> None:
        self._state = state
        self._reports = reports
        self._views = views
        self._fleet = fleet
        self._clock = clock
        self._random_bytes = random_bytes
        self.copysets: RetryQueue[int] = RetryQueue("create copyset", self._create_copyset, random=random)

    async def register(self, request: topology_pb2.RegisterMetaserverRequest) -> topology_pb2.Metaserver:
        """Return the metaserver's record, with its token.

        An id of 0 joins anew. A known id shows its token; it may have another address than before.
        Raises PermissionDenied (cluster, id, token), InvalidArgument (address), Overloaded (too many).
        """
        cluster_id = self._state.authority.cluster.id
        if request.cluster_id and request.cluster_id != cluster_id:
            raise PermissionDenied(f"this metaserver belongs to cluster {request.cluster_id}, this is {cluster_id}")
        check_address(request.address)
        if request.metaserver_id:
            record = await self._state.change(lambda change: self._return(change, request))
        else:
            record = await self._state.change(lambda change: self._join(change, request))
            _log.info("a metaserver joined", metaserver_id=record.metaserver_id, address=record.address)
        self._reports.registered(record.metaserver_id, self._clock.boottime_s())
        for copyset in self._copysets_of(record.metaserver_id):
            if self.may_create(copyset.group_id):
                self.copysets.add(copyset.group_id)
        return record

    def known(self, metaserver_id: int, token: bytes) -> topology_pb2.Metaserver:
        """Return the record of a metaserver that shows its token. Raises PermissionDenied."""
        record = self._state.metaservers.get(metaserver_id)
        if record is None or not hmac.compare_digest(record.token, token):
            raise PermissionDenied(f"metaserver {metaserver_id} is unknown here, or its token is wrong")
        if record.retired:
            raise PermissionDenied(f"metaserver {metaserver_id} was retired")
        return record

    def may_create(self, group_id: int) -> bool:
        """Return whether the group may begin empty: nothing that counts was ever in it."""
        for (fs_id, _), partition in self._state.partitions.items():
            filesystem = self._state.filesystems.get(fs_id)
            if partition.group_id == group_id and filesystem and filesystem.state != mds_pb2.CREATING:
                return False
        return True

    async def create_copyset(self, group_id: int) -> None:
        """Make a group's replicas now. Raises what Fleet raises."""
        peers = self._views.peers(group_id)
        for peer in peers:
            await self._fleet.create_copyset(peer.address, group_id, peers)

    async def _create_copyset(self, group_id: int) -> None:
        if group_id in self._state.copysets and self.may_create(group_id):
            await self.create_copyset(group_id)

    def _join(self, change: Change, request: topology_pb2.RegisterMetaserverRequest) -> topology_pb2.Metaserver:
        if len(self._state.metaservers) >= _METASERVERS_MAX:
            raise Overloaded(f"there are {_METASERVERS_MAX} metaservers already", retry_after_ms=60_000)
        self._drop_stillborn(change, request.address)
        metaserver_id = change.next_number("metaserver")
        group_id = change.next_number("copyset")
        record = topology_pb2.Metaserver(
            format=FORMAT,
            metaserver_id=metaserver_id,
            address=request.address,
            token=self._random_bytes(_TOKEN_SIZE),
            registered_ns=self._clock.time_ns(),
            pid=request.pid,
            metrics_address=request.metrics_address,
        )
        copyset = topology_pb2.Copyset(
            format=FORMAT, group_id=group_id, peers=[common_pb2.Peer(metaserver_id=metaserver_id)]
        )
        change.put(self._state.metaservers, metaserver_id, record)
        change.put(self._state.copysets, group_id, copyset)
        return record

    def _drop_stillborn(self, change: Change, address: str) -> None:
        # A first registration whose answer was lost left a record at this address that no process remembers.
        used = {partition.group_id for partition in self._state.partitions.values()}
        for record in self._state.metaservers.values():
            groups = self._copysets_of(record.metaserver_id)
            if record.address == address and not any(copyset.group_id in used for copyset in groups):
                change.delete(self._state.metaservers, record.metaserver_id)
                for copyset in groups:
                    change.delete(self._state.copysets, copyset.group_id)
                self._reports.forget(record.metaserver_id)

    def _return(self, change: Change, request: topology_pb2.RegisterMetaserverRequest) -> topology_pb2.Metaserver:
        record = self.known(request.metaserver_id, request.token)
        new = changed(record, address=request.address, pid=request.pid, metrics_address=request.metrics_address)
        if new != record:
            change.put(self._state.metaservers, record.metaserver_id, new)
        return new

    def _copysets_of(self, metaserver_id: int) -> list[topology_pb2.Copyset]:
        return [
            copyset
            for copyset in self._state.copysets.values()
            if any(peer.metaserver_id == metaserver_id for peer in copyset.peers)
        ]


def check_address(address: str) -> None:
    """Raise InvalidArgument unless ``address`` is HOST:PORT with a real port."""
    try:
        _, port = parse_address(address)
    except StartupError as error:
        raise InvalidArgument(str(error)) from error
    if port == 0:
        raise InvalidArgument(f"'{address}' names no port")
