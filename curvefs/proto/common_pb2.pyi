from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StatusCode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OK: _ClassVar[StatusCode]
    NOT_FOUND: _ClassVar[StatusCode]
    ALREADY_EXISTS: _ClassVar[StatusCode]
    NOT_EMPTY: _ClassVar[StatusCode]
    NOT_A_DIRECTORY: _ClassVar[StatusCode]
    IS_A_DIRECTORY: _ClassVar[StatusCode]
    PERMISSION_DENIED: _ClassVar[StatusCode]
    NOT_PERMITTED: _ClassVar[StatusCode]
    NO_SPACE: _ClassVar[StatusCode]
    QUOTA_EXCEEDED: _ClassVar[StatusCode]
    INVALID_ARGUMENT: _ClassVar[StatusCode]
    NAME_TOO_LONG: _ClassVar[StatusCode]
    TOO_MANY_LINKS: _ClassVar[StatusCode]
    NO_ATTRIBUTE: _ClassVar[StatusCode]
    READ_ONLY: _ClassVar[StatusCode]
    STALE_HANDLE: _ClassVar[StatusCode]
    FILE_TOO_LARGE: _ClassVar[StatusCode]
    CROSS_DEVICE: _ClassVar[StatusCode]
    UNSUPPORTED: _ClassVar[StatusCode]
    TOO_LARGE: _ClassVar[StatusCode]
    IO_ERROR: _ClassVar[StatusCode]
    CORRUPT_DATA: _ClassVar[StatusCode]
    RESOURCE_BUSY: _ClassVar[StatusCode]
    FILESYSTEM_GONE: _ClassVar[StatusCode]
    REDIRECT: _ClassVar[StatusCode]
    UNAVAILABLE: _ClassVar[StatusCode]
    OVERLOADED: _ClassVar[StatusCode]
    LOCKED: _ClassVar[StatusCode]
    SKIPPED: _ClassVar[StatusCode]
    SEQUENCE_GAP: _ClassVar[StatusCode]
    RESULT_FORGOTTEN: _ClassVar[StatusCode]
    SESSION_UNKNOWN: _ClassVar[StatusCode]
    SESSION_ENDED: _ClassVar[StatusCode]
    TOKEN_REFUSED: _ClassVar[StatusCode]
    STALE_EPOCH: _ClassVar[StatusCode]
    ID_REFUSED: _ClassVar[StatusCode]
    ALREADY_DONE: _ClassVar[StatusCode]
    WRONG_PARTITION: _ClassVar[StatusCode]
    VERSION_UNSUPPORTED: _ClassVar[StatusCode]
    NOT_APPENDED: _ClassVar[StatusCode]
    CROSS_PARTITION: _ClassVar[StatusCode]
    OBJECT_STORE_UNAVAILABLE: _ClassVar[StatusCode]
    NO_ALLOWANCE: _ClassVar[StatusCode]
    INTERNAL: _ClassVar[StatusCode]

class IdKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INODE: _ClassVar[IdKind]
    CHUNK: _ClassVar[IdKind]
OK: StatusCode
NOT_FOUND: StatusCode
ALREADY_EXISTS: StatusCode
NOT_EMPTY: StatusCode
NOT_A_DIRECTORY: StatusCode
IS_A_DIRECTORY: StatusCode
PERMISSION_DENIED: StatusCode
NOT_PERMITTED: StatusCode
NO_SPACE: StatusCode
QUOTA_EXCEEDED: StatusCode
INVALID_ARGUMENT: StatusCode
NAME_TOO_LONG: StatusCode
TOO_MANY_LINKS: StatusCode
NO_ATTRIBUTE: StatusCode
READ_ONLY: StatusCode
STALE_HANDLE: StatusCode
FILE_TOO_LARGE: StatusCode
CROSS_DEVICE: StatusCode
UNSUPPORTED: StatusCode
TOO_LARGE: StatusCode
IO_ERROR: StatusCode
CORRUPT_DATA: StatusCode
RESOURCE_BUSY: StatusCode
FILESYSTEM_GONE: StatusCode
REDIRECT: StatusCode
UNAVAILABLE: StatusCode
OVERLOADED: StatusCode
LOCKED: StatusCode
SKIPPED: StatusCode
SEQUENCE_GAP: StatusCode
RESULT_FORGOTTEN: StatusCode
SESSION_UNKNOWN: StatusCode
SESSION_ENDED: StatusCode
TOKEN_REFUSED: StatusCode
STALE_EPOCH: StatusCode
ID_REFUSED: StatusCode
ALREADY_DONE: StatusCode
WRONG_PARTITION: StatusCode
VERSION_UNSUPPORTED: StatusCode
NOT_APPENDED: StatusCode
CROSS_PARTITION: StatusCode
OBJECT_STORE_UNAVAILABLE: StatusCode
NO_ALLOWANCE: StatusCode
INTERNAL: StatusCode
INODE: IdKind
CHUNK: IdKind

class Failure(_message.Message):
    __slots__ = ("code", "message", "leader", "expected_sequence", "retry_after_ms", "need")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    NEED_FIELD_NUMBER: _ClassVar[int]
    code: StatusCode
    message: str
    leader: str
    expected_sequence: int
    retry_after_ms: int
    need: QuotaNeed
    def __init__(self, code: _Optional[_Union[StatusCode, str]] = ..., message: _Optional[str] = ..., leader: _Optional[str] = ..., expected_sequence: _Optional[int] = ..., retry_after_ms: _Optional[int] = ..., need: _Optional[_Union[QuotaNeed, _Mapping]] = ...) -> None: ...

class QuotaAmount(_message.Message):
    __slots__ = ("bytes", "inodes")
    BYTES_FIELD_NUMBER: _ClassVar[int]
    INODES_FIELD_NUMBER: _ClassVar[int]
    bytes: int
    inodes: int
    def __init__(self, bytes: _Optional[int] = ..., inodes: _Optional[int] = ...) -> None: ...

class QuotaShare(_message.Message):
    __slots__ = ("version", "unlimited", "gone", "allowance", "used", "reserved")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    UNLIMITED_FIELD_NUMBER: _ClassVar[int]
    GONE_FIELD_NUMBER: _ClassVar[int]
    ALLOWANCE_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    RESERVED_FIELD_NUMBER: _ClassVar[int]
    version: int
    unlimited: bool
    gone: bool
    allowance: QuotaAmount
    used: QuotaAmount
    reserved: QuotaAmount
    def __init__(self, version: _Optional[int] = ..., unlimited: _Optional[bool] = ..., gone: _Optional[bool] = ..., allowance: _Optional[_Union[QuotaAmount, _Mapping]] = ..., used: _Optional[_Union[QuotaAmount, _Mapping]] = ..., reserved: _Optional[_Union[QuotaAmount, _Mapping]] = ...) -> None: ...

class QuotaNeed(_message.Message):
    __slots__ = ("quota_id", "partition_id", "amount")
    QUOTA_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    quota_id: int
    partition_id: int
    amount: QuotaAmount
    def __init__(self, quota_id: _Optional[int] = ..., partition_id: _Optional[int] = ..., amount: _Optional[_Union[QuotaAmount, _Mapping]] = ...) -> None: ...

class IdRange(_message.Message):
    __slots__ = ("kind", "first", "end")
    KIND_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    kind: IdKind
    first: int
    end: int
    def __init__(self, kind: _Optional[_Union[IdKind, str]] = ..., first: _Optional[int] = ..., end: _Optional[int] = ...) -> None: ...

class Peer(_message.Message):
    __slots__ = ("metaserver_id", "address", "learner")
    METASERVER_ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    LEARNER_FIELD_NUMBER: _ClassVar[int]
    metaserver_id: int
    address: str
    learner: bool
    def __init__(self, metaserver_id: _Optional[int] = ..., address: _Optional[str] = ..., learner: _Optional[bool] = ...) -> None: ...
