"""What metaservers report and the store does not know: a pure function of the tables and the last reports.

Nothing is guessed: a copyset is taken up as its leader has committed it, a filesystem when all its partitions are
there. What cannot be taken up yet is told in a line. Who reports a copyset that is not sealed may keep something in
it, so it is sealed: nobody makes an empty replica of it any more.

Two filesystems may claim one name, when the stored one was deleted and another was made after the copy. If nobody has
the first partition of the stored one, it gives the name up; else the new one gets another name.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ....proto import common_pb2, heartbeat_pb2, topology_pb2
from ....proto import mds_pb2 as pb
from ..heartbeat.reports import Reports
from ..state import FORMAT, Change, State, Table, changed
from ..storage.protocol import TXN_OPERATIONS_MAX

# In a transaction, beside the counters of copysets, filesystems and metaservers, and that of the store's writes.
PUTS_MAX = TXN_OPERATIONS_MAX - 4
_NAME_SIZE_MAX = 63

Place = tuple[int, int]  # filesystem, partition


@dataclass(slots=True)
class Findings:
    """What is to be stored (None: removed), what was learned by it, and what is not understood yet.

    unknown: complete once nothing is to be stored. counters: every number of that name up to this one is in use.
    """

    puts: list[tuple[Table[Any, Any], Any, Any]] = field(default_factory=list)
    learned: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)

    def put_in(self, change: Change) -> None:
        """Have it stored."""
        for table, key, record in self.puts:
            if record is None:
                change.delete(table, key)
            else:
                change.put(table, key, record)
        for counter, number in self.counters.items():
            change.raise_number(counter, number)


def survey(state: State, reports: Reports) -> Findings:
    """Return what there is to learn from the last reports."""
    return _Survey(state, reports).findings


def missing(state: State, reports: Reports) -> list[str]:
    """Return what the store knows and those who should have it do not, one line each."""
    unreported = [group_id for group_id, _ in state.copysets.items() if not reports.is_reported(group_id)]
    lines = [f"copyset {group_id} has no replica" for group_id in unreported]
    for fs_id, filesystem in state.filesystems.items():
        partitions = state.partitions_of(fs_id)
        gone = [one for one in partitions if _lives(reports, one.group_id, (fs_id, one.partition_id)) is False]
        if gone:
            lines.append(
                f"filesystem '{filesystem.name}' ({fs_id}): nobody has {len(gone)} of its {len(partitions)} partitions"
            )
    return sorted(lines)


class _Survey:
    def __init__(self, state: State, reports: Reports) -> None:
        self._state = state
        self._reports = reports
        self.findings = Findings()
        self._groups: dict[Place, int] = {}  # where living partitions are
        self._specs: dict[int, heartbeat_pb2.PartitionReport] = {}  # first partitions, by filesystem
        for group_id, leader in self._led_groups():
            self._look_at_group(group_id, leader)
        for fs_id, first in sorted(self._specs.items()):
            if first.spec.filesystem.uuid:
                self._look_at_filesystem(fs_id, first)
        self._look_at_partitions()
        self._look_at_peers()

    # ------------------------------------------------------------------------------------------- copysets

    def _led_groups(self) -> Iterator[tuple[int, heartbeat_pb2.CopysetReport]]:
        """Yield the groups of which a leader is known, and what it says."""
        for group_id in sorted(self._reports.groups()):
            self._is_used("copyset", group_id)
            record = self._state.copysets.get(group_id)
            if record is not None and not record.sealed and self._has_room():
                self._put(self._state.copysets, group_id, changed(record, sealed=True), f"copyset {group_id} is in use")
            said = self._reports.of(self._reports.leader_of(group_id), group_id)
            if said is None:
                self.findings.unknown.append(f"copyset {group_id} has no leader")
            else:
                yield group_id, said

    def _look_at_group(self, group_id: int, said: heartbeat_pb2.CopysetReport) -> None:
        for partition in said.partitions:
            self._is_used("fs", partition.fs_id)
            if not partition.deleting:
                self._groups[partition.fs_id, partition.partition_id] = group_id
                if partition.partition_id == 0:
                    self._specs[partition.fs_id] = partition
        if group_id in self._state.copysets:
            return
        if not said.peers or said.committed_index < said.configuration_index:
            self.findings.unknown.append(f"the members of copyset {group_id} are just changing")
        elif self._has_room():
            peers = [common_pb2.Peer(metaserver_id=one.metaserver_id, learner=one.learner) for one in said.peers]
            record = topology_pb2.Copyset(
                format=FORMAT,
                group_id=group_id,
                pool_id=self._pool_of({peer.metaserver_id for peer in peers}),
                configuration_index=said.configuration_index,
                peers=peers,
                sealed=True,
            )
            self._put(self._state.copysets, group_id, record, f"copyset {group_id}")

    def _pool_of(self, members: set[int]) -> int:
        """Return the pool in which these metaservers have other copysets."""
        for record in self._state.copysets.values():
            if any(peer.metaserver_id in members for peer in record.peers):
                return record.pool_id
        return 0

    def _look_at_peers(self) -> None:
        """See that every metaserver that a configuration names is known."""
        named: dict[int, int] = {}
        for group_id in self._reports.groups():
            for metaserver_id in self._reports.reporting(group_id):
                said = self._reports.of(metaserver_id, group_id)
                for peer in said.peers if said is not None else ():
                    named.setdefault(peer.metaserver_id, group_id)
        for metaserver_id, group_id in sorted(named.items()):
            self._is_used("metaserver", metaserver_id)
            if metaserver_id not in self._state.metaservers:
                self.findings.unknown.append(f"metaserver {metaserver_id}, a peer of copyset {group_id}")

    # ---------------------------------------------------------------------------------------- filesystems

    def _look_at_filesystem(self, fs_id: int, first: heartbeat_pb2.PartitionReport) -> None:
        info = first.spec.filesystem
        record = self._state.filesystems.get(fs_id)
        if record is None:
            self._take_up(fs_id, first)
        elif record.uuid != info.uuid and record.state == pb.CREATING:
            # Begun before it was clear that the store is an old copy, under a number that was in use.
            self._take_up(fs_id, first)
            if self._state.fs_names.get(record.name) == fs_id != self._name_put(record.name) and self._has_room():
                self._put(self._state.fs_names, record.name, None)
        elif record.uuid != info.uuid:
            self.findings.unknown.append(f"filesystem {fs_id} is '{info.name}', and '{record.name}' in the store")
        elif record.state == pb.CREATING and self._is_complete(record) and self._has_room():
            # It was about to be made when the copy was taken. In use since then, or not: it is there, so it stays.
            told = f"filesystem '{record.name}' ({fs_id}) is complete"
            self._put(self._state.filesystems, fs_id, changed(record, state=pb.ACTIVE), told)

    def _is_complete(self, record: pb.Filesystem) -> bool:
        """Say whether a filesystem that was being made has its name and all its partitions."""
        places = [(record.fs_id, one.partition_id) for one in self._state.partitions_of(record.fs_id)]
        return self._state.fs_names.get(record.name) == record.fs_id and all(place in self._groups for place in places)

    def _take_up(self, fs_id: int, first: heartbeat_pb2.PartitionReport) -> None:
        spec, info = first.spec, first.spec.filesystem
        places = {place: group for place, group in self._groups.items() if place[0] == fs_id}
        told = f"filesystem '{info.name}' ({fs_id})"
        if len(places) < info.partition_count:
            self.findings.unknown.append(f"{told}: {len(places)} of {info.partition_count} partitions are known")
            return
        # Itself, its name, the name that its number had, and who has its name, under another one.
        name = self._free_name(info.name, fs_id) if self._has_room(len(places) + 5) else None
        if name is None:
            self.findings.unknown.append(f"{told}: its name is not free")
            return
        record = pb.Filesystem(
            format=FORMAT,
            fs_id=fs_id,
            name=name,
            uuid=info.uuid,
            object_store=info.object_store,
            chunk_size=spec.chunk_size,
            block_size=spec.block_size,
            capacity_bytes=info.capacity_bytes,
            capacity_inodes=info.capacity_inodes,
            state=pb.ACTIVE,
            created_ns=info.created_ns,
            block_format=info.block_format,
            trash_retention_s=info.trash_retention_s,
            trash_replaced=info.trash_replaced,
            delete_grace_s=info.delete_grace_s,
            hash_seed=spec.hash_seed,
            key_check=info.key_check,
        )
        self._put(self._state.filesystems, fs_id, record, told if name == info.name else f"{told}, now '{name}'")
        self._put(self._state.fs_names, name, fs_id)
        for (_, partition_id), group_id in sorted(places.items()):
            self._put_partition(fs_id, partition_id, group_id)

    def _name_put(self, name: str) -> int:
        names = self._state.fs_names
        return next((fs_id for table, key, fs_id in self.findings.puts if table is names and key == name), 0)

    def _free_name(self, name: str, fs_id: int) -> str | None:
        """Return the name that a filesystem gets; None while that is not known."""
        if any(table is self._state.fs_names for table, _, _ in self.findings.puts):
            return None  # one after the other: each sees what the one before was given
        holder = self._state.fs_names.get(name)
        if holder is None:
            return name
        places = [place for place in self._state.partitions_of(holder) if place.partition_id == 0]
        lives = _lives(self._reports, places[0].group_id, (holder, 0)) if places else False
        other = _numbered(name, holder if lives is False else fs_id)
        if lives is None or other in self._state.fs_names:
            return None
        if lives:
            return other
        record = self._state.filesystems.get(holder)
        assert record is not None, "a name leads to a filesystem"
        told = f"filesystem '{name}' ({holder}), of which nobody has anything, is now '{other}'"
        self._put(self._state.filesystems, holder, changed(record, name=other), told)
        self._put(self._state.fs_names, other, holder)
        return name

    # ----------------------------------------------------------------------------------------- partitions

    def _look_at_partitions(self) -> None:
        orphans: dict[int, int] = {}
        for (fs_id, partition_id), group_id in sorted(self._groups.items()):
            record = self._state.partitions.get((fs_id, partition_id))
            if fs_id not in self._state.filesystems:
                orphans[fs_id] = orphans.get(fs_id, 0) + 1
            elif record is None and self._has_room():
                self._put_partition(fs_id, partition_id, group_id, f"partition {partition_id} of filesystem {fs_id}")
            elif record is not None and record.group_id != group_id:
                self.findings.unknown.append(
                    f"partition {partition_id} of filesystem {fs_id} is in copyset {group_id}, "
                    f"and in {record.group_id} in the store"
                )
        for fs_id, count in orphans.items():
            first = self._specs.get(fs_id)
            if first is None or not first.spec.filesystem.uuid:
                self.findings.unknown.append(f"{count} partitions of filesystem {fs_id}; which one that is nobody says")

    def _put_partition(self, fs_id: int, partition_id: int, group_id: int, told: str = "") -> None:
        record = pb.Partition(fs_id=fs_id, partition_id=partition_id, group_id=group_id)
        self._put(self._state.partitions, (fs_id, partition_id), record, told)

    # --------------------------------------------------------------------------------------------- inside

    def _has_room(self, puts: int = 1) -> bool:
        return len(self.findings.puts) + puts <= PUTS_MAX

    def _put(self, table: Table[Any, Any], key: Any, record: Any, told: str = "") -> None:
        self.findings.puts.append((table, key, record))
        if told:
            self.findings.learned.append(told)

    def _is_used(self, counter: str, number: int) -> None:
        if number > max(self.findings.counters.get(counter, 0), self._state.counters.get(counter) or 0):
            self.findings.counters[counter] = number


def _lives(reports: Reports, group_id: int, place: Place) -> bool | None:
    """Return whether a partition is in a group, as its leader says; None while there is none to say it."""
    leader = reports.leader_of(group_id)
    if leader:
        found = reports.partition(leader, group_id, *place)
        return found is not None and not found.deleting
    return None


def _numbered(name: str, fs_id: int) -> str:
    tail = f"-{fs_id}"
    return name[: _NAME_SIZE_MAX - len(tail)] + tail
