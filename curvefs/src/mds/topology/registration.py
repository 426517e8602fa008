"""Metaservers join: ids, tokens, and who is at which address. What is put on them is copysets.py's matter.

One metaserver is at an address. Another one that registers there is refused while the first is heard; when it is
silent, the new one supersedes it. What has lost its disk comes back as another one, and whatever it held is made up for
at once; should the disk be found, the old one registers with its token, and supersedes in turn.

One process is a metaserver. Another one with its id, of a copy of its folder, is refused at another address while it is
heard; at the same address it cannot be alive any more. The process that registered last is the one that is listened to.
"""

import hmac
from collections.abc import Callable

import structlog

from ....proto import topology_pb2
from ...common import tokens
from ...common.addresses import parse_address
from ...common.clock import Clock
from ...common.errors import (
    AlreadyExists,
    CurveFSError,
    InvalidArgument,
    Overloaded,
    PermissionDenied,
    StartupError,
    Unavailable,
)
from ..heartbeat.reports import Reports
from ..recovery.recovery import Recovery
from ..state import FORMAT, Change, State, changed
from .copysets import Copysets
from .health import HealthLimits
from .places import Places

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
        places: Places,
        recovery: Recovery,
        *,
        clock: Clock,
        limits: HealthLimits,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._places = places
        self._limits = limits
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
        Raises PermissionDenied (cluster, id, token, another zone), NotFound (no such server), AlreadyExists (another is
        at this address, or it is heard elsewhere), Unavailable (may be there), InvalidArgument (address), Overloaded.
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

    def check_known(self, metaserver_id: int, token: bytes, instance: bytes) -> None:
        """Raise PermissionDenied unless it is the process that registered a metaserver last.

        One that is superseded has to register again, for which another one may be in its place. Raises AlreadyExists
        when another process has registered, and is heard.
        """
        record = self._with_token(metaserver_id, token)
        if record.superseded_by:
            raise PermissionDenied(
                f"metaserver {record.superseded_by} has registered at the address of metaserver {metaserver_id}"
            )
        if record.instance == instance:
            return
        report = self._reports.get(metaserver_id)
        if report is not None and self._clock.boottime_s() - report.heard_s < self._limits.silent_after_s:
            raise AlreadyExists(f"another process is metaserver {metaserver_id} now, at {record.address}")
        raise PermissionDenied(f"another process of metaserver {metaserver_id} registered last")

    def _with_token(self, metaserver_id: int, token: bytes) -> topology_pb2.Metaserver:
        record = self._state.metaservers.get(metaserver_id)
        if record is None or not hmac.compare_digest(record.token, token):
            raise PermissionDenied(f"metaserver {metaserver_id} is unknown here, or its token is wrong")
        return record

    def _prove(self, request: topology_pb2.RegisterMetaserverRequest) -> None:
        """Raise PermissionDenied unless a metaserver is known, or shows that it was and could be again."""
        if request.metaserver_id in self._state.metaservers or not self._is_ours(request):
            self._with_token(request.metaserver_id, request.token)

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
        self._check_alone(request.address, 0)
        record = self._record(request, change.next_number("metaserver"), self._random_bytes(_TOKEN_SIZE))
        change.put(self._state.metaservers, record.metaserver_id, record)
        self._supersede(change, request.address, record.metaserver_id)
        self._drop_stillborn(change, request.address)
        return record

    def _record(
        self, request: topology_pb2.RegisterMetaserverRequest, metaserver_id: int, token: bytes
    ) -> topology_pb2.Metaserver:
        return topology_pb2.Metaserver(
            format=FORMAT,
            metaserver_id=metaserver_id,
            address=request.address,
            server_id=self._places.server_for(request.address, request.server),
            token=token,
            registered_ns=self._clock.time_ns(),
            pid=request.pid,
            metrics_address=request.metrics_address,
            instance=request.instance,
        )

    def _check_alone(self, address: str, metaserver_id: int) -> None:
        """Raise AlreadyExists while another metaserver is heard at an address, Unavailable while one may yet be."""
        for id_, record in self._state.metaservers.items():
            if record.address == address and id_ != metaserver_id:
                self._check_silent(record)

    def _check_silent(self, record: topology_pb2.Metaserver) -> None:
        if record.superseded_by:
            return
        id_, address = record.metaserver_id, record.address
        now_s, silent_after_s = self._clock.boottime_s(), self._limits.silent_after_s
        report = self._reports.get(id_)
        if report is None and now_s - self._reports.started_s < silent_after_s:
            raise Unavailable(f"this MDS has just begun, and metaserver {id_} may still be at {address}")
        if report is not None and report.proven and now_s - report.heard_s < silent_after_s:
            ago_s = int(now_s - report.heard_s)
            raise AlreadyExists(f"metaserver {id_} is at {address} already: it was heard {ago_s} s ago")

    def _supersede(self, change: Change, address: str, metaserver_id: int) -> None:
        for id_, record in self._state.metaservers.items():
            if record.address == address and id_ != metaserver_id and not record.superseded_by:
                change.put(self._state.metaservers, id_, changed(record, superseded_by=metaserver_id))
                self._reports.forget(id_)
                _log.warning("a metaserver is superseded at its address", metaserver_id=id_, by=metaserver_id)

    def _drop_stillborn(self, change: Change, address: str) -> None:
        # A first registration whose answer was lost left a record at this address that no process remembers. A copyset
        # it shares with others is never dropped: their replicas are real.
        used = {partition.group_id for partition in self._state.partitions.values()}
        for record in self._state.metaservers.values():
            if record.address != address:
                continue
            groups = self._copysets_of(record.metaserver_id)
            if all(len(copyset.peers) == 1 and copyset.group_id not in used for copyset in groups):
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
        record = self._with_token(request.metaserver_id, request.token)
        self._check_alone(request.address, record.metaserver_id)
        if request.address != record.address and not (request.instance and request.instance == record.instance):
            self._check_silent(record)
        new = changed(
            record,
            address=request.address,
            server_id=self._places.server_for_return(record, request.address, request.server),
            superseded_by=0,
            pid=request.pid,
            metrics_address=request.metrics_address,
            instance=request.instance,
        )
        if new != record:
            change.put(self._state.metaservers, record.metaserver_id, new)
        self._supersede(change, request.address, record.metaserver_id)
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
