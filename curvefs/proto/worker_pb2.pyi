from curvefs.proto import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Job(_message.Message):
    __slots__ = ("job_id", "object_store", "delete", "list", "store_runs")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    OBJECT_STORE_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    LIST_FIELD_NUMBER: _ClassVar[int]
    STORE_RUNS_FIELD_NUMBER: _ClassVar[int]
    job_id: int
    object_store: str
    delete: DeleteObjects
    list: ListObjects
    store_runs: StoreRuns
    def __init__(self, job_id: _Optional[int] = ..., object_store: _Optional[str] = ..., delete: _Optional[_Union[DeleteObjects, _Mapping]] = ..., list: _Optional[_Union[ListObjects, _Mapping]] = ..., store_runs: _Optional[_Union[StoreRuns, _Mapping]] = ...) -> None: ...

class JobReply(_message.Message):
    __slots__ = ("job_id", "failure", "list", "store_runs")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    LIST_FIELD_NUMBER: _ClassVar[int]
    STORE_RUNS_FIELD_NUMBER: _ClassVar[int]
    job_id: int
    failure: _common_pb2.Failure
    list: ListedObjects
    store_runs: StoredRuns
    def __init__(self, job_id: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., list: _Optional[_Union[ListedObjects, _Mapping]] = ..., store_runs: _Optional[_Union[StoredRuns, _Mapping]] = ...) -> None: ...

class DeleteObjects(_message.Message):
    __slots__ = ("names",)
    NAMES_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, names: _Optional[_Iterable[str]] = ...) -> None: ...

class ListObjects(_message.Message):
    __slots__ = ("prefix", "after", "limit")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    after: str
    limit: int
    def __init__(self, prefix: _Optional[str] = ..., after: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class ListedObjects(_message.Message):
    __slots__ = ("names",)
    NAMES_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, names: _Optional[_Iterable[str]] = ...) -> None: ...

class StoreRuns(_message.Message):
    __slots__ = ("filesystem", "block_size", "block_format", "runs", "data_key")
    FILESYSTEM_FIELD_NUMBER: _ClassVar[int]
    BLOCK_SIZE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FORMAT_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    DATA_KEY_FIELD_NUMBER: _ClassVar[int]
    filesystem: bytes
    block_size: int
    block_format: int
    runs: _containers.RepeatedCompositeFieldContainer[RunToStore]
    data_key: bytes
    def __init__(self, filesystem: _Optional[bytes] = ..., block_size: _Optional[int] = ..., block_format: _Optional[int] = ..., runs: _Optional[_Iterable[_Union[RunToStore, _Mapping]]] = ..., data_key: _Optional[bytes] = ...) -> None: ...

class RunToStore(_message.Message):
    __slots__ = ("chunk_id", "compaction", "pieces")
    CHUNK_ID_FIELD_NUMBER: _ClassVar[int]
    COMPACTION_FIELD_NUMBER: _ClassVar[int]
    PIECES_FIELD_NUMBER: _ClassVar[int]
    chunk_id: int
    compaction: int
    pieces: _containers.RepeatedCompositeFieldContainer[RunPiece]
    def __init__(self, chunk_id: _Optional[int] = ..., compaction: _Optional[int] = ..., pieces: _Optional[_Iterable[_Union[RunPiece, _Mapping]]] = ...) -> None: ...

class RunPiece(_message.Message):
    __slots__ = ("length", "chunk_id", "compaction", "offset", "size", "block_format")
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    CHUNK_ID_FIELD_NUMBER: _ClassVar[int]
    COMPACTION_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FORMAT_FIELD_NUMBER: _ClassVar[int]
    length: int
    chunk_id: int
    compaction: int
    offset: int
    size: int
    block_format: int
    def __init__(self, length: _Optional[int] = ..., chunk_id: _Optional[int] = ..., compaction: _Optional[int] = ..., offset: _Optional[int] = ..., size: _Optional[int] = ..., block_format: _Optional[int] = ...) -> None: ...

class StoredRuns(_message.Message):
    __slots__ = ("read_bytes", "written_bytes")
    READ_BYTES_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_BYTES_FIELD_NUMBER: _ClassVar[int]
    read_bytes: int
    written_bytes: int
    def __init__(self, read_bytes: _Optional[int] = ..., written_bytes: _Optional[int] = ...) -> None: ...
