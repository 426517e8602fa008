from curvefs.proto import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Health(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ONLINE: _ClassVar[Health]
    UNSTABLE: _ClassVar[Health]
    OFFLINE: _ClassVar[Health]

class Duty(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SERVES: _ClassVar[Duty]
    DRAINS: _ClassVar[Duty]
    RETIRES: _ClassVar[Duty]
ONLINE: Health
UNSTABLE: Health
OFFLINE: Health
SERVES: Duty
DRAINS: Duty
RETIRES: Duty

class Pool(_message.Message):
    __slots__ = ("format", "pool_id", "name", "replica_count", "zone_count", "copyset_count")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    REPLICA_COUNT_FIELD_NUMBER: _ClassVar[int]
    ZONE_COUNT_FIELD_NUMBER: _ClassVar[int]
    COPYSET_COUNT_FIELD_NUMBER: _ClassVar[int]
    format: int
    pool_id: int
    name: str
    replica_count: int
    zone_count: int
    copyset_count: int
    def __init__(self, format: _Optional[int] = ..., pool_id: _Optional[int] = ..., name: _Optional[str] = ..., replica_count: _Optional[int] = ..., zone_count: _Optional[int] = ..., copyset_count: _Optional[int] = ...) -> None: ...

class Zone(_message.Message):
    __slots__ = ("format", "zone_id", "name", "pool_id")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    ZONE_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    format: int
    zone_id: int
    name: str
    pool_id: int
    def __init__(self, format: _Optional[int] = ..., zone_id: _Optional[int] = ..., name: _Optional[str] = ..., pool_id: _Optional[int] = ...) -> None: ...

class Server(_message.Message):
    __slots__ = ("format", "server_id", "name", "zone_id", "internal_address", "external_address")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    SERVER_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ZONE_ID_FIELD_NUMBER: _ClassVar[int]
    INTERNAL_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    format: int
    server_id: int
    name: str
    zone_id: int
    internal_address: str
    external_address: str
    def __init__(self, format: _Optional[int] = ..., server_id: _Optional[int] = ..., name: _Optional[str] = ..., zone_id: _Optional[int] = ..., internal_address: _Optional[str] = ..., external_address: _Optional[str] = ...) -> None: ...

class Metaserver(_message.Message):
    __slots__ = ("format", "metaserver_id", "address", "token", "server_id", "registered_ns", "pid", "health", "disk_total_bytes", "disk_used_bytes", "leader_count", "copyset_count", "metrics_address", "duty", "superseded_by", "replica_count", "instance")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    METASERVER_ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    SERVER_ID_FIELD_NUMBER: _ClassVar[int]
    REGISTERED_NS_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    DISK_TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    DISK_USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    LEADER_COUNT_FIELD_NUMBER: _ClassVar[int]
    COPYSET_COUNT_FIELD_NUMBER: _ClassVar[int]
    METRICS_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    DUTY_FIELD_NUMBER: _ClassVar[int]
    SUPERSEDED_BY_FIELD_NUMBER: _ClassVar[int]
    REPLICA_COUNT_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    format: int
    metaserver_id: int
    address: str
    token: bytes
    server_id: int
    registered_ns: int
    pid: int
    health: Health
    disk_total_bytes: int
    disk_used_bytes: int
    leader_count: int
    copyset_count: int
    metrics_address: str
    duty: Duty
    superseded_by: int
    replica_count: int
    instance: bytes
    def __init__(self, format: _Optional[int] = ..., metaserver_id: _Optional[int] = ..., address: _Optional[str] = ..., token: _Optional[bytes] = ..., server_id: _Optional[int] = ..., registered_ns: _Optional[int] = ..., pid: _Optional[int] = ..., health: _Optional[_Union[Health, str]] = ..., disk_total_bytes: _Optional[int] = ..., disk_used_bytes: _Optional[int] = ..., leader_count: _Optional[int] = ..., copyset_count: _Optional[int] = ..., metrics_address: _Optional[str] = ..., duty: _Optional[_Union[Duty, str]] = ..., superseded_by: _Optional[int] = ..., replica_count: _Optional[int] = ..., instance: _Optional[bytes] = ...) -> None: ...

class Copyset(_message.Message):
    __slots__ = ("format", "group_id", "pool_id", "configuration_index", "peers", "leader_id", "candidate", "sealed", "partition_count", "replicas")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATION_INDEX_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    LEADER_ID_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    PARTITION_COUNT_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    format: int
    group_id: int
    pool_id: int
    configuration_index: int
    peers: _containers.RepeatedCompositeFieldContainer[_common_pb2.Peer]
    leader_id: int
    candidate: _containers.RepeatedCompositeFieldContainer[_common_pb2.Peer]
    sealed: bool
    partition_count: int
    replicas: _containers.RepeatedCompositeFieldContainer[Replica]
    def __init__(self, format: _Optional[int] = ..., group_id: _Optional[int] = ..., pool_id: _Optional[int] = ..., configuration_index: _Optional[int] = ..., peers: _Optional[_Iterable[_Union[_common_pb2.Peer, _Mapping]]] = ..., leader_id: _Optional[int] = ..., candidate: _Optional[_Iterable[_Union[_common_pb2.Peer, _Mapping]]] = ..., sealed: _Optional[bool] = ..., partition_count: _Optional[int] = ..., replicas: _Optional[_Iterable[_Union[Replica, _Mapping]]] = ...) -> None: ...

class Replica(_message.Message):
    __slots__ = ("metaserver_id", "heard", "leading", "term", "committed_index", "applied_index", "configuration_index", "loading", "damaged")
    METASERVER_ID_FIELD_NUMBER: _ClassVar[int]
    HEARD_FIELD_NUMBER: _ClassVar[int]
    LEADING_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_INDEX_FIELD_NUMBER: _ClassVar[int]
    APPLIED_INDEX_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATION_INDEX_FIELD_NUMBER: _ClassVar[int]
    LOADING_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_FIELD_NUMBER: _ClassVar[int]
    metaserver_id: int
    heard: bool
    leading: bool
    term: int
    committed_index: int
    applied_index: int
    configuration_index: int
    loading: bool
    damaged: bool
    def __init__(self, metaserver_id: _Optional[int] = ..., heard: _Optional[bool] = ..., leading: _Optional[bool] = ..., term: _Optional[int] = ..., committed_index: _Optional[int] = ..., applied_index: _Optional[int] = ..., configuration_index: _Optional[int] = ..., loading: _Optional[bool] = ..., damaged: _Optional[bool] = ...) -> None: ...

class RegisterMetaserverRequest(_message.Message):
    __slots__ = ("cluster_id", "metaserver_id", "token", "address", "pid", "metrics_address", "server", "highest_epoch", "changes_told", "proof", "instance")
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    METASERVER_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    METRICS_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    HIGHEST_EPOCH_FIELD_NUMBER: _ClassVar[int]
    CHANGES_TOLD_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    cluster_id: str
    metaserver_id: int
    token: bytes
    address: str
    pid: int
    metrics_address: str
    server: str
    highest_epoch: int
    changes_told: int
    proof: bytes
    instance: bytes
    def __init__(self, cluster_id: _Optional[str] = ..., metaserver_id: _Optional[int] = ..., token: _Optional[bytes] = ..., address: _Optional[str] = ..., pid: _Optional[int] = ..., metrics_address: _Optional[str] = ..., server: _Optional[str] = ..., highest_epoch: _Optional[int] = ..., changes_told: _Optional[int] = ..., proof: _Optional[bytes] = ..., instance: _Optional[bytes] = ...) -> None: ...

class RegisterMetaserverReply(_message.Message):
    __slots__ = ("epoch", "failure", "cluster_id", "metaserver_id", "token", "session_secret")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    METASERVER_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    SESSION_SECRET_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    failure: _common_pb2.Failure
    cluster_id: str
    metaserver_id: int
    token: bytes
    session_secret: bytes
    def __init__(self, epoch: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., cluster_id: _Optional[str] = ..., metaserver_id: _Optional[int] = ..., token: _Optional[bytes] = ..., session_secret: _Optional[bytes] = ...) -> None: ...

class ListMetaserversRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListMetaserversReply(_message.Message):
    __slots__ = ("epoch", "failure", "metaservers")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    METASERVERS_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    failure: _common_pb2.Failure
    metaservers: _containers.RepeatedCompositeFieldContainer[Metaserver]
    def __init__(self, epoch: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., metaservers: _Optional[_Iterable[_Union[Metaserver, _Mapping]]] = ...) -> None: ...

class ListCopysetsRequest(_message.Message):
    __slots__ = ("group_ids",)
    GROUP_IDS_FIELD_NUMBER: _ClassVar[int]
    group_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, group_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class ListCopysetsReply(_message.Message):
    __slots__ = ("epoch", "failure", "copysets")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    COPYSETS_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    failure: _common_pb2.Failure
    copysets: _containers.RepeatedCompositeFieldContainer[Copyset]
    def __init__(self, epoch: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., copysets: _Optional[_Iterable[_Union[Copyset, _Mapping]]] = ...) -> None: ...

class ApplyTopologyRequest(_message.Message):
    __slots__ = ("file",)
    FILE_FIELD_NUMBER: _ClassVar[int]
    file: bytes
    def __init__(self, file: _Optional[bytes] = ...) -> None: ...

class ApplyTopologyReply(_message.Message):
    __slots__ = ("epoch", "failure", "changes")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    failure: _common_pb2.Failure
    changes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, epoch: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., changes: _Optional[_Iterable[str]] = ...) -> None: ...

class GetTopologyRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetTopologyReply(_message.Message):
    __slots__ = ("epoch", "failure", "pools", "zones", "servers")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    POOLS_FIELD_NUMBER: _ClassVar[int]
    ZONES_FIELD_NUMBER: _ClassVar[int]
    SERVERS_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    failure: _common_pb2.Failure
    pools: _containers.RepeatedCompositeFieldContainer[Pool]
    zones: _containers.RepeatedCompositeFieldContainer[Zone]
    servers: _containers.RepeatedCompositeFieldContainer[Server]
    def __init__(self, epoch: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., pools: _Optional[_Iterable[_Union[Pool, _Mapping]]] = ..., zones: _Optional[_Iterable[_Union[Zone, _Mapping]]] = ..., servers: _Optional[_Iterable[_Union[Server, _Mapping]]] = ...) -> None: ...
