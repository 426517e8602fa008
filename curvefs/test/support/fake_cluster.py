"""An MDS as commands see it: answers what it was given, notes what it was asked. Runs in threads of this process."""
# ruff: noqa: N802

from concurrent.futures import ThreadPoolExecutor

import grpc

from curvefs.proto import (
    common_pb2,
    mds_pb2,
    mds_pb2_grpc,
    schedule_pb2,
    schedule_pb2_grpc,
    topology_pb2,
    topology_pb2_grpc,
)


class FakeCluster(
    mds_pb2_grpc.MdsServiceServicer,
    topology_pb2_grpc.TopologyServiceServicer,
    schedule_pb2_grpc.ScheduleServiceServicer,
):
    """Use as a context manager. Fill the lists; ``failures`` maps a method's name to the failure it answers.

    on_list: called before each answer to ListMetaservers.
    """

    def __init__(self):
        self.filesystems, self.sessions, self.metaservers, self.partitions = [], [], [], []
        self.copysets, self.epoch = [], 1
        self.topology, self.changes = topology_pb2.GetTopologyReply(), []
        self.schedule, self.on_list = schedule_pb2.GetScheduleReply(), lambda: None
        self.failures, self.requests = {}, []
        self.recovery = mds_pb2.RecoveryReply()
        self.status = mds_pb2.GetStatusReply(mds_id="m1", pid=11, leading=True, metrics_address="127.0.0.1:9")

    def __enter__(self):
        self._threads = ThreadPoolExecutor(2)
        self._server = grpc.server(self._threads, options=[("grpc.so_reuseport", 0)])
        mds_pb2_grpc.add_MdsServiceServicer_to_server(self, self._server)
        topology_pb2_grpc.add_TopologyServiceServicer_to_server(self, self._server)
        schedule_pb2_grpc.add_ScheduleServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self.status.address = self.status.leader = self.address
        self._server.start()
        return self

    def __exit__(self, *_):
        self._server.stop(0).wait()
        self._threads.shutdown()

    def fail(self, method, code, message):
        self.failures[method] = common_pb2.Failure(code=code, message=message)

    def _answer(self, method, request, reply):
        self.requests.append((method, request))
        reply.epoch = self.epoch
        if method in self.failures:
            reply.failure.CopyFrom(self.failures[method])
        return reply

    def GetStatus(self, request, context):
        return self._answer("GetStatus", request, mds_pb2.GetStatusReply.FromString(self.status.SerializeToString()))

    def GetRecovery(self, request, context):
        return self._answer("GetRecovery", request, mds_pb2.RecoveryReply.FromString(self.recovery.SerializeToString()))

    def EndRecovery(self, request, context):
        self.recovery = mds_pb2.RecoveryReply()
        return self._answer("EndRecovery", request, mds_pb2.RecoveryReply())

    def CreateFilesystem(self, request, context):
        made = mds_pb2.Filesystem(
            name=request.name,
            object_store=request.object_store,
            fs_id=9,
            uuid=request.uuid,
            chunk_size=request.chunk_size,
        )
        return self._answer("CreateFilesystem", request, mds_pb2.FilesystemReply(filesystem=made))

    def GetFilesystem(self, request, context):
        found = [one for one in self.filesystems if one.name == request.name]
        reply = mds_pb2.FilesystemReply(partitions=self.partitions)
        if found:
            reply.filesystem.CopyFrom(found[0])
        else:
            reply.failure.CopyFrom(
                common_pb2.Failure(code=common_pb2.NOT_FOUND, message=f"no filesystem '{request.name}'")
            )
        return self._answer("GetFilesystem", request, reply)

    def DeleteFilesystem(self, request, context):
        deleting = mds_pb2.Filesystem(name=request.name, state=mds_pb2.DELETING)
        return self._answer("DeleteFilesystem", request, mds_pb2.FilesystemReply(filesystem=deleting))

    def ListFilesystems(self, request, context):
        return self._answer("ListFilesystems", request, mds_pb2.ListFilesystemsReply(filesystems=self.filesystems))

    def ListSessions(self, request, context):
        return self._answer("ListSessions", request, mds_pb2.ListSessionsReply(sessions=self.sessions))

    def ListPartitions(self, request, context):
        return self._answer("ListPartitions", request, mds_pb2.ListPartitionsReply(partitions=self.partitions))

    def ListMetaservers(self, request, context):
        self.on_list()
        return self._answer("ListMetaservers", request, topology_pb2.ListMetaserversReply(metaservers=self.metaservers))

    def ListCopysets(self, request, context):
        found = [one for one in self.copysets if not request.group_ids or one.group_id in request.group_ids]
        return self._answer("ListCopysets", request, topology_pb2.ListCopysetsReply(copysets=found))

    def GetTopology(self, request, context):
        copy = topology_pb2.GetTopologyReply.FromString(self.topology.SerializeToString())
        return self._answer("GetTopology", request, copy)

    def ApplyTopology(self, request, context):
        return self._answer("ApplyTopology", request, topology_pb2.ApplyTopologyReply(changes=self.changes))

    def GetSchedule(self, request, context):
        copy = schedule_pb2.GetScheduleReply.FromString(self.schedule.SerializeToString())
        return self._answer("GetSchedule", request, copy)

    def SetScheduler(self, request, context):
        return self._answer("SetScheduler", request, schedule_pb2.ScheduleReply())

    def SetDuty(self, request, context):
        return self._answer("SetDuty", request, schedule_pb2.ScheduleReply())
