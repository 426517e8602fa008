"""What metaservers are for: to serve, to be emptied, or to be emptied and removed.

The duty is stored, so whatever becomes of the tool or the MDS that was told, the schedulers go on. Nobody is emptied
whose replicas have nowhere to go: that is refused before anything changes. What retires, and what another metaserver
has superseded at its address, is removed once no copyset has it as a peer and it has given up its replicas or is gone.
"""

import structlog

from ....proto import topology_pb2 as pb
from ...common.errors import NotFound, ResourceBusy
from ..heartbeat.reports import Reports
from ..schedule.fleet_view import FleetView
from ..schedule.operators import Limits
from ..state import Change, State, changed
from .places import Places
from .views import Views

_log = structlog.get_logger()
_REMOVED_MAX = 50  # at a time: a transaction is bounded


class Duties:
    """See the module."""

    def __init__(self, state: State, reports: Reports, views: Views, places: Places, fleet_view: FleetView) -> None:
        self._state = state
        self._reports = reports
        self._views = views
        self._places = places
        self._fleet_view = fleet_view

    async def assign(self, metaserver_id: int, duty: pb.Duty) -> None:
        """Give a metaserver a duty. Raises NotFound, ResourceBusy (nowhere to go); then nothing has changed."""
        if await self._state.change(lambda change: self._set(change, metaserver_id, duty)):
            _log.info("a metaserver has another duty", metaserver_id=metaserver_id, duty=pb.Duty.Name(duty).lower())

    async def remove_done(self) -> None:
        """Remove those metaservers that are to go and hold nothing."""
        if any(_goes(record) for record in self._state.metaservers.values()):
            for metaserver_id in await self._state.change(self._remove_done):
                self._reports.forget(metaserver_id)
                _log.info("a metaserver was removed", metaserver_id=metaserver_id)

    def _set(self, change: Change, metaserver_id: int, duty: pb.Duty) -> bool:
        record = self._state.metaservers.get(metaserver_id)
        if record is None:
            raise NotFound(f"no metaserver {metaserver_id}")
        if record.duty == duty:
            return False
        if duty != pb.SERVES and metaserver_id in self._holders():
            self._check_room(record)
        change.put(self._state.metaservers, metaserver_id, changed(record, duty=duty))
        return True

    def _check_room(self, record: pb.Metaserver) -> None:
        """Raise ResourceBusy when the others of the pool are too few, or in fewer zones than they should be."""
        pool_id, id_ = self._places.pool_of(record), record.metaserver_id
        snapshot = self._fleet_view.snapshots()[pool_id]
        others = [one for one in snapshot.usable() if one.metaserver_id != id_ and one.disk_use < Limits().disk_use_max]
        if len(others) < snapshot.replica_count:
            raise ResourceBusy(
                f"what metaserver {id_} holds has nowhere to go: {len(others)} others are online and have room, and "
                f"{snapshot.replica_count} replicas need as many"
            )
        zones = {one.zone_id for one in others}
        if len(zones) < snapshot.zone_count and self._places.zone_of(record) not in zones:
            raise ResourceBusy(
                f"what metaserver {id_} holds has nowhere to go: the others that are online and have room lie in "
                f"{len(zones)} zones, and {snapshot.replica_count} replicas need as many"
            )

    def _remove_done(self, change: Change) -> list[int]:
        holders = self._holders()
        done = [
            id_
            for id_, record in self._state.metaservers.items()
            if _goes(record) and id_ not in holders and self._has_given_up(id_)
        ][:_REMOVED_MAX]
        for metaserver_id in done:
            change.delete(self._state.metaservers, metaserver_id)
        return done

    def _has_given_up(self, metaserver_id: int) -> bool:
        """Return whether a metaserver has no replicas any more, or is not there to be told so."""
        report = self._reports.get(metaserver_id)
        if self._views.health(metaserver_id) == pb.OFFLINE:
            return True
        return report is not None and report.proven and not report.copysets

    def _holders(self) -> set[int]:
        return {peer.metaserver_id for copyset in self._state.copysets.values() for peer in copyset.peers}


def _goes(record: pb.Metaserver) -> bool:
    return record.duty == pb.RETIRES or record.superseded_by != 0
