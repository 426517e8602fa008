from curvefs.proto import common_pb2 as _common_pb2
from curvefs.proto import metaserver_pb2 as _metaserver_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ChunkState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNREFERENCED: _ClassVar[ChunkState]
    REFERENCED: _ClassVar[ChunkState]
    QUEUED: _ClassVar[ChunkState]
    OPEN: _ClassVar[ChunkState]
UNREFERENCED: ChunkState
REFERENCED: ChunkState
QUEUED: ChunkState
OPEN: ChunkState

class CheckChunksRequest(_message.Message):
    __slots__ = ("group_id", "fs_id", "partition_id", "chunk_ids")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_ID_FIELD_NUMBER: _ClassVar[int]
    CHUNK_IDS_FIELD_NUMBER: _ClassVar[int]
    group_id: int
    fs_id: int
    partition_id: int
    chunk_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, group_id: _Optional[int] = ..., fs_id: _Optional[int] = ..., partition_id: _Optional[int] = ..., chunk_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class CheckChunksReply(_message.Message):
    __slots__ = ("failure", "states")
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    failure: _common_pb2.Failure
    states: _containers.RepeatedScalarFieldContainer[ChunkState]
    def __init__(self, failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., states: _Optional[_Iterable[_Union[ChunkState, str]]] = ...) -> None: ...

class ListSlicesRequest(_message.Message):
    __slots__ = ("group_id", "fs_id", "partition_id", "cursor")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_ID_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    group_id: int
    fs_id: int
    partition_id: int
    cursor: bytes
    def __init__(self, group_id: _Optional[int] = ..., fs_id: _Optional[int] = ..., partition_id: _Optional[int] = ..., cursor: _Optional[bytes] = ...) -> None: ...

class ListSlicesReply(_message.Message):
    __slots__ = ("failure", "slices", "cursor")
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    SLICES_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    failure: _common_pb2.Failure
    slices: _containers.RepeatedCompositeFieldContainer[HeldSlice]
    cursor: bytes
    def __init__(self, failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., slices: _Optional[_Iterable[_Union[HeldSlice, _Mapping]]] = ..., cursor: _Optional[bytes] = ...) -> None: ...

class HeldSlice(_message.Message):
    __slots__ = ("inode_id", "slice")
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    SLICE_FIELD_NUMBER: _ClassVar[int]
    inode_id: int
    slice: _metaserver_pb2.Slice
    def __init__(self, inode_id: _Optional[int] = ..., slice: _Optional[_Union[_metaserver_pb2.Slice, _Mapping]] = ...) -> None: ...
