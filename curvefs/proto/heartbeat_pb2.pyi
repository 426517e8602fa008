from curvefs.proto import common_pb2 as _common_pb2
from curvefs.proto import metaserver_pb2 as _metaserver_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class HeartbeatRequest(_message.Message):
    __slots__ = ("metaserver_id", "token", "highest_epoch", "time_ns", "disk_total_bytes", "disk_used_bytes", "copysets", "changes_told", "in_full", "instance")
    METASERVER_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    HIGHEST_EPOCH_FIELD_NUMBER: _ClassVar[int]
    TIME_NS_FIELD_NUMBER: _ClassVar[int]
    DISK_TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    DISK_USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    COPYSETS_FIELD_NUMBER: _ClassVar[int]
    CHANGES_TOLD_FIELD_NUMBER: _ClassVar[int]
    IN_FULL_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    metaserver_id: int
    token: bytes
    highest_epoch: int
    time_ns: int
    disk_total_bytes: int
    disk_used_bytes: int
    copysets: _containers.RepeatedCompositeFieldContainer[CopysetReport]
    changes_told: int
    in_full: bool
    instance: bytes
    def __init__(self, metaserver_id: _Optional[int] = ..., token: _Optional[bytes] = ..., highest_epoch: _Optional[int] = ..., time_ns: _Optional[int] = ..., disk_total_bytes: _Optional[int] = ..., disk_used_bytes: _Optional[int] = ..., copysets: _Optional[_Iterable[_Union[CopysetReport, _Mapping]]] = ..., changes_told: _Optional[int] = ..., in_full: _Optional[bool] = ..., instance: _Optional[bytes] = ...) -> None: ...

class CopysetReport(_message.Message):
    __slots__ = ("group_id", "leading", "term", "configuration_index", "peers", "committed_index", "applied_index", "loading", "partitions", "sessions", "damaged")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    LEADING_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATION_INDEX_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_INDEX_FIELD_NUMBER: _ClassVar[int]
    APPLIED_INDEX_FIELD_NUMBER: _ClassVar[int]
    LOADING_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_FIELD_NUMBER: _ClassVar[int]
    group_id: int
    leading: bool
    term: int
    configuration_index: int
    peers: _containers.RepeatedCompositeFieldContainer[_common_pb2.Peer]
    committed_index: int
    applied_index: int
    loading: bool
    partitions: _containers.RepeatedCompositeFieldContainer[PartitionReport]
    sessions: _containers.RepeatedCompositeFieldContainer[SessionReport]
    damaged: bool
    def __init__(self, group_id: _Optional[int] = ..., leading: _Optional[bool] = ..., term: _Optional[int] = ..., configuration_index: _Optional[int] = ..., peers: _Optional[_Iterable[_Union[_common_pb2.Peer, _Mapping]]] = ..., committed_index: _Optional[int] = ..., applied_index: _Optional[int] = ..., loading: _Optional[bool] = ..., partitions: _Optional[_Iterable[_Union[PartitionReport, _Mapping]]] = ..., sessions: _Optional[_Iterable[_Union[SessionReport, _Mapping]]] = ..., damaged: _Optional[bool] = ...) -> None: ...

class PartitionReport(_message.Message):
    __slots__ = ("fs_id", "partition_id", "inode_count", "used_bytes", "delete_queue_length", "spec", "deleting")
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_ID_FIELD_NUMBER: _ClassVar[int]
    INODE_COUNT_FIELD_NUMBER: _ClassVar[int]
    USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    DELETE_QUEUE_LENGTH_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    DELETING_FIELD_NUMBER: _ClassVar[int]
    fs_id: int
    partition_id: int
    inode_count: int
    used_bytes: int
    delete_queue_length: int
    spec: _metaserver_pb2.PartitionSpec
    deleting: bool
    def __init__(self, fs_id: _Optional[int] = ..., partition_id: _Optional[int] = ..., inode_count: _Optional[int] = ..., used_bytes: _Optional[int] = ..., delete_queue_length: _Optional[int] = ..., spec: _Optional[_Union[_metaserver_pb2.PartitionSpec, _Mapping]] = ..., deleting: _Optional[bool] = ...) -> None: ...

class SessionReport(_message.Message):
    __slots__ = ("session_id", "fs_id", "durable")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    DURABLE_FIELD_NUMBER: _ClassVar[int]
    session_id: bytes
    fs_id: int
    durable: bool
    def __init__(self, session_id: _Optional[bytes] = ..., fs_id: _Optional[int] = ..., durable: _Optional[bool] = ...) -> None: ...

class HeartbeatReply(_message.Message):
    __slots__ = ("epoch", "failure", "mds_time_ns", "orders", "next_heartbeat_ms", "recovering", "moved", "changes")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    MDS_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_HEARTBEAT_MS_FIELD_NUMBER: _ClassVar[int]
    RECOVERING_FIELD_NUMBER: _ClassVar[int]
    MOVED_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    failure: _common_pb2.Failure
    mds_time_ns: int
    orders: _containers.RepeatedCompositeFieldContainer[Order]
    next_heartbeat_ms: int
    recovering: bool
    moved: _containers.RepeatedCompositeFieldContainer[_common_pb2.Peer]
    changes: int
    def __init__(self, epoch: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., mds_time_ns: _Optional[int] = ..., orders: _Optional[_Iterable[_Union[Order, _Mapping]]] = ..., next_heartbeat_ms: _Optional[int] = ..., recovering: _Optional[bool] = ..., moved: _Optional[_Iterable[_Union[_common_pb2.Peer, _Mapping]]] = ..., changes: _Optional[int] = ...) -> None: ...

class Order(_message.Message):
    __slots__ = ("group_id", "configuration_index", "create_copyset", "remove_copyset", "change_peers", "transfer_leader", "end_session")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATION_INDEX_FIELD_NUMBER: _ClassVar[int]
    CREATE_COPYSET_FIELD_NUMBER: _ClassVar[int]
    REMOVE_COPYSET_FIELD_NUMBER: _ClassVar[int]
    CHANGE_PEERS_FIELD_NUMBER: _ClassVar[int]
    TRANSFER_LEADER_FIELD_NUMBER: _ClassVar[int]
    END_SESSION_FIELD_NUMBER: _ClassVar[int]
    group_id: int
    configuration_index: int
    create_copyset: CreateCopysetOrder
    remove_copyset: RemoveCopysetOrder
    change_peers: ChangePeersOrder
    transfer_leader: TransferLeaderOrder
    end_session: EndSessionOrder
    def __init__(self, group_id: _Optional[int] = ..., configuration_index: _Optional[int] = ..., create_copyset: _Optional[_Union[CreateCopysetOrder, _Mapping]] = ..., remove_copyset: _Optional[_Union[RemoveCopysetOrder, _Mapping]] = ..., change_peers: _Optional[_Union[ChangePeersOrder, _Mapping]] = ..., transfer_leader: _Optional[_Union[TransferLeaderOrder, _Mapping]] = ..., end_session: _Optional[_Union[EndSessionOrder, _Mapping]] = ...) -> None: ...

class CreateCopysetOrder(_message.Message):
    __slots__ = ("peers", "first_metaserver_id", "term")
    PEERS_FIELD_NUMBER: _ClassVar[int]
    FIRST_METASERVER_ID_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    peers: _containers.RepeatedCompositeFieldContainer[_common_pb2.Peer]
    first_metaserver_id: int
    term: int
    def __init__(self, peers: _Optional[_Iterable[_Union[_common_pb2.Peer, _Mapping]]] = ..., first_metaserver_id: _Optional[int] = ..., term: _Optional[int] = ...) -> None: ...

class RemoveCopysetOrder(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ChangePeersOrder(_message.Message):
    __slots__ = ("peers",)
    PEERS_FIELD_NUMBER: _ClassVar[int]
    peers: _containers.RepeatedCompositeFieldContainer[_common_pb2.Peer]
    def __init__(self, peers: _Optional[_Iterable[_Union[_common_pb2.Peer, _Mapping]]] = ...) -> None: ...

class TransferLeaderOrder(_message.Message):
    __slots__ = ("metaserver_id",)
    METASERVER_ID_FIELD_NUMBER: _ClassVar[int]
    metaserver_id: int
    def __init__(self, metaserver_id: _Optional[int] = ...) -> None: ...

class EndSessionOrder(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: bytes
    def __init__(self, session_id: _Optional[bytes] = ...) -> None: ...
