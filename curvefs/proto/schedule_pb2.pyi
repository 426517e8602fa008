from curvefs.proto import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SchedulerKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECOVER: _ClassVar[SchedulerKind]
    COPYSET_BALANCE: _ClassVar[SchedulerKind]
    LEADER_BALANCE: _ClassVar[SchedulerKind]
    RAPID_LEADER: _ClassVar[SchedulerKind]
RECOVER: SchedulerKind
COPYSET_BALANCE: SchedulerKind
LEADER_BALANCE: SchedulerKind
RAPID_LEADER: SchedulerKind

class Operator(_message.Message):
    __slots__ = ("group_id", "scheduler", "configuration_index", "step", "started_ns", "deadline_ns")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    SCHEDULER_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATION_INDEX_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    STARTED_NS_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_NS_FIELD_NUMBER: _ClassVar[int]
    group_id: int
    scheduler: SchedulerKind
    configuration_index: int
    step: str
    started_ns: int
    deadline_ns: int
    def __init__(self, group_id: _Optional[int] = ..., scheduler: _Optional[_Union[SchedulerKind, str]] = ..., configuration_index: _Optional[int] = ..., step: _Optional[str] = ..., started_ns: _Optional[int] = ..., deadline_ns: _Optional[int] = ...) -> None: ...

class ListOperatorsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListOperatorsReply(_message.Message):
    __slots__ = ("epoch", "failure", "operators")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    OPERATORS_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    failure: _common_pb2.Failure
    operators: _containers.RepeatedCompositeFieldContainer[Operator]
    def __init__(self, epoch: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., operators: _Optional[_Iterable[_Union[Operator, _Mapping]]] = ...) -> None: ...

class CancelOperatorRequest(_message.Message):
    __slots__ = ("group_id",)
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    group_id: int
    def __init__(self, group_id: _Optional[int] = ...) -> None: ...

class SetSchedulerRequest(_message.Message):
    __slots__ = ("scheduler", "enabled")
    SCHEDULER_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    scheduler: SchedulerKind
    enabled: bool
    def __init__(self, scheduler: _Optional[_Union[SchedulerKind, str]] = ..., enabled: _Optional[bool] = ...) -> None: ...

class DrainMetaserverRequest(_message.Message):
    __slots__ = ("metaserver_id",)
    METASERVER_ID_FIELD_NUMBER: _ClassVar[int]
    metaserver_id: int
    def __init__(self, metaserver_id: _Optional[int] = ...) -> None: ...

class TransferLeaderRequest(_message.Message):
    __slots__ = ("group_id", "to_metaserver_id")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    TO_METASERVER_ID_FIELD_NUMBER: _ClassVar[int]
    group_id: int
    to_metaserver_id: int
    def __init__(self, group_id: _Optional[int] = ..., to_metaserver_id: _Optional[int] = ...) -> None: ...

class ScheduleReply(_message.Message):
    __slots__ = ("epoch", "failure")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    failure: _common_pb2.Failure
    def __init__(self, epoch: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ...) -> None: ...
