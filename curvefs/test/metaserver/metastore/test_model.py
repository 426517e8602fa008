"""Any sequence of operations on names, sent in batches some of which are sent again, does what a plain tree in memory
does; and the same entries make the same state to the byte, on memory and on LMDB.

What gives a directory another parent is a transaction, also here, where all is in one partition: it goes between batches.
"""

import random
import stat
from dataclasses import dataclass, field

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

REG, DIR, LNK = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755, stat.S_IFLNK | 0o777


@dataclass(eq=False)
class Node:
    mode: int
    parent: "Node | None" = None
    names: dict[bytes, "Node"] = field(default_factory=dict)
    links: int = 0  # names that lead here
    length: int = 0
    held: bool = False
    inode_id: int = 0

    @property
    def is_directory(self):
        return stat.S_ISDIR(self.mode)

    @property
    def nlink(self):
        if not self.is_directory:
            return self.links
        return 2 + sum(child.is_directory for child in self.names.values()) if self.links else 0


class No(Exception):
    """A local filesystem would refuse."""


class Tree:
    """What a filesystem is: directories of names. Knows nothing of entries, keys or counters."""

    def __init__(self):
        self.root = Node(DIR, links=1, inode_id=1)
        self.nodes = [self.root]

    def directory(self, node):
        if not node.is_directory or not node.links:
            raise No
        return node.names

    def lose(self, node, hold):
        node.links -= 1
        node.held = hold and not node.links

    def create(self, parent, name, mode):
        names = self.directory(parent)
        if name in names:
            raise No
        node = names[name] = Node(mode, parent, links=1, length=len(b"target") if mode == LNK else 0)
        self.nodes.append(node)
        return node

    def unlink(self, parent, name, hold):
        node = self.directory(parent).get(name)
        if node is None or node.is_directory:
            raise No
        del parent.names[name]
        self.lose(node, hold)

    def rmdir(self, parent, name, hold):
        node = self.directory(parent).get(name)
        if node is None or not node.is_directory or node.names:
            raise No
        del parent.names[name]
        self.lose(node, hold)

    def link(self, node, parent, name):
        if name in self.directory(parent) or node.is_directory or not node.links:
            raise No
        parent.names[name] = node
        node.links += 1

    def rename(self, parent, name, new_parent, new_name, flag, hold):
        source, target = self.directory(parent), self.directory(new_parent)
        node, old = source.get(name), target.get(new_name)
        if node is None or (flag == "exchange" and old is None) or (flag == "no_replace" and old is not None):
            raise No
        if self.is_below(new_parent, node) or (flag == "exchange" and self.is_below(parent, old)):
            raise No
        if old is node:
            return
        if flag == "exchange":
            source[name], target[new_name] = old, node
            old.parent = parent
        else:
            if old is not None and (old.is_directory != node.is_directory or old.names):
                raise No
            del source[name]
            target[new_name] = node
            if old is not None:
                self.lose(old, hold)
        node.parent = new_parent

    def is_below(self, node, ancestor):
        while node is not None:
            if node is ancestor:
                return True
            node = node.parent
        return False

    def truncate(self, node, length):
        if node.mode != REG or not (node.links or node.held):
            raise No
        node.length = length

    def release(self, node):
        node.held = False


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
        for stretch in self.stretches(operations):
            nodes = list(self.tree.nodes)  # what is made in this batch has no known number yet
            wanted, expected = [], []
            for operation in stretch:
                wanted.append(self.message(nodes, *operation))
                expected.append(self.model(nodes, *operation))
            self.send(stretch, wanted, expected, again=again)
        self.check()

    def stretches(self, operations):
        """Yield what goes in one batch: all of them in order, each transaction alone. The tree moves on meanwhile."""
        batch = []
        for operation in operations:
            # Whether it is one shows only when what comes before is done.
            if operation[0] == "rename":
                if batch:
                    yield batch
                batch = []
                yield [operation]
            else:
                batch.append(operation)
        if batch:
            yield batch

    def send(self, stretch, wanted, expected, *, again):
        first = self.lab.sequence + 1
        self.lab.sequence += len(wanted)
        results = self.lab.batch(first, wanted, acknowledged=first - 1).results
        if again:
            with self.lab.unchanged():
                assert self.lab.batch(first, wanted, acknowledged=first - 1).results == results
        for operation, message, (done, node), result in zip(stretch, wanted, expected, results.results, strict=True):
            if result.status == common_pb2.CROSS_PARTITION:
                assert len(stretch) == 1
                result = self.fleet.transact(message)  # noqa: PLW2901 -- it is the answer
            assert (result.status == 0) == done, (operation, result)
            if done and operation[0] == "create":
                node.inode_id = result.inode.inode_id

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
