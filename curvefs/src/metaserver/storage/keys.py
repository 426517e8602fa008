"""Keys of the state machine: big-endian, made for range scans. DO NOT CHANGE: they are the format on disk (version 1).

The first byte is the table. Within a filesystem everything of one inode is adjacent, and a partition's inodes are one
range, because an inode number begins with its partition.

    m  name                                   metadata of the environment (storage/environment.py)
    P  fs, partition                          PartitionRecord
    i  fs, inode                              metaserver.Inode
    d  fs, parent, hash of name, name         dentry: version, inode, type
    x  fs, inode, name                        value of an extended attribute
    s  fs, inode, chunk index, order          metaserver.Slice; order = log index << 16 | place in the entry
    c  fs, inode, order                       CutRecord
    w  fs, inode, session                     the session holds the unlinked inode
    W  session, fs, inode                     the same the other way
    S  session                                SessionRecord
    r  session, sequence                      OperationResult, until acknowledged
    g  session, kind, first id                RangeRecord; kind 255: what is used up of an identity
    q  fs, queued at, order                   DeleteRecord
    h  fs, chunk id, reference, token         ReferenceRecord of a chunk id with several; with a token: its number
    l  key in another table                   LockRecord: of that name (d), inode (i), or of all directory moves (M, fs)
    p  transaction, round                     TransactionRecord: prepared here
    f  transaction                            time at which it was finished here; nothing of it is taken any more
    F  time, transaction                      the same in order of time
    D  session, number                        DecisionRecord
    e  transaction                            session and number of its decision, until all participants have finished
    u  fs, partition, quota                   QuotaShare: what the partition may use of a directory's quota, and uses
    R  session, fs, partition, quota          QuotaAmount that the session reserved
    Q  fs, quota                              QuotaRecord, with its owner: the group of its directory
    L  fs, quota, partition                   LoanRecord, with the owner
    k  fs, inode, chunk index                 tally of a chunk with two slices or more (metastore/tallies.py)
    K  fs, inode, chunk index                 time since when the chunk is to be looked at for compaction
    T  fs, time, inode                        nothing: the inode is in the trash since then
    t  fs, place, hash, -time, inode          the directory it was removed from; place: that, and the hour of the time
"""

import hashlib
import struct

FORMAT = 1

META, PARTITION, INODE, DENTRY, XATTR, SLICE, CUT = b"m", b"P", b"i", b"d", b"x", b"s", b"c"
WAITER, HOLDING, SESSION, RESULT, RANGE, DELETE = b"w", b"W", b"S", b"r", b"g", b"q"
REFERENCE = b"h"
LOCK, PREPARED, FINISHED, FINISHED_AT, DECISION, DECIDED = b"l", b"p", b"f", b"F", b"D", b"e"
SHARE, RESERVED, QUOTA, LOAN = b"u", b"R", b"Q", b"L"
TALLY, LISTED = b"k", b"K"
TRASH, TRASH_PLACE = b"T", b"t"
_MOVES = b"M"

_FS = struct.Struct(">cI")
_FS_ID = struct.Struct(">cIQ")
_FS_ID_U64 = struct.Struct(">cIQQ")
_FS_ID_U64_U64 = struct.Struct(">cIQQQ")
_FS_PARTITION = struct.Struct(">cII")
_DENTRY_VALUE = struct.Struct(">BQB")
_FS_ID_U32 = struct.Struct(">cIQI")
_FS_PARTITION_ID = struct.Struct(">cIIQ")
_FS_ID_PARTITION = struct.Struct(">cIQI")
_FS_PARTITION_QUOTA = struct.Struct(">IIQ")
_PLACE = struct.Struct(">cIQQQQ")
_FS_INODE = struct.Struct(">IQ")
_U64 = struct.Struct(">Q")
_TRANSACTION = struct.Struct(">QQQ")
_DENTRY_VERSION = 1
_U64_MAX = (1 << 64) - 1

ORDINAL_BITS = 16
HASH_MIN = 3


def order_of(index: int, ordinal: int) -> int:
    """Return the commit order of the n-th thing in a log entry."""
    assert ordinal < 1 << ORDINAL_BITS, "one entry touches far fewer keys"
    return index << ORDINAL_BITS | ordinal


def partition(fs_id: int, partition_id: int) -> bytes:
    """Key of a partition's record."""
    return _FS_PARTITION.pack(PARTITION, fs_id, partition_id)


def of_inode(table: bytes, fs_id: int, inode_id: int) -> bytes:
    """Key of an inode, and the prefix of what belongs to it in tables d, x, s, c and w."""
    return _FS_ID.pack(table, fs_id, inode_id)


def after_inode(table: bytes, fs_id: int, inode_id: int) -> bytes:
    """End of the range of an inode's keys in a table."""
    return after_prefix(of_inode(table, fs_id, inode_id))  # there is no number after the last one


def name_hash(seed: bytes, name: bytes) -> int:
    """Return the 63-bit hash that orders names in a directory, at least HASH_MIN.

    What is below are cursors of its own: 0 the beginning, 1 and 2 after '.' and '..'.
    """
    return max(int.from_bytes(hashlib.blake2b(name, digest_size=8, key=seed).digest(), "big") >> 1, HASH_MIN)


def dentry(fs_id: int, parent: int, hash_: int, name: bytes) -> bytes:
    """Key of a name in a directory."""
    return _FS_ID_U64.pack(DENTRY, fs_id, parent, hash_) + name


DENTRY_NAME_AT = _FS_ID_U64.size
_HASH_AT = _FS_ID.size


def dentry_hash(key: bytes) -> int:
    """Return the hash in a dentry's key."""
    return int(_U64.unpack_from(key, _HASH_AT)[0])


def pack_dentry(inode_id: int, type_: int) -> bytes:
    """Value of a dentry."""
    return _DENTRY_VALUE.pack(_DENTRY_VERSION, inode_id, type_)


def unpack_dentry(value: bytes) -> tuple[int, int]:
    """Return (inode, type) of a dentry's value."""
    version, inode_id, type_ = _DENTRY_VALUE.unpack(value)
    assert version == _DENTRY_VERSION, "a dentry of another format"
    return inode_id, type_


def xattr(fs_id: int, inode_id: int, name: bytes) -> bytes:
    """Key of an extended attribute."""
    return _FS_ID.pack(XATTR, fs_id, inode_id) + name


XATTR_NAME_AT = _FS_ID.size


def slice_(fs_id: int, inode_id: int, chunk_index: int, order: int) -> bytes:
    """Key of a slice; with order 0 the beginning of a chunk's range."""
    return _FS_ID_U64_U64.pack(SLICE, fs_id, inode_id, chunk_index, order)


def slice_order(key: bytes) -> int:
    """Return the commit order in a slice's key."""
    return int(_U64.unpack_from(key, _FS_ID_U64.size)[0])


SLICE_ORDER_AT = _FS_ID_U64.size


def slices_of_chunk(fs_id: int, inode_id: int, chunk_index: int) -> tuple[bytes, bytes]:
    """Return the range of the keys of a chunk's slices."""
    return slice_(fs_id, inode_id, chunk_index, 0), slice_(fs_id, inode_id, chunk_index + 1, 0)


def of_chunk(table: bytes, fs_id: int, inode_id: int, chunk_index: int) -> bytes:
    """Key of a chunk in tables k and K."""
    return _FS_ID_U64.pack(table, fs_id, inode_id, chunk_index)


def unpack_chunk(key: bytes) -> tuple[int, int, int]:
    """Return (filesystem, inode, chunk index) of such a key."""
    _, fs_id, inode_id, chunk_index = _FS_ID_U64.unpack(key)
    return fs_id, inode_id, chunk_index


def slice_inode(key: bytes) -> int:
    """Return the inode in a slice's key."""
    return int(_FS_ID_U64.unpack_from(key)[2])


def cut(fs_id: int, inode_id: int, order: int) -> bytes:
    """Key of a cut."""
    return _FS_ID_U64.pack(CUT, fs_id, inode_id, order)


def unpack_cut(key: bytes) -> tuple[int, int, int]:
    """Return (filesystem, inode, order) of a cut's key."""
    _, fs_id, inode_id, order = _FS_ID_U64.unpack(key)
    return fs_id, inode_id, order


def waiter(fs_id: int, inode_id: int, session_id: bytes) -> bytes:
    """Key that says who holds an unlinked inode."""
    return _FS_ID.pack(WAITER, fs_id, inode_id) + session_id


def holding(session_id: bytes, fs_id: int, inode_id: int) -> bytes:
    """Key that says what a session holds."""
    return HOLDING + session_id + _FS_INODE.pack(fs_id, inode_id)


def unpack_holding(key: bytes) -> tuple[int, int]:
    """Return (filesystem, inode) of a holding key."""
    fs_id, inode_id = _FS_INODE.unpack_from(key, len(key) - _FS_INODE.size)
    return fs_id, inode_id


def session(session_id: bytes) -> bytes:
    """Key of a session."""
    return SESSION + session_id


def result(session_id: bytes, sequence: int) -> bytes:
    """Key of a stored result."""
    return RESULT + session_id + _U64.pack(sequence)


def range_(session_id: bytes, kind: int, first: int) -> bytes:
    """Key of a leased range of ids."""
    return RANGE + session_id + bytes([kind]) + _U64.pack(first)


def unpack_range(key: bytes) -> tuple[bytes, int, int]:
    """Return (whose, kind, first id) of the key of a leased range."""
    return key[1:-9], key[-9], _U64.unpack_from(key, len(key) - 8)[0]


def delete(fs_id: int, queued_ns: int, order: int) -> bytes:
    """Key of an entry of the delete queue."""
    return _FS_ID_U64.pack(DELETE, fs_id, queued_ns, order)


def delete_time(key: bytes) -> int:
    """Return the time in a key of the delete queue."""
    return int(_U64.unpack_from(key, _FS.size)[0])


def of_fs(table: bytes, fs_id: int) -> bytes:
    """Return the prefix of what a filesystem has in a table."""
    return _FS.pack(table, fs_id)


def fs_of(key: bytes) -> int:
    """Return the filesystem in the key of a table whose keys begin with it."""
    return int(_FS.unpack_from(key)[1])


def reference(fs_id: int, chunk_id: int, number: int, token: bytes = b"") -> bytes:
    """Key of a reference to a chunk id; of number 0 with a token: which reference was added for it."""
    return _FS_ID_U32.pack(REFERENCE, fs_id, chunk_id, number) + token


def reference_chunk(key: bytes) -> int:
    """Return the chunk id in such a key."""
    return int(_FS_ID_U32.unpack_from(key)[2])


def lock(key: bytes) -> bytes:
    """Key of the lock of what lies under a key."""
    return LOCK + key


def directory_moves(fs_id: int) -> bytes:
    """Key that stands for all moves of directories in a filesystem; only its lock exists."""
    return _MOVES + fs_id.to_bytes(4, "big")


def transaction(table: bytes, group_id: int, term: int, number: int) -> bytes:
    """Key of a transaction in tables p, f and e."""
    return table + _TRANSACTION.pack(group_id, term, number)


TRANSACTION_SIZE = 24


def finished_at(time_ns: int, id_: bytes) -> bytes:
    """Key of a finished transaction by time; id_: its packed id."""
    return FINISHED_AT + _U64.pack(time_ns) + id_


def decision(session_id: bytes, number: int) -> bytes:
    """Key of a decision."""
    return DECISION + session_id + _U64.pack(number)


def share(fs_id: int, partition_id: int, quota_id: int) -> bytes:
    """Key of what a partition may use of a quota."""
    return _FS_PARTITION_ID.pack(SHARE, fs_id, partition_id, quota_id)


def reserved(session_id: bytes, fs_id: int, partition_id: int, quota_id: int) -> bytes:
    """Key of what a session reserved of a quota in a partition."""
    return RESERVED + session_id + _FS_PARTITION_QUOTA.pack(fs_id, partition_id, quota_id)


def unpack_reserved(key: bytes) -> tuple[int, int, int]:
    """Return (filesystem, partition, quota) of such a key."""
    fs_id, partition_id, quota_id = _FS_PARTITION_QUOTA.unpack_from(key, len(key) - _FS_PARTITION_QUOTA.size)
    return fs_id, partition_id, quota_id


def quota(fs_id: int, quota_id: int) -> bytes:
    """Key of a quota."""
    return _FS_ID.pack(QUOTA, fs_id, quota_id)


def unpack_quota(key: bytes) -> tuple[int, int]:
    """Return (filesystem, quota) of a quota's key."""
    _, fs_id, quota_id = _FS_ID.unpack(key)
    return fs_id, quota_id


def loan(fs_id: int, quota_id: int, partition_id: int) -> bytes:
    """Key of what is lent of a quota to a partition."""
    return _FS_ID_PARTITION.pack(LOAN, fs_id, quota_id, partition_id)


def loan_partition(key: bytes) -> int:
    """Return the partition in a loan's key."""
    return int(_FS_ID_PARTITION.unpack(key)[3])


def trash(fs_id: int, trashed_ns: int, inode_id: int) -> bytes:
    """Key of an inode in the trash, in order of time."""
    return _FS_ID_U64.pack(TRASH, fs_id, trashed_ns, inode_id)


def unpack_trash(key: bytes) -> tuple[int, int]:
    """Return (time, inode) of such a key."""
    _, _, trashed_ns, inode_id = _FS_ID_U64.unpack(key)
    return trashed_ns, inode_id


def trash_place(fs_id: int, place: int, hash_: int, trashed_ns: int, inode_id: int) -> bytes:
    """Key of an inode in the trash by where it is shown: of one name the newest is first."""
    return _PLACE.pack(TRASH_PLACE, fs_id, place, hash_, _U64_MAX - trashed_ns, inode_id)


def unpack_trash_place(key: bytes) -> tuple[int, int, int]:
    """Return (hash, time, inode) of such a key."""
    _, _, _, hash_, inverted, inode_id = _PLACE.unpack(key)
    return hash_, _U64_MAX - inverted, inode_id


def after_prefix(prefix: bytes) -> bytes:
    """End of the range of all keys that begin with a prefix."""
    stripped = prefix.rstrip(b"\xff")
    assert stripped, "no end"
    return stripped[:-1] + bytes([stripped[-1] + 1])
