from curvefs.proto import metaserver_pb2 as _metaserver_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StagedSlice(_message.Message):
    __slots__ = ("identity", "inode_id", "slice", "length", "mtime_ns", "at_end", "blocks")
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    SLICE_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    MTIME_NS_FIELD_NUMBER: _ClassVar[int]
    AT_END_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    identity: bytes
    inode_id: int
    slice: _metaserver_pb2.Slice
    length: int
    mtime_ns: int
    at_end: bool
    blocks: _containers.RepeatedCompositeFieldContainer[StagedBlock]
    def __init__(self, identity: _Optional[bytes] = ..., inode_id: _Optional[int] = ..., slice: _Optional[_Union[_metaserver_pb2.Slice, _Mapping]] = ..., length: _Optional[int] = ..., mtime_ns: _Optional[int] = ..., at_end: _Optional[bool] = ..., blocks: _Optional[_Iterable[_Union[StagedBlock, _Mapping]]] = ...) -> None: ...

class StagedBlock(_message.Message):
    __slots__ = ("index", "size", "checksum")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    index: int
    size: int
    checksum: int
    def __init__(self, index: _Optional[int] = ..., size: _Optional[int] = ..., checksum: _Optional[int] = ...) -> None: ...
