from curvefs.proto import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateCopysetRequest(_message.Message):
    __slots__ = ("mds_epoch", "group_id", "peers", "first_metaserver_id", "term")
    MDS_EPOCH_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    FIRST_METASERVER_ID_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    mds_epoch: int
    group_id: int
    peers: _containers.RepeatedCompositeFieldContainer[_common_pb2.Peer]
    first_metaserver_id: int
    term: int
    def __init__(self, mds_epoch: _Optional[int] = ..., group_id: _Optional[int] = ..., peers: _Optional[_Iterable[_Union[_common_pb2.Peer, _Mapping]]] = ..., first_metaserver_id: _Optional[int] = ..., term: _Optional[int] = ...) -> None: ...

class RemoveCopysetRequest(_message.Message):
    __slots__ = ("mds_epoch", "group_id", "configuration_index", "damaged")
    MDS_EPOCH_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATION_INDEX_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_FIELD_NUMBER: _ClassVar[int]
    mds_epoch: int
    group_id: int
    configuration_index: int
    damaged: bool
    def __init__(self, mds_epoch: _Optional[int] = ..., group_id: _Optional[int] = ..., configuration_index: _Optional[int] = ..., damaged: _Optional[bool] = ...) -> None: ...

class ChangePeersRequest(_message.Message):
    __slots__ = ("mds_epoch", "group_id", "configuration_index", "peers")
    MDS_EPOCH_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATION_INDEX_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    mds_epoch: int
    group_id: int
    configuration_index: int
    peers: _containers.RepeatedCompositeFieldContainer[_common_pb2.Peer]
    def __init__(self, mds_epoch: _Optional[int] = ..., group_id: _Optional[int] = ..., configuration_index: _Optional[int] = ..., peers: _Optional[_Iterable[_Union[_common_pb2.Peer, _Mapping]]] = ...) -> None: ...

class TransferLeaderRequest(_message.Message):
    __slots__ = ("mds_epoch", "group_id", "to_metaserver_id", "configuration_index")
    MDS_EPOCH_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    TO_METASERVER_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATION_INDEX_FIELD_NUMBER: _ClassVar[int]
    mds_epoch: int
    group_id: int
    to_metaserver_id: int
    configuration_index: int
    def __init__(self, mds_epoch: _Optional[int] = ..., group_id: _Optional[int] = ..., to_metaserver_id: _Optional[int] = ..., configuration_index: _Optional[int] = ...) -> None: ...

class RebuildReplicaRequest(_message.Message):
    __slots__ = ("mds_epoch", "group_id", "metaserver_id", "configuration_index")
    MDS_EPOCH_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    METASERVER_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATION_INDEX_FIELD_NUMBER: _ClassVar[int]
    mds_epoch: int
    group_id: int
    metaserver_id: int
    configuration_index: int
    def __init__(self, mds_epoch: _Optional[int] = ..., group_id: _Optional[int] = ..., metaserver_id: _Optional[int] = ..., configuration_index: _Optional[int] = ...) -> None: ...

class CopysetReply(_message.Message):
    __slots__ = ("failure", "configuration_index")
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATION_INDEX_FIELD_NUMBER: _ClassVar[int]
    failure: _common_pb2.Failure
    configuration_index: int
    def __init__(self, failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., configuration_index: _Optional[int] = ...) -> None: ...

class GetCopysetStatusRequest(_message.Message):
    __slots__ = ("group_id", "with_digest", "at_index")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    WITH_DIGEST_FIELD_NUMBER: _ClassVar[int]
    AT_INDEX_FIELD_NUMBER: _ClassVar[int]
    group_id: int
    with_digest: bool
    at_index: int
    def __init__(self, group_id: _Optional[int] = ..., with_digest: _Optional[bool] = ..., at_index: _Optional[int] = ...) -> None: ...

class GetCopysetStatusReply(_message.Message):
    __slots__ = ("failure", "term", "leader_id", "committed_index", "applied_index", "first_index", "last_index", "configuration_index", "peers", "digest", "checkpoint_index", "outgoing_peers", "progress", "damaged", "damage")
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    LEADER_ID_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_INDEX_FIELD_NUMBER: _ClassVar[int]
    APPLIED_INDEX_FIELD_NUMBER: _ClassVar[int]
    FIRST_INDEX_FIELD_NUMBER: _ClassVar[int]
    LAST_INDEX_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATION_INDEX_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_INDEX_FIELD_NUMBER: _ClassVar[int]
    OUTGOING_PEERS_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_FIELD_NUMBER: _ClassVar[int]
    DAMAGE_FIELD_NUMBER: _ClassVar[int]
    failure: _common_pb2.Failure
    term: int
    leader_id: int
    committed_index: int
    applied_index: int
    first_index: int
    last_index: int
    configuration_index: int
    peers: _containers.RepeatedCompositeFieldContainer[_common_pb2.Peer]
    digest: bytes
    checkpoint_index: int
    outgoing_peers: _containers.RepeatedCompositeFieldContainer[_common_pb2.Peer]
    progress: _containers.RepeatedCompositeFieldContainer[ReplicaProgress]
    damaged: bool
    damage: str
    def __init__(self, failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., term: _Optional[int] = ..., leader_id: _Optional[int] = ..., committed_index: _Optional[int] = ..., applied_index: _Optional[int] = ..., first_index: _Optional[int] = ..., last_index: _Optional[int] = ..., configuration_index: _Optional[int] = ..., peers: _Optional[_Iterable[_Union[_common_pb2.Peer, _Mapping]]] = ..., digest: _Optional[bytes] = ..., checkpoint_index: _Optional[int] = ..., outgoing_peers: _Optional[_Iterable[_Union[_common_pb2.Peer, _Mapping]]] = ..., progress: _Optional[_Iterable[_Union[ReplicaProgress, _Mapping]]] = ..., damaged: _Optional[bool] = ..., damage: _Optional[str] = ...) -> None: ...

class ReplicaProgress(_message.Message):
    __slots__ = ("metaserver_id", "match_index", "state")
    METASERVER_ID_FIELD_NUMBER: _ClassVar[int]
    MATCH_INDEX_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    metaserver_id: int
    match_index: int
    state: str
    def __init__(self, metaserver_id: _Optional[int] = ..., match_index: _Optional[int] = ..., state: _Optional[str] = ...) -> None: ...
