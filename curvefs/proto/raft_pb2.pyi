from curvefs.proto import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MessageType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNSPECIFIED: _ClassVar[MessageType]
    APPEND: _ClassVar[MessageType]
    APPEND_REPLY: _ClassVar[MessageType]
    VOTE: _ClassVar[MessageType]
    VOTE_REPLY: _ClassVar[MessageType]
    PRE_VOTE: _ClassVar[MessageType]
    PRE_VOTE_REPLY: _ClassVar[MessageType]
    HEARTBEAT: _ClassVar[MessageType]
    HEARTBEAT_REPLY: _ClassVar[MessageType]
    SNAPSHOT_CHUNK: _ClassVar[MessageType]
    SNAPSHOT_REPLY: _ClassVar[MessageType]
    TIMEOUT_NOW: _ClassVar[MessageType]

class EntryType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NORMAL: _ClassVar[EntryType]
    CONFIGURATION: _ClassVar[EntryType]
UNSPECIFIED: MessageType
APPEND: MessageType
APPEND_REPLY: MessageType
VOTE: MessageType
VOTE_REPLY: MessageType
PRE_VOTE: MessageType
PRE_VOTE_REPLY: MessageType
HEARTBEAT: MessageType
HEARTBEAT_REPLY: MessageType
SNAPSHOT_CHUNK: MessageType
SNAPSHOT_REPLY: MessageType
TIMEOUT_NOW: MessageType
NORMAL: EntryType
CONFIGURATION: EntryType

class RaftFrame(_message.Message):
    __slots__ = ("hello", "messages")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    hello: PeerHello
    messages: _containers.RepeatedCompositeFieldContainer[GroupMessage]
    def __init__(self, hello: _Optional[_Union[PeerHello, _Mapping]] = ..., messages: _Optional[_Iterable[_Union[GroupMessage, _Mapping]]] = ...) -> None: ...

class PeerHello(_message.Message):
    __slots__ = ("protocol_version", "cluster_id", "to", "time_ns", "address", "proof")
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    TIME_NS_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    cluster_id: str
    to: int
    time_ns: int
    address: str
    proof: bytes
    def __init__(self, protocol_version: _Optional[int] = ..., cluster_id: _Optional[str] = ..., to: _Optional[int] = ..., time_ns: _Optional[int] = ..., address: _Optional[str] = ..., proof: _Optional[bytes] = ..., **kwargs) -> None: ...

class GroupMessage(_message.Message):
    __slots__ = ("group_id", "message")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    group_id: int
    message: Message
    def __init__(self, group_id: _Optional[int] = ..., message: _Optional[_Union[Message, _Mapping]] = ...) -> None: ...

class Message(_message.Message):
    __slots__ = ("type", "to", "term", "log_term", "log_index", "entries", "committed", "rejected", "hint_index", "hint_term", "snapshot", "round", "forced", "quiet", "token", "joining", "offset")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    LOG_TERM_FIELD_NUMBER: _ClassVar[int]
    LOG_INDEX_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    HINT_INDEX_FIELD_NUMBER: _ClassVar[int]
    HINT_TERM_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    FORCED_FIELD_NUMBER: _ClassVar[int]
    QUIET_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    JOINING_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    type: MessageType
    to: int
    term: int
    log_term: int
    log_index: int
    entries: _containers.RepeatedCompositeFieldContainer[Entry]
    committed: int
    rejected: bool
    hint_index: int
    hint_term: int
    snapshot: SnapshotChunk
    round: int
    forced: bool
    quiet: bool
    token: int
    joining: bool
    offset: int
    def __init__(self, type: _Optional[_Union[MessageType, str]] = ..., to: _Optional[int] = ..., term: _Optional[int] = ..., log_term: _Optional[int] = ..., log_index: _Optional[int] = ..., entries: _Optional[_Iterable[_Union[Entry, _Mapping]]] = ..., committed: _Optional[int] = ..., rejected: _Optional[bool] = ..., hint_index: _Optional[int] = ..., hint_term: _Optional[int] = ..., snapshot: _Optional[_Union[SnapshotChunk, _Mapping]] = ..., round: _Optional[int] = ..., forced: _Optional[bool] = ..., quiet: _Optional[bool] = ..., token: _Optional[int] = ..., joining: _Optional[bool] = ..., offset: _Optional[int] = ..., **kwargs) -> None: ...

class Entry(_message.Message):
    __slots__ = ("term", "index", "type", "data")
    TERM_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    term: int
    index: int
    type: EntryType
    data: bytes
    def __init__(self, term: _Optional[int] = ..., index: _Optional[int] = ..., type: _Optional[_Union[EntryType, str]] = ..., data: _Optional[bytes] = ...) -> None: ...

class SnapshotChunk(_message.Message):
    __slots__ = ("index", "term", "offset", "data", "last", "configuration")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATION_FIELD_NUMBER: _ClassVar[int]
    index: int
    term: int
    offset: int
    data: bytes
    last: bool
    configuration: bytes
    def __init__(self, index: _Optional[int] = ..., term: _Optional[int] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ..., last: _Optional[bool] = ..., configuration: _Optional[bytes] = ...) -> None: ...

class Configuration(_message.Message):
    __slots__ = ("voters", "outgoing_voters", "learners", "peers", "since")
    VOTERS_FIELD_NUMBER: _ClassVar[int]
    OUTGOING_VOTERS_FIELD_NUMBER: _ClassVar[int]
    LEARNERS_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    voters: _containers.RepeatedScalarFieldContainer[int]
    outgoing_voters: _containers.RepeatedScalarFieldContainer[int]
    learners: _containers.RepeatedScalarFieldContainer[int]
    peers: _containers.RepeatedCompositeFieldContainer[_common_pb2.Peer]
    since: int
    def __init__(self, voters: _Optional[_Iterable[int]] = ..., outgoing_voters: _Optional[_Iterable[int]] = ..., learners: _Optional[_Iterable[int]] = ..., peers: _Optional[_Iterable[_Union[_common_pb2.Peer, _Mapping]]] = ..., since: _Optional[int] = ...) -> None: ...

class HardState(_message.Message):
    __slots__ = ("term", "vote", "committed", "joining")
    TERM_FIELD_NUMBER: _ClassVar[int]
    VOTE_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    JOINING_FIELD_NUMBER: _ClassVar[int]
    term: int
    vote: int
    committed: int
    joining: bool
    def __init__(self, term: _Optional[int] = ..., vote: _Optional[int] = ..., committed: _Optional[int] = ..., joining: _Optional[bool] = ...) -> None: ...
