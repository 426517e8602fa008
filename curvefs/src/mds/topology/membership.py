"""How what replicas say of their membership is to be understood: pure functions of a record and a report.

The group's log decides who its peers are; the MDS follows what is committed there and nothing else, because a change
that a deposed leader proposed never happened.
"""

from ....proto import common_pb2, heartbeat_pb2, topology_pb2


def followed(record: topology_pb2.Copyset, report: heartbeat_pb2.CopysetReport) -> topology_pb2.Copyset | None:
    """Return the record with the membership that the group's leader reports; None if the report has no newer one."""
    committed = report.committed_index >= report.configuration_index
    if report.configuration_index <= record.configuration_index or not committed or not report.peers:
        return None
    places = {peer.metaserver_id: place for place, peer in enumerate(record.peers)}
    # Who was the first peer stays it: placement counts by that.
    ordered = sorted(report.peers, key=lambda peer: places.get(peer.metaserver_id, len(places)))
    new = topology_pb2.Copyset()
    new.CopyFrom(record)
    del new.peers[:]
    new.peers.extend(common_pb2.Peer(metaserver_id=one.metaserver_id, learner=one.learner) for one in ordered)
    new.configuration_index = report.configuration_index
    new.sealed = record.sealed or _members(new) != _members(record)
    return new


def has_left(
    record: topology_pb2.Copyset, report: heartbeat_pb2.CopysetReport, metaserver_id: int, *, gave_up: bool = False
) -> bool:
    """Return whether a replica is one that its group has left behind, as far as the record knows.

    One that waits to join knows no peers, and has left only if nobody has it join any more. One that a start found
    damaged says none either, but it cannot join as it is. One that joined later than the record says knows a newer
    configuration.
    """
    listed = any(peer.metaserver_id == metaserver_id for peer in record.peers)
    knows = bool(report.peers) or report.damaged or gave_up
    return knows and not listed and report.configuration_index <= record.configuration_index


def _members(record: topology_pb2.Copyset) -> set[tuple[int, bool]]:
    return {(peer.metaserver_id, peer.learner) for peer in record.peers}
