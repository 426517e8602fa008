from curvefs.proto import common_pb2 as _common_pb2
from curvefs.proto import metaserver_pb2 as _metaserver_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Entry(_message.Message):
    __slots__ = ("format", "time_ns", "operations", "open_session", "end_session", "create_partition", "delete_partition", "finish_cut")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    TIME_NS_FIELD_NUMBER: _ClassVar[int]
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    OPEN_SESSION_FIELD_NUMBER: _ClassVar[int]
    END_SESSION_FIELD_NUMBER: _ClassVar[int]
    CREATE_PARTITION_FIELD_NUMBER: _ClassVar[int]
    DELETE_PARTITION_FIELD_NUMBER: _ClassVar[int]
    FINISH_CUT_FIELD_NUMBER: _ClassVar[int]
    format: int
    time_ns: int
    operations: OperationsCommand
    open_session: OpenSessionCommand
    end_session: EndSessionCommand
    create_partition: CreatePartitionCommand
    delete_partition: DeletePartitionCommand
    finish_cut: FinishCutCommand
    def __init__(self, format: _Optional[int] = ..., time_ns: _Optional[int] = ..., operations: _Optional[_Union[OperationsCommand, _Mapping]] = ..., open_session: _Optional[_Union[OpenSessionCommand, _Mapping]] = ..., end_session: _Optional[_Union[EndSessionCommand, _Mapping]] = ..., create_partition: _Optional[_Union[CreatePartitionCommand, _Mapping]] = ..., delete_partition: _Optional[_Union[DeletePartitionCommand, _Mapping]] = ..., finish_cut: _Optional[_Union[FinishCutCommand, _Mapping]] = ...) -> None: ...

class OperationsCommand(_message.Message):
    __slots__ = ("batch",)
    BATCH_FIELD_NUMBER: _ClassVar[int]
    batch: _metaserver_pb2.OperationBatch
    def __init__(self, batch: _Optional[_Union[_metaserver_pb2.OperationBatch, _Mapping]] = ...) -> None: ...

class OpenSessionCommand(_message.Message):
    __slots__ = ("fs_id", "session_id")
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    fs_id: int
    session_id: bytes
    def __init__(self, fs_id: _Optional[int] = ..., session_id: _Optional[bytes] = ...) -> None: ...

class EndSessionCommand(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: bytes
    def __init__(self, session_id: _Optional[bytes] = ...) -> None: ...

class CreatePartitionCommand(_message.Message):
    __slots__ = ("partition",)
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    partition: _metaserver_pb2.PartitionSpec
    def __init__(self, partition: _Optional[_Union[_metaserver_pb2.PartitionSpec, _Mapping]] = ...) -> None: ...

class DeletePartitionCommand(_message.Message):
    __slots__ = ("fs_id", "partition_id")
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_ID_FIELD_NUMBER: _ClassVar[int]
    fs_id: int
    partition_id: int
    def __init__(self, fs_id: _Optional[int] = ..., partition_id: _Optional[int] = ...) -> None: ...

class FinishCutCommand(_message.Message):
    __slots__ = ("fs_id", "inode_id", "order")
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    fs_id: int
    inode_id: int
    order: int
    def __init__(self, fs_id: _Optional[int] = ..., inode_id: _Optional[int] = ..., order: _Optional[int] = ...) -> None: ...

class PartitionRecord(_message.Message):
    __slots__ = ("spec", "next_inode", "next_chunk", "inode_count", "used_bytes", "deleting")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    NEXT_INODE_FIELD_NUMBER: _ClassVar[int]
    NEXT_CHUNK_FIELD_NUMBER: _ClassVar[int]
    INODE_COUNT_FIELD_NUMBER: _ClassVar[int]
    USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    DELETING_FIELD_NUMBER: _ClassVar[int]
    spec: _metaserver_pb2.PartitionSpec
    next_inode: int
    next_chunk: int
    inode_count: int
    used_bytes: int
    deleting: bool
    def __init__(self, spec: _Optional[_Union[_metaserver_pb2.PartitionSpec, _Mapping]] = ..., next_inode: _Optional[int] = ..., next_chunk: _Optional[int] = ..., inode_count: _Optional[int] = ..., used_bytes: _Optional[int] = ..., deleting: _Optional[bool] = ...) -> None: ...

class SessionRecord(_message.Message):
    __slots__ = ("fs_id", "expected_sequence", "acknowledged", "opened_ns", "ended_ns")
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    OPENED_NS_FIELD_NUMBER: _ClassVar[int]
    ENDED_NS_FIELD_NUMBER: _ClassVar[int]
    fs_id: int
    expected_sequence: int
    acknowledged: int
    opened_ns: int
    ended_ns: int
    def __init__(self, fs_id: _Optional[int] = ..., expected_sequence: _Optional[int] = ..., acknowledged: _Optional[int] = ..., opened_ns: _Optional[int] = ..., ended_ns: _Optional[int] = ...) -> None: ...

class RangeRecord(_message.Message):
    __slots__ = ("range", "next", "published")
    RANGE_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    range: _common_pb2.IdRange
    next: int
    published: bytes
    def __init__(self, range: _Optional[_Union[_common_pb2.IdRange, _Mapping]] = ..., next: _Optional[int] = ..., published: _Optional[bytes] = ...) -> None: ...

class CutRecord(_message.Message):
    __slots__ = ("start", "order", "old_length")
    START_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    OLD_LENGTH_FIELD_NUMBER: _ClassVar[int]
    start: int
    order: int
    old_length: int
    def __init__(self, start: _Optional[int] = ..., order: _Optional[int] = ..., old_length: _Optional[int] = ...) -> None: ...

class DeleteRecord(_message.Message):
    __slots__ = ("queued_ns", "inode", "slice", "never_published", "release", "published")
    QUEUED_NS_FIELD_NUMBER: _ClassVar[int]
    INODE_FIELD_NUMBER: _ClassVar[int]
    SLICE_FIELD_NUMBER: _ClassVar[int]
    NEVER_PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    queued_ns: int
    inode: _metaserver_pb2.Inode
    slice: _metaserver_pb2.Slice
    never_published: _common_pb2.IdRange
    release: _common_pb2.IdRange
    published: bytes
    def __init__(self, queued_ns: _Optional[int] = ..., inode: _Optional[_Union[_metaserver_pb2.Inode, _Mapping]] = ..., slice: _Optional[_Union[_metaserver_pb2.Slice, _Mapping]] = ..., never_published: _Optional[_Union[_common_pb2.IdRange, _Mapping]] = ..., release: _Optional[_Union[_common_pb2.IdRange, _Mapping]] = ..., published: _Optional[bytes] = ...) -> None: ...
