from curvefs.proto import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FileType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNKNOWN: _ClassVar[FileType]
    FIFO: _ClassVar[FileType]
    CHARACTER_DEVICE: _ClassVar[FileType]
    DIRECTORY: _ClassVar[FileType]
    BLOCK_DEVICE: _ClassVar[FileType]
    REGULAR: _ClassVar[FileType]
    SYMLINK: _ClassVar[FileType]
    SOCKET: _ClassVar[FileType]
UNKNOWN: FileType
FIFO: FileType
CHARACTER_DEVICE: FileType
DIRECTORY: FileType
BLOCK_DEVICE: FileType
REGULAR: FileType
SYMLINK: FileType
SOCKET: FileType

class FindSessionsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class FindSessionsReply(_message.Message):
    __slots__ = ("failure", "port", "instance")
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    failure: _common_pb2.Failure
    port: int
    instance: bytes
    def __init__(self, failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., port: _Optional[int] = ..., instance: _Optional[bytes] = ...) -> None: ...

class ClientFrame(_message.Message):
    __slots__ = ("hello", "operations", "reads", "notice_answers", "transactions")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    READS_FIELD_NUMBER: _ClassVar[int]
    NOTICE_ANSWERS_FIELD_NUMBER: _ClassVar[int]
    TRANSACTIONS_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    operations: _containers.RepeatedCompositeFieldContainer[OperationBatch]
    reads: _containers.RepeatedCompositeFieldContainer[ReadBatch]
    notice_answers: _containers.RepeatedCompositeFieldContainer[NoticeAnswer]
    transactions: _containers.RepeatedCompositeFieldContainer[TransactionRequest]
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., operations: _Optional[_Iterable[_Union[OperationBatch, _Mapping]]] = ..., reads: _Optional[_Iterable[_Union[ReadBatch, _Mapping]]] = ..., notice_answers: _Optional[_Iterable[_Union[NoticeAnswer, _Mapping]]] = ..., transactions: _Optional[_Iterable[_Union[TransactionRequest, _Mapping]]] = ...) -> None: ...

class ServerFrame(_message.Message):
    __slots__ = ("welcome", "lanes", "operations", "reads", "notices", "transactions")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    LANES_FIELD_NUMBER: _ClassVar[int]
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    READS_FIELD_NUMBER: _ClassVar[int]
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    TRANSACTIONS_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    lanes: _containers.RepeatedCompositeFieldContainer[Lane]
    operations: _containers.RepeatedCompositeFieldContainer[OperationResults]
    reads: _containers.RepeatedCompositeFieldContainer[ReadResults]
    notices: _containers.RepeatedCompositeFieldContainer[Notice]
    transactions: _containers.RepeatedCompositeFieldContainer[TransactionReply]
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., lanes: _Optional[_Iterable[_Union[Lane, _Mapping]]] = ..., operations: _Optional[_Iterable[_Union[OperationResults, _Mapping]]] = ..., reads: _Optional[_Iterable[_Union[ReadResults, _Mapping]]] = ..., notices: _Optional[_Iterable[_Union[Notice, _Mapping]]] = ..., transactions: _Optional[_Iterable[_Union[TransactionReply, _Mapping]]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("protocol_version", "fs_id", "session_id", "token", "groups")
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    fs_id: int
    session_id: bytes
    token: bytes
    groups: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, protocol_version: _Optional[int] = ..., fs_id: _Optional[int] = ..., session_id: _Optional[bytes] = ..., token: _Optional[bytes] = ..., groups: _Optional[_Iterable[int]] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("failure",)
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    failure: _common_pb2.Failure
    def __init__(self, failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ...) -> None: ...

class Lane(_message.Message):
    __slots__ = ("group_id", "expected_sequence", "failure")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    group_id: int
    expected_sequence: int
    failure: _common_pb2.Failure
    def __init__(self, group_id: _Optional[int] = ..., expected_sequence: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ...) -> None: ...

class OperationBatch(_message.Message):
    __slots__ = ("fs_id", "session_id", "group_id", "first_sequence", "acknowledged", "operations")
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    fs_id: int
    session_id: bytes
    group_id: int
    first_sequence: int
    acknowledged: int
    operations: _containers.RepeatedCompositeFieldContainer[Operation]
    def __init__(self, fs_id: _Optional[int] = ..., session_id: _Optional[bytes] = ..., group_id: _Optional[int] = ..., first_sequence: _Optional[int] = ..., acknowledged: _Optional[int] = ..., operations: _Optional[_Iterable[_Union[Operation, _Mapping]]] = ...) -> None: ...

class OperationResults(_message.Message):
    __slots__ = ("group_id", "failure", "first_sequence", "results", "not_appended")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    NOT_APPENDED_FIELD_NUMBER: _ClassVar[int]
    group_id: int
    failure: _common_pb2.Failure
    first_sequence: int
    results: _containers.RepeatedCompositeFieldContainer[OperationResult]
    not_appended: bool
    def __init__(self, group_id: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., first_sequence: _Optional[int] = ..., results: _Optional[_Iterable[_Union[OperationResult, _Mapping]]] = ..., not_appended: _Optional[bool] = ...) -> None: ...

class TransactionRequest(_message.Message):
    __slots__ = ("fs_id", "session_id", "group_id", "number", "acknowledged", "operation")
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    fs_id: int
    session_id: bytes
    group_id: int
    number: int
    acknowledged: int
    operation: Operation
    def __init__(self, fs_id: _Optional[int] = ..., session_id: _Optional[bytes] = ..., group_id: _Optional[int] = ..., number: _Optional[int] = ..., acknowledged: _Optional[int] = ..., operation: _Optional[_Union[Operation, _Mapping]] = ...) -> None: ...

class TransactionReply(_message.Message):
    __slots__ = ("group_id", "number", "failure", "result")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    group_id: int
    number: int
    failure: _common_pb2.Failure
    result: OperationResult
    def __init__(self, group_id: _Optional[int] = ..., number: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., result: _Optional[_Union[OperationResult, _Mapping]] = ...) -> None: ...

class ReadBatch(_message.Message):
    __slots__ = ("fs_id", "group_id", "reads")
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    READS_FIELD_NUMBER: _ClassVar[int]
    fs_id: int
    group_id: int
    reads: _containers.RepeatedCompositeFieldContainer[Read]
    def __init__(self, fs_id: _Optional[int] = ..., group_id: _Optional[int] = ..., reads: _Optional[_Iterable[_Union[Read, _Mapping]]] = ...) -> None: ...

class ReadResults(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ReadResult]
    def __init__(self, results: _Optional[_Iterable[_Union[ReadResult, _Mapping]]] = ...) -> None: ...

class Notice(_message.Message):
    __slots__ = ("notice_id", "held_query", "invalidate")
    NOTICE_ID_FIELD_NUMBER: _ClassVar[int]
    HELD_QUERY_FIELD_NUMBER: _ClassVar[int]
    INVALIDATE_FIELD_NUMBER: _ClassVar[int]
    notice_id: int
    held_query: HeldQuery
    invalidate: Invalidate
    def __init__(self, notice_id: _Optional[int] = ..., held_query: _Optional[_Union[HeldQuery, _Mapping]] = ..., invalidate: _Optional[_Union[Invalidate, _Mapping]] = ...) -> None: ...

class HeldQuery(_message.Message):
    __slots__ = ("inodes",)
    INODES_FIELD_NUMBER: _ClassVar[int]
    inodes: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, inodes: _Optional[_Iterable[int]] = ...) -> None: ...

class Invalidate(_message.Message):
    __slots__ = ("inodes", "grant_term")
    INODES_FIELD_NUMBER: _ClassVar[int]
    GRANT_TERM_FIELD_NUMBER: _ClassVar[int]
    inodes: _containers.RepeatedScalarFieldContainer[int]
    grant_term: int
    def __init__(self, inodes: _Optional[_Iterable[int]] = ..., grant_term: _Optional[int] = ...) -> None: ...

class NoticeAnswer(_message.Message):
    __slots__ = ("notice_id", "held_inodes")
    NOTICE_ID_FIELD_NUMBER: _ClassVar[int]
    HELD_INODES_FIELD_NUMBER: _ClassVar[int]
    notice_id: int
    held_inodes: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, notice_id: _Optional[int] = ..., held_inodes: _Optional[_Iterable[int]] = ...) -> None: ...

class Inode(_message.Message):
    __slots__ = ("inode_id", "mode", "nlink", "uid", "gid", "rdev", "length", "atime_ns", "mtime_ns", "ctime_ns", "change", "parent", "symlink_target", "xattr_count", "btime_ns", "allocated", "entry_count", "quotas", "own_quota", "parent_gone", "trashed_ns", "trashed_parent", "trashed_name")
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    NLINK_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    GID_FIELD_NUMBER: _ClassVar[int]
    RDEV_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    ATIME_NS_FIELD_NUMBER: _ClassVar[int]
    MTIME_NS_FIELD_NUMBER: _ClassVar[int]
    CTIME_NS_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    SYMLINK_TARGET_FIELD_NUMBER: _ClassVar[int]
    XATTR_COUNT_FIELD_NUMBER: _ClassVar[int]
    BTIME_NS_FIELD_NUMBER: _ClassVar[int]
    ALLOCATED_FIELD_NUMBER: _ClassVar[int]
    ENTRY_COUNT_FIELD_NUMBER: _ClassVar[int]
    QUOTAS_FIELD_NUMBER: _ClassVar[int]
    OWN_QUOTA_FIELD_NUMBER: _ClassVar[int]
    PARENT_GONE_FIELD_NUMBER: _ClassVar[int]
    TRASHED_NS_FIELD_NUMBER: _ClassVar[int]
    TRASHED_PARENT_FIELD_NUMBER: _ClassVar[int]
    TRASHED_NAME_FIELD_NUMBER: _ClassVar[int]
    inode_id: int
    mode: int
    nlink: int
    uid: int
    gid: int
    rdev: int
    length: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    change: int
    parent: int
    symlink_target: bytes
    xattr_count: int
    btime_ns: int
    allocated: int
    entry_count: int
    quotas: _containers.RepeatedScalarFieldContainer[int]
    own_quota: int
    parent_gone: bool
    trashed_ns: int
    trashed_parent: int
    trashed_name: bytes
    def __init__(self, inode_id: _Optional[int] = ..., mode: _Optional[int] = ..., nlink: _Optional[int] = ..., uid: _Optional[int] = ..., gid: _Optional[int] = ..., rdev: _Optional[int] = ..., length: _Optional[int] = ..., atime_ns: _Optional[int] = ..., mtime_ns: _Optional[int] = ..., ctime_ns: _Optional[int] = ..., change: _Optional[int] = ..., parent: _Optional[int] = ..., symlink_target: _Optional[bytes] = ..., xattr_count: _Optional[int] = ..., btime_ns: _Optional[int] = ..., allocated: _Optional[int] = ..., entry_count: _Optional[int] = ..., quotas: _Optional[_Iterable[int]] = ..., own_quota: _Optional[int] = ..., parent_gone: _Optional[bool] = ..., trashed_ns: _Optional[int] = ..., trashed_parent: _Optional[int] = ..., trashed_name: _Optional[bytes] = ...) -> None: ...

class Dentry(_message.Message):
    __slots__ = ("name", "inode_id", "type")
    NAME_FIELD_NUMBER: _ClassVar[int]
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    name: bytes
    inode_id: int
    type: FileType
    def __init__(self, name: _Optional[bytes] = ..., inode_id: _Optional[int] = ..., type: _Optional[_Union[FileType, str]] = ...) -> None: ...

class Slice(_message.Message):
    __slots__ = ("chunk_id", "compaction", "chunk_index", "offset", "length", "size", "zero", "object", "inline", "reference")
    CHUNK_ID_FIELD_NUMBER: _ClassVar[int]
    COMPACTION_FIELD_NUMBER: _ClassVar[int]
    CHUNK_INDEX_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    ZERO_FIELD_NUMBER: _ClassVar[int]
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    INLINE_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    chunk_id: int
    compaction: int
    chunk_index: int
    offset: int
    length: int
    size: int
    zero: bool
    object: ObjectLocation
    inline: bytes
    reference: int
    def __init__(self, chunk_id: _Optional[int] = ..., compaction: _Optional[int] = ..., chunk_index: _Optional[int] = ..., offset: _Optional[int] = ..., length: _Optional[int] = ..., size: _Optional[int] = ..., zero: _Optional[bool] = ..., object: _Optional[_Union[ObjectLocation, _Mapping]] = ..., inline: _Optional[bytes] = ..., reference: _Optional[int] = ...) -> None: ...

class ObjectLocation(_message.Message):
    __slots__ = ("offset", "block_format")
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FORMAT_FIELD_NUMBER: _ClassVar[int]
    offset: int
    block_format: int
    def __init__(self, offset: _Optional[int] = ..., block_format: _Optional[int] = ...) -> None: ...

class Operation(_message.Message):
    __slots__ = ("preconditions", "credential", "noop", "create", "unlink", "rmdir", "link", "rename", "set_attr", "append_slices", "set_xattr", "remove_xattr", "release_inode", "allocate_ids", "fallocate", "reserve", "give_back", "give_up_ids", "ask", "restore", "purge_trashed", "unsupported")
    PRECONDITIONS_FIELD_NUMBER: _ClassVar[int]
    CREDENTIAL_FIELD_NUMBER: _ClassVar[int]
    NOOP_FIELD_NUMBER: _ClassVar[int]
    CREATE_FIELD_NUMBER: _ClassVar[int]
    UNLINK_FIELD_NUMBER: _ClassVar[int]
    RMDIR_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    RENAME_FIELD_NUMBER: _ClassVar[int]
    SET_ATTR_FIELD_NUMBER: _ClassVar[int]
    APPEND_SLICES_FIELD_NUMBER: _ClassVar[int]
    SET_XATTR_FIELD_NUMBER: _ClassVar[int]
    REMOVE_XATTR_FIELD_NUMBER: _ClassVar[int]
    RELEASE_INODE_FIELD_NUMBER: _ClassVar[int]
    ALLOCATE_IDS_FIELD_NUMBER: _ClassVar[int]
    FALLOCATE_FIELD_NUMBER: _ClassVar[int]
    RESERVE_FIELD_NUMBER: _ClassVar[int]
    GIVE_BACK_FIELD_NUMBER: _ClassVar[int]
    GIVE_UP_IDS_FIELD_NUMBER: _ClassVar[int]
    ASK_FIELD_NUMBER: _ClassVar[int]
    RESTORE_FIELD_NUMBER: _ClassVar[int]
    PURGE_TRASHED_FIELD_NUMBER: _ClassVar[int]
    UNSUPPORTED_FIELD_NUMBER: _ClassVar[int]
    preconditions: _containers.RepeatedCompositeFieldContainer[Precondition]
    credential: Credential
    noop: NoOperation
    create: Create
    unlink: Unlink
    rmdir: Rmdir
    link: Link
    rename: Rename
    set_attr: SetAttr
    append_slices: AppendSlices
    set_xattr: SetXattr
    remove_xattr: RemoveXattr
    release_inode: ReleaseInode
    allocate_ids: AllocateIds
    fallocate: Fallocate
    reserve: Reserve
    give_back: GiveBack
    give_up_ids: GiveUpIds
    ask: _common_pb2.QuotaNeed
    restore: Restore
    purge_trashed: PurgeTrashed
    unsupported: Unsupported
    def __init__(self, preconditions: _Optional[_Iterable[_Union[Precondition, _Mapping]]] = ..., credential: _Optional[_Union[Credential, _Mapping]] = ..., noop: _Optional[_Union[NoOperation, _Mapping]] = ..., create: _Optional[_Union[Create, _Mapping]] = ..., unlink: _Optional[_Union[Unlink, _Mapping]] = ..., rmdir: _Optional[_Union[Rmdir, _Mapping]] = ..., link: _Optional[_Union[Link, _Mapping]] = ..., rename: _Optional[_Union[Rename, _Mapping]] = ..., set_attr: _Optional[_Union[SetAttr, _Mapping]] = ..., append_slices: _Optional[_Union[AppendSlices, _Mapping]] = ..., set_xattr: _Optional[_Union[SetXattr, _Mapping]] = ..., remove_xattr: _Optional[_Union[RemoveXattr, _Mapping]] = ..., release_inode: _Optional[_Union[ReleaseInode, _Mapping]] = ..., allocate_ids: _Optional[_Union[AllocateIds, _Mapping]] = ..., fallocate: _Optional[_Union[Fallocate, _Mapping]] = ..., reserve: _Optional[_Union[Reserve, _Mapping]] = ..., give_back: _Optional[_Union[GiveBack, _Mapping]] = ..., give_up_ids: _Optional[_Union[GiveUpIds, _Mapping]] = ..., ask: _Optional[_Union[_common_pb2.QuotaNeed, _Mapping]] = ..., restore: _Optional[_Union[Restore, _Mapping]] = ..., purge_trashed: _Optional[_Union[PurgeTrashed, _Mapping]] = ..., unsupported: _Optional[_Union[Unsupported, _Mapping]] = ...) -> None: ...

class Credential(_message.Message):
    __slots__ = ("uid", "gid")
    UID_FIELD_NUMBER: _ClassVar[int]
    GID_FIELD_NUMBER: _ClassVar[int]
    uid: int
    gid: int
    def __init__(self, uid: _Optional[int] = ..., gid: _Optional[int] = ...) -> None: ...

class Precondition(_message.Message):
    __slots__ = ("name_is", "change_is", "only_if_sequence")
    NAME_IS_FIELD_NUMBER: _ClassVar[int]
    CHANGE_IS_FIELD_NUMBER: _ClassVar[int]
    ONLY_IF_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    name_is: NameIs
    change_is: ChangeIs
    only_if_sequence: int
    def __init__(self, name_is: _Optional[_Union[NameIs, _Mapping]] = ..., change_is: _Optional[_Union[ChangeIs, _Mapping]] = ..., only_if_sequence: _Optional[int] = ...) -> None: ...

class NameIs(_message.Message):
    __slots__ = ("parent", "name", "inode_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    parent: int
    name: bytes
    inode_id: int
    def __init__(self, parent: _Optional[int] = ..., name: _Optional[bytes] = ..., inode_id: _Optional[int] = ...) -> None: ...

class ChangeIs(_message.Message):
    __slots__ = ("inode_id", "change")
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    inode_id: int
    change: int
    def __init__(self, inode_id: _Optional[int] = ..., change: _Optional[int] = ...) -> None: ...

class Restore(_message.Message):
    __slots__ = ("inode_id", "new_parent", "new_name")
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    NEW_PARENT_FIELD_NUMBER: _ClassVar[int]
    NEW_NAME_FIELD_NUMBER: _ClassVar[int]
    inode_id: int
    new_parent: int
    new_name: bytes
    def __init__(self, inode_id: _Optional[int] = ..., new_parent: _Optional[int] = ..., new_name: _Optional[bytes] = ...) -> None: ...

class PurgeTrashed(_message.Message):
    __slots__ = ("inode_id", "held")
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    inode_id: int
    held: bool
    def __init__(self, inode_id: _Optional[int] = ..., held: _Optional[bool] = ...) -> None: ...

class NoOperation(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Unsupported(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Create(_message.Message):
    __slots__ = ("parent", "name", "inode_id", "mode", "rdev", "symlink_target", "exclusive", "partition_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    RDEV_FIELD_NUMBER: _ClassVar[int]
    SYMLINK_TARGET_FIELD_NUMBER: _ClassVar[int]
    EXCLUSIVE_FIELD_NUMBER: _ClassVar[int]
    PARTITION_ID_FIELD_NUMBER: _ClassVar[int]
    parent: int
    name: bytes
    inode_id: int
    mode: int
    rdev: int
    symlink_target: bytes
    exclusive: bool
    partition_id: int
    def __init__(self, parent: _Optional[int] = ..., name: _Optional[bytes] = ..., inode_id: _Optional[int] = ..., mode: _Optional[int] = ..., rdev: _Optional[int] = ..., symlink_target: _Optional[bytes] = ..., exclusive: _Optional[bool] = ..., partition_id: _Optional[int] = ...) -> None: ...

class Unlink(_message.Message):
    __slots__ = ("parent", "name", "held_inode")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    HELD_INODE_FIELD_NUMBER: _ClassVar[int]
    parent: int
    name: bytes
    held_inode: int
    def __init__(self, parent: _Optional[int] = ..., name: _Optional[bytes] = ..., held_inode: _Optional[int] = ...) -> None: ...

class Rmdir(_message.Message):
    __slots__ = ("parent", "name", "held_inode")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    HELD_INODE_FIELD_NUMBER: _ClassVar[int]
    parent: int
    name: bytes
    held_inode: int
    def __init__(self, parent: _Optional[int] = ..., name: _Optional[bytes] = ..., held_inode: _Optional[int] = ...) -> None: ...

class Link(_message.Message):
    __slots__ = ("inode_id", "new_parent", "new_name")
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    NEW_PARENT_FIELD_NUMBER: _ClassVar[int]
    NEW_NAME_FIELD_NUMBER: _ClassVar[int]
    inode_id: int
    new_parent: int
    new_name: bytes
    def __init__(self, inode_id: _Optional[int] = ..., new_parent: _Optional[int] = ..., new_name: _Optional[bytes] = ...) -> None: ...

class Rename(_message.Message):
    __slots__ = ("parent", "name", "new_parent", "new_name", "no_replace", "exchange", "held_inode")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    NEW_PARENT_FIELD_NUMBER: _ClassVar[int]
    NEW_NAME_FIELD_NUMBER: _ClassVar[int]
    NO_REPLACE_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_FIELD_NUMBER: _ClassVar[int]
    HELD_INODE_FIELD_NUMBER: _ClassVar[int]
    parent: int
    name: bytes
    new_parent: int
    new_name: bytes
    no_replace: bool
    exchange: bool
    held_inode: int
    def __init__(self, parent: _Optional[int] = ..., name: _Optional[bytes] = ..., new_parent: _Optional[int] = ..., new_name: _Optional[bytes] = ..., no_replace: _Optional[bool] = ..., exchange: _Optional[bool] = ..., held_inode: _Optional[int] = ...) -> None: ...

class SetAttr(_message.Message):
    __slots__ = ("inode_id", "mode", "uid", "gid", "length", "atime_ns", "mtime_ns", "atime_now", "mtime_now")
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    GID_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    ATIME_NS_FIELD_NUMBER: _ClassVar[int]
    MTIME_NS_FIELD_NUMBER: _ClassVar[int]
    ATIME_NOW_FIELD_NUMBER: _ClassVar[int]
    MTIME_NOW_FIELD_NUMBER: _ClassVar[int]
    inode_id: int
    mode: int
    uid: int
    gid: int
    length: int
    atime_ns: int
    mtime_ns: int
    atime_now: bool
    mtime_now: bool
    def __init__(self, inode_id: _Optional[int] = ..., mode: _Optional[int] = ..., uid: _Optional[int] = ..., gid: _Optional[int] = ..., length: _Optional[int] = ..., atime_ns: _Optional[int] = ..., mtime_ns: _Optional[int] = ..., atime_now: _Optional[bool] = ..., mtime_now: _Optional[bool] = ...) -> None: ...

class AppendSlices(_message.Message):
    __slots__ = ("inode_id", "slices", "length", "mtime_ns", "at_end", "clear_suid", "reserved")
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    SLICES_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    MTIME_NS_FIELD_NUMBER: _ClassVar[int]
    AT_END_FIELD_NUMBER: _ClassVar[int]
    CLEAR_SUID_FIELD_NUMBER: _ClassVar[int]
    RESERVED_FIELD_NUMBER: _ClassVar[int]
    inode_id: int
    slices: _containers.RepeatedCompositeFieldContainer[Slice]
    length: int
    mtime_ns: int
    at_end: bool
    clear_suid: bool
    reserved: Reservation
    def __init__(self, inode_id: _Optional[int] = ..., slices: _Optional[_Iterable[_Union[Slice, _Mapping]]] = ..., length: _Optional[int] = ..., mtime_ns: _Optional[int] = ..., at_end: _Optional[bool] = ..., clear_suid: _Optional[bool] = ..., reserved: _Optional[_Union[Reservation, _Mapping]] = ...) -> None: ...

class SetXattr(_message.Message):
    __slots__ = ("inode_id", "name", "value", "create", "replace")
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    CREATE_FIELD_NUMBER: _ClassVar[int]
    REPLACE_FIELD_NUMBER: _ClassVar[int]
    inode_id: int
    name: bytes
    value: bytes
    create: bool
    replace: bool
    def __init__(self, inode_id: _Optional[int] = ..., name: _Optional[bytes] = ..., value: _Optional[bytes] = ..., create: _Optional[bool] = ..., replace: _Optional[bool] = ...) -> None: ...

class RemoveXattr(_message.Message):
    __slots__ = ("inode_id", "name")
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    inode_id: int
    name: bytes
    def __init__(self, inode_id: _Optional[int] = ..., name: _Optional[bytes] = ...) -> None: ...

class ReleaseInode(_message.Message):
    __slots__ = ("inode_id",)
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    inode_id: int
    def __init__(self, inode_id: _Optional[int] = ...) -> None: ...

class AllocateIds(_message.Message):
    __slots__ = ("partition_id", "kind")
    PARTITION_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    partition_id: int
    kind: _common_pb2.IdKind
    def __init__(self, partition_id: _Optional[int] = ..., kind: _Optional[_Union[_common_pb2.IdKind, str]] = ...) -> None: ...

class GiveUpIds(_message.Message):
    __slots__ = ("chunk_ids",)
    CHUNK_IDS_FIELD_NUMBER: _ClassVar[int]
    chunk_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, chunk_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class Fallocate(_message.Message):
    __slots__ = ("inode_id", "offset", "length", "punch_hole", "zero_range", "keep_size")
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    PUNCH_HOLE_FIELD_NUMBER: _ClassVar[int]
    ZERO_RANGE_FIELD_NUMBER: _ClassVar[int]
    KEEP_SIZE_FIELD_NUMBER: _ClassVar[int]
    inode_id: int
    offset: int
    length: int
    punch_hole: bool
    zero_range: bool
    keep_size: bool
    def __init__(self, inode_id: _Optional[int] = ..., offset: _Optional[int] = ..., length: _Optional[int] = ..., punch_hole: _Optional[bool] = ..., zero_range: _Optional[bool] = ..., keep_size: _Optional[bool] = ...) -> None: ...

class Reservation(_message.Message):
    __slots__ = ("quotas", "bytes")
    QUOTAS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    quotas: _containers.RepeatedScalarFieldContainer[int]
    bytes: int
    def __init__(self, quotas: _Optional[_Iterable[int]] = ..., bytes: _Optional[int] = ...) -> None: ...

class Reserve(_message.Message):
    __slots__ = ("inode_id", "bytes", "wish")
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    WISH_FIELD_NUMBER: _ClassVar[int]
    inode_id: int
    bytes: int
    wish: int
    def __init__(self, inode_id: _Optional[int] = ..., bytes: _Optional[int] = ..., wish: _Optional[int] = ...) -> None: ...

class GiveBack(_message.Message):
    __slots__ = ("partition_id", "reserved")
    PARTITION_ID_FIELD_NUMBER: _ClassVar[int]
    RESERVED_FIELD_NUMBER: _ClassVar[int]
    partition_id: int
    reserved: Reservation
    def __init__(self, partition_id: _Optional[int] = ..., reserved: _Optional[_Union[Reservation, _Mapping]] = ...) -> None: ...

class OperationResult(_message.Message):
    __slots__ = ("sequence", "status", "inode", "parent", "new_parent", "replaced", "existed", "held", "offset", "ranges", "message", "reserved", "limited", "need")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    INODE_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    NEW_PARENT_FIELD_NUMBER: _ClassVar[int]
    REPLACED_FIELD_NUMBER: _ClassVar[int]
    EXISTED_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    RANGES_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RESERVED_FIELD_NUMBER: _ClassVar[int]
    LIMITED_FIELD_NUMBER: _ClassVar[int]
    NEED_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    status: _common_pb2.StatusCode
    inode: Inode
    parent: Inode
    new_parent: Inode
    replaced: Inode
    existed: bool
    held: bool
    offset: int
    ranges: _containers.RepeatedCompositeFieldContainer[_common_pb2.IdRange]
    message: str
    reserved: Reservation
    limited: bool
    need: _common_pb2.QuotaNeed
    def __init__(self, sequence: _Optional[int] = ..., status: _Optional[_Union[_common_pb2.StatusCode, str]] = ..., inode: _Optional[_Union[Inode, _Mapping]] = ..., parent: _Optional[_Union[Inode, _Mapping]] = ..., new_parent: _Optional[_Union[Inode, _Mapping]] = ..., replaced: _Optional[_Union[Inode, _Mapping]] = ..., existed: _Optional[bool] = ..., held: _Optional[bool] = ..., offset: _Optional[int] = ..., ranges: _Optional[_Iterable[_Union[_common_pb2.IdRange, _Mapping]]] = ..., message: _Optional[str] = ..., reserved: _Optional[_Union[Reservation, _Mapping]] = ..., limited: _Optional[bool] = ..., need: _Optional[_Union[_common_pb2.QuotaNeed, _Mapping]] = ...) -> None: ...

class Read(_message.Message):
    __slots__ = ("read_id", "lookup", "get_attr", "read_dir", "get_slices", "get_xattr", "list_xattr", "stat_fs", "get_share", "list_trash", "list_trash_hours")
    READ_ID_FIELD_NUMBER: _ClassVar[int]
    LOOKUP_FIELD_NUMBER: _ClassVar[int]
    GET_ATTR_FIELD_NUMBER: _ClassVar[int]
    READ_DIR_FIELD_NUMBER: _ClassVar[int]
    GET_SLICES_FIELD_NUMBER: _ClassVar[int]
    GET_XATTR_FIELD_NUMBER: _ClassVar[int]
    LIST_XATTR_FIELD_NUMBER: _ClassVar[int]
    STAT_FS_FIELD_NUMBER: _ClassVar[int]
    GET_SHARE_FIELD_NUMBER: _ClassVar[int]
    LIST_TRASH_FIELD_NUMBER: _ClassVar[int]
    LIST_TRASH_HOURS_FIELD_NUMBER: _ClassVar[int]
    read_id: int
    lookup: Lookup
    get_attr: GetAttr
    read_dir: ReadDir
    get_slices: GetSlices
    get_xattr: GetXattr
    list_xattr: ListXattr
    stat_fs: StatFs
    get_share: GetShare
    list_trash: ListTrash
    list_trash_hours: ListTrashHours
    def __init__(self, read_id: _Optional[int] = ..., lookup: _Optional[_Union[Lookup, _Mapping]] = ..., get_attr: _Optional[_Union[GetAttr, _Mapping]] = ..., read_dir: _Optional[_Union[ReadDir, _Mapping]] = ..., get_slices: _Optional[_Union[GetSlices, _Mapping]] = ..., get_xattr: _Optional[_Union[GetXattr, _Mapping]] = ..., list_xattr: _Optional[_Union[ListXattr, _Mapping]] = ..., stat_fs: _Optional[_Union[StatFs, _Mapping]] = ..., get_share: _Optional[_Union[GetShare, _Mapping]] = ..., list_trash: _Optional[_Union[ListTrash, _Mapping]] = ..., list_trash_hours: _Optional[_Union[ListTrashHours, _Mapping]] = ...) -> None: ...

class Lookup(_message.Message):
    __slots__ = ("parent", "name", "small_max")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SMALL_MAX_FIELD_NUMBER: _ClassVar[int]
    parent: int
    name: bytes
    small_max: int
    def __init__(self, parent: _Optional[int] = ..., name: _Optional[bytes] = ..., small_max: _Optional[int] = ...) -> None: ...

class GetAttr(_message.Message):
    __slots__ = ("inode_id", "slices_max")
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    SLICES_MAX_FIELD_NUMBER: _ClassVar[int]
    inode_id: int
    slices_max: int
    def __init__(self, inode_id: _Optional[int] = ..., slices_max: _Optional[int] = ...) -> None: ...

class ReadDir(_message.Message):
    __slots__ = ("inode_id", "after_hash", "after_name", "limit", "with_attributes", "small_max")
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_HASH_FIELD_NUMBER: _ClassVar[int]
    AFTER_NAME_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    WITH_ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    SMALL_MAX_FIELD_NUMBER: _ClassVar[int]
    inode_id: int
    after_hash: int
    after_name: bytes
    limit: int
    with_attributes: bool
    small_max: int
    def __init__(self, inode_id: _Optional[int] = ..., after_hash: _Optional[int] = ..., after_name: _Optional[bytes] = ..., limit: _Optional[int] = ..., with_attributes: _Optional[bool] = ..., small_max: _Optional[int] = ...) -> None: ...

class GetSlices(_message.Message):
    __slots__ = ("inode_id", "first_chunk", "count")
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_CHUNK_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    inode_id: int
    first_chunk: int
    count: int
    def __init__(self, inode_id: _Optional[int] = ..., first_chunk: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...

class ListTrash(_message.Message):
    __slots__ = ("place", "after", "limit", "name")
    PLACE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    place: int
    after: TrashCursor
    limit: int
    name: bytes
    def __init__(self, place: _Optional[int] = ..., after: _Optional[_Union[TrashCursor, _Mapping]] = ..., limit: _Optional[int] = ..., name: _Optional[bytes] = ...) -> None: ...

class TrashCursor(_message.Message):
    __slots__ = ("hash", "trashed_ns", "inode_id")
    HASH_FIELD_NUMBER: _ClassVar[int]
    TRASHED_NS_FIELD_NUMBER: _ClassVar[int]
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    hash: int
    trashed_ns: int
    inode_id: int
    def __init__(self, hash: _Optional[int] = ..., trashed_ns: _Optional[int] = ..., inode_id: _Optional[int] = ...) -> None: ...

class ListTrashHours(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetXattr(_message.Message):
    __slots__ = ("inode_id", "name")
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    inode_id: int
    name: bytes
    def __init__(self, inode_id: _Optional[int] = ..., name: _Optional[bytes] = ...) -> None: ...

class ListXattr(_message.Message):
    __slots__ = ("inode_id",)
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    inode_id: int
    def __init__(self, inode_id: _Optional[int] = ...) -> None: ...

class StatFs(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetShare(_message.Message):
    __slots__ = ("partition_id", "quota_id")
    PARTITION_ID_FIELD_NUMBER: _ClassVar[int]
    QUOTA_ID_FIELD_NUMBER: _ClassVar[int]
    partition_id: int
    quota_id: int
    def __init__(self, partition_id: _Optional[int] = ..., quota_id: _Optional[int] = ...) -> None: ...

class ReadResult(_message.Message):
    __slots__ = ("read_id", "failure", "inode", "parent_change", "entries", "end", "slices", "value", "names", "stat_fs", "share", "trash_cursor", "trash_hours")
    READ_ID_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    INODE_FIELD_NUMBER: _ClassVar[int]
    PARENT_CHANGE_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    SLICES_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    STAT_FS_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    TRASH_CURSOR_FIELD_NUMBER: _ClassVar[int]
    TRASH_HOURS_FIELD_NUMBER: _ClassVar[int]
    read_id: int
    failure: _common_pb2.Failure
    inode: Inode
    parent_change: int
    entries: _containers.RepeatedCompositeFieldContainer[DirectoryEntry]
    end: bool
    slices: _containers.RepeatedCompositeFieldContainer[Slice]
    value: bytes
    names: _containers.RepeatedScalarFieldContainer[bytes]
    stat_fs: StatFsResult
    share: _common_pb2.QuotaShare
    trash_cursor: TrashCursor
    trash_hours: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, read_id: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., inode: _Optional[_Union[Inode, _Mapping]] = ..., parent_change: _Optional[int] = ..., entries: _Optional[_Iterable[_Union[DirectoryEntry, _Mapping]]] = ..., end: _Optional[bool] = ..., slices: _Optional[_Iterable[_Union[Slice, _Mapping]]] = ..., value: _Optional[bytes] = ..., names: _Optional[_Iterable[bytes]] = ..., stat_fs: _Optional[_Union[StatFsResult, _Mapping]] = ..., share: _Optional[_Union[_common_pb2.QuotaShare, _Mapping]] = ..., trash_cursor: _Optional[_Union[TrashCursor, _Mapping]] = ..., trash_hours: _Optional[_Iterable[int]] = ...) -> None: ...

class DirectoryEntry(_message.Message):
    __slots__ = ("name", "hash", "inode_id", "type", "inode", "only_slice")
    NAME_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    INODE_FIELD_NUMBER: _ClassVar[int]
    ONLY_SLICE_FIELD_NUMBER: _ClassVar[int]
    name: bytes
    hash: int
    inode_id: int
    type: FileType
    inode: Inode
    only_slice: Slice
    def __init__(self, name: _Optional[bytes] = ..., hash: _Optional[int] = ..., inode_id: _Optional[int] = ..., type: _Optional[_Union[FileType, str]] = ..., inode: _Optional[_Union[Inode, _Mapping]] = ..., only_slice: _Optional[_Union[Slice, _Mapping]] = ...) -> None: ...

class StatFsResult(_message.Message):
    __slots__ = ("inode_count", "used_bytes", "limit")
    INODE_COUNT_FIELD_NUMBER: _ClassVar[int]
    USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    inode_count: int
    used_bytes: int
    limit: _common_pb2.QuotaAmount
    def __init__(self, inode_count: _Optional[int] = ..., used_bytes: _Optional[int] = ..., limit: _Optional[_Union[_common_pb2.QuotaAmount, _Mapping]] = ...) -> None: ...

class PartitionSpec(_message.Message):
    __slots__ = ("fs_id", "partition_id", "group_id", "hash_seed", "chunk_size", "block_size", "limited", "filesystem", "trash_retention_s", "trash_replaced")
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_ID_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    HASH_SEED_FIELD_NUMBER: _ClassVar[int]
    CHUNK_SIZE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_SIZE_FIELD_NUMBER: _ClassVar[int]
    LIMITED_FIELD_NUMBER: _ClassVar[int]
    FILESYSTEM_FIELD_NUMBER: _ClassVar[int]
    TRASH_RETENTION_S_FIELD_NUMBER: _ClassVar[int]
    TRASH_REPLACED_FIELD_NUMBER: _ClassVar[int]
    fs_id: int
    partition_id: int
    group_id: int
    hash_seed: bytes
    chunk_size: int
    block_size: int
    limited: bool
    filesystem: FilesystemInfo
    trash_retention_s: int
    trash_replaced: bool
    def __init__(self, fs_id: _Optional[int] = ..., partition_id: _Optional[int] = ..., group_id: _Optional[int] = ..., hash_seed: _Optional[bytes] = ..., chunk_size: _Optional[int] = ..., block_size: _Optional[int] = ..., limited: _Optional[bool] = ..., filesystem: _Optional[_Union[FilesystemInfo, _Mapping]] = ..., trash_retention_s: _Optional[int] = ..., trash_replaced: _Optional[bool] = ...) -> None: ...

class FilesystemInfo(_message.Message):
    __slots__ = ("name", "uuid", "object_store", "created_ns", "capacity_bytes", "capacity_inodes", "block_format", "trash_retention_s", "delete_grace_s", "partition_count", "trash_replaced", "key_check")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    OBJECT_STORE_FIELD_NUMBER: _ClassVar[int]
    CREATED_NS_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_BYTES_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_INODES_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FORMAT_FIELD_NUMBER: _ClassVar[int]
    TRASH_RETENTION_S_FIELD_NUMBER: _ClassVar[int]
    DELETE_GRACE_S_FIELD_NUMBER: _ClassVar[int]
    PARTITION_COUNT_FIELD_NUMBER: _ClassVar[int]
    TRASH_REPLACED_FIELD_NUMBER: _ClassVar[int]
    KEY_CHECK_FIELD_NUMBER: _ClassVar[int]
    name: str
    uuid: bytes
    object_store: str
    created_ns: int
    capacity_bytes: int
    capacity_inodes: int
    block_format: int
    trash_retention_s: int
    delete_grace_s: int
    partition_count: int
    trash_replaced: bool
    key_check: bytes
    def __init__(self, name: _Optional[str] = ..., uuid: _Optional[bytes] = ..., object_store: _Optional[str] = ..., created_ns: _Optional[int] = ..., capacity_bytes: _Optional[int] = ..., capacity_inodes: _Optional[int] = ..., block_format: _Optional[int] = ..., trash_retention_s: _Optional[int] = ..., delete_grace_s: _Optional[int] = ..., partition_count: _Optional[int] = ..., trash_replaced: _Optional[bool] = ..., key_check: _Optional[bytes] = ...) -> None: ...

class CreatePartitionRequest(_message.Message):
    __slots__ = ("mds_epoch", "partition")
    MDS_EPOCH_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    mds_epoch: int
    partition: PartitionSpec
    def __init__(self, mds_epoch: _Optional[int] = ..., partition: _Optional[_Union[PartitionSpec, _Mapping]] = ...) -> None: ...

class DeletePartitionRequest(_message.Message):
    __slots__ = ("mds_epoch", "fs_id", "partition_id", "group_id")
    MDS_EPOCH_FIELD_NUMBER: _ClassVar[int]
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_ID_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    mds_epoch: int
    fs_id: int
    partition_id: int
    group_id: int
    def __init__(self, mds_epoch: _Optional[int] = ..., fs_id: _Optional[int] = ..., partition_id: _Optional[int] = ..., group_id: _Optional[int] = ...) -> None: ...

class EndSessionRequest(_message.Message):
    __slots__ = ("mds_epoch", "session_id", "groups")
    MDS_EPOCH_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    mds_epoch: int
    session_id: bytes
    groups: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, mds_epoch: _Optional[int] = ..., session_id: _Optional[bytes] = ..., groups: _Optional[_Iterable[int]] = ...) -> None: ...

class AdminReply(_message.Message):
    __slots__ = ("failure",)
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    failure: _common_pb2.Failure
    def __init__(self, failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ...) -> None: ...
