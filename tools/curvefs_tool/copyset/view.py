"""How a copyset is shown, and what is wrong with it: pure functions of what the MDS says."""

from collections.abc import Collection
from typing import Any

from curvefs.proto import common_pb2, topology_pb2

HEAD = ["COPYSET", "LEADER", "PEERS", "LAG", "PARTITIONS"]


def as_json(one: topology_pb2.Copyset) -> dict[str, Any]:
    """Return what --json shows of a copyset. lag: entries that a replica has still to apply; None if unknown."""
    said = {replica.metaserver_id: replica for replica in one.replicas}
    return {
        "group_id": one.group_id,
        "leader": one.leader_id,
        "configuration_index": one.configuration_index,
        "partitions": one.partition_count,
        "peers": [
            {
                "metaserver_id": peer.metaserver_id,
                "address": peer.address,
                "state": _state(one, peer, said.get(peer.metaserver_id)),
                "lag": _lag(one, said.get(peer.metaserver_id)),
            }
            for peer in one.peers
        ],
    }


def row(shown: dict[str, Any]) -> list[str]:
    """Return the cells of a copyset, as as_json() has it, in a table; see HEAD. What is no plain follower is named."""
    peers = [
        f"{peer['metaserver_id']}" + ("" if peer["state"] in ("leader", "follower") else f" ({peer['state']})")
        for peer in shown["peers"]
    ]
    lags = ["?" if peer["lag"] is None else str(peer["lag"]) for peer in shown["peers"]]
    leader = str(shown["leader"] or "none")
    return [str(shown["group_id"]), leader, ", ".join(peers), ", ".join(lags), str(shown["partitions"])]


def problems_of(shown: dict[str, Any], silent: Collection[int] = ()) -> list[str]:
    """Return what is wrong with a copyset, as as_json() has it.

    silent: metaservers that are known to be away; that theirs is missing is not said again.
    """
    name = f"copyset {shown['group_id']}"
    found = [] if shown["leader"] else [f"{name} has no leader"]
    for peer in shown["peers"]:
        told = {"missing": "was not heard of", "damaged": "is damaged", "loading": "is loading"}.get(peer["state"])
        if told and not (peer["state"] == "missing" and peer["metaserver_id"] in silent):
            found.append(f"{name}: the replica on metaserver {peer['metaserver_id']} {told}")
    return found


def _state(one: topology_pb2.Copyset, peer: common_pb2.Peer, replica: topology_pb2.Replica | None) -> str:
    if replica is None or not replica.heard:
        return "missing"
    if replica.damaged:
        return "damaged"
    if replica.loading:
        return "loading"
    if peer.learner:
        return "learner"
    return "leader" if peer.metaserver_id == one.leader_id else "follower"


def _lag(one: topology_pb2.Copyset, replica: topology_pb2.Replica | None) -> int | None:
    """Return how far a replica is behind the newest commit that anybody reports; heartbeats come one after another."""
    if replica is None or not replica.heard:
        return None
    return max(0, max(other.committed_index for other in one.replicas if other.heard) - replica.applied_index)
