"""Metaservers join: ids and tokens. What is put on them is copysets.py's matter."""

import hmac
from collections.abc import Callable

import structlog

from ....proto import topology_pb2
from ...common import tokens
from ...common.addresses import parse_address
from ...common.clock import Clock
from ...common.errors import CurveFSError, InvalidArgument, Overloaded, PermissionDenied, StartupError
from ..heartbeat.reports import Reports
from ..recovery.recovery import Recovery
from ..state import FORMAT, Change, State, changed
from .copysets import Copysets

_log = structlog.get_logger()
_TOKEN_SIZE = 16
_METASERVERS_MAX = 10_000


class Registration:
    """Who belongs to the cluster."""

    def __init__(
        self,
        state: State,
        reports: Reports,
        copysets: Copysets,
        recovery: Recovery,
        *,
        clock: Clock,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._state = state
        self._reports = reports
        self._copysets = copysets
        self._recovery = recovery
        self._clock = clock
        self._random_bytes = random_bytes

    async def register(self, request: topology_pb2.RegisterMetaserverRequest) -> topology_pb2.Metaserver:
        """Return the metaserver's record, with its token.

        An id of 0 joins anew. A known id shows its token; it may have another address than before. In recovery an
        unknown id is taken up if it proves that it belongs to the cluster, and none is given away.
        Raises PermissionDenied (cluster, id, token), InvalidArgument (address), Overloaded (too many), Unavailable.
        """
        cluster_id = self._state.authority.cluster.id
        if request.cluster_id and request.cluster_id != cluster_id:
            raise PermissionDenied(f"this metaserver belongs to cluster {request.cluster_id}, this is {cluster_id}")
        check_address(request.address)
        if request.metaserver_id:
            self._prove(request)
            self._recovery.compare(request.metaserver_id, request.highest_epoch, request.changes_told)
            record = await self._state.change(lambda change: self._return(change, request))
        else:
            record = await self._state.change(lambda change: self._join(change, request))
            _log.info("a metaserver joined", metaserver_id=record.metaserver_id, address=record.address)
        self._reports.registered(record.metaserver_id, self._clock.boottime_s(), proven=bool(request.metaserver_id))
        self._copysets.take_up(record.metaserver_id)
        if self._recovery.active:
            return record
        try:
            await self._copysets.plan()
        except CurveFSError as error:  # it has joined all the same; what is missing is planned again and again
            _log.error("copysets could not be planned", reason=str(error))
        return record

    def known(self, metaserver_id: int, token: bytes) -> topology_pb2.Metaserver:
        """Return the record of a metaserver that shows its token. Raises PermissionDenied."""
        record = self._state.metaservers.get(metaserver_id)
        if record is None or not hmac.compare_digest(record.token, token):
            raise PermissionDenied(f"metaserver {metaserver_id} is unknown here, or its token is wrong")
        if record.retired:
            raise PermissionDenied(f"metaserver {metaserver_id} was retired")
        return record

    def _prove(self, request: topology_pb2.RegisterMetaserverRequest) -> None:
        """Raise PermissionDenied unless a metaserver is known, or shows that it was and could be again."""
        if request.metaserver_id in self._state.metaservers or not self._is_ours(request):
            self.known(request.metaserver_id, request.token)

    def _is_ours(self, request: topology_pb2.RegisterMetaserverRequest) -> bool:
        newer = self._recovery.active or self._recovery.is_newer(
            request.metaserver_id, request.highest_epoch, request.changes_told
        )
        secret = self._state.authority.cluster.secret
        proof = tokens.membership_proof(secret, request.metaserver_id, request.token)
        return newer and len(request.token) == _TOKEN_SIZE and hmac.compare_digest(proof, request.proof)

    def _join(self, change: Change, request: topology_pb2.RegisterMetaserverRequest) -> topology_pb2.Metaserver:
        self._recovery.check_settled(unheard=True)
        if len(self._state.metaservers) >= _METASERVERS_MAX:
            raise Overloaded(f"there are {_METASERVERS_MAX} metaservers already", retry_after_ms=60_000)
        self._drop_stillborn(change, request.address)
        record = self._record(request, change.next_number("metaserver"), self._random_bytes(_TOKEN_SIZE))
        change.put(self._state.metaservers, record.metaserver_id, record)
        return record

    def _record(
        self, request: topology_pb2.RegisterMetaserverRequest, metaserver_id: int, token: bytes
    ) -> topology_pb2.Metaserver:
        return topology_pb2.Metaserver(
            format=FORMAT,
            metaserver_id=metaserver_id,
            address=request.address,
            token=token,
            registered_ns=self._clock.time_ns(),
            pid=request.pid,
            metrics_address=request.metrics_address,
        )

    def _drop_stillborn(self, change: Change, address: str) -> None:
        # A first registration whose answer was lost left a record at this address that no process remembers. A copyset
        # it shares with others is never dropped: their replicas are real.
        used = {partition.group_id for partition in self._state.partitions.values()}
        for record in self._state.metaservers.values():
            groups = self._copysets_of(record.metaserver_id)
            alone = all(len(copyset.peers) == 1 and copyset.group_id not in used for copyset in groups)
            if record.address == address and alone:
                change.delete(self._state.metaservers, record.metaserver_id)
                for copyset in groups:
                    change.delete(self._state.copysets, copyset.group_id)
                self._reports.forget(record.metaserver_id)

    def _return(self, change: Change, request: topology_pb2.RegisterMetaserverRequest) -> topology_pb2.Metaserver:
        if request.metaserver_id not in self._state.metaservers and self._is_ours(request):
            new = self._record(request, request.metaserver_id, request.token)
            change.put(self._state.metaservers, new.metaserver_id, new)
            change.raise_number("metaserver", new.metaserver_id)
            _log.warning("a metaserver is known again", metaserver_id=new.metaserver_id, address=new.address)
            return new
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
