from curvefs.proto import common_pb2 as _common_pb2
from curvefs.proto import metaserver_pb2 as _metaserver_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FindRequest(_message.Message):
    __slots__ = ("fs_id", "path")
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    fs_id: int
    path: bytes
    def __init__(self, fs_id: _Optional[int] = ..., path: _Optional[bytes] = ...) -> None: ...

class FindReply(_message.Message):
    __slots__ = ("failure", "inode")
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    INODE_FIELD_NUMBER: _ClassVar[int]
    failure: _common_pb2.Failure
    inode: _metaserver_pb2.Inode
    def __init__(self, failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., inode: _Optional[_Union[_metaserver_pb2.Inode, _Mapping]] = ...) -> None: ...

class ReadRequest(_message.Message):
    __slots__ = ("fs_id", "inode_id", "read")
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    READ_FIELD_NUMBER: _ClassVar[int]
    fs_id: int
    inode_id: int
    read: _metaserver_pb2.Read
    def __init__(self, fs_id: _Optional[int] = ..., inode_id: _Optional[int] = ..., read: _Optional[_Union[_metaserver_pb2.Read, _Mapping]] = ...) -> None: ...

class ReadReply(_message.Message):
    __slots__ = ("failure", "result")
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    failure: _common_pb2.Failure
    result: _metaserver_pb2.ReadResult
    def __init__(self, failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., result: _Optional[_Union[_metaserver_pb2.ReadResult, _Mapping]] = ...) -> None: ...

class CompactChunkRequest(_message.Message):
    __slots__ = ("fs_id", "inode_id", "chunk_index")
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    CHUNK_INDEX_FIELD_NUMBER: _ClassVar[int]
    fs_id: int
    inode_id: int
    chunk_index: int
    def __init__(self, fs_id: _Optional[int] = ..., inode_id: _Optional[int] = ..., chunk_index: _Optional[int] = ...) -> None: ...

class CompactChunkReply(_message.Message):
    __slots__ = ("failure", "pending", "compacted")
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    COMPACTED_FIELD_NUMBER: _ClassVar[int]
    failure: _common_pb2.Failure
    pending: bool
    compacted: CompactedChunk
    def __init__(self, failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., pending: _Optional[bool] = ..., compacted: _Optional[_Union[CompactedChunk, _Mapping]] = ...) -> None: ...

class CompactedChunk(_message.Message):
    __slots__ = ("slices_before", "slices_after", "read_bytes", "written_bytes")
    SLICES_BEFORE_FIELD_NUMBER: _ClassVar[int]
    SLICES_AFTER_FIELD_NUMBER: _ClassVar[int]
    READ_BYTES_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_BYTES_FIELD_NUMBER: _ClassVar[int]
    slices_before: int
    slices_after: int
    read_bytes: int
    written_bytes: int
    def __init__(self, slices_before: _Optional[int] = ..., slices_after: _Optional[int] = ..., read_bytes: _Optional[int] = ..., written_bytes: _Optional[int] = ...) -> None: ...
