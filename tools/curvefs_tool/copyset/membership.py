"""Changing a group's peers, from the first step to the last.

Joining metaservers get a replica that waits for the group's leader; the leader takes them in and lets the others go, in
one change that either happens or does not; then those that left give up their replica. Each step may be repeated, so a
command that was interrupted is given again. One that left and does not answer has its replica removed by the MDS when
it is back.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from curvefs.proto import copyset_pb2
from curvefs.src.common.errors import (
    CurveFSError,
    InvalidArgument,
    ResourceBusy,
    StaleEpoch,
    StartupError,
    Unavailable,
)
from curvefs.src.common.exits import ExitCode

from .access import Copysets, Leader

STEP_S = 20.0  # in which a call is answered, or the leader looked for again
REMOVAL_DEADLINE_S = 5.0
TRANSFER_DEADLINE_S = 15.0
PAUSE_S = 0.2


@dataclass(frozen=True, slots=True)
class Changed:
    """The outcome. left_over: metaservers that left and could not be told."""

    peers: list[int]
    configuration_index: int
    left_over: list[int]


def change_peers(
    copysets: Copysets, group_id: int, target_of: Callable[[list[int]], list[int]], timeout_s: float
) -> Changed:
    """Give a group the peers that ``target_of`` makes of those it has.

    Raises what ``target_of`` raises, NotFound, Unavailable (no leader), StaleEpoch (somebody else changes it),
    StartupError (TIMEOUT) when the group has not got there in time; it may still.
    """
    end = time.monotonic() + timeout_s
    leader = copysets.leader(group_id)
    before = leader.voters
    target = target_of(before)
    if not target:
        raise InvalidArgument(f"copyset {group_id} must keep a peer")
    peers = copysets.peers(target)
    if sorted(target) == sorted(before) and not leader.status.outgoing_peers:
        return Changed(target, leader.status.configuration_index, [])
    for joining in target:
        if joining not in before:
            copysets.ask(joining, "CreateCopyset", copyset_pb2.CreateCopysetRequest(group_id=group_id))
    staying = [one for one in before if one in target]
    if staying and leader.metaserver_id not in target:
        leader = transfer(copysets, group_id, _furthest(leader, staying))
    index = _drive(copysets, leader, copyset_pb2.ChangePeersRequest(group_id=group_id, peers=peers), end)
    left_over = [one for one in before if one not in target and not _remove(copysets, group_id, one, index)]
    return Changed(target, index, left_over)


def transfer(copysets: Copysets, group_id: int, metaserver_id: int) -> Leader:
    """Have a group led by a voter of it; return once it says that it leads.

    Raises InvalidArgument (no voter), what the leader answers, StartupError (TIMEOUT) when another one leads still.
    """
    end = time.monotonic() + TRANSFER_DEADLINE_S
    leader = copysets.leader(group_id)
    if metaserver_id not in leader.voters:
        raise InvalidArgument(f"metaserver {metaserver_id} is no peer of copyset {group_id} that could lead it")
    if leader.metaserver_id != metaserver_id:
        request = copyset_pb2.TransferLeaderRequest(
            group_id=group_id,
            to_metaserver_id=metaserver_id,
            configuration_index=leader.status.configuration_index,
        )
        copysets.ask(leader.metaserver_id, "TransferLeader", request)
    while leader.metaserver_id != metaserver_id:
        if time.monotonic() > end:
            reason = f"copyset {group_id} is still led by metaserver {leader.metaserver_id}"
            raise StartupError(reason, ExitCode.TIMEOUT)
        time.sleep(PAUSE_S)
        leader = copysets.leader(group_id)
    return leader


def rebuild(copysets: Copysets, group_id: int, metaserver_id: int, timeout_s: float) -> int:
    """Have a replica thrown away and made anew from the leader; return the configuration's index.

    Raises ResourceBusy (it leads), what the leader answers, StartupError (TIMEOUT) when it has not got there in time.
    """
    end = time.monotonic() + timeout_s
    leader = copysets.leader(group_id)
    peers = copysets.peers(leader.voters)
    while True:
        if leader.metaserver_id == metaserver_id:
            reason = f"metaserver {metaserver_id} leads copyset {group_id}; transfer the leadership first"
            raise ResourceBusy(reason)
        request = copyset_pb2.RebuildReplicaRequest(
            group_id=group_id, metaserver_id=metaserver_id, configuration_index=leader.status.configuration_index
        )
        try:
            left_s = max(PAUSE_S, min(STEP_S, end - time.monotonic()))
            reply = copysets.ask(leader.metaserver_id, "RebuildReplica", request, deadline_s=left_s)
        except Unavailable as error:
            leader = _look_again(copysets, group_id, end, error)
        else:
            return int(reply.configuration_index)
        if metaserver_id in leader.voters:
            continue  # it was not begun, or is done and the answer was lost
        if all(peer.metaserver_id != metaserver_id for peer in leader.status.peers):
            _remove(copysets, group_id, metaserver_id, leader.status.configuration_index)
            copysets.ask(metaserver_id, "CreateCopyset", copyset_pb2.CreateCopysetRequest(group_id=group_id))
        # It is on its way back in: to ask for another rebuilding would throw away what it has got so far.
        return _drive(copysets, leader, copyset_pb2.ChangePeersRequest(group_id=group_id, peers=peers), end)


def _drive(copysets: Copysets, leader: Leader, request: copyset_pb2.ChangePeersRequest, end: float) -> int:
    """Ask for a change until it is done, whoever leads meanwhile; return the configuration's index."""
    target = sorted(peer.metaserver_id for peer in request.peers)
    before = sorted(leader.voters)
    sure = True  # that none of our requests has begun to take effect
    while True:
        request.configuration_index = leader.status.configuration_index
        try:
            left_s = max(PAUSE_S, min(STEP_S, end - time.monotonic()))
            reply = copysets.ask(leader.metaserver_id, "ChangePeers", request, deadline_s=left_s)
        except (StaleEpoch, Unavailable) as error:
            sure = sure and isinstance(error, StaleEpoch)
            leader = _look_again(copysets, request.group_id, end, error)
            # An election repeats the configuration under another index; anything else is somebody else's change.
            if sure and sorted(leader.voters) != before:
                raise
        else:
            return int(reply.configuration_index)
        status = leader.status
        if not status.outgoing_peers and len(status.peers) == len(target) and sorted(leader.voters) == target:
            return int(status.configuration_index)


def _look_again(copysets: Copysets, group_id: int, end: float, reason: CurveFSError) -> Leader:
    """Return the leader after a moment. Raises StartupError (TIMEOUT) at the end of the time."""
    while time.monotonic() < end:
        time.sleep(PAUSE_S)
        try:
            return copysets.leader(group_id)
        except Unavailable as error:
            reason = error
    raise StartupError(f"copyset {group_id} has not got its peers in time: {reason}", ExitCode.TIMEOUT)


def _furthest(leader: Leader, staying: list[int]) -> int:
    """Return the follower that has most of the log; the first of equals."""
    matches = {one.metaserver_id: one.match_index for one in leader.status.progress}
    return max(staying, key=lambda one: matches.get(one, 0))


def _remove(copysets: Copysets, group_id: int, metaserver_id: int, configuration_index: int) -> bool:
    """Have a replica removed that is no longer one of its group's; it may think that it votes still."""
    request = copyset_pb2.RemoveCopysetRequest(group_id=group_id, configuration_index=configuration_index, damaged=True)
    try:
        copysets.ask(metaserver_id, "RemoveCopyset", request, deadline_s=REMOVAL_DEADLINE_S)
    except CurveFSError:
        return False
    return True
