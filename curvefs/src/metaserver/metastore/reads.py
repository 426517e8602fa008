"""Reads of the state: each from one consistent view."""

import itertools
import stat
from collections.abc import Callable, Iterable, Iterator

from ....proto import common_pb2, state_pb2
from ....proto import metaserver_pb2 as pb
from ...common.counters import total
from ...common.ids import NAME_SIZE_MAX, ROOT_INODE, partition_of
from ...slices.geometry import LENGTH_MAX
from ..storage import keys
from ..storage.transaction import StateReader
from . import quota_owner, quotas, trash_reads
from .locks import is_settled, require_settled_identity, require_settled_inode, require_settled_name
from .scope import Refusal, has_locks, read_partition

ENTRIES_MAX = 4096
CHUNKS_MAX = 1024
FEW_SLICES_MAX = 64  # that come with attributes
ENTRIES_BYTES = 1 << 20  # of a listing's page, about


def read(view: StateReader, fs_id: int, request: pb.Read) -> pb.ReadResult:
    """Answer one read."""
    result = pb.ReadResult(read_id=request.read_id)
    kind = request.WhichOneof("read")
    try:
        if kind is None:
            raise Refusal(common_pb2.UNSUPPORTED, "a read this server does not know")
        _READS[kind](view, fs_id, request, result)
    except Refusal as refusal:
        result.failure.CopyFrom(refusal.as_failure())
    return result


def _inode(view: StateReader, fs_id: int, inode_id: int, into: pb.Inode) -> None:
    raw = view.get(keys.of_inode(keys.INODE, fs_id, inode_id))
    if raw is None:
        if read_partition(view, fs_id, inode_id) is None:
            raise Refusal(common_pb2.WRONG_PARTITION, "the partition is not here")
        require_settled_identity(view, fs_id, inode_id)  # it may be about to be made
        raise Refusal(common_pb2.NOT_FOUND, f"inode {inode_id}")
    into.ParseFromString(raw)


def _partition(view: StateReader, fs_id: int, inode_id: int) -> state_pb2.PartitionRecord:
    record = read_partition(view, fs_id, inode_id)
    if record is None:
        raise Refusal(common_pb2.WRONG_PARTITION, "the partition is not here")
    return record


def _lookup(view: StateReader, fs_id: int, request: pb.Read, result: pb.ReadResult) -> None:
    """Lookup. An absent name is no failure: the answer has no inode, and the parent's change counter."""
    wanted = request.lookup
    parent = pb.Inode()
    _inode(view, fs_id, wanted.parent, parent)
    if not stat.S_ISDIR(parent.mode):
        raise Refusal(common_pb2.NOT_A_DIRECTORY)
    if len(wanted.name) > NAME_SIZE_MAX:
        raise Refusal(common_pb2.NAME_TOO_LONG)
    result.parent_change = parent.change
    if wanted.name in (b".", b".."):
        require_settled_inode(view, fs_id, parent.inode_id)
        inode_id = parent.parent if wanted.name == b".." else parent.inode_id
        _child(view, fs_id, wanted.parent, (inode_id, pb.DIRECTORY), result.inode)
        return
    seed = _partition(view, fs_id, wanted.parent).spec.hash_seed
    key = keys.dentry(fs_id, wanted.parent, keys.name_hash(seed, wanted.name), wanted.name)
    require_settled_name(view, key)
    value = view.get(key)
    if value is not None:
        _child(view, fs_id, wanted.parent, keys.unpack_dentry(value), result.inode)
        if (raw := _only_slice(view, fs_id, result.inode, wanted.small_max)) is not None:
            result.slices.add().ParseFromString(raw)


def _only_slice(view: StateReader, fs_id: int, inode: pb.Inode, small_max: int) -> bytes | None:
    """Return the slice of a small file that has only one. A hint where to find its bytes: cuts are not looked at."""
    if not 0 < inode.length <= small_max or not stat.S_ISREG(inode.mode):
        return None
    start, end = keys.slice_(fs_id, inode.inode_id, 0, 0), keys.slice_(fs_id, inode.inode_id, 1, 0)
    found = [value for _, value in view.scan(start, end, 2)]
    return found[0] if len(found) == 1 else None


def _child(view: StateReader, fs_id: int, parent: int, child: tuple[int, int], into: pb.Inode) -> None:
    """Return the inode that a name leads to; of one in another partition its number and type."""
    inode_id, type_ = child
    if partition_of(inode_id) == partition_of(parent):
        require_settled_inode(view, fs_id, inode_id)
        _inode(view, fs_id, inode_id, into)
    else:
        into.inode_id, into.mode = inode_id, type_ << 12


def _get_attr(view: StateReader, fs_id: int, request: pb.Read, result: pb.ReadResult) -> None:
    require_settled_inode(view, fs_id, request.get_attr.inode_id)
    _inode(view, fs_id, request.get_attr.inode_id, result.inode)
    if request.get_attr.slices_max and stat.S_ISREG(result.inode.mode):
        _few_slices(view, fs_id, result, min(request.get_attr.slices_max, FEW_SLICES_MAX))


def _few_slices(view: StateReader, fs_id: int, result: pb.ReadResult, limit: int) -> None:
    """Add all slices of a file, if they are in one chunk and few: who opens it spares a request."""
    inode_id, chunk_size = result.inode.inode_id, _partition(view, fs_id, result.inode.inode_id).spec.chunk_size
    if result.inode.length > chunk_size:
        return
    start, end = keys.slice_(fs_id, inode_id, 0, 0), keys.slice_(fs_id, inode_id, 1, 0)
    found = list(view.scan(start, end, limit + 1))
    if len(found) <= limit:
        cuts = cuts_of(view, fs_id, inode_id)
        result.slices.extend(_uncut(found, cuts, chunk_size))
        result.end = True


def _read_dir(view: StateReader, fs_id: int, request: pb.Read, result: pb.ReadResult) -> None:
    """ReadDir: names in the order of (hash, name) after the cursor (rule 23)."""
    wanted = request.read_dir
    require_settled_inode(view, fs_id, wanted.inode_id)
    _inode(view, fs_id, wanted.inode_id, result.inode)
    if not stat.S_ISDIR(result.inode.mode):
        raise Refusal(common_pb2.NOT_A_DIRECTORY)
    if len(wanted.after_name) > NAME_SIZE_MAX:
        raise Refusal(common_pb2.INVALID_ARGUMENT, "a cursor that no listing gave")
    limit = min(wanted.limit or ENTRIES_MAX, ENTRIES_MAX)
    start = keys.dentry(fs_id, wanted.inode_id, wanted.after_hash, wanted.after_name)
    if wanted.after_hash:
        start += b"\0"
    entries = list(view.scan(start, keys.after_inode(keys.DENTRY, fs_id, wanted.inode_id), limit + 1))
    room = ENTRIES_BYTES
    locked = has_locks(view)  # asked once a page
    for key, value in entries[:limit]:
        inode_id, type_ = keys.unpack_dentry(value)
        entry = result.entries.add(
            name=key[keys.DENTRY_NAME_AT :],
            hash=keys.dentry_hash(key),
            inode_id=inode_id,
            type=type_,
        )
        is_here = wanted.with_attributes and partition_of(inode_id) == partition_of(wanted.inode_id)
        if is_here and (not locked or is_settled(view, fs_id, inode_id)):
            raw = view.get(keys.of_inode(keys.INODE, fs_id, inode_id))
            if raw is not None:
                entry.inode.ParseFromString(raw)
                if (raw := _only_slice(view, fs_id, entry.inode, wanted.small_max)) is not None:
                    entry.only_slice.ParseFromString(raw)
        room -= entry.ByteSize()
        if room <= 0:
            break
    result.end = len(result.entries) == len(entries)


def _get_slices(view: StateReader, fs_id: int, request: pb.Read, result: pb.ReadResult) -> None:
    """GetSlices: what cuts hide is left out."""
    wanted = request.get_slices
    _inode(view, fs_id, wanted.inode_id, result.inode)
    chunk_size = _partition(view, fs_id, wanted.inode_id).spec.chunk_size
    if wanted.first_chunk > LENGTH_MAX:
        return
    cuts = cuts_of(view, fs_id, wanted.inode_id)
    start = keys.slice_(fs_id, wanted.inode_id, wanted.first_chunk, 0)
    end = keys.slice_(fs_id, wanted.inode_id, wanted.first_chunk + min(wanted.count, CHUNKS_MAX), 0)
    result.slices.extend(_uncut(view.scan(start, end), cuts, chunk_size))


def _uncut(
    found: Iterable[tuple[bytes, bytes]], cuts: list[state_pb2.CutRecord], chunk_size: int
) -> Iterator[pb.Slice]:
    for key, value in found:
        one = pb.Slice.FromString(value)
        if not is_cut(cuts, one.chunk_index * chunk_size, keys.slice_order(key)):
            yield one


def cuts_of(view: StateReader, fs_id: int, inode_id: int) -> list[state_pb2.CutRecord]:
    """Return the cuts of a file that are not finished."""
    start, end = keys.of_inode(keys.CUT, fs_id, inode_id), keys.after_inode(keys.CUT, fs_id, inode_id)
    return [state_pb2.CutRecord.FromString(value) for _, value in view.scan(start, end)]


def is_cut(cuts: list[state_pb2.CutRecord], chunk_start: int, order: int) -> bool:
    """Say whether cuts hide a slice of the chunk that begins at an offset of the file."""
    return any(chunk_start >= cut.start and order < cut.order for cut in cuts)


def _get_xattr(view: StateReader, fs_id: int, request: pb.Read, result: pb.ReadResult) -> None:
    wanted = request.get_xattr
    value = view.get(keys.xattr(fs_id, wanted.inode_id, wanted.name)) if len(wanted.name) <= NAME_SIZE_MAX else None
    if value is None:
        _inode(view, fs_id, wanted.inode_id, result.inode)
        raise Refusal(common_pb2.NO_ATTRIBUTE)
    result.value = value


def _list_xattr(view: StateReader, fs_id: int, request: pb.Read, result: pb.ReadResult) -> None:
    inode_id = request.list_xattr.inode_id
    _inode(view, fs_id, inode_id, result.inode)
    start, end = keys.of_inode(keys.XATTR, fs_id, inode_id), keys.after_inode(keys.XATTR, fs_id, inode_id)
    result.names.extend(key[keys.XATTR_NAME_AT :] for key, _ in view.scan(start, end))


def _stat_fs(view: StateReader, fs_id: int, _: pb.Read, result: pb.ReadResult) -> None:
    records = partitions(view, fs_id)
    result.stat_fs.inode_count = total(record.inode_count for record in records)
    result.stat_fs.used_bytes = total(record.used_bytes for record in records)
    result.stat_fs.SetInParent()
    quota = quota_owner.find(view, fs_id, ROOT_INODE)
    if quota is not None and quota.state != quota_owner.Status.DELETING:
        result.stat_fs.limit.CopyFrom(quota.limit)


def _get_share(view: StateReader, fs_id: int, request: pb.Read, result: pb.ReadResult) -> None:
    wanted = request.get_share
    result.share.CopyFrom(quotas.share_in(view, fs_id, wanted.partition_id, wanted.quota_id))


def settled_inode(view: StateReader, fs_id: int, inode_id: int) -> pb.Inode:
    """Return an inode whose identity no transaction is about to change. Raises Refusal LOCKED, NOT_FOUND."""
    require_settled_identity(view, fs_id, inode_id)
    inode = pb.Inode()
    _inode(view, fs_id, inode_id, inode)
    return inode


def partitions(view: StateReader, fs_id: int | None = None) -> list[state_pb2.PartitionRecord]:
    """Return the partitions of a filesystem here, or of all."""
    start = keys.partition(fs_id or 0, 0)
    end = keys.after_prefix(keys.PARTITION) if fs_id is None else keys.partition(fs_id + 1, 0)
    return [state_pb2.PartitionRecord.FromString(value) for _, value in view.scan(start, end)]


def open_sessions(view: StateReader, limit: int) -> dict[bytes, state_pb2.SessionRecord]:
    """Return sessions that are not ended, by id, at most ``limit``."""
    pairs = view.scan(keys.SESSION, keys.after_prefix(keys.SESSION))
    records = ((key[1:], state_pb2.SessionRecord.FromString(value)) for key, value in pairs)
    return dict(itertools.islice((one for one in records if not one[1].ended_ns), limit))


def session(view: StateReader, session_id: bytes) -> state_pb2.SessionRecord | None:
    """Return a session's record: where its lane stands."""
    raw = view.get(keys.session(session_id))
    return None if raw is None else state_pb2.SessionRecord.FromString(raw)


_READS: dict[str, Callable[[StateReader, int, pb.Read, pb.ReadResult], None]] = {
    "lookup": _lookup,
    "get_attr": _get_attr,
    "read_dir": _read_dir,
    "get_slices": _get_slices,
    "get_xattr": _get_xattr,
    "list_xattr": _list_xattr,
    "stat_fs": _stat_fs,
    "get_share": _get_share,
    "list_trash": trash_reads.list_trash,
    "list_trash_hours": trash_reads.list_hours,
}
