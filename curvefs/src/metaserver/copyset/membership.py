"""Changes of a group's members, as its leader carries them out, step by step; each step may be repeated.

Who joins comes in as a learner, so that it catches up without being waited for; then the voters are changed by joint
consensus, and who is not among the new ones has left. A replica that is damaged leaves, is thrown away, and joins anew:
so nothing depends on what it may have forgotten.

A request says which configuration it was made for; one that was made for another is stale (rule 25).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from ....proto import common_pb2
from ...common.clock import Clock
from ...common.errors import InvalidArgument, StaleEpoch, Unavailable
from ...raft.configuration import Configuration
from ...raft.progress import Progress, Sending
from .group import Group

_log = structlog.get_logger()
_STEP_S = 0.02
VOTERS_MAX = 7
# A learner this close to the end of the log gets the rest while the voters change.
_LAG_ENTRIES_MAX = 64


class Membership:
    """Changes members of the groups that this metaserver leads.

    know: notes where a metaserver is. address_of: where one is, '' when that is unknown; configurations keep the
    addresses of when they were made, so it goes before them, and what the caller says before both.
    """

    def __init__(self, clock: Clock, know: Callable[[int, str], None], address_of: Callable[[int], str]) -> None:
        self._clock = clock
        self._know = know
        self._address_of = address_of

    def check(self, group: Group, configuration_index: int) -> None:
        """Raise StaleEpoch when a request was made for another configuration; Redirect from another than the leader."""
        if not group.is_leader:
            raise group.redirect()
        index = group.raft.log.configuration_index
        if configuration_index and configuration_index != index:
            raise StaleEpoch(f"made for configuration {configuration_index}; the group is at {index}")

    async def change(self, group: Group, peers: list[common_pb2.Peer], deadline_s: float) -> int:
        """Have exactly these voters; returns the configuration's index. Repeat it after Unavailable: it goes on.

        Raises InvalidArgument, Redirect, ResourceBusy and StaleEpoch (another change), Unavailable (not done in time).
        """
        target = {peer.metaserver_id: peer.address for peer in peers}
        if not 0 < len(target) <= VOTERS_MAX or not all(target) or len(target) != len(peers):
            raise InvalidArgument(f"a group has 1 to {VOTERS_MAX} different voters")
        end = time.monotonic() + deadline_s
        await self._settled(group, end)
        before = _configuration(group)
        addresses = {**self._addresses(before), **{id_: address for id_, address in target.items() if address}}
        for id_, address in addresses.items():
            if address:
                self._know(id_, address)
        joining = sorted(target.keys() - set(before.voters))
        if set(joining) - set(before.learners):
            learners = sorted({*before.learners, *joining})
            self._propose(group, before.voters, learners, addresses)
            await self._settled(group, end)
        caught_up = lambda: all(_has_caught_up(group, id_) for id_ in joining)  # noqa: E731
        await self._until(group, end, caught_up, "who joins catches up")
        now = _configuration(group)
        if set(now.voters) != target.keys() or now.learners:
            if now.voters != before.voters or not set(joining) <= set(now.learners):
                raise StaleEpoch("the group's members were changed by somebody else meanwhile")
            self._propose(group, sorted(target), (), {id_: addresses[id_] for id_ in target})
            await self._settled(group, end)
            _log.info("members changed", group=group.group_id, voters=sorted(target), before=before.voters)
        return group.raft.log.configuration_index

    async def transfer(self, group: Group, to: int, deadline_s: float) -> None:
        """Hand the leadership over. Raises InvalidArgument, Redirect, ResourceBusy, Unavailable."""
        if to == group.raft.id:
            return
        if not _configuration(group).is_voter(to):
            raise InvalidArgument(f"metaserver {to} is no voter of group {group.group_id}")
        group.raft.transfer(to, self._clock.boottime_s())
        group.act()
        end = time.monotonic() + deadline_s
        while group.raft.is_leader:
            if time.monotonic() >= end or group.raft.leadership is None or group.raft.leadership.transfer is None:
                raise Unavailable(f"metaserver {to} did not take the leadership over in time")
            await asyncio.sleep(_STEP_S)

    async def rebuild(
        self, group: Group, id_: int, throw_away: Callable[[str, int], Awaitable[None]], deadline_s: float
    ) -> int:
        """Replace a replica by an empty one on the same metaserver; returns the configuration's index.

        throw_away: has the replica at an address removed, which left with a configuration, and an empty one made.
        Raises InvalidArgument, and what change() and ``throw_away`` raise.
        """
        end = time.monotonic() + deadline_s
        await self._settled(group, end)
        before = _configuration(group)
        if id_ == group.raft.id:
            raise InvalidArgument("the leader's replica cannot be rebuilt; hand the leadership over first")
        addresses = self._addresses(before)
        address = addresses.get(id_, "")
        if not address or id_ not in before.members:
            raise InvalidArgument(f"metaserver {id_} has no replica of group {group.group_id}")
        if len(before.voters) == 1 and id_ in before.voters:
            raise InvalidArgument("there is no other replica to rebuild it from")
        peers = [common_pb2.Peer(metaserver_id=one, address=addresses.get(one, "")) for one in before.voters]
        others = [peer for peer in peers if peer.metaserver_id != id_]
        left_at = await self.change(group, others, max(0.0, end - time.monotonic()))
        await throw_away(address, left_at)
        everybody = [*others, common_pb2.Peer(metaserver_id=id_, address=address)]
        return await self.change(group, everybody, max(0.0, end - time.monotonic()))

    def _addresses(self, configuration: Configuration) -> dict[int, str]:
        """Return where the members are now, as far as is known."""
        return {id_: self._address_of(id_) or address for id_, address in configuration.addresses}

    def _propose(
        self,
        group: Group,
        voters: list[int] | tuple[int, ...],
        learners: list[int] | tuple[int, ...],
        addresses: dict[int, str],
    ) -> None:
        group.raft.change(voters, learners, sorted(addresses.items()), self._clock.boottime_s())
        group.act()

    async def _settled(self, group: Group, end: float) -> None:
        await self._until(group, end, lambda: _is_settled(group), "the change of members is committed")

    async def _until(self, group: Group, end: float, holds: Callable[[], bool], what: str) -> None:
        while True:
            if not group.is_leader:
                raise group.redirect()
            if holds():
                return
            if time.monotonic() >= end:
                raise Unavailable(f"not in time: {what}")
            await asyncio.sleep(_STEP_S)


def _configuration(group: Group) -> Configuration:
    return group.raft.log.configuration


def _is_settled(group: Group) -> bool:
    log = group.raft.log
    return not log.configuration.is_joint and log.committed >= log.configuration_index


def _has_caught_up(group: Group, id_: int) -> bool:
    leadership = group.raft.leadership
    progress: Progress | None = leadership.progress.get(id_) if leadership else None
    return (
        progress is not None
        and not progress.joining
        and progress.sending is Sending.REPLICATE
        and progress.match + _LAG_ENTRIES_MAX >= group.raft.log.committed
    )
