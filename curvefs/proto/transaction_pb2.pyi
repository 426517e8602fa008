from curvefs.proto import common_pb2 as _common_pb2
from curvefs.proto import files_pb2 as _files_pb2
from curvefs.proto import metaserver_pb2 as _metaserver_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PENDING: _ClassVar[Outcome]
    COMMITTED: _ClassVar[Outcome]
    ABORTED: _ClassVar[Outcome]
PENDING: Outcome
COMMITTED: Outcome
ABORTED: Outcome

class CompactChunkRequest(_message.Message):
    __slots__ = ("proof", "group_id", "fs_id", "inode_id", "chunk_index")
    PROOF_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    CHUNK_INDEX_FIELD_NUMBER: _ClassVar[int]
    proof: bytes
    group_id: int
    fs_id: int
    inode_id: int
    chunk_index: int
    def __init__(self, proof: _Optional[bytes] = ..., group_id: _Optional[int] = ..., fs_id: _Optional[int] = ..., inode_id: _Optional[int] = ..., chunk_index: _Optional[int] = ...) -> None: ...

class CompactChunkReply(_message.Message):
    __slots__ = ("failure", "pending", "compacted")
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    COMPACTED_FIELD_NUMBER: _ClassVar[int]
    failure: _common_pb2.Failure
    pending: bool
    compacted: _files_pb2.CompactedChunk
    def __init__(self, failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., pending: _Optional[bool] = ..., compacted: _Optional[_Union[_files_pb2.CompactedChunk, _Mapping]] = ...) -> None: ...

class ReleaseRequest(_message.Message):
    __slots__ = ("proof", "group_id", "fs_id", "slices")
    PROOF_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    SLICES_FIELD_NUMBER: _ClassVar[int]
    proof: bytes
    group_id: int
    fs_id: int
    slices: _containers.RepeatedCompositeFieldContainer[_metaserver_pb2.Slice]
    def __init__(self, proof: _Optional[bytes] = ..., group_id: _Optional[int] = ..., fs_id: _Optional[int] = ..., slices: _Optional[_Iterable[_Union[_metaserver_pb2.Slice, _Mapping]]] = ...) -> None: ...

class ReleaseReply(_message.Message):
    __slots__ = ("failure",)
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    failure: _common_pb2.Failure
    def __init__(self, failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ...) -> None: ...

class AddReferenceRequest(_message.Message):
    __slots__ = ("proof", "group_id", "fs_id", "chunk_id", "token", "holder", "chunk_index")
    PROOF_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    CHUNK_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_INDEX_FIELD_NUMBER: _ClassVar[int]
    proof: bytes
    group_id: int
    fs_id: int
    chunk_id: int
    token: bytes
    holder: int
    chunk_index: int
    def __init__(self, proof: _Optional[bytes] = ..., group_id: _Optional[int] = ..., fs_id: _Optional[int] = ..., chunk_id: _Optional[int] = ..., token: _Optional[bytes] = ..., holder: _Optional[int] = ..., chunk_index: _Optional[int] = ...) -> None: ...

class AddReferenceReply(_message.Message):
    __slots__ = ("failure", "reference")
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    failure: _common_pb2.Failure
    reference: int
    def __init__(self, failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., reference: _Optional[int] = ...) -> None: ...

class ReadRequest(_message.Message):
    __slots__ = ("proof", "group_id", "fs_id", "read")
    PROOF_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    READ_FIELD_NUMBER: _ClassVar[int]
    proof: bytes
    group_id: int
    fs_id: int
    read: _metaserver_pb2.Read
    def __init__(self, proof: _Optional[bytes] = ..., group_id: _Optional[int] = ..., fs_id: _Optional[int] = ..., read: _Optional[_Union[_metaserver_pb2.Read, _Mapping]] = ...) -> None: ...

class ReadReply(_message.Message):
    __slots__ = ("failure", "result")
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    failure: _common_pb2.Failure
    result: _metaserver_pb2.ReadResult
    def __init__(self, failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., result: _Optional[_Union[_metaserver_pb2.ReadResult, _Mapping]] = ...) -> None: ...

class SetShareRequest(_message.Message):
    __slots__ = ("proof", "group_id", "fs_id", "partition_id", "quota_id", "share")
    PROOF_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_ID_FIELD_NUMBER: _ClassVar[int]
    QUOTA_ID_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    proof: bytes
    group_id: int
    fs_id: int
    partition_id: int
    quota_id: int
    share: _common_pb2.QuotaShare
    def __init__(self, proof: _Optional[bytes] = ..., group_id: _Optional[int] = ..., fs_id: _Optional[int] = ..., partition_id: _Optional[int] = ..., quota_id: _Optional[int] = ..., share: _Optional[_Union[_common_pb2.QuotaShare, _Mapping]] = ...) -> None: ...

class SetShareReply(_message.Message):
    __slots__ = ("failure", "share")
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    failure: _common_pb2.Failure
    share: _common_pb2.QuotaShare
    def __init__(self, failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., share: _Optional[_Union[_common_pb2.QuotaShare, _Mapping]] = ...) -> None: ...

class MarkInodesRequest(_message.Message):
    __slots__ = ("proof", "group_id", "fs_id", "quota_id", "parent", "inodes", "remove", "chain")
    PROOF_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    QUOTA_ID_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    INODES_FIELD_NUMBER: _ClassVar[int]
    REMOVE_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    proof: bytes
    group_id: int
    fs_id: int
    quota_id: int
    parent: int
    inodes: _containers.RepeatedScalarFieldContainer[int]
    remove: bool
    chain: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, proof: _Optional[bytes] = ..., group_id: _Optional[int] = ..., fs_id: _Optional[int] = ..., quota_id: _Optional[int] = ..., parent: _Optional[int] = ..., inodes: _Optional[_Iterable[int]] = ..., remove: _Optional[bool] = ..., chain: _Optional[_Iterable[int]] = ...) -> None: ...

class RecountRequest(_message.Message):
    __slots__ = ("proof", "group_id", "fs_id", "partition_id")
    PROOF_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_ID_FIELD_NUMBER: _ClassVar[int]
    proof: bytes
    group_id: int
    fs_id: int
    partition_id: int
    def __init__(self, proof: _Optional[bytes] = ..., group_id: _Optional[int] = ..., fs_id: _Optional[int] = ..., partition_id: _Optional[int] = ...) -> None: ...

class RecountReply(_message.Message):
    __slots__ = ("failure", "counts", "elsewhere", "wrong_charges")
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    ELSEWHERE_FIELD_NUMBER: _ClassVar[int]
    WRONG_CHARGES_FIELD_NUMBER: _ClassVar[int]
    failure: _common_pb2.Failure
    counts: _containers.RepeatedCompositeFieldContainer[QuotaCount]
    elsewhere: _containers.RepeatedCompositeFieldContainer[ElsewhereParent]
    wrong_charges: int
    def __init__(self, failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., counts: _Optional[_Iterable[_Union[QuotaCount, _Mapping]]] = ..., elsewhere: _Optional[_Iterable[_Union[ElsewhereParent, _Mapping]]] = ..., wrong_charges: _Optional[int] = ...) -> None: ...

class QuotaCount(_message.Message):
    __slots__ = ("quota_id", "counted", "stored")
    QUOTA_ID_FIELD_NUMBER: _ClassVar[int]
    COUNTED_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    quota_id: int
    counted: _common_pb2.QuotaAmount
    stored: _common_pb2.QuotaAmount
    def __init__(self, quota_id: _Optional[int] = ..., counted: _Optional[_Union[_common_pb2.QuotaAmount, _Mapping]] = ..., stored: _Optional[_Union[_common_pb2.QuotaAmount, _Mapping]] = ...) -> None: ...

class ElsewhereParent(_message.Message):
    __slots__ = ("inode_id", "quotas", "count")
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    QUOTAS_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    inode_id: int
    quotas: _containers.RepeatedScalarFieldContainer[int]
    count: int
    def __init__(self, inode_id: _Optional[int] = ..., quotas: _Optional[_Iterable[int]] = ..., count: _Optional[int] = ...) -> None: ...

class MarkInodesReply(_message.Message):
    __slots__ = ("failure", "locked")
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    LOCKED_FIELD_NUMBER: _ClassVar[int]
    failure: _common_pb2.Failure
    locked: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., locked: _Optional[_Iterable[int]] = ...) -> None: ...

class QuotaRequest(_message.Message):
    __slots__ = ("proof", "group_id", "fs_id", "set", "get", "delete", "list")
    PROOF_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    GET_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    LIST_FIELD_NUMBER: _ClassVar[int]
    proof: bytes
    group_id: int
    fs_id: int
    set: SetQuota
    get: int
    delete: int
    list: int
    def __init__(self, proof: _Optional[bytes] = ..., group_id: _Optional[int] = ..., fs_id: _Optional[int] = ..., set: _Optional[_Union[SetQuota, _Mapping]] = ..., get: _Optional[int] = ..., delete: _Optional[int] = ..., list: _Optional[int] = ...) -> None: ...

class SetQuota(_message.Message):
    __slots__ = ("inode_id", "limit")
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    inode_id: int
    limit: _common_pb2.QuotaAmount
    def __init__(self, inode_id: _Optional[int] = ..., limit: _Optional[_Union[_common_pb2.QuotaAmount, _Mapping]] = ...) -> None: ...

class QuotaReply(_message.Message):
    __slots__ = ("failure", "quotas")
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    QUOTAS_FIELD_NUMBER: _ClassVar[int]
    failure: _common_pb2.Failure
    quotas: _containers.RepeatedCompositeFieldContainer[QuotaStatus]
    def __init__(self, failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., quotas: _Optional[_Iterable[_Union[QuotaStatus, _Mapping]]] = ...) -> None: ...

class QuotaStatus(_message.Message):
    __slots__ = ("quota_id", "inode_id", "state", "limit", "used", "reserved", "settling")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        COUNTING: _ClassVar[QuotaStatus.State]
        ACTIVE: _ClassVar[QuotaStatus.State]
        DELETING: _ClassVar[QuotaStatus.State]
    COUNTING: QuotaStatus.State
    ACTIVE: QuotaStatus.State
    DELETING: QuotaStatus.State
    QUOTA_ID_FIELD_NUMBER: _ClassVar[int]
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    RESERVED_FIELD_NUMBER: _ClassVar[int]
    SETTLING_FIELD_NUMBER: _ClassVar[int]
    quota_id: int
    inode_id: int
    state: QuotaStatus.State
    limit: _common_pb2.QuotaAmount
    used: _common_pb2.QuotaAmount
    reserved: _common_pb2.QuotaAmount
    settling: bool
    def __init__(self, quota_id: _Optional[int] = ..., inode_id: _Optional[int] = ..., state: _Optional[_Union[QuotaStatus.State, str]] = ..., limit: _Optional[_Union[_common_pb2.QuotaAmount, _Mapping]] = ..., used: _Optional[_Union[_common_pb2.QuotaAmount, _Mapping]] = ..., reserved: _Optional[_Union[_common_pb2.QuotaAmount, _Mapping]] = ..., settling: _Optional[bool] = ...) -> None: ...

class TransactionId(_message.Message):
    __slots__ = ("group_id", "term", "number")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    group_id: int
    term: int
    number: int
    def __init__(self, group_id: _Optional[int] = ..., term: _Optional[int] = ..., number: _Optional[int] = ...) -> None: ...

class Age(_message.Message):
    __slots__ = ("time_ns", "first")
    TIME_NS_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    time_ns: int
    first: TransactionId
    def __init__(self, time_ns: _Optional[int] = ..., first: _Optional[_Union[TransactionId, _Mapping]] = ...) -> None: ...

class Part(_message.Message):
    __slots__ = ("remove_name", "put_name", "add_link", "drop_link", "move_inode", "new_directory", "move_lock", "restore_inode")
    REMOVE_NAME_FIELD_NUMBER: _ClassVar[int]
    PUT_NAME_FIELD_NUMBER: _ClassVar[int]
    ADD_LINK_FIELD_NUMBER: _ClassVar[int]
    DROP_LINK_FIELD_NUMBER: _ClassVar[int]
    MOVE_INODE_FIELD_NUMBER: _ClassVar[int]
    NEW_DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    MOVE_LOCK_FIELD_NUMBER: _ClassVar[int]
    RESTORE_INODE_FIELD_NUMBER: _ClassVar[int]
    remove_name: RemoveName
    put_name: PutName
    add_link: AddLink
    drop_link: DropLink
    move_inode: MoveInode
    new_directory: NewDirectory
    move_lock: MoveLock
    restore_inode: RestoreInode
    def __init__(self, remove_name: _Optional[_Union[RemoveName, _Mapping]] = ..., put_name: _Optional[_Union[PutName, _Mapping]] = ..., add_link: _Optional[_Union[AddLink, _Mapping]] = ..., drop_link: _Optional[_Union[DropLink, _Mapping]] = ..., move_inode: _Optional[_Union[MoveInode, _Mapping]] = ..., new_directory: _Optional[_Union[NewDirectory, _Mapping]] = ..., move_lock: _Optional[_Union[MoveLock, _Mapping]] = ..., restore_inode: _Optional[_Union[RestoreInode, _Mapping]] = ...) -> None: ...

class RemoveName(_message.Message):
    __slots__ = ("parent", "name", "inode_id", "is_directory")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    IS_DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    parent: int
    name: bytes
    inode_id: int
    is_directory: bool
    def __init__(self, parent: _Optional[int] = ..., name: _Optional[bytes] = ..., inode_id: _Optional[int] = ..., is_directory: _Optional[bool] = ...) -> None: ...

class PutName(_message.Message):
    __slots__ = ("parent", "name", "inode_id", "type", "rule", "expected", "is_new_parent", "chain")
    class Rule(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ABSENT: _ClassVar[PutName.Rule]
        ANY: _ClassVar[PutName.Rule]
        PRESENT: _ClassVar[PutName.Rule]
    ABSENT: PutName.Rule
    ANY: PutName.Rule
    PRESENT: PutName.Rule
    PARENT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    IS_NEW_PARENT_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    parent: int
    name: bytes
    inode_id: int
    type: _metaserver_pb2.FileType
    rule: PutName.Rule
    expected: int
    is_new_parent: bool
    chain: QuotaChain
    def __init__(self, parent: _Optional[int] = ..., name: _Optional[bytes] = ..., inode_id: _Optional[int] = ..., type: _Optional[_Union[_metaserver_pb2.FileType, str]] = ..., rule: _Optional[_Union[PutName.Rule, str]] = ..., expected: _Optional[int] = ..., is_new_parent: _Optional[bool] = ..., chain: _Optional[_Union[QuotaChain, _Mapping]] = ...) -> None: ...

class QuotaChain(_message.Message):
    __slots__ = ("quotas",)
    QUOTAS_FIELD_NUMBER: _ClassVar[int]
    quotas: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, quotas: _Optional[_Iterable[int]] = ...) -> None: ...

class AddLink(_message.Message):
    __slots__ = ("inode_id",)
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    inode_id: int
    def __init__(self, inode_id: _Optional[int] = ...) -> None: ...

class DropLink(_message.Message):
    __slots__ = ("inode_id", "is_directory", "session_id", "held", "parent", "name", "replaced")
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    IS_DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    REPLACED_FIELD_NUMBER: _ClassVar[int]
    inode_id: int
    is_directory: bool
    session_id: bytes
    held: bool
    parent: int
    name: bytes
    replaced: bool
    def __init__(self, inode_id: _Optional[int] = ..., is_directory: _Optional[bool] = ..., session_id: _Optional[bytes] = ..., held: _Optional[bool] = ..., parent: _Optional[int] = ..., name: _Optional[bytes] = ..., replaced: _Optional[bool] = ...) -> None: ...

class RestoreInode(_message.Message):
    __slots__ = ("inode_id", "new_parent", "quotas")
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    NEW_PARENT_FIELD_NUMBER: _ClassVar[int]
    QUOTAS_FIELD_NUMBER: _ClassVar[int]
    inode_id: int
    new_parent: int
    quotas: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, inode_id: _Optional[int] = ..., new_parent: _Optional[int] = ..., quotas: _Optional[_Iterable[int]] = ...) -> None: ...

class MoveInode(_message.Message):
    __slots__ = ("inode_id", "new_parent", "is_directory", "displaced", "quotas")
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    NEW_PARENT_FIELD_NUMBER: _ClassVar[int]
    IS_DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    DISPLACED_FIELD_NUMBER: _ClassVar[int]
    QUOTAS_FIELD_NUMBER: _ClassVar[int]
    inode_id: int
    new_parent: int
    is_directory: bool
    displaced: bool
    quotas: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, inode_id: _Optional[int] = ..., new_parent: _Optional[int] = ..., is_directory: _Optional[bool] = ..., displaced: _Optional[bool] = ..., quotas: _Optional[_Iterable[int]] = ...) -> None: ...

class NewDirectory(_message.Message):
    __slots__ = ("partition_id", "parent", "mode", "uid", "gid", "quotas")
    PARTITION_ID_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    GID_FIELD_NUMBER: _ClassVar[int]
    QUOTAS_FIELD_NUMBER: _ClassVar[int]
    partition_id: int
    parent: int
    mode: int
    uid: int
    gid: int
    quotas: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, partition_id: _Optional[int] = ..., parent: _Optional[int] = ..., mode: _Optional[int] = ..., uid: _Optional[int] = ..., gid: _Optional[int] = ..., quotas: _Optional[_Iterable[int]] = ...) -> None: ...

class MoveLock(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Fact(_message.Message):
    __slots__ = ("inode_id", "type", "inode", "charge", "charged")
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    INODE_FIELD_NUMBER: _ClassVar[int]
    CHARGE_FIELD_NUMBER: _ClassVar[int]
    CHARGED_FIELD_NUMBER: _ClassVar[int]
    inode_id: int
    type: _metaserver_pb2.FileType
    inode: _metaserver_pb2.Inode
    charge: _common_pb2.QuotaAmount
    charged: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, inode_id: _Optional[int] = ..., type: _Optional[_Union[_metaserver_pb2.FileType, str]] = ..., inode: _Optional[_Union[_metaserver_pb2.Inode, _Mapping]] = ..., charge: _Optional[_Union[_common_pb2.QuotaAmount, _Mapping]] = ..., charged: _Optional[_Iterable[int]] = ...) -> None: ...

class Conflict(_message.Message):
    __slots__ = ("holder", "age")
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    AGE_FIELD_NUMBER: _ClassVar[int]
    holder: TransactionId
    age: Age
    def __init__(self, holder: _Optional[_Union[TransactionId, _Mapping]] = ..., age: _Optional[_Union[Age, _Mapping]] = ...) -> None: ...

class PrepareRequest(_message.Message):
    __slots__ = ("proof", "group_id", "id", "age", "fs_id", "parts", "patience_ms", "round")
    PROOF_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    AGE_FIELD_NUMBER: _ClassVar[int]
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    PATIENCE_MS_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    proof: bytes
    group_id: int
    id: TransactionId
    age: Age
    fs_id: int
    parts: _containers.RepeatedCompositeFieldContainer[Part]
    patience_ms: int
    round: int
    def __init__(self, proof: _Optional[bytes] = ..., group_id: _Optional[int] = ..., id: _Optional[_Union[TransactionId, _Mapping]] = ..., age: _Optional[_Union[Age, _Mapping]] = ..., fs_id: _Optional[int] = ..., parts: _Optional[_Iterable[_Union[Part, _Mapping]]] = ..., patience_ms: _Optional[int] = ..., round: _Optional[int] = ...) -> None: ...

class PrepareReply(_message.Message):
    __slots__ = ("failure", "facts")
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    FACTS_FIELD_NUMBER: _ClassVar[int]
    failure: _common_pb2.Failure
    facts: _containers.RepeatedCompositeFieldContainer[Fact]
    def __init__(self, failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., facts: _Optional[_Iterable[_Union[Fact, _Mapping]]] = ...) -> None: ...

class FinishRequest(_message.Message):
    __slots__ = ("proof", "group_id", "id", "commit")
    PROOF_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    proof: bytes
    group_id: int
    id: TransactionId
    commit: bool
    def __init__(self, proof: _Optional[bytes] = ..., group_id: _Optional[int] = ..., id: _Optional[_Union[TransactionId, _Mapping]] = ..., commit: _Optional[bool] = ...) -> None: ...

class FinishReply(_message.Message):
    __slots__ = ("failure",)
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    failure: _common_pb2.Failure
    def __init__(self, failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ...) -> None: ...

class QueryRequest(_message.Message):
    __slots__ = ("proof", "group_id", "id")
    PROOF_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    proof: bytes
    group_id: int
    id: TransactionId
    def __init__(self, proof: _Optional[bytes] = ..., group_id: _Optional[int] = ..., id: _Optional[_Union[TransactionId, _Mapping]] = ...) -> None: ...

class QueryReply(_message.Message):
    __slots__ = ("failure", "outcome")
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    failure: _common_pb2.Failure
    outcome: Outcome
    def __init__(self, failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., outcome: _Optional[_Union[Outcome, str]] = ...) -> None: ...

class ReadInodesRequest(_message.Message):
    __slots__ = ("proof", "group_id", "fs_id", "inodes")
    PROOF_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    INODES_FIELD_NUMBER: _ClassVar[int]
    proof: bytes
    group_id: int
    fs_id: int
    inodes: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, proof: _Optional[bytes] = ..., group_id: _Optional[int] = ..., fs_id: _Optional[int] = ..., inodes: _Optional[_Iterable[int]] = ...) -> None: ...

class ReadInodesReply(_message.Message):
    __slots__ = ("failure", "inodes")
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    INODES_FIELD_NUMBER: _ClassVar[int]
    failure: _common_pb2.Failure
    inodes: _containers.RepeatedCompositeFieldContainer[_metaserver_pb2.Inode]
    def __init__(self, failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., inodes: _Optional[_Iterable[_Union[_metaserver_pb2.Inode, _Mapping]]] = ...) -> None: ...
