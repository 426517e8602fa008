from curvefs.proto import common_pb2 as _common_pb2
from curvefs.proto import metaserver_pb2 as _metaserver_pb2
from curvefs.proto import transaction_pb2 as _transaction_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Entry(_message.Message):
    __slots__ = ("format", "time_ns", "operations", "open_session", "end_session", "create_partition", "delete_partition", "finish_cut", "prepare", "decide", "finish", "forget", "set_share", "mark_inodes", "set_quota", "advance_quota", "lend", "lent", "release", "add_reference", "reclaim", "compact", "purge_trash")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    TIME_NS_FIELD_NUMBER: _ClassVar[int]
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    OPEN_SESSION_FIELD_NUMBER: _ClassVar[int]
    END_SESSION_FIELD_NUMBER: _ClassVar[int]
    CREATE_PARTITION_FIELD_NUMBER: _ClassVar[int]
    DELETE_PARTITION_FIELD_NUMBER: _ClassVar[int]
    FINISH_CUT_FIELD_NUMBER: _ClassVar[int]
    PREPARE_FIELD_NUMBER: _ClassVar[int]
    DECIDE_FIELD_NUMBER: _ClassVar[int]
    FINISH_FIELD_NUMBER: _ClassVar[int]
    FORGET_FIELD_NUMBER: _ClassVar[int]
    SET_SHARE_FIELD_NUMBER: _ClassVar[int]
    MARK_INODES_FIELD_NUMBER: _ClassVar[int]
    SET_QUOTA_FIELD_NUMBER: _ClassVar[int]
    ADVANCE_QUOTA_FIELD_NUMBER: _ClassVar[int]
    LEND_FIELD_NUMBER: _ClassVar[int]
    LENT_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    ADD_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    RECLAIM_FIELD_NUMBER: _ClassVar[int]
    COMPACT_FIELD_NUMBER: _ClassVar[int]
    PURGE_TRASH_FIELD_NUMBER: _ClassVar[int]
    format: int
    time_ns: int
    operations: OperationsCommand
    open_session: OpenSessionCommand
    end_session: EndSessionCommand
    create_partition: CreatePartitionCommand
    delete_partition: DeletePartitionCommand
    finish_cut: FinishCutCommand
    prepare: PrepareCommand
    decide: DecideCommand
    finish: FinishCommand
    forget: ForgetCommand
    set_share: SetShareCommand
    mark_inodes: MarkInodesCommand
    set_quota: SetQuotaCommand
    advance_quota: AdvanceQuotaCommand
    lend: LendCommand
    lent: LentCommand
    release: ReleaseCommand
    add_reference: AddReferenceCommand
    reclaim: ReclaimCommand
    compact: CompactCommand
    purge_trash: PurgeTrashCommand
    def __init__(self, format: _Optional[int] = ..., time_ns: _Optional[int] = ..., operations: _Optional[_Union[OperationsCommand, _Mapping]] = ..., open_session: _Optional[_Union[OpenSessionCommand, _Mapping]] = ..., end_session: _Optional[_Union[EndSessionCommand, _Mapping]] = ..., create_partition: _Optional[_Union[CreatePartitionCommand, _Mapping]] = ..., delete_partition: _Optional[_Union[DeletePartitionCommand, _Mapping]] = ..., finish_cut: _Optional[_Union[FinishCutCommand, _Mapping]] = ..., prepare: _Optional[_Union[PrepareCommand, _Mapping]] = ..., decide: _Optional[_Union[DecideCommand, _Mapping]] = ..., finish: _Optional[_Union[FinishCommand, _Mapping]] = ..., forget: _Optional[_Union[ForgetCommand, _Mapping]] = ..., set_share: _Optional[_Union[SetShareCommand, _Mapping]] = ..., mark_inodes: _Optional[_Union[MarkInodesCommand, _Mapping]] = ..., set_quota: _Optional[_Union[SetQuotaCommand, _Mapping]] = ..., advance_quota: _Optional[_Union[AdvanceQuotaCommand, _Mapping]] = ..., lend: _Optional[_Union[LendCommand, _Mapping]] = ..., lent: _Optional[_Union[LentCommand, _Mapping]] = ..., release: _Optional[_Union[ReleaseCommand, _Mapping]] = ..., add_reference: _Optional[_Union[AddReferenceCommand, _Mapping]] = ..., reclaim: _Optional[_Union[ReclaimCommand, _Mapping]] = ..., compact: _Optional[_Union[CompactCommand, _Mapping]] = ..., purge_trash: _Optional[_Union[PurgeTrashCommand, _Mapping]] = ...) -> None: ...

class OperationsCommand(_message.Message):
    __slots__ = ("batch",)
    BATCH_FIELD_NUMBER: _ClassVar[int]
    batch: _metaserver_pb2.OperationBatch
    def __init__(self, batch: _Optional[_Union[_metaserver_pb2.OperationBatch, _Mapping]] = ...) -> None: ...

class OpenSessionCommand(_message.Message):
    __slots__ = ("fs_id", "session_id", "identity")
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    fs_id: int
    session_id: bytes
    identity: bytes
    def __init__(self, fs_id: _Optional[int] = ..., session_id: _Optional[bytes] = ..., identity: _Optional[bytes] = ...) -> None: ...

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

class PrepareCommand(_message.Message):
    __slots__ = ("id", "age", "fs_id", "parts", "round")
    ID_FIELD_NUMBER: _ClassVar[int]
    AGE_FIELD_NUMBER: _ClassVar[int]
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    id: _transaction_pb2.TransactionId
    age: _transaction_pb2.Age
    fs_id: int
    parts: _containers.RepeatedCompositeFieldContainer[_transaction_pb2.Part]
    round: int
    def __init__(self, id: _Optional[_Union[_transaction_pb2.TransactionId, _Mapping]] = ..., age: _Optional[_Union[_transaction_pb2.Age, _Mapping]] = ..., fs_id: _Optional[int] = ..., parts: _Optional[_Iterable[_Union[_transaction_pb2.Part, _Mapping]]] = ..., round: _Optional[int] = ...) -> None: ...

class DecideCommand(_message.Message):
    __slots__ = ("id", "age", "fs_id", "session_id", "number", "acknowledged", "parts", "participants", "result")
    ID_FIELD_NUMBER: _ClassVar[int]
    AGE_FIELD_NUMBER: _ClassVar[int]
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANTS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    id: _transaction_pb2.TransactionId
    age: _transaction_pb2.Age
    fs_id: int
    session_id: bytes
    number: int
    acknowledged: int
    parts: _containers.RepeatedCompositeFieldContainer[_transaction_pb2.Part]
    participants: _containers.RepeatedScalarFieldContainer[int]
    result: _metaserver_pb2.OperationResult
    def __init__(self, id: _Optional[_Union[_transaction_pb2.TransactionId, _Mapping]] = ..., age: _Optional[_Union[_transaction_pb2.Age, _Mapping]] = ..., fs_id: _Optional[int] = ..., session_id: _Optional[bytes] = ..., number: _Optional[int] = ..., acknowledged: _Optional[int] = ..., parts: _Optional[_Iterable[_Union[_transaction_pb2.Part, _Mapping]]] = ..., participants: _Optional[_Iterable[int]] = ..., result: _Optional[_Union[_metaserver_pb2.OperationResult, _Mapping]] = ...) -> None: ...

class FinishCommand(_message.Message):
    __slots__ = ("id", "commit")
    ID_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    id: _transaction_pb2.TransactionId
    commit: bool
    def __init__(self, id: _Optional[_Union[_transaction_pb2.TransactionId, _Mapping]] = ..., commit: _Optional[bool] = ...) -> None: ...

class ForgetCommand(_message.Message):
    __slots__ = ("ids",)
    IDS_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedCompositeFieldContainer[_transaction_pb2.TransactionId]
    def __init__(self, ids: _Optional[_Iterable[_Union[_transaction_pb2.TransactionId, _Mapping]]] = ...) -> None: ...

class SetShareCommand(_message.Message):
    __slots__ = ("fs_id", "partition_id", "quota_id", "share")
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_ID_FIELD_NUMBER: _ClassVar[int]
    QUOTA_ID_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    fs_id: int
    partition_id: int
    quota_id: int
    share: _common_pb2.QuotaShare
    def __init__(self, fs_id: _Optional[int] = ..., partition_id: _Optional[int] = ..., quota_id: _Optional[int] = ..., share: _Optional[_Union[_common_pb2.QuotaShare, _Mapping]] = ...) -> None: ...

class MarkInodesCommand(_message.Message):
    __slots__ = ("fs_id", "quota_id", "parent", "inodes", "remove", "chain")
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    QUOTA_ID_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    INODES_FIELD_NUMBER: _ClassVar[int]
    REMOVE_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    fs_id: int
    quota_id: int
    parent: int
    inodes: _containers.RepeatedScalarFieldContainer[int]
    remove: bool
    chain: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, fs_id: _Optional[int] = ..., quota_id: _Optional[int] = ..., parent: _Optional[int] = ..., inodes: _Optional[_Iterable[int]] = ..., remove: _Optional[bool] = ..., chain: _Optional[_Iterable[int]] = ...) -> None: ...

class SetQuotaCommand(_message.Message):
    __slots__ = ("fs_id", "inode_id", "limit")
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    fs_id: int
    inode_id: int
    limit: _common_pb2.QuotaAmount
    def __init__(self, fs_id: _Optional[int] = ..., inode_id: _Optional[int] = ..., limit: _Optional[_Union[_common_pb2.QuotaAmount, _Mapping]] = ...) -> None: ...

class AdvanceQuotaCommand(_message.Message):
    __slots__ = ("fs_id", "quota_id", "state", "forget", "limit_version", "progress")
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    QUOTA_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    FORGET_FIELD_NUMBER: _ClassVar[int]
    LIMIT_VERSION_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    fs_id: int
    quota_id: int
    state: _transaction_pb2.QuotaStatus.State
    forget: bool
    limit_version: int
    progress: QuotaProgress
    def __init__(self, fs_id: _Optional[int] = ..., quota_id: _Optional[int] = ..., state: _Optional[_Union[_transaction_pb2.QuotaStatus.State, str]] = ..., forget: _Optional[bool] = ..., limit_version: _Optional[int] = ..., progress: _Optional[_Union[QuotaProgress, _Mapping]] = ...) -> None: ...

class LendCommand(_message.Message):
    __slots__ = ("fs_id", "quota_id", "partition_id", "share")
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    QUOTA_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_ID_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    fs_id: int
    quota_id: int
    partition_id: int
    share: _common_pb2.QuotaShare
    def __init__(self, fs_id: _Optional[int] = ..., quota_id: _Optional[int] = ..., partition_id: _Optional[int] = ..., share: _Optional[_Union[_common_pb2.QuotaShare, _Mapping]] = ...) -> None: ...

class LentCommand(_message.Message):
    __slots__ = ("fs_id", "quota_id", "partition_id", "share")
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    QUOTA_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_ID_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    fs_id: int
    quota_id: int
    partition_id: int
    share: _common_pb2.QuotaShare
    def __init__(self, fs_id: _Optional[int] = ..., quota_id: _Optional[int] = ..., partition_id: _Optional[int] = ..., share: _Optional[_Union[_common_pb2.QuotaShare, _Mapping]] = ...) -> None: ...

class ReleaseCommand(_message.Message):
    __slots__ = ("fs_id", "slices")
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    SLICES_FIELD_NUMBER: _ClassVar[int]
    fs_id: int
    slices: _containers.RepeatedCompositeFieldContainer[_metaserver_pb2.Slice]
    def __init__(self, fs_id: _Optional[int] = ..., slices: _Optional[_Iterable[_Union[_metaserver_pb2.Slice, _Mapping]]] = ...) -> None: ...

class AddReferenceCommand(_message.Message):
    __slots__ = ("fs_id", "chunk_id", "token", "holder", "chunk_index")
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    CHUNK_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_INDEX_FIELD_NUMBER: _ClassVar[int]
    fs_id: int
    chunk_id: int
    token: bytes
    holder: int
    chunk_index: int
    def __init__(self, fs_id: _Optional[int] = ..., chunk_id: _Optional[int] = ..., token: _Optional[bytes] = ..., holder: _Optional[int] = ..., chunk_index: _Optional[int] = ...) -> None: ...

class ReclaimCommand(_message.Message):
    __slots__ = ("fs_id", "keys")
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    fs_id: int
    keys: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, fs_id: _Optional[int] = ..., keys: _Optional[_Iterable[bytes]] = ...) -> None: ...

class CompactCommand(_message.Message):
    __slots__ = ("fs_id", "lease", "commit", "give_up", "look_again", "close")
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    GIVE_UP_FIELD_NUMBER: _ClassVar[int]
    LOOK_AGAIN_FIELD_NUMBER: _ClassVar[int]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    fs_id: int
    lease: CompactLease
    commit: CompactCommit
    give_up: CompactGiveUp
    look_again: CompactLookAgain
    close: CompactClose
    def __init__(self, fs_id: _Optional[int] = ..., lease: _Optional[_Union[CompactLease, _Mapping]] = ..., commit: _Optional[_Union[CompactCommit, _Mapping]] = ..., give_up: _Optional[_Union[CompactGiveUp, _Mapping]] = ..., look_again: _Optional[_Union[CompactLookAgain, _Mapping]] = ..., close: _Optional[_Union[CompactClose, _Mapping]] = ...) -> None: ...

class CompactLease(_message.Message):
    __slots__ = ("partition_id",)
    PARTITION_ID_FIELD_NUMBER: _ClassVar[int]
    partition_id: int
    def __init__(self, partition_id: _Optional[int] = ...) -> None: ...

class CompactCommit(_message.Message):
    __slots__ = ("inode_id", "chunk_index", "digest", "replacement", "look_again_at", "orders")
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    CHUNK_INDEX_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    REPLACEMENT_FIELD_NUMBER: _ClassVar[int]
    LOOK_AGAIN_AT_FIELD_NUMBER: _ClassVar[int]
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    inode_id: int
    chunk_index: int
    digest: bytes
    replacement: _containers.RepeatedCompositeFieldContainer[_metaserver_pb2.Slice]
    look_again_at: int
    orders: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, inode_id: _Optional[int] = ..., chunk_index: _Optional[int] = ..., digest: _Optional[bytes] = ..., replacement: _Optional[_Iterable[_Union[_metaserver_pb2.Slice, _Mapping]]] = ..., look_again_at: _Optional[int] = ..., orders: _Optional[_Iterable[int]] = ...) -> None: ...

class CompactGiveUp(_message.Message):
    __slots__ = ("chunk_ids",)
    CHUNK_IDS_FIELD_NUMBER: _ClassVar[int]
    chunk_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, chunk_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class CompactLookAgain(_message.Message):
    __slots__ = ("inode_id", "chunk_index", "slices")
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    CHUNK_INDEX_FIELD_NUMBER: _ClassVar[int]
    SLICES_FIELD_NUMBER: _ClassVar[int]
    inode_id: int
    chunk_index: int
    slices: int
    def __init__(self, inode_id: _Optional[int] = ..., chunk_index: _Optional[int] = ..., slices: _Optional[int] = ...) -> None: ...

class CompactClose(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PurgeTrashCommand(_message.Message):
    __slots__ = ("fs_id", "upto_ns")
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    UPTO_NS_FIELD_NUMBER: _ClassVar[int]
    fs_id: int
    upto_ns: int
    def __init__(self, fs_id: _Optional[int] = ..., upto_ns: _Optional[int] = ...) -> None: ...

class QuotaRecord(_message.Message):
    __slots__ = ("quota_id", "inode_id", "state", "limit", "limit_version", "settling", "progress")
    QUOTA_ID_FIELD_NUMBER: _ClassVar[int]
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    LIMIT_VERSION_FIELD_NUMBER: _ClassVar[int]
    SETTLING_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    quota_id: int
    inode_id: int
    state: _transaction_pb2.QuotaStatus.State
    limit: _common_pb2.QuotaAmount
    limit_version: int
    settling: bool
    progress: QuotaProgress
    def __init__(self, quota_id: _Optional[int] = ..., inode_id: _Optional[int] = ..., state: _Optional[_Union[_transaction_pb2.QuotaStatus.State, str]] = ..., limit: _Optional[_Union[_common_pb2.QuotaAmount, _Mapping]] = ..., limit_version: _Optional[int] = ..., settling: _Optional[bool] = ..., progress: _Optional[_Union[QuotaProgress, _Mapping]] = ...) -> None: ...

class QuotaProgress(_message.Message):
    __slots__ = ("levels",)
    LEVELS_FIELD_NUMBER: _ClassVar[int]
    levels: _containers.RepeatedCompositeFieldContainer[QuotaLevel]
    def __init__(self, levels: _Optional[_Iterable[_Union[QuotaLevel, _Mapping]]] = ...) -> None: ...

class QuotaLevel(_message.Message):
    __slots__ = ("inode_id", "after_hash", "after_name", "end", "below")
    INODE_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_HASH_FIELD_NUMBER: _ClassVar[int]
    AFTER_NAME_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    BELOW_FIELD_NUMBER: _ClassVar[int]
    inode_id: int
    after_hash: int
    after_name: bytes
    end: bool
    below: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, inode_id: _Optional[int] = ..., after_hash: _Optional[int] = ..., after_name: _Optional[bytes] = ..., end: _Optional[bool] = ..., below: _Optional[_Iterable[int]] = ...) -> None: ...

class LoanRecord(_message.Message):
    __slots__ = ("lent", "said", "confirmed")
    LENT_FIELD_NUMBER: _ClassVar[int]
    SAID_FIELD_NUMBER: _ClassVar[int]
    CONFIRMED_FIELD_NUMBER: _ClassVar[int]
    lent: _common_pb2.QuotaAmount
    said: _common_pb2.QuotaShare
    confirmed: bool
    def __init__(self, lent: _Optional[_Union[_common_pb2.QuotaAmount, _Mapping]] = ..., said: _Optional[_Union[_common_pb2.QuotaShare, _Mapping]] = ..., confirmed: _Optional[bool] = ...) -> None: ...

class LockRecord(_message.Message):
    __slots__ = ("kind", "holder", "age")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        NAME: _ClassVar[LockRecord.Kind]
        IDENTITY: _ClassVar[LockRecord.Kind]
        REMOVAL: _ClassVar[LockRecord.Kind]
        MOVE: _ClassVar[LockRecord.Kind]
        CHARGE: _ClassVar[LockRecord.Kind]
    NAME: LockRecord.Kind
    IDENTITY: LockRecord.Kind
    REMOVAL: LockRecord.Kind
    MOVE: LockRecord.Kind
    CHARGE: LockRecord.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    AGE_FIELD_NUMBER: _ClassVar[int]
    kind: LockRecord.Kind
    holder: _transaction_pb2.TransactionId
    age: _transaction_pb2.Age
    def __init__(self, kind: _Optional[_Union[LockRecord.Kind, str]] = ..., holder: _Optional[_Union[_transaction_pb2.TransactionId, _Mapping]] = ..., age: _Optional[_Union[_transaction_pb2.Age, _Mapping]] = ...) -> None: ...

class TransactionRecord(_message.Message):
    __slots__ = ("age", "fs_id", "parts", "facts", "locks")
    AGE_FIELD_NUMBER: _ClassVar[int]
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    FACTS_FIELD_NUMBER: _ClassVar[int]
    LOCKS_FIELD_NUMBER: _ClassVar[int]
    age: _transaction_pb2.Age
    fs_id: int
    parts: _containers.RepeatedCompositeFieldContainer[_transaction_pb2.Part]
    facts: _containers.RepeatedCompositeFieldContainer[_transaction_pb2.Fact]
    locks: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, age: _Optional[_Union[_transaction_pb2.Age, _Mapping]] = ..., fs_id: _Optional[int] = ..., parts: _Optional[_Iterable[_Union[_transaction_pb2.Part, _Mapping]]] = ..., facts: _Optional[_Iterable[_Union[_transaction_pb2.Fact, _Mapping]]] = ..., locks: _Optional[_Iterable[bytes]] = ...) -> None: ...

class DecisionRecord(_message.Message):
    __slots__ = ("id", "fs_id", "participants", "result", "acknowledged")
    ID_FIELD_NUMBER: _ClassVar[int]
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANTS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    id: _transaction_pb2.TransactionId
    fs_id: int
    participants: _containers.RepeatedScalarFieldContainer[int]
    result: _metaserver_pb2.OperationResult
    acknowledged: bool
    def __init__(self, id: _Optional[_Union[_transaction_pb2.TransactionId, _Mapping]] = ..., fs_id: _Optional[int] = ..., participants: _Optional[_Iterable[int]] = ..., result: _Optional[_Union[_metaserver_pb2.OperationResult, _Mapping]] = ..., acknowledged: _Optional[bool] = ...) -> None: ...

class PartitionRecord(_message.Message):
    __slots__ = ("spec", "next_inode", "next_chunk", "inode_count", "used_bytes", "deleting", "share")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    NEXT_INODE_FIELD_NUMBER: _ClassVar[int]
    NEXT_CHUNK_FIELD_NUMBER: _ClassVar[int]
    INODE_COUNT_FIELD_NUMBER: _ClassVar[int]
    USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    DELETING_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    spec: _metaserver_pb2.PartitionSpec
    next_inode: int
    next_chunk: int
    inode_count: int
    used_bytes: int
    deleting: bool
    share: _common_pb2.QuotaShare
    def __init__(self, spec: _Optional[_Union[_metaserver_pb2.PartitionSpec, _Mapping]] = ..., next_inode: _Optional[int] = ..., next_chunk: _Optional[int] = ..., inode_count: _Optional[int] = ..., used_bytes: _Optional[int] = ..., deleting: _Optional[bool] = ..., share: _Optional[_Union[_common_pb2.QuotaShare, _Mapping]] = ...) -> None: ...

class SessionRecord(_message.Message):
    __slots__ = ("fs_id", "expected_sequence", "acknowledged", "opened_ns", "ended_ns", "transactions_acknowledged", "identity", "durable")
    FS_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    OPENED_NS_FIELD_NUMBER: _ClassVar[int]
    ENDED_NS_FIELD_NUMBER: _ClassVar[int]
    TRANSACTIONS_ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    DURABLE_FIELD_NUMBER: _ClassVar[int]
    fs_id: int
    expected_sequence: int
    acknowledged: int
    opened_ns: int
    ended_ns: int
    transactions_acknowledged: int
    identity: bytes
    durable: bool
    def __init__(self, fs_id: _Optional[int] = ..., expected_sequence: _Optional[int] = ..., acknowledged: _Optional[int] = ..., opened_ns: _Optional[int] = ..., ended_ns: _Optional[int] = ..., transactions_acknowledged: _Optional[int] = ..., identity: _Optional[bytes] = ..., durable: _Optional[bool] = ...) -> None: ...

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

class ReferenceRecord(_message.Message):
    __slots__ = ("released", "next", "token")
    RELEASED_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    released: bool
    next: int
    token: bytes
    def __init__(self, released: _Optional[bool] = ..., next: _Optional[int] = ..., token: _Optional[bytes] = ...) -> None: ...

class DeleteRecord(_message.Message):
    __slots__ = ("queued_ns", "inode", "slice", "never_published", "release_slice", "published")
    QUEUED_NS_FIELD_NUMBER: _ClassVar[int]
    INODE_FIELD_NUMBER: _ClassVar[int]
    SLICE_FIELD_NUMBER: _ClassVar[int]
    NEVER_PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    RELEASE_SLICE_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    queued_ns: int
    inode: _metaserver_pb2.Inode
    slice: _metaserver_pb2.Slice
    never_published: _common_pb2.IdRange
    release_slice: _metaserver_pb2.Slice
    published: bytes
    def __init__(self, queued_ns: _Optional[int] = ..., inode: _Optional[_Union[_metaserver_pb2.Inode, _Mapping]] = ..., slice: _Optional[_Union[_metaserver_pb2.Slice, _Mapping]] = ..., never_published: _Optional[_Union[_common_pb2.IdRange, _Mapping]] = ..., release_slice: _Optional[_Union[_metaserver_pb2.Slice, _Mapping]] = ..., published: _Optional[bytes] = ...) -> None: ...
