from curvefs.proto import common_pb2 as _common_pb2
from curvefs.proto import transaction_pb2 as _transaction_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SetQuotaRequest(_message.Message):
    __slots__ = ("fs_id", "path", "limit")
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    fs_id: int
    path: bytes
    limit: _common_pb2.QuotaAmount
    def __init__(self, fs_id: _Optional[int] = ..., path: _Optional[bytes] = ..., limit: _Optional[_Union[_common_pb2.QuotaAmount, _Mapping]] = ...) -> None: ...

class GetQuotaRequest(_message.Message):
    __slots__ = ("fs_id", "path")
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    fs_id: int
    path: bytes
    def __init__(self, fs_id: _Optional[int] = ..., path: _Optional[bytes] = ...) -> None: ...

class ListQuotasRequest(_message.Message):
    __slots__ = ("fs_id",)
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    fs_id: int
    def __init__(self, fs_id: _Optional[int] = ...) -> None: ...

class QuotasReply(_message.Message):
    __slots__ = ("failure", "quotas")
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    QUOTAS_FIELD_NUMBER: _ClassVar[int]
    failure: _common_pb2.Failure
    quotas: _containers.RepeatedCompositeFieldContainer[DirectoryQuota]
    def __init__(self, failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., quotas: _Optional[_Iterable[_Union[DirectoryQuota, _Mapping]]] = ...) -> None: ...

class DirectoryQuota(_message.Message):
    __slots__ = ("path", "status")
    PATH_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    path: bytes
    status: _transaction_pb2.QuotaStatus
    def __init__(self, path: _Optional[bytes] = ..., status: _Optional[_Union[_transaction_pb2.QuotaStatus, _Mapping]] = ...) -> None: ...

class CheckQuotasReply(_message.Message):
    __slots__ = ("failure", "quotas", "wrong_charges")
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    QUOTAS_FIELD_NUMBER: _ClassVar[int]
    WRONG_CHARGES_FIELD_NUMBER: _ClassVar[int]
    failure: _common_pb2.Failure
    quotas: _containers.RepeatedCompositeFieldContainer[CheckedQuota]
    wrong_charges: int
    def __init__(self, failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., quotas: _Optional[_Iterable[_Union[CheckedQuota, _Mapping]]] = ..., wrong_charges: _Optional[int] = ...) -> None: ...

class CheckedQuota(_message.Message):
    __slots__ = ("path", "quota_id", "counted", "stored")
    PATH_FIELD_NUMBER: _ClassVar[int]
    QUOTA_ID_FIELD_NUMBER: _ClassVar[int]
    COUNTED_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    path: bytes
    quota_id: int
    counted: _common_pb2.QuotaAmount
    stored: _common_pb2.QuotaAmount
    def __init__(self, path: _Optional[bytes] = ..., quota_id: _Optional[int] = ..., counted: _Optional[_Union[_common_pb2.QuotaAmount, _Mapping]] = ..., stored: _Optional[_Union[_common_pb2.QuotaAmount, _Mapping]] = ...) -> None: ...
