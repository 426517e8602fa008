"""Copysets: planned when metaservers join, made, and followed as their membership changes.

Who the peers of a new copyset are is schedule/create.py's decision, stored before anybody hears of it. Its replicas are
made by calls that are repeated until each peer has one, and, as an order, whenever a heartbeat does not show one.
Before anything is kept in a group, or when its membership changes, it is sealed: from then on no replica of it is ever
made anew, because a metaserver that lost its disk must not come back under its old name with an empty replica that
votes. Such a replica is told to be missing, and after a while another metaserver gets one in its place.

From then on the group's log decides who its peers are, and the stored record follows its leader's reports.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from random import Random

import structlog

from ....proto import common_pb2, heartbeat_pb2, topology_pb2
from ...common.errors import Overloaded, Unavailable
from ..fleet import Fleet
from ..heartbeat.reports import Reports
from ..parallel import run_all
from ..retries import RetryQueue
from ..schedule.create import create, wanted_count
from ..schedule.fleet_view import FleetView
from ..schedule.operators import Limits
from ..state import FORMAT, Change, State, changed
from .membership import followed
from .placement import GroupLoad, choose_groups
from .places import Places
from .views import Views

_log = structlog.get_logger()
_PLANNED_MAX = 50  # at a time: a transaction is bounded
_AHEAD = 12  # partitions for which there is room before anybody asks: those of a filesystem
_PARALLEL = 8  # groups whose replicas are made at a time


class Copysets:
    """All copysets. Its background work is ``creations.run()`` and ``memberships.run()``.

    per_metaserver: how many copysets each metaserver shall lead, unless its pool says more. per_copyset: how many
    partitions one shall hold, before more are made.
    """

    def __init__(
        self,
        state: State,
        reports: Reports,
        views: Views,
        fleet: Fleet,
        fleet_view: FleetView,
        *,
        places: Places,
        per_metaserver: int,
        per_copyset: int,
        random: Callable[[], float],
    ) -> None:
        self._state = state
        self._reports = reports
        self._views = views
        self._fleet = fleet
        self._places = places
        self._fleet_view = fleet_view
        self._per_metaserver = per_metaserver
        self._per_copyset = per_copyset
        self._random = random
        self.creations: RetryQueue[int] = RetryQueue("create copyset", self._create_if_fresh, random=random)
        self.memberships: RetryQueue[int] = RetryQueue("follow membership", self._follow, random=random)

    # ------------------------------------------------------------------------------------------ making them

    async def plan(self) -> None:
        """Decide on the copysets that are missing, and have them made. Raises what State.change raises."""
        while made := await self._state.change(self._plan):
            for group_id, peers in made:
                _log.info("a copyset is made", group_id=group_id, peers=peers)
                self.creations.add(group_id)

    def take_up(self, metaserver_id: int) -> None:
        """A metaserver's process has begun: make what it still lacks."""
        for group_id, record in self._state.copysets.items():
            if any(peer.metaserver_id == metaserver_id for peer in record.peers) and self.may_create(group_id):
                self.creations.add(group_id)

    def may_create(self, group_id: int) -> bool:
        """Return whether replicas of the group may be made: nothing was ever in it."""
        record = self._state.copysets.get(group_id)
        return record is not None and not record.sealed

    async def make_usable(self, group_ids: Iterable[int]) -> None:
        """Have all replicas of these groups made; from then on they are never made again, whatever is lost.

        Raises what Fleet and State.change raise; then some may be made.
        """
        fresh = [group_id for group_id in group_ids if self.may_create(group_id)]
        await run_all((partial(self._create, group_id) for group_id in fresh), limit=_PARALLEL)
        await self._state.change(lambda change: self._seal(change, fresh))

    async def _create(self, group_id: int) -> None:
        await self._fleet.create_copyset(group_id, self._views.peers(group_id))

    async def _create_if_fresh(self, group_id: int) -> None:
        if self.may_create(group_id) and not self._views.is_lost(group_id):
            await self._create(group_id)

    def _seal(self, change: Change, group_ids: Iterable[int]) -> None:
        for group_id in group_ids:
            if (record := self._state.copysets.get(group_id)) is not None:
                change.put(self._state.copysets, group_id, changed(record, sealed=True))

    def _plan(self, change: Change) -> list[tuple[int, tuple[int, ...]]]:
        made: list[tuple[int, tuple[int, ...]]] = []
        lacking = self._lacking()
        snapshots = self._fleet_view.snapshots() if lacking else {}
        for pool_id, (wanted, known_count) in lacking.items():
            planned = create(
                snapshots[pool_id],
                Limits(),
                Random(self._random()),  # noqa: S311 -- spreads, and hides nothing
                wanted=wanted,
                known_count=known_count,
                count_max=_PLANNED_MAX - len(made),
            )
            made += [(self._put_new(change, peers), peers) for peers in planned]
        return made

    def _lacking(self) -> dict[int, tuple[int, int]]:
        """Return the pools that shall have more copysets: how many in all, for how many metaservers."""
        known: Counter[int] = Counter()
        for record in self._state.metaservers.values():
            known[self._places.pool_of(record)] += record.duty == topology_pb2.SERVES and not record.superseded_by
        counts = self._counts(list(known))
        found: dict[int, tuple[int, int]] = {}
        for pool_id, known_count in known.items():
            copysets, partitions = counts[pool_id]
            pool = self._state.pools.get(pool_id)
            wanted = wanted_count(
                known_count=known_count,
                per_metaserver=self._per_metaserver,
                partition_count=partitions,
                ahead_count=_AHEAD,
                partitions_per_copyset=self._per_copyset,
            )
            wanted = max(wanted, pool.copyset_count if pool is not None and known_count else 0)
            if wanted > copysets:
                found[pool_id] = wanted, known_count
        return found

    def _counts(self, pools: list[int]) -> dict[int, tuple[int, int]]:
        """Return how many copysets and partitions are in each pool, but for those that are lost.

        With one pool and nothing lost, as it usually is, without a look at each.
        """
        state, lost = self._state, self._views.lost_copysets()
        if len(pools) == 1 and not lost:
            return {pools[0]: (len(state.copysets), len(state.partitions))}
        pool_of_copyset = self._places.pool_of_copysets()
        pool_of = {id_: pool_of_copyset(record) for id_, record in state.copysets.items() if id_ not in lost}
        copysets = Counter(pool_of.values())
        groups = [partition.group_id for partition in state.partitions.values() if partition.group_id not in lost]
        partitions = Counter(pool_of.get(group_id, 0) for group_id in groups)
        return {pool: (copysets[pool], partitions[pool]) for pool in pools}

    def _put_new(self, change: Change, peers: tuple[int, ...]) -> int:
        group_id = change.next_number("copyset")
        while self._reports.is_reported(group_id):  # made by hand, or before the store was restored
            group_id = change.next_number("copyset")
        record = topology_pb2.Copyset(
            format=FORMAT, group_id=group_id, peers=[common_pb2.Peer(metaserver_id=one) for one in peers]
        )
        change.put(self._state.copysets, group_id, record)
        return group_id

    # -------------------------------------------------------------------------------------- placing on them

    def choose_groups(self, count: int) -> list[int]:
        """Return the groups that shall hold ``count`` new partitions.

        Raises Overloaded (this MDS has just begun), Unavailable (too few metaservers are online).
        """
        chosen = choose_groups(self._group_loads(), count)
        if chosen:
            return chosen
        if self._views.awaits_first_reports():
            raise Overloaded("this MDS has just begun and waits for its metaservers", retry_after_ms=500)
        snapshots = self._fleet_view.snapshots().values()
        online, needed = max(((len(one.usable()), one.replica_count) for one in snapshots), default=(0, 0))
        if online == 0:
            raise Unavailable("no metaserver is online to hold the metadata")
        if online < needed:
            raise Unavailable(f"{online} of {needed} metaservers needed are online")
        raise Unavailable("no copyset has enough of its metaservers online")

    def _group_loads(self) -> list[GroupLoad]:
        counts = Counter(partition.group_id for partition in self._state.partitions.values())
        loads = []
        for group_id, record in self._state.copysets.items():
            voters = [peer.metaserver_id for peer in record.peers if not peer.learner]
            reports = [report for voter in voters if (report := self._reports.get(voter))]
            loads.append(
                GroupLoad(
                    group_id,
                    peer_count=len(voters),
                    online_count=sum(self._is_online(voter) for voter in voters),
                    partition_count=counts[group_id],
                    disk_free_bytes=min((one.disk_total_bytes - one.disk_used_bytes for one in reports), default=0),
                    fresh=not record.sealed,
                )
            )
        return loads

    def _is_online(self, metaserver_id: int) -> bool:
        return self._views.health(metaserver_id) == topology_pb2.ONLINE

    # ------------------------------------------------------------------------------------- following them

    def heard(self, report: heartbeat_pb2.CopysetReport) -> None:
        """Note that a leader may know a newer membership than is stored; the record follows soon."""
        record = self._state.copysets.get(report.group_id)
        if record is not None and report.leading and report.configuration_index > record.configuration_index:
            self.memberships.add(report.group_id)

    async def _follow(self, group_id: int) -> None:
        new = await self._state.change(lambda change: self._take_over(change, group_id))
        if new is not None:
            peers = [peer.metaserver_id for peer in new.peers]
            _log.info(
                "a copyset has these peers", group_id=group_id, peers=peers, configuration_index=new.configuration_index
            )

    def _take_over(self, change: Change, group_id: int) -> topology_pb2.Copyset | None:
        record = self._state.copysets.get(group_id)
        report = self._reports.of(self._reports.leader_of(group_id), group_id)
        new = followed(record, report) if record is not None and report is not None else None
        if new is not None:
            change.put(self._state.copysets, group_id, new)
        return new
