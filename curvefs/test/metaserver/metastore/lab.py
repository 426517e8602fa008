"""A group's state machine with one session, driven as its log would drive it."""

import stat
from contextlib import contextmanager

from curvefs.proto import common_pb2, state_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.metaserver.metastore.apply import apply, refuse_unknown
from curvefs.src.metaserver.metastore.reads import read
from curvefs.test.support.memory_state import MemoryState

FS, CHUNK, BLOCK = 1, 1 << 20, 1 << 18
SESSION = b"s" * 16


class Lab:
    """Entries go to one state; follow-ups are applied at once, as a leader would propose them."""

    def __init__(self, *, follow_up=True, group_id=7, partitions=(0,), retention_s=0, replaced=False):
        self.state = MemoryState()
        self.group_id = group_id
        self.term = 1
        self.index = 0
        self.time_ns = 10**18
        self.sequence = 0
        self.follow_up = follow_up
        self.waiting = []
        spec = pb.PartitionSpec(fs_id=FS, group_id=group_id, hash_seed=b"h" * 16, chunk_size=CHUNK, block_size=BLOCK)
        spec.trash_retention_s, spec.trash_replaced = retention_s, replaced
        for partition_id in partitions:
            spec.partition_id = partition_id
            self.entry(create_partition=state_pb2.CreatePartitionCommand(partition=spec))
        self.open(SESSION)

    def entry(self, **command):
        return self.log(state_pb2.Entry(format=1, **command))

    def log(self, entry):
        self.index += 1
        self.time_ns += 1000
        entry.time_ns = self.time_ns
        applied = apply(self.state, self.index, self.term, entry)
        self.waiting += applied.follow_ups
        while self.follow_up and self.waiting:
            following = self.waiting.pop(0)
            following.time_ns = self.time_ns
            self.index += 1
            self.waiting += apply(self.state, self.index, self.term, following).follow_ups
        return applied

    def open(self, session):
        return self.entry(open_session=state_pb2.OpenSessionCommand(fs_id=FS, session_id=session))

    def end(self, session=SESSION):
        return self.entry(end_session=state_pb2.EndSessionCommand(session_id=session))

    def batch(self, first, operations, *, session=SESSION, acknowledged=0):
        batch = pb.OperationBatch(
            fs_id=FS,
            session_id=session,
            group_id=self.group_id,
            first_sequence=first,
            acknowledged=acknowledged,
            operations=operations,
        )
        refuse_unknown(batch)
        return self.entry(operations=state_pb2.OperationsCommand(batch=batch))

    def do(self, *, uid=0, gid=0, preconditions=(), **operation):
        """Apply one operation and return its result."""
        self.sequence += 1
        credential = pb.Credential(uid=uid, gid=gid)
        one = pb.Operation(credential=credential, preconditions=preconditions, **operation)
        applied = self.batch(self.sequence, [one], acknowledged=self.sequence - 1)
        assert applied.failure is None, applied.failure
        return applied.results.results[0]

    def ok(self, **operation):
        result = self.do(**operation)
        assert result.status == common_pb2.OK, common_pb2.StatusCode.Name(result.status) + " " + result.message
        return result

    def refused(self, code, **operation):
        """Apply one operation that must fail with a code and change nothing but its lane."""
        with self.unchanged():
            result = self.do(**operation)
        assert common_pb2.StatusCode.Name(result.status) == common_pb2.StatusCode.Name(code)
        return result

    @contextmanager
    def unchanged(self):
        before = {k: v for k, v in self.state.pairs.items() if k[:1] not in (b"r", b"S")}
        yield
        assert {k: v for k, v in self.state.pairs.items() if k[:1] not in (b"r", b"S")} == before

    def create(self, parent, name, mode=stat.S_IFREG | 0o644, **more):
        return self.ok(create=pb.Create(parent=parent, name=name, mode=mode, exclusive=True, **more)).inode.inode_id

    def mkdir(self, parent, name):
        return self.create(parent, name, stat.S_IFDIR | 0o755)

    def read(self, **request):
        return read(self.state, FS, pb.Read(read_id=1, **request))

    def inode(self, inode_id):
        result = self.read(get_attr=pb.GetAttr(inode_id=inode_id))
        return result.inode if result.HasField("inode") and not result.HasField("failure") else None

    def lookup(self, parent, name):
        result = self.read(lookup=pb.Lookup(parent=parent, name=name))
        return result.inode.inode_id if result.HasField("inode") else 0

    def names(self, parent, limit=3):
        """List a directory page by page."""
        found, after_hash, after_name = [], 0, b""
        while True:
            page = self.read(
                read_dir=pb.ReadDir(inode_id=parent, after_hash=after_hash, after_name=after_name, limit=limit)
            )
            found += [entry.name for entry in page.entries]
            if page.end:
                return found
            after_hash, after_name = page.entries[-1].hash, page.entries[-1].name

    def slices(self, inode_id, first=0, count=64):
        return list(self.read(get_slices=pb.GetSlices(inode_id=inode_id, first_chunk=first, count=count)).slices)

    def table(self, byte):
        return [key for key in self.state.pairs if key[:1] == byte]
