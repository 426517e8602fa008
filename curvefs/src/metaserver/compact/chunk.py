"""One chunk: its list as it is, the job that stores what becomes of it, the entry that commits that. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from ....proto import metaserver_pb2, state_pb2
from ....proto import worker_pb2 as pb
from ...slices.compaction import LOOK_AGAIN_AFTER, SLICES_HIGH, SLICES_READ_MAX, LaterOn, plan_all, plan_worthwhile
from ...slices.merging import Plan, StoredRun
from ..metastore import compaction, tallies
from ..metastore.reads import cuts_of, is_cut
from ..metastore.scope import read_partition
from ..reclaim.filesystems import Filesystem
from ..storage import keys
from ..storage.transaction import StateReader

NEVER = (1 << 31) - 1  # slices


@dataclass(frozen=True, slots=True)
class Chunk:
    """The slices of a chunk in commit order, without what cuts hide, as keys and values; the first SLICES_READ_MAX.

    is_cut: a cut that is not finished hides others. more: how many there are besides all these.
    """

    fs_id: int
    inode_id: int
    index: int
    chunk_size: int
    pairs: list[tuple[bytes, bytes]]
    slices: list[metaserver_pb2.Slice]
    is_cut: bool = False
    more: int = 0

    def plan(self, *, thorough: bool) -> Plan | LaterOn:
        """Return what to do; thorough: whatever it costs."""
        if not thorough:
            return plan_worthwhile(self.slices, self.chunk_size)
        return plan_all(self.slices, self.chunk_size) or LaterOn(len(self.slices) + LOOK_AGAIN_AFTER)

    def job(self, plan: Plan, chunk_ids: list[int], filesystem: Filesystem, data_key: bytes) -> pb.Job:
        """Return the worker's job: the runs of a plan, each under a chunk id of its own."""
        compaction_number = self._compaction_number(plan)
        runs = [
            pb.RunToStore(chunk_id=chunk_id, compaction=compaction_number, pieces=_pieces(run))
            for run, chunk_id in zip(plan.runs, chunk_ids, strict=True)
        ]
        work = pb.StoreRuns(
            filesystem=filesystem.uuid.bytes,
            block_size=filesystem.block_size,
            block_format=filesystem.block_format,
            runs=runs,
            data_key=data_key,
        )
        return pb.Job(object_store=filesystem.object_store, store_runs=work)

    def commit(self, plan: Plan, chunk_ids: list[int], block_format: int) -> state_pb2.Entry:
        """Return the entry that commits a plan whose runs are stored."""
        pairs = [self.pairs[n] for n in plan.members]
        commit = state_pb2.CompactCommit(
            inode_id=self.inode_id,
            chunk_index=self.index,
            orders=[keys.slice_order(key) for key, _ in pairs],
            digest=compaction.digest_of(pairs),
        )
        for run, chunk_id in zip(plan.runs, chunk_ids, strict=True):
            commit.replacement.add(
                chunk_id=chunk_id,
                compaction=self._compaction_number(plan),
                chunk_index=self.index,
                offset=run.offset,
                length=run.length,
                size=run.length,
                object=metaserver_pb2.ObjectLocation(block_format=block_format),
            )
        for offset, length in plan.zeros:
            commit.replacement.add(chunk_index=self.index, offset=offset, length=length, zero=True)
        if len(self.slices) < SLICES_HIGH and not self.is_cut:
            after = len(self.slices) - plan.saved
            # What could not be made shorter waits until there is as much again.
            commit.look_again_at = after + max(after, LOOK_AGAIN_AFTER)
        return state_pb2.Entry(format=1, compact=state_pb2.CompactCommand(fs_id=self.fs_id, commit=commit))

    def _compaction_number(self, plan: Plan) -> int:
        return max(self.slices[n].compaction for n in plan.members) + 1


def look(view: StateReader, fs_id: int, inode_id: int, index: int) -> Chunk | None:
    """Read a chunk; None when its file is gone, or going."""
    partition = read_partition(view, fs_id, inode_id)
    if partition is None or partition.deleting or view.get(keys.of_inode(keys.INODE, fs_id, inode_id)) is None:
        return None
    chunk_size = partition.spec.chunk_size
    cuts = cuts_of(view, fs_id, inode_id)
    pairs, slices, hidden = [], [], 0
    for key, value in view.scan(*keys.slices_of_chunk(fs_id, inode_id, index)):
        if not is_cut(cuts, index * chunk_size, keys.slice_order(key)):
            pairs.append((key, value))
            slices.append(metaserver_pb2.Slice.FromString(value))
            if len(slices) == SLICES_READ_MAX:
                break
        else:
            hidden += 1
    more = max(tallies.count_of(view, fs_id, inode_id, index) - len(slices) - hidden, 0)
    return Chunk(fs_id, inode_id, index, chunk_size, pairs, slices, hidden > 0, more)


def look_again(fs_id: int, inode_id: int, index: int, slices: int) -> state_pb2.Entry:
    """Return the entry that takes a chunk from the list until it has so many slices."""
    step = state_pb2.CompactLookAgain(inode_id=inode_id, chunk_index=index, slices=slices)
    return state_pb2.Entry(format=1, compact=state_pb2.CompactCommand(fs_id=fs_id, look_again=step))


def give_up(fs_id: int, chunk_ids: list[int]) -> state_pb2.Entry:
    """Return the entry after which nothing is published under these ids, if nothing was."""
    step = state_pb2.CompactGiveUp(chunk_ids=chunk_ids)
    return state_pb2.Entry(format=1, compact=state_pb2.CompactCommand(fs_id=fs_id, give_up=step))


def _pieces(run: StoredRun) -> Iterator[pb.RunPiece]:
    for piece in run.pieces:
        if piece.slice is None:
            yield pb.RunPiece(length=piece.length)
        else:
            yield pb.RunPiece(
                length=piece.length,
                chunk_id=piece.slice.chunk_id,
                compaction=piece.slice.compaction,
                offset=piece.run_offset,
                size=piece.slice.size,
                block_format=piece.slice.object.block_format,
            )
