"""Metaservers as the copyset commands see them: one group, whose replicas answer from what the test says of them.

They keep the contract of copyset.proto: epochs and configuration indexes are checked, changes of the membership are
the leader's, what is repeated does nothing. Runs in threads of this process.
"""
# ruff: noqa: N802

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import grpc

from curvefs.proto import common_pb2, copyset_pb2, copyset_pb2_grpc, topology_pb2
from curvefs.src.common import errors
from curvefs.src.common.status import failure_of


@dataclass
class Replica:
    """What one metaserver has of the group. digest: of the state at an index."""

    applied: int = 50
    digest: object = lambda index: b"same at %d" % index
    damage: str = ""


@dataclass
class FakeReplicas:
    """Use as a context manager, with a FakeCluster that answers as the MDS of these metaservers.

    fail: (metaserver, method) -> errors that its next calls answer with. stubborn: leadership is never handed over.
    """

    cluster: object
    count: int = 4
    group_id: int = 3
    voters: list = field(default_factory=lambda: [1, 2, 3])
    leader: int = 1
    index: int = 10
    committed: int = 50
    epoch: int = 5
    stubborn: bool = False
    learners: list = field(default_factory=list)
    calls: list = field(default_factory=list)
    fail: dict = field(default_factory=dict)

    def __enter__(self):
        self.replicas = {one: Replica() for one in self.voters}
        self._threads = ThreadPoolExecutor(8)
        self.servers, self.addresses = {}, {}
        for metaserver_id in range(1, self.count + 1):
            server = grpc.server(self._threads, options=[("grpc.so_reuseport", 0)])
            copyset_pb2_grpc.add_CopysetServiceServicer_to_server(_Service(self, metaserver_id), server)
            self.addresses[metaserver_id] = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
            server.start()
            self.servers[metaserver_id] = server
        self.cluster.epoch = self.epoch
        self.cluster.metaservers = [
            topology_pb2.Metaserver(metaserver_id=one, address=address) for one, address in self.addresses.items()
        ]
        self.known()
        return self

    def __exit__(self, *_):
        for metaserver_id in list(self.servers):
            self.stop(metaserver_id)
        self._threads.shutdown()

    def known(self, *, sealed=True):
        """Have the MDS know the membership as it is now."""
        peers = self.peers(self.voters)
        copyset = topology_pb2.Copyset(group_id=self.group_id, peers=peers, leader_id=self.leader, sealed=sealed)
        self.cluster.copysets = [copyset]

    def stop(self, metaserver_id):
        self.servers.pop(metaserver_id).stop(0).wait()

    def peers(self, ids):
        return [common_pb2.Peer(metaserver_id=one, address=self.addresses[one]) for one in ids]

    def asked(self, method):
        """Who was asked for something, with the requests."""
        return [(one, request) for one, name, request in self.calls if name == method]

    @property
    def changes(self):
        """The calls that change something: metaserver and method."""
        return [(one, name) for one, name, _ in self.calls if name != "GetCopysetStatus"]

    # --------------------------------------------------------------------------------------- what they do

    def answer(self, metaserver_id, method, request, reply, do):
        self.calls.append((metaserver_id, method, request))
        try:
            if planned := self.fail.get((metaserver_id, method)):
                raise planned.pop(0)
            if hasattr(request, "mds_epoch") and request.mds_epoch != self.epoch:
                raise errors.StaleEpoch(f"epoch {request.mds_epoch}")
            here = request.group_id == self.group_id and metaserver_id in self.replicas
            if method != "CreateCopyset" and not here:
                raise errors.WrongPartition("group is not on this metaserver")
            do()
        except errors.CurveFSError as error:
            reply.failure.CopyFrom(failure_of(error))
        return reply

    def lead(self, metaserver_id, request):
        if metaserver_id != self.leader:
            raise errors.Redirect(leader=self.addresses[self.leader] if self.leader else "")
        if request.configuration_index != self.index:
            raise errors.StaleEpoch(f"configuration {request.configuration_index}, not {self.index}")

    def change(self, metaserver_id, request, reply):
        self.lead(metaserver_id, request)
        ids = [peer.metaserver_id for peer in request.peers]
        assert [peer.address for peer in request.peers] == [self.addresses[one] for one in ids]
        if missing := [one for one in ids if one not in self.replicas]:
            raise errors.Unavailable(f"metaserver {missing[0]} has no replica to catch up")
        if self.leader not in ids:
            raise errors.ResourceBusy("the leader itself")
        self.voters, self.learners, self.index = ids, [], self.index + 7
        reply.configuration_index = self.index

    def rebuild(self, metaserver_id, request, reply):
        self.lead(metaserver_id, request)
        self.replicas[request.metaserver_id] = Replica()
        self.index += 14
        reply.configuration_index = self.index

    def status(self, metaserver_id, request, reply):
        replica = self.replicas[metaserver_id]
        joined = metaserver_id in self.voters
        reply.term, reply.leader_id = 4, self.leader
        reply.committed_index, reply.applied_index = self.committed, max(replica.applied, request.at_index)
        reply.first_index, reply.last_index, reply.checkpoint_index = 1, self.committed, 20
        reply.configuration_index = self.index if joined else 0
        reply.peers.extend(self.peers(self.voters) if joined else [])
        for one in self.learners if joined else []:
            reply.peers.add(metaserver_id=one, address=self.addresses[one], learner=True)
        reply.damaged, reply.damage = bool(replica.damage), replica.damage
        if metaserver_id == self.leader:
            for one in self.voters:
                reply.progress.add(metaserver_id=one, match_index=self.replicas[one].applied, state="replicate")
        if request.with_digest:
            reply.digest = replica.digest(reply.applied_index)


class _Service(copyset_pb2_grpc.CopysetServiceServicer):
    def __init__(self, group, metaserver_id):
        self._group, self._id = group, metaserver_id

    def _do(self, method, request, do, reply=None):
        reply = copyset_pb2.CopysetReply() if reply is None else reply
        return self._group.answer(self._id, method, request, reply, lambda: do(reply))

    def CreateCopyset(self, request, context):
        return self._do("CreateCopyset", request, lambda _: self._group.replicas.setdefault(self._id, Replica(0)))

    def RemoveCopyset(self, request, context):
        return self._do("RemoveCopyset", request, lambda _: self._group.replicas.pop(self._id))

    def ChangePeers(self, request, context):
        return self._do("ChangePeers", request, lambda reply: self._group.change(self._id, request, reply))

    def TransferLeader(self, request, context):
        def do(_):
            self._group.lead(self._id, request)
            if not self._group.stubborn:
                self._group.leader = request.to_metaserver_id

        return self._do("TransferLeader", request, do)

    def RebuildReplica(self, request, context):
        return self._do("RebuildReplica", request, lambda reply: self._group.rebuild(self._id, request, reply))

    def GetCopysetStatus(self, request, context):
        reply = copyset_pb2.GetCopysetStatusReply()
        return self._do("GetCopysetStatus", request, lambda _: self._group.status(self._id, request, reply), reply)
