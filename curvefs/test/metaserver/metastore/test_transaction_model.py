"""Any operations over three partitions, many at a time, do what a plain tree does: each at its decision, or not at all.

Transactions are left prepared, or decided and finished in some places only, while others go on. Whatever is answered
meanwhile, and is not LOCKED, must be so in a tree where exactly the decided ones have happened.
"""

import random
import stat
from collections import Counter
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from curvefs.proto import common_pb2, state_pb2
from curvefs.proto import metaserver_pb2 as pb
from curvefs.src.metaserver.storage import keys

from .fleet import MEMORY, Fleet, Met, Transaction, pairs_of
from .fleet import No as Refused
from .fleet import NothingToDo as Nothing
from .lab import SESSION
from .plain_tree import DIR, LNK, REG, No, Tree

LAYOUTS = [(1, 2, 3), (1, 1, 2), (1, 2, 2), (1, 2, 1)]
UNDER_WAY_MAX = 5
PLACES = st.integers(0, 9)
NAME_LIST = [b"a", b"b", b"c", b"d"]
NAMES = st.sampled_from(NAME_LIST)
PARTITIONS = st.integers(0, 2)
OPERATION = st.one_of(
    st.tuples(st.just("create"), PLACES, NAMES, st.sampled_from([REG, REG, LNK, DIR])),
    st.tuples(st.just("mkdir"), PLACES, NAMES, PARTITIONS),
    st.tuples(st.just("mkdir"), PLACES, NAMES, PARTITIONS),
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
    st.tuples(st.just("release"), PLACES),
)
STEP = st.one_of(
    st.tuples(st.just("do"), OPERATION),
    st.tuples(st.just("do"), OPERATION),
    st.tuples(st.just("abort"), OPERATION),
    st.tuples(st.just("begin"), OPERATION),
    st.tuples(st.just("begin"), OPERATION),
    st.tuples(st.just("go on"), PLACES),
    st.tuples(st.just("go on"), PLACES),
    st.tuples(st.just("give up"), PLACES),
)


def visible(lab):
    """Return all pairs but the memory of ends, lanes, and which inode number comes next."""
    shown = {}
    for key, value in pairs_of(lab, without=(*MEMORY, keys.RESULT, keys.SESSION)).items():
        shown[key] = value
        if key[:1] == keys.PARTITION:
            record = state_pb2.PartitionRecord.FromString(value)
            record.next_inode = 0
            shown[key] = record.SerializeToString(deterministic=True)
    return shown


class UnderWay:
    """A transaction that is prepared, and perhaps decided; ``happen`` does it to the tree."""

    def __init__(self, transaction, happen):
        self.transaction = transaction
        self.happen = happen
        self.decided = False
        self.left = []  # groups that have not finished


class Spread:
    """The tree and the groups, step by step."""

    def __init__(self, layout, *, twice):
        self.fleet = Fleet(layout, twice=twice)
        self.tree = Tree()
        self.under_way = []
        self.gone = set()  # inodes that were seen to be gone; they do not come back
        self.seen = Counter()  # so that a test can say that something happened

    # ------------------------------------------------------------------------------------------- steps

    def run(self, step, argument):
        match step:
            case "go on" | "give up" if not self.under_way:
                return
            case "do":
                self.do(*self.resolved(*argument))
            case "abort":
                self.abort(*self.resolved(*argument))
            case "begin":
                self.begin(*self.resolved(*argument))
            case "go on":
                self.go_on(self.under_way[argument % len(self.under_way)])
            case "give up":
                self.give_up(self.under_way[argument % len(self.under_way)])
        self.check()

    def do(self, home, operation, happen):
        """Do an operation to its end, in the lane where it can be."""
        elsewhere = operation.HasField("create") and operation.create.HasField("partition_id")
        if not elsewhere:
            lab = self.fleet.lab(home)
            lab.sequence += 1
            result = lab.batch(lab.sequence, [operation], acknowledged=lab.sequence - 1).results.results[0]
            if result.status == common_pb2.LOCKED:
                assert self.under_way
                self.seen["locked"] += 1
                return
            if result.status != common_pb2.CROSS_PARTITION:
                assert self.happens(happen, result) == (result.status == common_pb2.OK), (operation, result)
                return
        result = self.fleet.transact(operation)
        if result.status == common_pb2.OK:
            assert self.happens(happen, result), operation
        elif not self.under_way:
            assert not self.happens(happen, result), (operation, result)

    def abort(self, _, operation, __):
        """Prepare an operation and give it up: nothing is left of it."""
        if operation.WhichOneof("operation") != "release_inode" and not self.is_lane_only(operation):
            before = [visible(lab) for lab in self.fleet.groups.values()]
            result = self.fleet.transact(operation, commit=False)
            self.seen["aborted"] += result.status == common_pb2.OK
            assert [visible(lab) for lab in self.fleet.groups.values()] == before

    def begin(self, home, operation, happen):
        """Prepare an operation, and leave it at that for now."""
        if operation.HasField("release_inode") or self.is_lane_only(operation) or len(self.under_way) >= UNDER_WAY_MAX:
            self.do(home, operation, happen)
            return
        self.fleet.numbers += 1
        one = UnderWay(Transaction(self.fleet, operation, self.fleet.numbers), happen)
        try:
            one.transaction.prepare_all()
        except (Refused, Met, Nothing) as reason:
            one.transaction.abort()
            self.seen["gave way"] += isinstance(reason, Met)
        else:
            self.under_way.append(one)

    def go_on(self, one):
        """Decide it, or have one more participant finish."""
        if one.decided:
            self.finish(one, commit=True)
            return
        try:
            result = one.transaction.decide()
        except (Refused, Met) as reason:
            self.seen["gave way"] += isinstance(reason, Met)
            one.transaction.abort()
            self.under_way.remove(one)
            return
        assert self.happens(one.happen, result)
        self.seen["decided"] += 1
        one.decided = True
        one.left = sorted(one.transaction.participants)
        self.finish(one, commit=True, steps=0)

    def give_up(self, one):
        """Abort it, in one place after the other; what is decided goes on instead."""
        if one.decided:
            self.go_on(one)
        else:
            one.transaction.abort()
            self.under_way.remove(one)

    def finish(self, one, *, commit, steps=1):
        for group_id in one.left[:steps]:
            one.transaction.finish(group_id, commit=commit)
        del one.left[:steps]
        if not one.left:
            one.transaction.forget()
            self.under_way.remove(one)

    def end(self):
        """Finish everything, then end the session: what it held goes."""
        self.gone.clear()
        while self.under_way:
            self.go_on(self.under_way[-1])
        self.check()
        self.fleet.settled()
        for lab in self.fleet.groups.values():
            lab.end(SESSION)
        for node in self.tree.nodes:
            node.held = False
        self.check()
        for lab in self.fleet.groups.values():
            assert not [key for key in lab.state.pairs if key[:1] in (b"w", b"W", b"r", b"g", b"D", b"e")]

    # -------------------------------------------------------------------------------------- operations

    @staticmethod
    def is_lane_only(operation):
        return operation.HasField("create") and not operation.create.HasField("partition_id")

    @staticmethod
    def happens(happen, result):
        """Do it to the tree; say whether it could be done."""
        try:
            made = happen()
        except No:
            return False
        if made is not None and result.HasField("inode"):
            made.inode_id = result.inode.inode_id
        return True

    def node(self, place):
        there = [one for one in self.tree.nodes if one.links or one.held] if place < 9 else self.tree.nodes
        return there[place % len(there)]

    def parent(self, place):
        """Mostly a directory, of few, so that names meet; now and then anything."""
        folders = [one for one in self.tree.nodes if one.is_directory and one.links][:5]
        return self.node(place) if place == 9 else folders[place % len(folders)]

    @staticmethod
    def there(parent, name, *, kind=""):
        """Mostly a name that is there, fit for unlink or rmdir."""
        fit = [
            one
            for one, child in sorted(parent.names.items())
            if kind not in ("unlink", "rmdir") or child.is_directory == (kind == "rmdir")
        ]
        return fit[NAME_LIST.index(name) % len(fit)] if fit else name

    @staticmethod
    def held(parent, name, hold):
        node = parent.names.get(name)
        return node.inode_id if hold and node is not None else 0

    def resolved(self, kind, place, *arguments):
        """Return (inode that says where it goes, message, what does it to the tree)."""
        tree = self.tree
        match kind, *arguments:
            case "create", name, mode:
                parent = self.parent(place)
                request = pb.Create(parent=parent.inode_id, name=name, mode=mode, exclusive=True)
                if mode == LNK:
                    request.symlink_target = b"target"
                return parent.inode_id, pb.Operation(create=request), partial(tree.create, parent, name, mode)
            case "mkdir", name, partition_id:
                parent = self.parent(place)
                request = pb.Create(
                    parent=parent.inode_id, name=name, mode=DIR, exclusive=True, partition_id=partition_id
                )
                return parent.inode_id, pb.Operation(create=request), partial(tree.create, parent, name, DIR)
            case "unlink" | "rmdir", name, hold:
                parent = self.parent(place)
                name = self.there(parent, name, kind=kind)
                held = self.held(parent, name, hold)
                request = (pb.Unlink if kind == "unlink" else pb.Rmdir)(
                    parent=parent.inode_id, name=name, held_inode=held
                )
                happen = partial(getattr(tree, kind), parent, name, bool(held))
                return parent.inode_id, pb.Operation(**{kind: request}), happen
            case "link", into, name:
                node, parent = self.node(place), self.parent(into)
                request = pb.Link(inode_id=node.inode_id, new_parent=parent.inode_id, new_name=name)
                return parent.inode_id, pb.Operation(link=request), partial(tree.link, node, parent, name)
            case "rename", name, into, new_name, flag, hold:
                parent, new_parent = self.parent(place), self.parent(into)
                name = self.there(parent, name)
                held = self.held(new_parent, new_name, hold)
                request = pb.Rename(
                    parent=parent.inode_id,
                    name=name,
                    new_parent=new_parent.inode_id,
                    new_name=new_name,
                    held_inode=held,
                    **({flag: True} if flag else {}),
                )
                happen = partial(tree.rename, parent, name, new_parent, new_name, flag, bool(held))
                return parent.inode_id, pb.Operation(rename=request), happen
            case ("release",):
                node = self.node(place)
                request = pb.ReleaseInode(inode_id=node.inode_id)
                return node.inode_id, pb.Operation(release_inode=request), partial(tree.release, node)
        raise AssertionError(kind)

    # ------------------------------------------------------------------------------------------- checks

    def check(self):
        for node in self.tree.nodes:
            if node.inode_id in self.gone:
                continue
            lab = self.fleet.lab(node.inode_id)
            found = lab.read(get_attr=pb.GetAttr(inode_id=node.inode_id))
            if found.failure.code == common_pb2.LOCKED:
                assert self.under_way
            elif not node.links and not node.held:
                assert found.failure.code == common_pb2.NOT_FOUND
                self.gone.add(node.inode_id)
            else:
                self.check_inode(node, found.inode)
            if node.is_directory and (node.links or node.held):
                self.check_names(lab, node)
        if not self.under_way:
            living = [node for node in self.tree.nodes if node.links or node.held]
            counted = sum(lab.read(stat_fs=pb.StatFs()).stat_fs.inode_count for lab in self.fleet.groups.values())
            assert counted == len(living)

    @staticmethod
    def check_inode(node, inode):
        assert (inode.nlink, stat.S_IFMT(inode.mode)) == (node.nlink, stat.S_IFMT(node.mode))
        if node.is_directory:
            assert inode.entry_count == len(node.names)
            if node.links:
                assert inode.parent == (node.parent or node).inode_id

    def check_names(self, lab, node):
        for name in NAME_LIST:
            found = lab.read(lookup=pb.Lookup(parent=node.inode_id, name=name))
            if found.failure.code == common_pb2.LOCKED:
                assert self.under_way
                continue
            assert not found.failure.code
            child = node.names.get(name)
            assert found.inode.inode_id == (child.inode_id if child is not None else 0)
            if child is not None:
                assert stat.S_IFMT(found.inode.mode) == stat.S_IFMT(child.mode)
        listed = lab.read(read_dir=pb.ReadDir(inode_id=node.inode_id))
        if listed.failure.code != common_pb2.LOCKED:
            assert {one.name: one.inode_id for one in listed.entries} == {
                name: child.inode_id for name, child in node.names.items()
            }


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(LAYOUTS), st.booleans(), st.lists(STEP, max_size=40))
def test_names_over_partitions_are_those_of_a_plain_tree(layout, twice, steps):
    spread = Spread(layout, twice=twice)
    for step, argument in steps:
        spread.run(step, argument)
    spread.end()


# Mostly things that begin or meet others, so that there is something to meet.
STEPS = ["do"] * 5 + ["begin"] * 5 + ["go on"] * 3 + ["abort", "give up"]


def some_operation(rng):
    place, into = rng.randrange(10), rng.randrange(10)
    name, new_name = rng.choices(NAME_LIST, k=2)
    hold = rng.random() < 0.3
    return rng.choice(
        [
            ("create", place, name, rng.choice([REG, REG, LNK, DIR])),
            ("mkdir", place, name, rng.randrange(3)),
            ("mkdir", place, name, rng.randrange(3)),
            ("unlink", place, name, hold),
            ("rmdir", place, name, hold),
            ("link", place, into, name),
            ("rename", place, name, into, new_name, rng.choice(["", "", "exchange", "no_replace"]), hold),
            ("rename", place, name, into, new_name, rng.choice(["", "exchange"]), hold),
            ("release", place),
        ]
    )


def test_a_long_run_over_partitions_is_that_of_a_plain_tree():
    seen = Counter()
    for seed, layout in enumerate(LAYOUTS):
        rng = random.Random(seed)
        spread = Spread(layout, twice=bool(seed % 2))
        for _ in range(500):
            step = rng.choice(STEPS)
            spread.run(step, some_operation(rng) if step in ("do", "abort", "begin") else rng.randrange(10))
        spread.end()
        seen += spread.seen
    assert min(seen[what] for what in ("locked", "decided", "gave way", "aborted")) >= 5, seen
