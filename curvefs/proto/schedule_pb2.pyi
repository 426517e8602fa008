from curvefs.proto import common_pb2 as _common_pb2
from curvefs.proto import topology_pb2 as _topology_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Scheduler(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECOVER: _ClassVar[Scheduler]
    COPYSET_BALANCE: _ClassVar[Scheduler]
    LEADER_BALANCE: _ClassVar[Scheduler]
    RAPID_LEADER: _ClassVar[Scheduler]
    PERSON: _ClassVar[Scheduler]
RECOVER: Scheduler
COPYSET_BALANCE: Scheduler
LEADER_BALANCE: Scheduler
RAPID_LEADER: Scheduler
PERSON: Scheduler

class Operator(_message.Message):
    __slots__ = ("group_id", "scheduler", "configuration_index", "step", "started_ns", "deadline_ns", "source", "target", "ended_ns", "end")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    SCHEDULER_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATION_INDEX_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    STARTED_NS_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_NS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    ENDED_NS_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    group_id: int
    scheduler: Scheduler
    configuration_index: int
    step: str
    started_ns: int
    deadline_ns: int
    source: int
    target: int
    ended_ns: int
    end: str
    def __init__(self, group_id: _Optional[int] = ..., scheduler: _Optional[_Union[Scheduler, str]] = ..., configuration_index: _Optional[int] = ..., step: _Optional[str] = ..., started_ns: _Optional[int] = ..., deadline_ns: _Optional[int] = ..., source: _Optional[int] = ..., target: _Optional[int] = ..., ended_ns: _Optional[int] = ..., end: _Optional[str] = ...) -> None: ...

class Switch(_message.Message):
    __slots__ = ("scheduler", "enabled")
    SCHEDULER_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    scheduler: Scheduler
    enabled: bool
    def __init__(self, scheduler: _Optional[_Union[Scheduler, str]] = ..., enabled: _Optional[bool] = ...) -> None: ...

class GetScheduleRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetScheduleReply(_message.Message):
    __slots__ = ("epoch", "failure", "running", "ended", "switches")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    SWITCHES_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    failure: _common_pb2.Failure
    running: _containers.RepeatedCompositeFieldContainer[Operator]
    ended: _containers.RepeatedCompositeFieldContainer[Operator]
    switches: _containers.RepeatedCompositeFieldContainer[Switch]
    def __init__(self, epoch: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ..., running: _Optional[_Iterable[_Union[Operator, _Mapping]]] = ..., ended: _Optional[_Iterable[_Union[Operator, _Mapping]]] = ..., switches: _Optional[_Iterable[_Union[Switch, _Mapping]]] = ...) -> None: ...

class SetSchedulerRequest(_message.Message):
    __slots__ = ("scheduler", "enabled")
    SCHEDULER_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    scheduler: Scheduler
    enabled: bool
    def __init__(self, scheduler: _Optional[_Union[Scheduler, str]] = ..., enabled: _Optional[bool] = ...) -> None: ...

class SetDutyRequest(_message.Message):
    __slots__ = ("metaserver_id", "duty")
    METASERVER_ID_FIELD_NUMBER: _ClassVar[int]
    DUTY_FIELD_NUMBER: _ClassVar[int]
    metaserver_id: int
    duty: _topology_pb2.Duty
    def __init__(self, metaserver_id: _Optional[int] = ..., duty: _Optional[_Union[_topology_pb2.Duty, str]] = ...) -> None: ...

class ScheduleReply(_message.Message):
    __slots__ = ("epoch", "failure")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    failure: _common_pb2.Failure
    def __init__(self, epoch: _Optional[int] = ..., failure: _Optional[_Union[_common_pb2.Failure, _Mapping]] = ...) -> None: ...
