"""Where each group is led, and the streams to metaservers: what is to be sent to a group finds its way.

A group is open at one metaserver, or its leader is being looked for by a task of its own (leaders.py says whom to ask);
its calls wait meanwhile, and go on from the first unanswered one where the group is welcomed next. Their numbers belong
to the group, not to a stream, and only one stream sends them at a time: nothing is done twice, and order holds.

Shared across awaits: the tables. They change in code without awaits only: by what streams tell, by the MDS's word on
where partitions are, and when the session is replaced.
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import structlog
import trio

from ....proto import common_pb2, mds_pb2
from ...common.errors import CurveFSError, Redirect, SessionUnknown, WrongPartition
from ...rpc.backoff import Random, pause_s
from ...rpc.connection import Connect
from ...rpc.group_calls import GroupCalls
from ...rpc.trio_stream import Credentials, MetaserverStream, StreamListener
from .leaders import LeaderSearch

log = structlog.get_logger()

ALONE_S = 0.3  # how long the one that was named as leader has before the others are asked, too


class GroupsOwner(Protocol):
    """What is told; all calls come from the event loop, none may block."""

    def on_doubt(self) -> None:
        """A group's leader is not where it should be: the MDS may know more."""
        ...

    def on_session_ended(self, session_id: bytes) -> None:
        """The session is over."""
        ...

    def on_token_refused(self, session_id: bytes) -> None:
        """The session's token was refused."""
        ...


@dataclass(slots=True, eq=False)
class _Group:
    group_id: int
    calls: GroupCalls
    search: LeaderSearch = field(default_factory=LeaderSearch)
    address: str = ""  # where it is open; empty while it is looked for
    seeking: bool = False
    news: trio.Event = field(default_factory=trio.Event)


class Groups(StreamListener):
    """See the module."""

    def __init__(
        self,
        owner: GroupsOwner,
        nursery: trio.Nursery,
        credentials: Callable[[], Credentials],
        *,
        connect: Connect,
        random: Random,
    ) -> None:
        self._owner = owner
        self._nursery = nursery
        self._credentials = credentials
        self._connect = connect
        self._random = random
        self._groups: dict[int, _Group] = {}
        self._streams: dict[str, MetaserverStream] = {}
        self._read_ids = itertools.count(1)
        self._in_session = trio.Event()

    # ------------------------------------------------------------------------------------------- session

    def begin_session(self) -> None:
        """Open the session in all groups; reads that wait go on in it."""
        for group in self._groups.values():
            before, group.calls = group.calls, self._calls(group.group_id)
            group.calls.inherit(before)
        self._in_session.set()
        for group in self._groups.values():
            self._seek(group)

    def end_session(self) -> None:
        """The session is over: what was sent in it fails."""
        self._in_session = trio.Event()
        for stream in self._streams.values():
            stream.reset()
        for group in self._groups.values():
            group.search.begin(group.address)
            group.address = ""
            group.calls.end()

    def refuse_reads(self, failure: common_pb2.Failure) -> None:
        """No session follows the one that was ended: answer what waits for it."""
        for group in self._groups.values():
            group.calls.refuse_reads(failure)

    # -------------------------------------------------------------------------------------------- tables

    def place(self, partitions: Iterable[mds_pb2.Partition]) -> None:
        """Take the MDS's word on where the groups are."""
        for partition in partitions:
            peers = [peer.address for peer in partition.peers if not peer.learner]
            if not peers and partition.leader:
                peers = [partition.leader]
            group = self._groups.get(partition.group_id)
            if group is None:
                group = _Group(partition.group_id, self._calls(partition.group_id))
                self._groups[partition.group_id] = group
                group.search.begin(partition.leader)
            if peers:
                group.search.peers = peers
            if not group.address and self._in_session.is_set():
                self._seek(group)

    def calls(self, group_id: int) -> GroupCalls:
        """Return what is under way in a group; after changing it, flush()."""
        return self._groups[group_id].calls

    def is_open(self, group_id: int) -> bool:
        """True while a leader of the group is known and has the session open."""
        return bool(self._groups[group_id].address)

    def flush(self, group_id: int) -> None:
        """Send what may go now; it waits while the group's leader is not known."""
        address = self._groups[group_id].address
        if address:
            self._streams[address].flush()

    # ------------------------------------------------------------------------------------------- seeking

    def _seek(self, group: _Group) -> None:
        if not group.seeking:
            group.seeking = True
            self._nursery.start_soon(self._seek_leader, group)

    async def _seek_leader(self, group: _Group) -> None:
        if group.calls.refusals > 1:
            # Nothing was answered since it was last looked for: one that welcomes and refuses in turn.
            await trio.sleep(pause_s(group.calls.refusals, self._random))
        while not group.address:
            await self._in_session.wait()
            group.news = trio.Event()
            for address in group.search.next():
                self._stream_to(address).present(group.group_id)
            wait_s = ALONE_S if group.search.alone else pause_s(group.calls.refusals, self._random)
            with trio.move_on_after(wait_s) as waiting:
                await group.news.wait()
            if waiting.cancelled_caught:
                group.calls.refusals += 1
                group.search.paused()
                self._owner.on_doubt()
        group.seeking = False

    def _stream_to(self, address: str) -> MetaserverStream:
        stream = self._streams.get(address)
        if stream is None:
            stream = self._streams[address] = MetaserverStream(
                address, self._credentials, self, connect=self._connect, random=self._random
            )
            self._nursery.start_soon(stream.run)
        return stream

    def _calls(self, group_id: int) -> GroupCalls:
        credentials = self._credentials()
        return GroupCalls(credentials.fs_id, credentials.session_id, group_id, self._read_ids)

    # ------------------------------------------------------------------------------- what streams tell us

    def on_welcome(self, address: str, group_id: int) -> None:
        """The leader is found, unless it was found before."""
        group = self._groups[group_id]
        if group.address:
            return
        group.address = address
        for other, stream in self._streams.items():
            if other != address:
                stream.withdraw(group_id)
        group.news.set()
        self._streams[address].attach(group.calls)

    def on_turned_away(self, address: str, group_id: int, error: CurveFSError) -> None:
        """Follow to the leader that was named, else ask all peers."""
        group = self._groups[group_id]
        leader = error.leader if isinstance(error, Redirect) else ""
        if isinstance(error, WrongPartition):
            self._owner.on_doubt()
        if group.address == address:
            log.info("a group is led elsewhere", group=group_id, metaserver=address, reason=str(error), leader=leader)
            group.address = ""
            group.calls.refusals += 1
            group.search.begin(address if isinstance(error, SessionUnknown) else leader)
            self._seek(group)
        elif not group.address and group.search.refused(address, leader):
            group.news.set()

    def on_session_ended(self, session_id: bytes) -> None:
        """Pass it on."""
        self._owner.on_session_ended(session_id)

    def on_token_refused(self, session_id: bytes) -> None:
        """Pass it on."""
        self._owner.on_token_refused(session_id)
