from curvefs.proto import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FilesystemState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACTIVE: _ClassVar[FilesystemState]
    CREATING: _ClassVar[FilesystemState]
    DELETING: _ClassVar[FilesystemState]
ACTIVE: FilesystemState
CREATING: FilesystemState
DELETING: FilesystemState

class Filesystem(_message.Message):
    __slots__ = ("format", "fs_id", "name", "uuid", "object_store", "chunk_size", "block_size", "capacity_bytes", "capacity_inodes", "state", "created_ns", "block_format", "trash_retention_s", "delete_grace_s", "hash_seed", "trash_replaced", "key_check")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    OBJECT_STORE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_SIZE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_SIZE_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_BYTES_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_INODES_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CREATED_NS_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FORMAT_FIELD_NUMBER: _ClassVar[int]
    TRASH_RETENTION_S_FIELD_NUMBER: _ClassVar[int]
    DELETE_GRACE_S_FIELD_NUMBER: _ClassVar[int]
    HASH_SEED_FIELD_NUMBER: _ClassVar[int]
    TRASH_REPLACED_FIELD_NUMBER: _ClassVar[int]
    KEY_CHECK_FIELD_NUMBER: _ClassVar[int]
    format: int
    fs_id: int
    name: str
    uuid: bytes
    object_store: str
    chunk_size: int
    block_size: int
    capacity_bytes: int
    capacity_inodes: int
    state: FilesystemState
    created_ns: int
    block_format: int
    trash_retention_s: int
    delete_grace_s: int
    hash_seed: bytes
    trash_replaced: bool
    key_check: bytes
    def __init__(self, format: _Optional[int] = ..., fs_id: _Optional[int] = ..., name: _Optional[str] = ..., uuid: _Optional[bytes] = ..., object_store: _Optional[str] = ..., chunk_size: _Optional[int] = ..., block_size: _Optional[int] = ..., capacity_bytes: _Optional[int] = ..., capacity_inodes: _Optional[int] = ..., state: _Optional[_Union[FilesystemState, str]] = ..., created_ns: _Optional[int] = ..., block_format: _Optional[int] = ..., trash_retention_s: _Optional[int] = ..., delete_grace_s: _Optional[int] = ..., hash_seed: _Optional[bytes] = ..., trash_replaced: _Optional[bool] = ..., key_check: _Optional[bytes] = ...) -> None: ...

class Partition(_message.Message):
    __slots__ = ("fs_id", "partition_id", "group_id", "peers", "leader", "inode_count", "used_bytes")
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_ID_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    INODE_COUNT_FIELD_NUMBER: _ClassVar[int]
    USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    fs_id: int
    partition_id: int
    group_id: int
    peers: _containers.RepeatedCompositeFieldContainer[_common_pb2.Peer]
    leader: str
    inode_count: int
    used_bytes: int
    def __init__(self, fs_id: _Optional[int] = ..., partition_id: _Optional[int] = ..., group_id: _Optional[int] = ..., peers: _Optional[_Iterable[_Union[_common_pb2.Peer, _Mapping]]] = ..., leader: _Optional[str] = ..., inode_count: _Optional[int] = ..., used_bytes: _Optional[int] = ...) -> None: ...

class MountSession(_message.Message):
    __slots__ = ("format", "session_id", "fs_id", "host", "pid", "mountpoint", "opened_ns", "renewed_ns", "lease_ms", "read_only", "exclusive", "ending", "identity", "ending_groups", "metrics_address", "version", "retained_since_ns", "ending_identity", "nonce")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    MOUNTPOINT_FIELD_NUMBER: _ClassVar[int]
    OPENED_NS_FIELD_NUMBER: _ClassVar[int]
    RENEWED_NS_FIELD_NUMBER: _ClassVar[int]
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    EXCLUSIVE_FIELD_NUMBER: _ClassVar[int]
    ENDING_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    ENDING_GROUPS_FIELD_NUMBER: _ClassVar[int]
    METRICS_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RETAINED_SINCE_NS_FIELD_NUMBER: _ClassVar[int]
    ENDING_IDENTITY_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    format: int
    session_id: bytes
    fs_id: int
    host: str
    pid: int
    mountpoint: str
    opened_ns: int
    renewed_ns: int
    lease_ms: int
    read_only: bool
    exclusive: bool
    ending: bool
    identity: bytes
    ending_groups: _containers.RepeatedScalarFieldContainer[int]
    metrics_address: str
    version: str
    retained_since_ns: int
    ending_identity: bool
    nonce: bytes
    def __init__(self, format: _Optional[int] = ..., session_id: _Optional[bytes] = ..., fs_id: _Optional[int] = ..., host: _Optional[str] = ..., pid: _Optional[int] = ..., mountpoint: _Optional[str] = ..., opened_ns: _Optional[int] = ..., renewed_ns: _Optional[int] = ..., lease_ms: _Optional[int] = ..., read_only: _Optional[bool] = ..., exclusive: _Optional[bool] = ..., ending: _Optional[bool] = ..., identity: _Optional[bytes] = ..., ending_groups: _Optional[_Iterable[int]] = ..., metrics_address: _Optional[str] = ..., version: _Optional[str] = ..., retained_since_ns: _Optional[int] = ..., ending_identity: _Optional[bool] = ..., nonce: _Optional[bytes] = ...) -> None: ...

class DeletedFilesystem(_message.Message):
    __slots__ = ("format", "fs_id", "name", "uuid", "object_store", "deleted_ns", "sweeps")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    OBJECT_STORE_FIELD_NUMBER: _ClassVar[int]
    DELETED_NS_FIELD_NUMBER: _ClassVar[int]
    SWEEPS_FIELD_NUMBER: _ClassVar[int]
    format: int
    fs_id: int
    name: str
    uuid: bytes
    object_store: str
    deleted_ns: int
    sweeps: int
    def __init__(self, format: _Optional[int] = ..., fs_id: _Optional[int] = ..., name: _Optional[str] = ..., uuid: _Optional[bytes] = ..., object_store: _Optional[str] = ..., deleted_ns: _Optional[int] = ..., sweeps: _Optional[int] = ...) -> None: ...

class RecoveryMark(_message.Message):
    __slots__ = ("format", "reason", "since_ns")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SINCE_NS_FIELD_NUMBER: _ClassVar[int]
    format: int
    reason: str
    since_ns: int
    def __init__(self, format: _Optional[int] = ..., reason: _Optional[str] = ..., since_ns: _Optional[int] = ...) -> None: ...

class SessionToken(_message.Message):
    __slots__ = ("fs_id", "session_id", "expires_ns", "read_only", "identity")
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_NS_FIELD_NUMBER: _ClassVar[int]
    READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    fs_id: int
    session_id: bytes
    expires_ns: int
    read_only: bool
    identity: bytes
    def __init__(self, fs_id: _Optional[int] = ..., session_id: _Optional[bytes] = ..., expires_ns: _Optional[int] = ..., read_only: _Optional[bool] = ..., identity: _Optional[bytes] = ...) -> None: ...

class CreateFilesystemRequest(_message.Message):
    __slots__ = ("name", "object_store", "chunk_size", "block_size", "capacity_bytes", "capacity_inodes", "trash_retention_s", "delete_grace_s", "trash_replaced", "compression", "key_check", "uuid")
    NAME_FIELD_NUMBER: _ClassVar[int]
    OBJECT_STORE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_SIZE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_SIZE_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_BYTES_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_INODES_FIELD_NUMBER: _ClassVar[int]
    TRASH_RETENTION_S_FIELD_NUMBER: _ClassVar[int]
    DELETE_GRACE_S_FIELD_NUMBER: _ClassVar[int]
    TRASH_REPLACED_FIELD_NUMBER: _ClassVar[int]
    COMPRESSION_FIELD_NUMBER: _ClassVar[int]
    KEY_CHECK_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    name: str
    object_store: str
    chunk_size: int
    block_size: int
    capacity_bytes: int
    capacity_inodes: int
    trash_retention_s: int
    delete_grace_s: int
    trash_replaced: bool
    compression: str
    key_check: bytes
    uuid: bytes
    def __init__(self, name: _Optional[str] = ..., object_store: _Optional[str] = ..., chunk_size: _Optional[int] = ..., block_size: _Optional[int] = ..., capacity_bytes: _Optional[int] = ..., capacity_inodes: _Optional[int] = ..., trash_retention_s: _Optional[int] = ..., delete_grace_s: _Optional[int] = ..., trash_replaced: _Optional[bool] = ..., compression: _Optional[str] = ..., key_check: _Optional[bytes] = ..., uuid: _Optional[bytes] = ...) -> None: ...

class FilesystemReply(_message.Message):
    __slots__ = ("epoch", "failure", "filesystem", "partitions", "session_count", "mds_time_ns")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    FILESYSTEM_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    SESSION_COUNT_FIELD_NUMBER: _ClassVar[int]
    MDS_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    failure: _common_pb2.Failure
    filesystem: Filesystem
    partitions: _containers.RepeatedCompositeFieldContainer[Partition]
    session_count: int
    mds_time_ns: int
    def __init__(self, epoch: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., filesystem: _Optional[_Union[Filesystem, _Mapping]] = ..., partitions: _Optional[_Iterable[_Union[Partition, _Mapping]]] = ..., session_count: _Optional[int] = ..., mds_time_ns: _Optional[int] = ...) -> None: ...

class ListFilesystemsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListFilesystemsReply(_message.Message):
    __slots__ = ("epoch", "failure", "filesystems", "mds_time_ns")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    FILESYSTEMS_FIELD_NUMBER: _ClassVar[int]
    MDS_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    failure: _common_pb2.Failure
    filesystems: _containers.RepeatedCompositeFieldContainer[Filesystem]
    mds_time_ns: int
    def __init__(self, epoch: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., filesystems: _Optional[_Iterable[_Union[Filesystem, _Mapping]]] = ..., mds_time_ns: _Optional[int] = ...) -> None: ...

class GetFilesystemRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DeleteFilesystemRequest(_message.Message):
    __slots__ = ("name", "uuid")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    name: str
    uuid: bytes
    def __init__(self, name: _Optional[str] = ..., uuid: _Optional[bytes] = ...) -> None: ...

class OpenSessionRequest(_message.Message):
    __slots__ = ("name", "host", "pid", "mountpoint", "read_only", "exclusive", "identity", "metrics_address", "version", "continues", "uuid", "nonce")
    NAME_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    MOUNTPOINT_FIELD_NUMBER: _ClassVar[int]
    READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    EXCLUSIVE_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    METRICS_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CONTINUES_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    host: str
    pid: int
    mountpoint: str
    read_only: bool
    exclusive: bool
    identity: bytes
    metrics_address: str
    version: str
    continues: bool
    uuid: bytes
    nonce: bytes
    def __init__(self, name: _Optional[str] = ..., host: _Optional[str] = ..., pid: _Optional[int] = ..., mountpoint: _Optional[str] = ..., read_only: _Optional[bool] = ..., exclusive: _Optional[bool] = ..., identity: _Optional[bytes] = ..., metrics_address: _Optional[str] = ..., version: _Optional[str] = ..., continues: _Optional[bool] = ..., uuid: _Optional[bytes] = ..., nonce: _Optional[bytes] = ...) -> None: ...

class OpenSessionReply(_message.Message):
    __slots__ = ("epoch", "failure", "session", "token", "filesystem", "partitions", "mds_time_ns")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILESYSTEM_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    MDS_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    failure: _common_pb2.Failure
    session: MountSession
    token: bytes
    filesystem: Filesystem
    partitions: _containers.RepeatedCompositeFieldContainer[Partition]
    mds_time_ns: int
    def __init__(self, epoch: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., session: _Optional[_Union[MountSession, _Mapping]] = ..., token: _Optional[bytes] = ..., filesystem: _Optional[_Union[Filesystem, _Mapping]] = ..., partitions: _Optional[_Iterable[_Union[Partition, _Mapping]]] = ..., mds_time_ns: _Optional[int] = ...) -> None: ...

class RenewSessionRequest(_message.Message):
    __slots__ = ("session_id", "token", "session")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session_id: bytes
    token: bytes
    session: MountSession
    def __init__(self, session_id: _Optional[bytes] = ..., token: _Optional[bytes] = ..., session: _Optional[_Union[MountSession, _Mapping]] = ...) -> None: ...

class RenewSessionReply(_message.Message):
    __slots__ = ("epoch", "failure", "token", "lease_ms", "mds_time_ns")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    MDS_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    failure: _common_pb2.Failure
    token: bytes
    lease_ms: int
    mds_time_ns: int
    def __init__(self, epoch: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., token: _Optional[bytes] = ..., lease_ms: _Optional[int] = ..., mds_time_ns: _Optional[int] = ...) -> None: ...

class CloseSessionRequest(_message.Message):
    __slots__ = ("session_id", "end_identity")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    END_IDENTITY_FIELD_NUMBER: _ClassVar[int]
    session_id: bytes
    end_identity: bool
    def __init__(self, session_id: _Optional[bytes] = ..., end_identity: _Optional[bool] = ...) -> None: ...

class CloseSessionReply(_message.Message):
    __slots__ = ("epoch", "failure")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    failure: _common_pb2.Failure
    def __init__(self, epoch: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ...) -> None: ...

class ListSessionsRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListSessionsReply(_message.Message):
    __slots__ = ("epoch", "failure", "sessions")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    failure: _common_pb2.Failure
    sessions: _containers.RepeatedCompositeFieldContainer[MountSession]
    def __init__(self, epoch: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., sessions: _Optional[_Iterable[_Union[MountSession, _Mapping]]] = ...) -> None: ...

class ListPartitionsRequest(_message.Message):
    __slots__ = ("fs_id",)
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    fs_id: int
    def __init__(self, fs_id: _Optional[int] = ...) -> None: ...

class ListPartitionsReply(_message.Message):
    __slots__ = ("epoch", "failure", "partitions")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    failure: _common_pb2.Failure
    partitions: _containers.RepeatedCompositeFieldContainer[Partition]
    def __init__(self, epoch: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., partitions: _Optional[_Iterable[_Union[Partition, _Mapping]]] = ...) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusReply(_message.Message):
    __slots__ = ("epoch", "failure", "cluster_id", "mds_id", "pid", "address", "leading", "leader", "started_ns", "version", "metrics_address", "recovery")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    MDS_ID_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    LEADING_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    STARTED_NS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    METRICS_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    RECOVERY_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    failure: _common_pb2.Failure
    cluster_id: str
    mds_id: str
    pid: int
    address: str
    leading: bool
    leader: str
    started_ns: int
    version: str
    metrics_address: str
    recovery: str
    def __init__(self, epoch: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., cluster_id: _Optional[str] = ..., mds_id: _Optional[str] = ..., pid: _Optional[int] = ..., address: _Optional[str] = ..., leading: _Optional[bool] = ..., leader: _Optional[str] = ..., started_ns: _Optional[int] = ..., version: _Optional[str] = ..., metrics_address: _Optional[str] = ..., recovery: _Optional[str] = ...) -> None: ...

class GetRecoveryRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class EndRecoveryRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RecoveryReply(_message.Message):
    __slots__ = ("epoch", "failure", "recovering", "reason", "since_ns", "silent_metaservers", "unknown", "unknown_sessions", "missing")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    RECOVERING_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SINCE_NS_FIELD_NUMBER: _ClassVar[int]
    SILENT_METASERVERS_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    failure: _common_pb2.Failure
    recovering: bool
    reason: str
    since_ns: int
    silent_metaservers: _containers.RepeatedScalarFieldContainer[int]
    unknown: _containers.RepeatedScalarFieldContainer[str]
    unknown_sessions: int
    missing: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, epoch: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., recovering: _Optional[bool] = ..., reason: _Optional[str] = ..., since_ns: _Optional[int] = ..., silent_metaservers: _Optional[_Iterable[int]] = ..., unknown: _Optional[_Iterable[str]] = ..., unknown_sessions: _Optional[int] = ..., missing: _Optional[_Iterable[str]] = ...) -> None: ...
