"""Any sequence of operations on names, sent in batches some of which are sent again, does what a plain tree in memory
does; and the same entries make the same state to the byte, on memory and on LMDB.

What gives a directory another parent is a transaction, also here, where all is in one partition: it ends a batch.
"""

import random
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curvefs.proto import common_pb2, state_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.metaserver.metastore.apply import apply
from curvefs.src.metaserver.storage.environment import Environment
from curvefs.test.support.memory_state import MemoryState

from .fleet import Fleet
from .lab import SESSION, Lab
from .plain_tree import DIR, LNK, REG, No, Tree

PLACES = st.integers(0, 9)
NAMES = st.sampled_from([b"a", b"b", b"c"])
FLAGS = st.sampled_from(["", "", "exchange", "no_replace"])
OPERATION = st.one_of(
    st.tuples(st.just("create"), PLACES, NAMES, st.sampled_from([REG, REG, DIR, DIR, LNK])),
    st.tuples(st.just("unlink"), PLACES, NAMES, st.booleans()),
    st.tuples(st.just("rmdir"), PLACES, NAMES, st.booleans()),
    st.tuples(st.just("link"), PLACES, PLACES, NAMES),
    st.tuples(
        st.just("rename"),
        PLACES,
        NAMES,
        PLACES,
        NAMES,
        st.sampled_from(["", "", "exchange", "no_replace"]),
        st.booleans(),
    ),
    st.tuples(st.just("truncate"), PLACES, st.integers(0, 5)),
    st.tuples(st.just("release"), PLACES),
)
BATCHES = st.lists(st.tuples(st.lists(OPERATION, min_size=1, max_size=4), st.booleans()), max_size=25)


class Recording(Lab):
    """Keeps the entries, to apply them elsewhere."""

    def __init__(self):
        self.entries = []
        super().__init__()

    def log(self, entry):
        applied = super().log(entry)
        copied = state_pb2.Entry()
        copied.CopyFrom(entry)
        self.entries.append((self.index, copied))
        return applied


class Both:
    """The tree and the state machine, step by step."""

    def __init__(self):
        self.lab = Recording()
        self.fleet = Fleet.around(self.lab)
        self.tree = Tree()

    def run(self, operations, *, again):
        nodes = list(self.tree.nodes)  # what is made in this batch has no known number yet
        batch = []
        for operation in operations:
            alone = self.moves_directory(nodes, *operation)
            if alone:
                self.send(batch, again=again)
                batch = []
            batch.append((operation, self.message(nodes, *operation), self.model(nodes, *operation)))
            if alone:
                self.send(batch, again=again)
                batch = []
        self.send(batch, again=again)
        self.check()

    def send(self, batch, *, again):
        wanted = [message for _, message, _ in batch]
        first = self.lab.sequence + 1
        self.lab.sequence += len(wanted)
        results = self.lab.batch(first, wanted, acknowledged=first - 1).results
        if again:
            with self.lab.unchanged():
                assert self.lab.batch(first, wanted, acknowledged=first - 1).results == results
        for (operation, message, (done, node)), answer in zip(batch, results.results, strict=True):
            result = answer
            if answer.status == common_pb2.CROSS_PARTITION:
                assert len(batch) == 1
                result = self.fleet.transact(message)
            assert (result.status == 0) == done, (operation, result)
            if done and operation[0] == "create":
                node.inode_id = result.inode.inode_id

    def moves_directory(self, nodes, kind, *arguments):
        """Say whether an operation, done now, might give a directory another parent."""
        if kind != "rename":
            return False
        place, name, into, new_name, flag, _ = arguments
        parent, new_parent = self.parent(nodes, place), self.parent(nodes, into)
        moved, other = parent.names.get(name), new_parent.names.get(new_name)
        ends = [moved, other] if flag == "exchange" else [moved]
        return parent is not new_parent and any(one is not None and one.is_directory for one in ends)

    def node(self, nodes, place):
        """Mostly something that is there, now and then what was removed."""
        there = nodes if place == 9 else [one for one in nodes if one.links or one.held]
        return there[place % len(there)]

    def parent(self, nodes, place):
        """Mostly a directory, of few, so that names meet; now and then anything."""
        folders = [one for one in nodes if one.is_directory and one.links][:4]
        return self.node(nodes, place) if place >= 8 else folders[place % len(folders)]

    def message(self, nodes, kind, *arguments):
        """What the client sends: it says which inode it holds, as far as it knows before the batch."""
        match kind, *arguments:
            case "create", place, name, mode:
                create = pb.Create(parent=self.parent(nodes, place).inode_id, name=name, mode=mode, exclusive=True)
                if mode == LNK:
                    create.symlink_target = b"target"
                return pb.Operation(create=create)
            case "unlink" | "rmdir", place, name, hold:
                parent = self.parent(nodes, place)
                held = self.held(parent, name, hold)
                if kind == "unlink":
                    return pb.Operation(unlink=pb.Unlink(parent=parent.inode_id, name=name, held_inode=held))
                return pb.Operation(rmdir=pb.Rmdir(parent=parent.inode_id, name=name, held_inode=held))
            case "link", place, into, name:
                inode_id, parent = self.node(nodes, place).inode_id, self.parent(nodes, into).inode_id
                return pb.Operation(link=pb.Link(inode_id=inode_id, new_parent=parent, new_name=name))
            case "rename", place, name, into, new_name, flag, hold:
                parent, new_parent = self.parent(nodes, place), self.parent(nodes, into)
                rename = pb.Rename(
                    parent=parent.inode_id,
                    name=name,
                    new_parent=new_parent.inode_id,
                    new_name=new_name,
                    held_inode=self.held(new_parent, new_name, hold),
                    **({flag: True} if flag else {}),
                )
                return pb.Operation(rename=rename)
            case "truncate", place, length:
                return pb.Operation(set_attr=pb.SetAttr(inode_id=self.node(nodes, place).inode_id, length=length))
            case "release", place:
                return pb.Operation(release_inode=pb.ReleaseInode(inode_id=self.node(nodes, place).inode_id))
        raise AssertionError(kind)

    def held(self, parent, name, hold):
        node = parent.names.get(name)
        return node.inode_id if hold and node is not None else 0

    def model(self, nodes, kind, *arguments):
        """Do the same to the tree; return whether it was done, and the node it made."""
        tree = self.tree
        try:
            match kind, *arguments:
                case "create", place, name, mode:
                    return True, tree.create(self.parent(nodes, place), name, mode)
                case "unlink", place, name, hold:
                    parent = self.parent(nodes, place)
                    tree.unlink(parent, name, bool(self.held(parent, name, hold)))
                case "rmdir", place, name, hold:
                    parent = self.parent(nodes, place)
                    tree.rmdir(parent, name, bool(self.held(parent, name, hold)))
                case "link", place, into, name:
                    tree.link(self.node(nodes, place), self.parent(nodes, into), name)
                case "rename", place, name, into, new_name, flag, hold:
                    new_parent = self.parent(nodes, into)
                    held = bool(self.held(new_parent, new_name, hold))
                    tree.rename(self.parent(nodes, place), name, new_parent, new_name, flag, held)
                case "truncate", place, length:
                    tree.truncate(self.node(nodes, place), length)
                case "release", place:
                    tree.release(self.node(nodes, place))
        except No:
            return False, None
        return True, None

    def check(self):
        count = used = 0
        for node in self.tree.nodes:
            inode = self.lab.inode(node.inode_id)
            if not node.links and not node.held:
                assert inode is None
                continue
            count += 1
            assert (inode.nlink, stat.S_IFMT(inode.mode)) == (node.nlink, stat.S_IFMT(node.mode))
            if node.is_directory:
                assert inode.parent == (node.parent or node).inode_id
                assert inode.entry_count == len(node.names)
                names = self.lab.names(node.inode_id, limit=2)
                assert len(names) == len(node.names)
                assert {name: self.lab.lookup(node.inode_id, name) for name in names} == {
                    name: child.inode_id for name, child in node.names.items()
                }
            else:
                assert inode.length == node.length
                used += node.length if node.mode == REG else 0
        counters = self.lab.read(stat_fs=pb.StatFs()).stat_fs
        assert (counters.inode_count, counters.used_bytes) == (count, used)

    def end(self):
        """End the session: what it held goes."""
        self.lab.end(SESSION)
        for node in self.tree.nodes:
            node.held = False
        self.check()
        assert not self.lab.table(b"w") + self.lab.table(b"W") + self.lab.table(b"r") + self.lab.table(b"g")


@settings(max_examples=200, deadline=None)
@given(BATCHES)
def test_names_are_those_of_a_plain_tree_however_often_batches_come(batches):
    both = Both()
    for operations, again in batches:
        both.run(operations, again=again)
    both.end()


@pytest.fixture
def environment(tmp_path):
    environment = Environment(tmp_path, map_size=1 << 26, boot_id="boot")
    yield environment
    environment.close()


def some_operation(rng):
    place, into = rng.randrange(10), rng.randrange(10)
    name, new_name = rng.choices([b"a", b"b", b"c"], k=2)
    hold = rng.random() < 0.3
    return rng.choice(
        [
            ("create", place, name, rng.choice([REG, DIR, LNK])),
            ("create", place, name, DIR),
            ("unlink", place, name, hold),
            ("rmdir", place, name, hold),
            ("link", place, into, name),
            ("rename", place, name, into, new_name, rng.choice(["", "exchange", "no_replace"]), hold),
            ("truncate", place, rng.randrange(5)),
            ("release", place),
        ]
    )


def test_the_same_entries_make_the_same_state_on_memory_and_on_lmdb(environment):
    both = Both()
    rng = random.Random(5)
    for _ in range(150):
        both.run([some_operation(rng) for _ in range(rng.randrange(1, 5))], again=rng.random() < 0.3)
    both.end()
    memory = MemoryState()
    # The lab applies follow-ups itself; here there are none, so that an index is an entry.
    assert [index for index, _ in both.lab.entries] == list(range(1, len(both.lab.entries) + 1))
    for index, entry in both.lab.entries:
        here = apply(memory, index, 1, entry)
        with environment.write() as txn:
            there = apply(txn, index, 1, entry)
        assert here == there
    with environment.read() as view:
        on_disk = list(view.scan(b"\0", b"\xff"))
    assert on_disk == list(memory.pairs.items()) == list(both.lab.state.pairs.items())
    assert len(on_disk) > 10
    assert both.tree.root.names
